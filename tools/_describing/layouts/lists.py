"""Pascal VOC (Everingham et al., IJCV 2010), and what exports have the same folders, as CVAT's segmentation masks."""

import os
import re

from _describing.layouts.layout import Layout, in_order, with_ending
from mtl_tf.data.sets.pascal_mt import PASCAL_MT
from mtl_tf.storage import files
from mtl_tf.storage.texts import read_text

_PICTURES, _CLASSES, _LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
_OFFICIAL = re.compile(r"20\d\d_\d{6}")  # the year and number of a picture


def voc(root: str) -> Layout | None:
    """The folders JPEGImages and SegmentationClass, with the lists of ImageSets where they are there."""
    if not all(files.is_folder(files.join(root, name)) for name in (_PICTURES, _CLASSES)):
        return None
    pictures = with_ending(files.join(root, _PICTURES), (".jpg", ".jpeg", ".png"))
    endings = {os.path.splitext(name)[1] for name in pictures}
    ending = endings.pop() if len(endings) == 1 else ""
    stems = {os.path.splitext(name)[0] for name in pictures}
    lists, notes = {}, []
    for name in with_ending(files.join(root, _LISTS), (".txt",)):
        path = f"{_LISTS}/{name}"
        lines = read_text(files.join(root, path)).split("\n")
        first = next((line.split()[0] for line in lines if line.strip()), "")
        if os.path.splitext(files.name_of(first))[0] in stems or files.name_of(first) in stems:
            lists[os.path.splitext(name)[0]] = path
        else:
            notes.append(f"{path} is left out: it names {first or 'nothing'}, which is not in {_PICTURES}")
    names = {"rgb": f"{_PICTURES}/{{id}}{ending}", "semseg": f"{_CLASSES}/{{id}}.png"}
    official = stems and all(map(_OFFICIAL.fullmatch, stems))
    options = {"classes": PASCAL_MT["semseg"].classes, "ignore": 255} if official else {}
    return Layout("Pascal VOC", names, lists, in_order(list(lists)), options=options, notes=notes)
