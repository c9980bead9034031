"""Cityscapes (Cordts et al., CVPR 2016) as it is downloaded: 19 classes, metres, parts; or 7 classes, disparity."""

import functools
import itertools

import numpy as np

from mtl_tf.data import cityscapes_ids, stereo
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.samples import FileSource
from mtl_tf.data.sets.colours import voc_colours
from mtl_tf.data.sets.data_set import DataSet
from mtl_tf.data.sets.places import files_in, find_place, folders_in, parts
from mtl_tf.errors import UsageError
from mtl_tf.storage import files
from mtl_tf.tasks import (
    CITYSCAPES_CLASSES,
    CITYSCAPES_THINGS,
    ClassLabels,
    DepthLabels,
    InstanceLabels,
    NormalLabels,
)
from mtl_tf.tasks.reading.depth_files import within_range

_PARTS = ("no part", *itertools.chain(*cityscapes_ids.PARTS.values()))

CITYSCAPES = Descriptor(
    name="cityscapes",
    labels={
        "semseg": ClassLabels(tuple(CITYSCAPES_CLASSES), tuple(CITYSCAPES_CLASSES.values())),
        "depth": DepthLabels("disparity", minimum=3.0, maximum=300.0),
        "parts": ClassLabels(_PARTS, voc_colours(len(_PARTS))),
        # One of its cameras, where a picture's own is not known.
        "normals": NormalLabels(
            source="depth", intrinsics=(2262.52, 2265.3017905988554, 1096.98, 513.137, 2048, 1024), fit=(4, 2)
        ),
        "instances": InstanceLabels("class_1000", things=CITYSCAPES_THINGS),
    },
    splits=("train", "val"),
)

# The protocol of the multi-task papers (Liu et al., CVPR 2019, and after it).
CITYSCAPES7 = Descriptor(
    name="cityscapes7",
    labels={
        "semseg": ClassLabels(
            tuple(cityscapes_ids.CATEGORIES),
            tuple(CITYSCAPES_CLASSES[n] for n in ("road", "building", "pole", "vegetation", "sky", "person", "car")),
        ),
        # 1e-5 lies below the smallest code, 1 / 65535.
        "depth": DepthLabels("disparity", "normalised_disparity", minimum=1e-5, maximum=1.0),
        "instances": InstanceLabels("class_1000", things=("human", "vehicle")),
    },
    splits=("train", "val"),
)

_LAYOUT = "leftImg8bit/<split>/<city>/*_leftImg8bit.png, beside it gtFine, disparity and camera"
_ARCHIVE = "leftImg8bit_trainvaltest.zip"
_SOURCES = {
    "semseg": "gtFine_trainvaltest.zip",
    "depth": "disparity_trainvaltest.zip (in metres also camera_trainvaltest.zip)",
    "parts": "gtFinePanopticParts_trainval.zip",
    "instances": "gtFine_trainvaltest.zip",
}


def open_split(groups, config, split, descriptor) -> FileSource:
    """The samples of a split: id = <city>_<sequence>_<frame>.

    Args:
        groups: the label ids of each class.
        config: the configuration.
        split: a folder in leftImg8bit.
        descriptor: of the data set.
    """
    root, passed_over = _find(config.data), []
    there = _splits_in(root)
    if split not in there:
        raise UsageError(f"{root} has no split {split!r} in leftImg8bit; it has {', '.join(there) or 'none'}")
    found = {"rgb": _files(root, "leftImg8bit", split, "leftImg8bit.png", passed_over)}
    if not found["rgb"]:
        raise UsageError(f"{root}: no pictures of split {split!r}; expected {_LAYOUT}; unpack {_ARCHIVE} there")
    for task, suffix in (("semseg", "gtFine_labelIds.png"), ("instances", "gtFine_instanceIds.png")):
        if task in config.tasks and split != "test":  # whose labels are withheld: the files are blank
            found[task] = _files(root, "gtFine", split, suffix, passed_over)
    if "depth" in config.tasks:
        found["depth"] = _files(root, "disparity", split, "disparity.png", passed_over)
    if "parts" in config.tasks:
        found["parts"] = _files(root, "gtFinePanopticParts", split, "gtFinePanopticParts.tif", passed_over)
    table = cityscapes_ids.table(groups)
    readers = {
        "semseg": functools.partial(cityscapes_ids.read_classes, table),
        "depth": _read_normalised,
        "parts": cityscapes_ids.read_parts,
        "instances": cityscapes_ids.read_instances,
    }
    cameras = {}
    if found.get("depth") and descriptor["depth"].unit == "metres":
        cameras = _files(root, "camera", split, "camera.json")
        if not cameras:
            raise UsageError(
                f"{root} has disparity/{split}, but no camera/{split}, by which it becomes metres: unpack "
                "camera_trainvaltest.zip there"
            )
        readers["depth"] = stereo.depth_reader(
            found["depth"], cameras, stereo.cityscapes_camera, _disparity, "camera_trainvaltest.zip"
        )
    where = {task: f"unpack {archive} into {root}" for task, archive in _SOURCES.items()}
    camera = functools.partial(stereo.camera_of, cameras, stereo.cityscapes_intrinsics)
    return FileSource(descriptor, config.tasks, found, readers, config.data.limit, where, passed_over, camera)


def _splits_in(root):
    """The names of the splits, train and val first."""
    names = {files.name_of(split) for part in parts(root, "leftImg8bit") for split in folders_in(part)}
    return sorted(names, key=lambda name: ({"train": 0, "val": 1}.get(name, 2), name))


def _files(root, part, split, suffix, passed_over=None):
    """Id -> file of a split in one of the archives."""
    cities = [city for folder in parts(root, f"{part}/{split}") for city in folders_in(folder)]
    return files_in(cities, f"([^.].*)_{suffix.replace('.', '[.]')}", passed_over)


def _read_normalised(path, labels):
    """Normalised disparity: the 16-bit code over 65535; 0 = invalid."""
    return within_range((stereo.read_codes(path) / 65535).astype(np.float32), labels)


def _disparity(codes):
    """Pixels, (p - 1) / 256; code p = 0 is invalid, p = 1 infinitely far."""
    return (codes - 1) / 256


def _find(data):
    return find_place(data, _LAYOUT, lambda folder: files.is_folder(files.join(folder, "leftImg8bit")), _ARCHIVE)


def _data_set(descriptor, groups):
    return DataSet(lambda data: descriptor, lambda data: _splits_in(_find(data)), functools.partial(open_split, groups))


DATA_SET = _data_set(CITYSCAPES, cityscapes_ids.TRAIN_CLASSES)
DATA_SET_7 = _data_set(CITYSCAPES7, cityscapes_ids.CATEGORIES.values())
