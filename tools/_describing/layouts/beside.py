"""Labels beside their pictures in one folder: x.jpg and x_mask.png, as Roboflow exports them, or x.png."""

import collections
import csv
import io
import os

from _describing.layouts.layout import Layout, folders_in, in_order, named, with_ending
from mtl_tf.errors import UsageError
from mtl_tf.storage import files
from mtl_tf.storage.texts import read_text

_PICTURES, _LABELS = (".jpg", ".jpeg"), ".png"
_CLASSES = "_classes.csv"  # of Roboflow: "Pixel Value, Class", then a number and a name a line


def suffixes(root: str) -> Layout | None:
    """JPEG pictures with a PNG of their name, or of their name and a suffix, beside each."""
    outside = {name: found for name in folders_in(root) if (found := _suffix(files.join(root, name)))}
    found = _suffix(root) or next(iter(outside.values()), None)
    if not found:
        return None
    ending, suffix = found
    splits = () if _suffix(root) else in_order([name for name, each in outside.items() if each == found])
    place = "{split}/" if splits else ""
    patterns = {"rgb": f"{place}{{id}}{ending}", "semseg": f"{place}{{id}}{suffix}{_LABELS}"}
    lists = [files.join(root, name, _CLASSES) if name else files.join(root, _CLASSES) for name in splits or ("",)]
    lists = [path for path in lists if files.is_file(path)]
    options = {"classes": _classes(lists[0])} if lists else {}
    exported = "Roboflow's export" if lists else "labels beside their pictures"
    title = f"{exported} (*{ending}, *{suffix}{_LABELS}), {named(splits)}"
    return Layout(title, patterns, splits=splits, options=options)


def _suffix(folder):
    """The ending of pictures in a folder, and what the names of their labels add to theirs; None where there are none.

    A suffix is what most of the labels have.
    """
    pictures = with_ending(folder, _PICTURES)
    stems = {os.path.splitext(name)[0] for name in pictures}
    labels = [os.path.splitext(name)[0] for name in with_ending(folder, (_LABELS,))]
    if not pictures or not labels:
        return None
    ends = collections.Counter(
        label[cut:] for label in labels for cut in range(1, len(label) + 1) if label[:cut] in stems
    )
    if not ends:
        return None
    suffix, count = ends.most_common(1)[0]
    ending, _ = collections.Counter(os.path.splitext(name)[1] for name in pictures).most_common(1)[0]
    return (ending, suffix) if 2 * count > len(labels) else None


def _classes(path):
    """The names of the classes in the order of their values, which are 0, 1, 2, ...

    Raises:
        UsageError: a line is no number and a name, or the numbers are others.
    """
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(read_text(path))) if row]
    found = {row[0]: row[1] for row in rows if len(row) == 2 and row[0].isdecimal()}
    if not found or list(found) != [str(value) for value in range(len(found))]:
        raise UsageError(f"{path}: expected the values 0, 1, 2, ... and a name in each line, got {rows[1:4]}")
    return tuple(found.values())
