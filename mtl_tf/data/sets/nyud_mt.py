"""NYUD-MT: four tasks of NYU Depth v2 (Maninis et al., CVPR 2019), in each of the layouts in which it is handed out.

That of Vandenhende et al. (TPAMI 2021), that of ATRC, InvPT and TaskPrompter, and the first, of ASTMT. They have the
same folders and lists; what a label file holds, its ending says.
"""

import dataclasses
import os

import numpy as np

from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.file_names import EVERY
from mtl_tf.data.found_files import find
from mtl_tf.data.samples import FileSource
from mtl_tf.data.sets.data_set import DataSet
from mtl_tf.data.sets.nyuv2 import NYUV2_40
from mtl_tf.data.sets.places import demand_parts, find_place
from mtl_tf.errors import UsageError
from mtl_tf.storage import arrays, codecs, files, matlab, pixels
from mtl_tf.storage.texts import read_text
from mtl_tf.tasks import DepthLabels, EdgeLabels, NormalLabels
from mtl_tf.tasks.classes import IGNORE
from mtl_tf.tasks.reading import class_files, depth_files

_FORTY = NYUV2_40["semseg"]
NYUD_MT = Descriptor(
    name="nyud_mt",
    labels={
        "semseg": dataclasses.replace(
            _FORTY, values=(("0", IGNORE), *((str(stored), name) for stored, name in enumerate(_FORTY.classes, 1)))
        ),
        "depth": DepthLabels("npy", minimum=0.1, maximum=10.0),
        "normals": NormalLabels(codecs.USUAL_AXES, "npy"),
        "edges": EdgeLabels("grey"),
    },
    splits=("train", "val"),
)

# The folder of the pictures and of each task, and the endings of its files.
_FOLDERS = {"rgb": "images", "semseg": "segmentation", "depth": "depth", "normals": "normals", "edges": "edge"}
_ENDINGS = {
    "rgb": (".jpg", ".png"),
    "semseg": (".png", ".mat"),
    "depth": (".npy", ".mat"),
    "normals": (".npy", ".png", ".jpg"),
    "edges": (".npy", ".png"),
}
_LISTS = "gt_sets"
_LAYOUT = f"{_LISTS}/train.txt and the folders {', '.join(_FOLDERS.values())}"
_ARCHIVE = "the archive (NYUD_MT.tgz)"


def open_split(config, split, descriptor) -> FileSource:
    """The samples of a split: id = a line of its list."""
    root = _find(config.data)
    there = _splits_in(root)
    if split not in there:
        raise UsageError(
            f"{root} has no split {split!r} in {_LISTS}; it has {', '.join(there) or 'no list'}: unpack {_ARCHIVE} "
            "again, whole, or name another split"
        )
    folders = {part: _FOLDERS[part] for part in ("rgb", *config.tasks)}
    demand_parts(root, folders, _ARCHIVE)
    names, found, passed_over = _names(root, split), {}, []
    for part, folder in folders.items():
        of_all, passed = find(files.join(root, folder), EVERY, _ENDINGS[part])
        found[part] = {name: of_all[name] for name in names if name in of_all}
        passed_over += passed
    lacking = [name for name in names if name not in found["rgb"]]
    if lacking or not names:
        what = f"names {lacking[0]}, which is not in {_FOLDERS['rgb']} ({len(lacking)} such)" if lacking else "is empty"
        raise UsageError(f"{_list_of(root, split)} {what}; unpack {_ARCHIVE} again, whole, or correct the list")
    where = {task: f"unpack {_ARCHIVE} into {root}" for task in config.tasks}
    return FileSource(descriptor, config.tasks, found, _READERS, config.data.limit, where, passed_over)


def _list_of(root, split):
    return files.join(root, _LISTS, f"{split}.txt")


def _names(root, split):
    """The ids of a split; a line may also name the file of the picture."""
    lines = [line.split()[0] for line in read_text(_list_of(root, split)).splitlines() if line.split()]
    parts = [os.path.splitext(files.name_of(line)) for line in lines]
    return [name if ending.lower() in _ENDINGS["rgb"] else name + ending for name, ending in parts]


def _splits_in(root):
    """The lists that there are, train and val first."""
    folder = files.join(root, _LISTS)
    names = files.listing(folder) if files.is_folder(folder) else []
    found = [name.removesuffix(".txt") for name in names if name.endswith(".txt") and not name.startswith(".")]
    return sorted(found, key=lambda name: ({"train": 0, "val": 1}.get(name, 2), name))


def _holds(folder):
    lists, images, classes = (
        files.is_folder(files.join(folder, name)) for name in (_LISTS, _FOLDERS["rgb"], _FOLDERS["semseg"])
    )
    return (lists and (images or classes)) or (images and classes)


def _find(data):
    return find_place(data, _LAYOUT, _holds, _ARCHIVE, apart=False)


# === Files, by their endings ===


def _read_classes(path, labels):
    """0 = no class, 1 to 40 the classes."""
    if path.lower().endswith(".png"):
        numbers = pixels.read_codes(path, "classes 0..40 as an 8-bit PNG")
    else:
        numbers = matlab.read_map(path, "segmentation")
    return class_files.counted(path, numbers, 1, labels)


def _read_depth(path, labels):
    """Metres."""
    if arrays.is_array(path):
        return depth_files.read_metres(path, labels)
    return depth_files.within_range(matlab.read_map(path, "depth"), labels)


def _read_normals(path, labels):
    """Floats, or colours; those of a JPEG file are not exact."""
    if path.lower().endswith(".jpg"):
        return codecs.decode_directions(pixels.read_rgb(path), labels.axes)
    return dataclasses.replace(labels, encoding="npy" if arrays.is_array(path) else "rgb8").read(path)


def _read_edges(path, labels):
    """Edges are where half of the largest number, 1 or 255, is reached, as the losses of all these papers have it."""
    if not arrays.is_array(path):
        return labels.read(path)
    numbers = arrays.read_numbers(path, "edges as numbers (H, W), 0 to 1, in a .npy file", 1)[..., 0]
    return (numbers >= 0.5).astype(np.uint8)


_READERS = {"semseg": _read_classes, "depth": _read_depth, "normals": _read_normals, "edges": _read_edges}

DATA_SET = DataSet(lambda data: NYUD_MT, lambda data: _splits_in(_find(data)), open_split)
