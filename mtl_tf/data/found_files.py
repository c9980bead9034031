"""The files of a pattern that are there; where there are none, what is there instead."""

import difflib
import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mtl_tf.data.file_names import Pattern
from mtl_tf.errors import UsageError
from mtl_tf.storage import files, listing
from mtl_tf.storage.listing import PassedOver


class Found(NamedTuple):
    """Files by pattern.

    Attributes:
        paths: id -> path.
        passed_over: files in the same folders that are not meant.
    """

    paths: dict[str, str]
    passed_over: list[PassedOver]


def find(root: str, pattern: Pattern, endings: tuple[str, ...], split: str = "") -> Found:
    """The files of a pattern.

    Args:
        root: what paths are below.
        pattern: of the paths.
        endings: that are read, lower case; of a pattern with an ending only that one is.
        split: what {split} stands for; "" = any.

    Returns:
        What there is; nothing where a folder is missing.

    Raises:
        UsageError: two files have one id, or a folder cannot be listed.
    """
    found, passed_over = {}, []
    for folder in folders_of(root, pattern, _known(split)):
        whole = files.join(root, folder) if folder else root
        try:
            listed = listing.look_through(whole, (pattern.ending,) if pattern.ending else endings, pattern.deep)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise UsageError(f"cannot list {error.filename or whole}: {error.strerror}") from None
        passed_over += listed.passed_over
        for name in listed.paths:
            path = files.join(whole, name)
            key = pattern.id_of(f"{folder}/{name}" if folder else name, split)
            if key is None:
                passed_over.append(PassedOver(path, f"a name other than {pattern.name}"))
            elif key in found:
                raise UsageError(
                    f"{whole}: {files.name_of(found[key])} and {files.name_of(path)} have one id, {key}; remove one of "
                    "them"
                )
            else:
                found[key] = path
    return Found(found, passed_over)


def splits_of(root: str, pattern: Pattern) -> list[str]:
    """What {split} may stand for, by the folders that are there, or by the files where it is part of their names."""
    folders = [folder for folder in folders_of(root, pattern, {}) if files.is_folder(files.join(root, folder))]
    if "{split}" in pattern.parts[-1]:
        folders = [f"{folder}/{name}".lstrip("/") for folder in folders for name in _names(files.join(root, folder))]
    found = (pattern.fields_in(folder, {}) or {} for folder in folders if folder)
    return sorted({fields["split"] for fields in found if "split" in fields})


def folders_of(root: str, pattern: Pattern, known: Mapping[str, str], count: int = -1) -> list[str]:
    """The folders, below a root, in which files of a pattern may lie; those with a fixed name need not be there.

    Args:
        root: what paths are below.
        pattern: of the paths.
        known: fields whose values are given.
        count: how many parts of the pattern they stand for; -1 = all but the last.
    """
    found = [""]
    for depth in range(len(pattern.parts[:count])):
        literal = pattern.literal(depth, known)
        if literal is not None:
            found = [f"{above}/{literal}".lstrip("/") for above in found]
        else:
            found = [path for above in found for path in _fitting(root, above, pattern, known)]
    return found


def _fitting(root: str, above: str, pattern: Pattern, known: Mapping[str, str]) -> Iterator[str]:
    """The folders in one of them that go on as a pattern does."""
    for name in _names(files.join(root, above)):
        path = f"{above}/{name}".lstrip("/")
        if pattern.fields_in(path, known) and files.is_folder(files.join(root, path)):
            yield path


def _names(folder):
    """The names in a folder, without those that systems leave behind; none where it cannot be listed."""
    try:
        return [name for name in files.listing(folder) if not listing.is_left_behind(name)]
    except OSError:
        return []


def _known(split):
    return {"split": split} if split else {}


def instead_of(root: str, pattern: Pattern, split: str = "") -> str:
    """What is there where no file fits a pattern, with a near miss where there is one; the end of a message.

    Args:
        root, pattern, split: as of `find`.
    """
    known, above = _known(split), [""]
    for count in range(1, len(pattern.parts)):
        below = [path for path in folders_of(root, pattern, known, count) if files.is_folder(files.join(root, path))]
        if not below:
            return _told(root, above[0], pattern.literal(count - 1, known) or pattern.parts[count - 1])
        above = below
    names = [name for name in _names(files.join(root, above[0])) if os.path.splitext(name)[1]]
    stem = pattern.text[: len(pattern.text) - len(pattern.ending)]
    for ending in sorted({os.path.splitext(name)[1] for name in names}):
        other = Pattern(stem + ending)
        if any(other.id_of(f"{above[0]}/{name}".lstrip("/"), split) for name in names):
            return f"did you mean {stem}{ending}?"
    return _told(root, above[0], pattern.parts[-1])


def _told(root, folder, wanted):
    names = _names(files.join(root, folder))
    near = difflib.get_close_matches(wanted, names, 1)
    near += [name for name in names if name.casefold() == wanted.casefold()]
    hint = f"; did you mean {near[-1]}?" if near and "{" not in wanted else ""
    there = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "") if names else "nothing"
    return f"instead of {wanted} {files.join(root, folder) if folder else root} has {there}{hint}"
