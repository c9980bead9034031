"""Where the official archives of a data set were unpacked: guesses the folder that was meant, lists files by name."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from mtl_tf.config import DataConfig
from mtl_tf.data.sets.roots import find_root, parent_of, shown
from mtl_tf.errors import UsageError
from mtl_tf.storage import files, listing
from mtl_tf.storage.listing import PassedOver

_LEVELS_UP, _FOLDERS_DOWN = 6, 200


def find_place(data: DataConfig, layout: str, holds: Callable[[str], bool], archive: str, apart: bool = True) -> str:
    """The folder that data.root names, after a look whether the data set is in it.

    Args:
        data: the options.
        layout: what is expected in it, for the message.
        holds: whether a folder holds the pictures of the data set.
        archive: what to fetch if it is nowhere, for the message.
        apart: the archives may also lie side by side, each in a folder of its own.

    Raises:
        UsageError: it is not given, not there or not of this kind; guesses the folder that was meant.
    """

    def fits(folder):
        return holds(folder) or (apart and any(map(holds, folders_in(folder))))

    root = find_root(data, layout)
    if fits(root):
        return root
    below = folders_in(root)[:_FOLDERS_DOWN]
    guesses = [folder for folder in _above(root) if holds(folder)] + [folder for folder in below if fits(folder)]
    if not guesses:
        guesses = [folder for child in below for folder in folders_in(child)[:_FOLDERS_DOWN] if fits(folder)]
    if guesses:
        raise UsageError(f"--data.root={root}: expected {layout}; did you mean --data.root={guesses[0]}?")
    raise UsageError(f"--data.root={root}: expected {layout}; it has {shown(root)}: unpack {archive} there")


def demand_parts(root: str, parts: Mapping[str, str], archive: str) -> None:
    """Raises a UsageError if a folder of an archive is not there.

    Args:
        root: the folder of the data set.
        parts: "rgb" and the tasks that are read -> folder, below the root.
        archive: that has them all, for the message.
    """
    for part, folder in parts.items():
        if not files.is_folder(files.join(root, folder)):
            others = ",".join(name for name in parts if name not in ("rgb", part))
            without = f", or leave {part} out (--tasks={others})" if part != "rgb" and others else ""
            raise UsageError(f"{root} has no folder {folder}: unpack {archive} again, whole{without}")


def _above(root: str) -> Iterator[str]:
    """The folders above a folder, the nearest first."""
    folder = root
    for _ in range(_LEVELS_UP):
        above = parent_of(folder)
        if above == folder or not above or above.endswith(":/"):
            return
        folder = above
        yield folder


def folders_in(folder: str) -> list[str]:
    """The paths of the folders in a folder, sorted; none where it is not to be listed."""
    try:
        names = files.listing(folder)
    except OSError:
        return []
    return [path for name in names if files.is_folder(path := files.join(folder, name))]


def parts(root: str, name: str) -> list[str]:
    """The folders of that name in a folder and in the folders in it: archives unpacked in one or side by side."""
    found = [files.join(folder, name) for folder in (root, *folders_in(root))]
    return [path for path in found if files.is_folder(path)]


def files_in(folders: Iterable[str], pattern: str, passed_over: list[PassedOver] | None = None) -> dict[str, str]:
    """Id -> path of the files of some folders whose whole name matches; a folder that is not there has none.

    Args:
        folders: to list; where two have the same id, the later counts.
        pattern: regular expression; its first group is the id, and its last six characters are the ending, "[.]png".
        passed_over: gets the files whose name would match, had it that ending.

    Raises:
        UsageError: a folder cannot be listed.
    """
    found = {}
    for folder in folders:
        try:
            names = files.listing(folder)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise UsageError(f"cannot list {folder}: {error.strerror or error}") from None
        matches = {name: re.fullmatch(pattern, name) for name in names}
        found |= {match[1]: files.join(folder, name) for name, match in matches.items() if match}
        if passed_over is not None:
            ending = pattern[-3:]
            strange = [name for name, match in matches.items() if not match and name.rpartition(".")[2] != ending]
            passed_over += [
                PassedOver(files.join(folder, name), listing.why_passed_over(name, ()) or "")
                for name in strange
                if re.fullmatch(pattern, f"{os.path.splitext(name)[0]}.{ending}")
            ]
    return found
