"""Which files of a folder and its sub-folders are read, and which are passed over: none without a word."""

import functools
import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from mtl_tf.parsing import parse_json
from mtl_tf.storage import files

# The endings of `pixels.FORMATS`; labels come in those that keep every value.
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm")
LABELS = (".png", ".bmp", ".tif", ".tiff")

NO_IMAGE = "a label without an image"
OF_PREDICTIONS = "predictions are not read again"

# What `predict` writes beside the folders of its files: of which input they are, and their paths.
PREDICTIONS = "predictions.json"

_LEFT_BEHIND = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", PREDICTIONS)

_NOTES = re.compile(
    r"(readme|licen[cs]e|copying|authors|changelog|citation)([ _-]\w+)?([.](txt|md|rst|html|pdf|bib|cff))?"
    r"|(notes?|classes|labels|labelmap|label_colors)[.](txt|md)|_classes[.]csv|dataset[.]json",
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


def is_of_predictions(folder: str) -> bool:
    """Whether a folder is one of those that `predict` has written to: the file beside them names what is in them."""
    note = files.join(files.folder_of(folder), PREDICTIONS)
    return files.is_file(note) and files.name_of(folder) in _predicted_in(note, files.size(note))


@functools.lru_cache(maxsize=16)
def _predicted_in(note, size):
    """The folders that a file of predictions names; it may be large, and is asked for each of its folders."""
    try:
        return {str(path).partition("/")[0] for path in parse_json(files.read(note).decode("utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def look_through(folder: str, endings: tuple[str, ...], deep: bool = True) -> Listing:
    """The files of a folder by their endings (lower case, with the dot; the case of a file's does not matter).

    Args:
        folder: to look through.
        endings: of the files that are read.
        deep: whether folders in it are looked through as well.

    Raises:
        OSError: a folder cannot be listed.
    """
    paths, passed_over, left_behind = [], [], 0
    for path, predicted in _below(folder, endings, "", deep):
        whole = files.join(folder, path)
        why = OF_PREDICTIONS if predicted else why_passed_over(files.name_of(path), endings)
        if why is None:
            left_behind += 1
        elif why:
            passed_over.append(PassedOver(whole, why))
        else:
            paths.append(path)
    return Listing(paths, passed_over, left_behind)


def why_passed_over(name: str, endings: tuple[str, ...]) -> str | None:
    """The reason that a file is not read by its name; "" if it is, None if it is one that nobody expects to be."""
    ending = os.path.splitext(name)[1]
    if ending.lower() in endings and not name.startswith("."):
        return ""
    if is_left_behind(name) or _NOTES.fullmatch(name):
        return None
    return f"{ending} is not read" if ending else "a name without an ending is not read"


def _below(folder, endings, below, deep, above=()):
    """The paths of the files below a folder, sorted, and of folders of predictions; with each whether it is such one.

    Links that lead back to a folder above are not followed.
    """
    here = files.join(folder, below) if below else folder
    above = above if files.is_remote(here) else (*above, os.path.realpath(here))
    for name in files.listing(here):
        path = f"{below}/{name}" if below else name
        whole = files.join(folder, path)
        # A remote file system takes its time to say what is a folder; what has a known ending is none.
        if os.path.splitext(name)[1].lower() in endings or not files.is_folder(whole):
            yield path, False
        elif is_of_predictions(whole):
            yield path, True
        elif deep and not is_left_behind(name) and os.path.realpath(whole) not in above:
            yield from _below(folder, endings, path, deep, above)


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
