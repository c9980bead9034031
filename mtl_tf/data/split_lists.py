"""Lists of the samples of a split: text files with an id, a picture, or a picture and its labels a line."""

import os
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mtl_tf.atomic import leads_out
from mtl_tf.data.file_names import Pattern
from mtl_tf.errors import UsageError
from mtl_tf.storage import files, listing
from mtl_tf.storage.listing import PassedOver
from mtl_tf.storage.texts import read_text

HEADING = "# rgb"  # begins a first line that names the columns: "# rgb semseg depth"


def lists(value):
    """an object of text files below data.root by split, such as {"train": "ImageSets/train.txt"}"""
    if not isinstance(value, dict) or not all(isinstance(each, str) and each for each in value.values()):
        raise ValueError
    if any(leads_out(name) for name in (*value, *value.values())):
        raise ValueError
    return dict(value)


class Listed(NamedTuple):
    """The samples that a list names.

    Attributes:
        files: "rgb" and task name -> id -> path.
        passed_over: what is named twice, or is not there.
    """

    files: dict[str, dict[str, str]]
    passed_over: list[PassedOver]


class SplitList:
    """A list, read.

    A line is an id; the path of a picture below the root; or such paths of a picture and its labels, with tabs, commas
    or blanks between them. Lines that begin with # are comments, but for the first where it names the columns. Without
    that the second column is the label of the first task.

    Args:
        path: of the file.
        tasks: the data set's.

    Raises:
        UsageError: it cannot be read, is empty, or names a column that is no task.
    """

    def __init__(self, path: str, tasks: Sequence[str]):
        self.path, self.columns = path, ("rgb", *tasks[:1])
        lines = read_text(path).lstrip("\ufeff").splitlines()
        if lines and lines[0].startswith(HEADING):
            self.columns = tuple(lines[0][1:].split())
            if strange := [name for name in self.columns[1:] if name not in tasks]:
                raise UsageError(
                    f"{path}: line 1 names a column {strange[0]}, which is no task of the data set; its tasks are "
                    f"{', '.join(tasks)}"
                )
        numbered = [(number, line.strip()) for number, line in enumerate(lines, 1)]
        self.lines = [(number, line) for number, line in numbered if line and not line.startswith("#")]
        if not self.lines:
            raise UsageError(f"{path}: no samples in it; expected an id or the path of a picture a line")

    def select(self, root: str, split: str, pattern: Pattern, found: Mapping[str, Mapping[str, str]], lenient: bool):
        """The samples of the list.

        Args:
            root: of the data set.
            split: its name.
            pattern: of pictures.
            found: "rgb" and task name -> id -> path: what there is by patterns.
            lenient: whether a line that names nothing is passed over.

        Raises:
            UsageError: lines name no picture or no label.
        """
        look = _Pictures(root, split, pattern, found["rgb"])
        chosen = {modality: {} for modality in found}
        lost, passed_over = [], []
        for number, line in self.lines:
            names = [line] if look.find(line) else self._names(number, line)
            key, *labels = look.find(names[0]), *map(look.there, names[1:])
            if key is None or None in labels:
                lost.append((number, line if key is None else names[1:][labels.index(None)]))
                continue
            if key in chosen["rgb"]:
                passed_over.append(PassedOver(look.path(key), f"named twice in {self.path}"))
            chosen["rgb"][key] = look.path(key)
            for task, path in zip(self.columns[1:], labels, strict=False):
                chosen.setdefault(task, {})[key] = path
        if lost and not (lenient and chosen["rgb"]):
            number, name = lost[0]
            raise UsageError(
                f"{self.path}: {len(lost)} of its {len(self.lines)} lines name a file that is not there, the first "
                f"{name!r} (line {number}); expected an id of {pattern.text}, or paths below {root}: add the files, "
                "correct the list, or go on without them (--data.skip_bad)"
            )
        passed_over += [PassedOver(name, f"named in {self.path}, but not there") for _, name in lost]
        for task, paths in found.items():
            for key, path in paths.items():
                if key in chosen["rgb"]:
                    chosen[task].setdefault(key, path)
        return Listed(chosen, passed_over)

    def _names(self, number, line):
        sign = next((sign for sign in "\t," if sign in line), None)
        names = [name.strip() for name in line.split(sign)]
        if len(names) > len(self.columns):
            raise UsageError(
                f"{self.path}: line {number} has {len(names)} columns, expected {' '.join(self.columns)}; name them in "
                f'the first line of the list, such as "{HEADING} semseg depth"'
            )
        return names


class _Pictures:
    """Finds the pictures that lines name; folders are listed once."""

    def __init__(self, root, split, pattern, images):
        self._root, self._split, self._pattern = root, split, pattern
        self._images = dict(images)
        self._spelt = {unicodedata.normalize("NFC", name): name for name in images}
        self._listed: dict[str, frozenset[str]] = {}

    def path(self, key):
        return self._images[key]

    def find(self, name: str) -> str | None:
        """The id of the picture that a text names: by its id, with or without an ending, or by its path."""
        stem, ending = os.path.splitext(name)
        is_picture = ending.lower() in listing.PICTURES
        by_path = self._pattern.id_of(_below(name), self._split) if is_picture else None
        for key in filter(None, (name, by_path, stem if is_picture else None)):
            known = self._spelt.get(unicodedata.normalize("NFC", key))
            if known is not None:
                return known
        path = self.there(name) if is_picture else None
        if path is None:
            return None
        key = by_path or os.path.splitext(_below(name))[0]
        self._images[key] = path
        self._spelt[unicodedata.normalize("NFC", key)] = key
        return key

    def there(self, name: str) -> str | None:
        """The path of a file below the root; None where it is not there."""
        path = files.join(self._root, _below(name))
        folder, last = files.folder_of(path), files.name_of(path)
        if folder not in self._listed:
            try:
                self._listed[folder] = frozenset(files.listing(folder))
            except OSError:
                self._listed[folder] = frozenset()
        return path if last in self._listed[folder] and not leads_out(_below(name)) else None


def _below(name):
    """A path as it is meant below the root: some lists begin it with / or ./."""
    return name.removeprefix("./").lstrip("/")
