"""NYU Depth v2 and Cityscapes as NumPy files, reduced, as the authors of MTAN (Liu et al., CVPR 2019) hand them out."""

import dataclasses
import functools

from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.samples import FileSource
from mtl_tf.data.sets.cityscapes import CITYSCAPES, CITYSCAPES7
from mtl_tf.data.sets.data_set import DataSet
from mtl_tf.data.sets.nyuv2 import NYUV2
from mtl_tf.data.sets.places import demand_parts, files_in, find_place, folders_in
from mtl_tf.errors import UsageError
from mtl_tf.storage import arrays, codecs, files
from mtl_tf.tasks import ClassLabels, DepthLabels, NormalLabels
from mtl_tf.tasks.reading import class_files

MTAN_NYUV2 = Descriptor(
    name="mtan_nyuv2",
    labels={
        "semseg": NYUV2["semseg"],
        "depth": DepthLabels("npy", minimum=0.1, maximum=10.0),
        "normals": NormalLabels(codecs.USUAL_AXES, "npy"),
    },
    splits=("train", "val"),
)

MTAN_CITYSCAPES = Descriptor(
    name="mtan_cityscapes",
    labels={
        "semseg": CITYSCAPES7["semseg"],
        "depth": dataclasses.replace(CITYSCAPES7["depth"], encoding="npy"),
        "semseg_19": CITYSCAPES["semseg"],
        "semseg_2": ClassLabels(("background", "foreground"), ((70, 70, 70), (220, 20, 60))),
    },
    splits=("train", "val"),
)

# The folders of each task; a copy has one of them.
_FOLDERS = {
    "rgb": ("image",),
    "semseg": ("label", "label_7"),
    "semseg_19": ("label_19",),
    "semseg_2": ("label_2",),
    "depth": ("depth",),
    "normals": ("normal",),
}
_LAYOUT = "train/image/0.npy, val/image/0.npy, beside image depth and label, or label_7"
_ARCHIVES = {MTAN_NYUV2.name: "nyuv2.zip", MTAN_CITYSCAPES.name: "cityscapes.zip or cityscapes2.zip"}
_EVERY = r"([^.].*)[.]npy"


def open_split(config, split, descriptor) -> FileSource:
    """The samples of a split: id = number of the picture."""
    root, passed_over = _find(config.data), []
    archive = _ARCHIVES[config.data.name]
    there = _splits_in(root)
    if split not in there:
        raise UsageError(f"{root} has no split {split!r}; it has {', '.join(there)}")
    folders = {part: files.join(split, _folder(root, split, part)) for part in ("rgb", *config.tasks)}
    demand_parts(root, folders, archive)
    found = {part: files_in([files.join(root, below)], _EVERY, passed_over) for part, below in folders.items()}
    readers = {task: _read_classes for task in config.tasks if descriptor[task].class_names}
    where = {task: f"unpack {archive} into {root}" for task in config.tasks}
    return FileSource(descriptor, config.tasks, found, readers, config.data.limit, where, passed_over)


def _folder(root, split, part):
    """The folder of a part that a copy has, else the first."""
    there = (name for name in _FOLDERS[part] if files.is_folder(files.join(root, split, name)))
    return next(there, _FOLDERS[part][0])


def _read_classes(path, labels):
    """-1 = no class, 0, 1, ... the classes."""
    numbers = arrays.read_numbers(path, "classes as numbers (H, W) in a .npy file", 1)
    return class_files.counted(path, numbers[..., 0], 0, labels)


def _splits_in(root):
    """The folders with pictures, train and val first."""
    there = [folder for folder in folders_in(root) if files_in([files.join(folder, "image")], _EVERY)]
    return sorted(map(files.name_of, there), key=lambda name: ({"train": 0, "val": 1}.get(name, 2), name))


def _find(data):
    """The root, after a look which of the two copies it is."""
    root, found = data.root, _which(data.root) if data.root else ""
    if found == MTAN_NYUV2.name != data.name:
        raise UsageError(f"--data.root={root} has normals, as the copy of NYUv2 has: --data.name={found}")
    if found == MTAN_CITYSCAPES.name != data.name:
        raise UsageError(
            f"--data.root={root} has no folder train/normal: unpack {_ARCHIVES[data.name]} again, whole; if it is the "
            f"copy of Cityscapes, --data.name={found}"
        )
    return find_place(data, _LAYOUT, lambda folder: _which(folder) == data.name, _ARCHIVES[data.name], apart=False)


def _which(folder):
    """The name of the copy in a folder, of which only that of NYUv2 has normals; "" where there is none."""
    splits = _splits_in(folder)
    normals = any(files.is_folder(files.join(folder, split, "normal")) for split in splits)
    return "" if not splits else MTAN_NYUV2.name if normals else MTAN_CITYSCAPES.name


def _describe(descriptor, data):
    """The descriptor, without the further classes of Cityscapes that a copy has not."""

    def lacks(task):
        places = [files.join(data.root, split, _FOLDERS[task][0]) for split in descriptor.splits]
        return task.startswith("semseg_") and not any(map(files.is_folder, places))

    return descriptor.of([task for task in descriptor.labels if not (data.root and lacks(task))])


def _data_set(descriptor):
    return DataSet(functools.partial(_describe, descriptor), lambda data: _splits_in(_find(data)), open_split)


NYUV2_COPY = _data_set(MTAN_NYUV2)
CITYSCAPES_COPY = _data_set(MTAN_CITYSCAPES)
