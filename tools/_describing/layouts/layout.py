"""What a recogniser finds out about a folder, and what all of them look at."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mtl_tf.storage import files, listing, maps

_SPLITS = ("train", "training", "trainval", "val", "valid", "validation", "dev", "test", "testing")
_FILES = (*listing.PICTURES, *maps.ENDINGS, ".txt", ".json", ".xml", ".csv")


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a folder is laid out.

    Attributes:
        title: what it is called; "" = the project's own layout.
        file_names, split_lists: as in dataset.json.
        splits: the names of the splits.
        written: lists that have to be written: path below the root -> text.
        options: answers that follow from the layout, by option.
        notes: lines for people.
    """

    title: str = ""
    file_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    split_lists: Mapping[str, str] = dataclasses.field(default_factory=dict)
    splits: Sequence[str] = ()
    written: Mapping[str, str] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()


def names_in(folder: str) -> list[str]:
    """The names in a folder, without those that systems leave behind; none where it cannot be listed."""
    try:
        return [name for name in files.listing(folder) if not listing.is_left_behind(name)]
    except OSError:
        return []


def folders_in(folder: str) -> list[str]:
    """The names of the folders in a folder."""
    names = [name for name in names_in(folder) if not name.lower().endswith(_FILES)]  # looking at each takes its time
    return [name for name in names if files.is_folder(files.join(folder, name))]


def with_ending(folder: str, endings: Sequence[str]) -> list[str]:
    """The names in a folder with one of some endings, lower case."""
    return [name for name in names_in(folder) if name.lower().endswith(tuple(endings)) and not name.startswith(".")]


def is_split(name: str) -> bool:
    """Whether a folder is called as a split: train, Validation, val2017."""
    return _word(name) in _SPLITS


def in_order(splits: Sequence[str]) -> tuple[str, ...]:
    """Splits, those to train on first."""
    known = {name: place for place, name in enumerate(_SPLITS)}
    return tuple(sorted(splits, key=lambda name: (known.get(_word(name), len(known)), name)))


def _word(name):
    return name.casefold().rstrip("0123456789_")


def named(splits: Sequence[str]) -> str:
    """The splits in words."""
    return f"splits {', '.join(splits)}" if splits else "no splits"
