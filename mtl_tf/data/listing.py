"""Which files of a folder and its sub-folders are read, and which are passed over: none without a word."""

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from mtl_tf.data import files

# The endings of `pixels.FORMATS`; labels come in those that keep every value.
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm")
LABELS = (".png", ".bmp", ".tif", ".tiff")

NO_IMAGE = "a label without an image"

_LEFT_BEHIND = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir")
_NOTES = re.compile(
    r"(readme|licen[cs]e|copying|authors|changelog|citation|notes?|classes|labels?|labelmap|label_colors)"
    r"([ ._-].*)?([.](txt|md|rst|html|pdf))?",
    re.IGNORECASE,
)


class PassedOver(NamedTuple):
    """A file that is not read.

    Attributes:
        path: of the file.
        reason: why, in words that stand for several files, too.
    """

    path: str
    reason: str


class Listing(NamedTuple):
    """The files of a folder.

    Attributes:
        paths: those that are read, below the folder, sub-folders included.
        passed_over: those that are not.
        left_behind: the number of files that systems leave behind, and of notes to people; they are not named.
    """

    paths: list[str]
    passed_over: list[PassedOver]
    left_behind: int


def is_left_behind(name: str) -> bool:
    """Whether a file or folder is one that systems leave behind: hidden ones, Thumbs.db, desktop.ini, ..."""
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def look_through(folder: str, endings: tuple[str, ...]) -> Listing:
    """The files of a folder by their endings (lower case, with the dot; the case of a file's does not matter).

    Raises:
        OSError: a folder cannot be listed.
    """
    found = Listing([], [], 0)
    left_behind = 0
    for path in _below(folder, endings, ""):
        name = files.name_of(path)
        ending = os.path.splitext(name)[1].lower()
        if ending in endings and not name.startswith("."):
            found.paths.append(path)
        elif is_left_behind(name) or _NOTES.fullmatch(name):
            left_behind += 1
        else:
            found.passed_over.append(PassedOver(files.join(folder, path), not_read(name)))
    return found._replace(left_behind=left_behind)


def not_read(name: str) -> str:
    """The reason that a file is passed over for its ending."""
    ending = os.path.splitext(name)[1]
    return f"{ending} is not read" if ending else "a name without an ending is not read"


def _below(folder, endings, below, above=()):
    """The paths of the files below a folder, sorted; links that lead back to a folder above are not followed."""
    here = files.join(folder, below) if below else folder
    above = above if files.is_remote(here) else (*above, os.path.realpath(here))
    for name in files.listing(here):
        path = f"{below}/{name}" if below else name
        # A remote file system takes its time to say what is a folder; what has a known ending is none.
        if os.path.splitext(name)[1].lower() in endings or not files.is_folder(files.join(folder, path)):
            yield path
        elif not is_left_behind(name) and os.path.realpath(files.join(folder, path)) not in above:
            yield from _below(folder, endings, path, above)


def told(passed_over: Iterable[PassedOver]) -> str:
    """How many files are passed over, and for each reason how many, with an example; "" where there are none."""
    by_reason: dict[str, list[str]] = {}
    for path, reason in passed_over:
        by_reason.setdefault(reason, []).append(path)
    count = sum(map(len, by_reason.values()))
    reasons = "; ".join(
        f"{reason} ({paths[0] if len(paths) == 1 else f'{len(paths)}, for example {paths[0]}'})"
        for reason, paths in by_reason.items()
    )
    return f"{count} {'file' if count == 1 else 'files'} passed over: {reasons}" if count else ""


def told_of(source, split: str) -> str:
    """The same of a source of samples, with the name of its split."""
    found = told(source.passed_over)
    return f"{split}: {found}" if found else ""


def labels_of(source) -> str:
    """The number of labels of each task, as text: "8 semseg, 3 depth labels"."""
    return ", ".join(f"{count} {task}" for task, count in source.labelled.items()) + " labels"
