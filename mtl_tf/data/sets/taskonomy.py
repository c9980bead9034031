"""Taskonomy (Zamir et al., CVPR 2018): rooms of hundreds of buildings with depth, normals and eight other labels."""

import csv
import functools
import re

import numpy as np

from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.samples import FileSource
from mtl_tf.data.sets.colours import voc_colours
from mtl_tf.data.sets.data_set import DataSet
from mtl_tf.data.sets.folder import instead_of
from mtl_tf.data.sets.places import files_in, find_place, folders_in
from mtl_tf.errors import UsageError
from mtl_tf.storage import files
from mtl_tf.storage.pixels import read_label_codes
from mtl_tf.storage.texts import read_text
from mtl_tf.tasks import ClassLabels, DepthLabels, NormalLabels, RegressionLabels

# The files hold 0, which those who use them leave out, and 1..17; the names of the classes stand nowhere.
_CLASSES = tuple(f"class {number}" for number in range(1, 18))
_METRES = DepthLabels("uint16_scaled", scale=1 / 512, minimum=1 / 512, maximum=128.0, invalid=(65535,))
_STRENGTH = RegressionLabels(scale=1 / 65535)

TASKONOMY = Descriptor(
    name="taskonomy",
    labels={
        "semseg": ClassLabels(
            _CLASSES,
            voc_colours(len(_CLASSES)),
            values=(("0", "ignore"), *((str(number), name) for number, name in enumerate(_CLASSES, 1))),
        ),
        "depth": _METRES,
        # As its authors describe those of two later data sets, which they made by the same tools.
        "normals": NormalLabels(axes="right,down,to_camera"),
        "depth_euclidean": _METRES,
        "reshading": RegressionLabels(scale=1 / 255),
        "principal_curvature": RegressionLabels("rgb8", channels=2, scale=1 / 255, offset=-127 / 255),
        "keypoints2d": _STRENGTH,
        "keypoints3d": _STRENGTH,
        "edge_occlusion": _STRENGTH,
        "edge_texture": _STRENGTH,
    },
    splits=("train", "val", "test"),
)

# The folders of tasks that are called otherwise here, as other data sets call them.
_FOLDERS = {"semseg": "segment_semantic", "depth": "depth_zbuffer", "normals": "normal"}
# What is read off the scanned mesh, and means nothing where that has a hole.
_OF_MESH = ("depth", "depth_euclidean", "normals", "reshading", "principal_curvature", "keypoints3d", "edge_occlusion")
_MASK = "mask_valid"

_LAYOUT = "<building>/rgb/point_0_view_0_domain_rgb.png, beside rgb depth_zbuffer, normal, ..."
_ARCHIVE = "the archives of rgb"
_FILE = r"(point_\d+_view_\d+)_domain_\w+[.]png"


def open_split(config, split, descriptor) -> FileSource:
    """The samples of a split: id = <building>_point_P_view_V."""
    root, passed_over = _find(config.data), []
    buildings = _splits_of(root)
    if split not in buildings:
        raise UsageError(
            f"{root} has no split {split!r}; it has {', '.join(buildings) or 'none'}{instead_of(config.data, split)}"
        )
    parts = {"rgb": "rgb"} | {task: _FOLDERS.get(task, task) for task in config.tasks}
    found = {part: _files(root, buildings[split], folder, passed_over) for part, folder in parts.items()}
    if not found["rgb"]:
        raise UsageError(f"{root}: no pictures of split {split!r}; expected {_LAYOUT}; unpack {_ARCHIVE} there")
    masks = _files(root, buildings[split], _MASK)
    readers = {
        task: functools.partial(_read_valid, {path: masks[name] for name, path in found[task].items() if name in masks})
        for task in _OF_MESH
        if masks and task in found
    }
    where = {task: f"unpack the archives of {folder} into {root}" for task, folder in parts.items()}
    return FileSource(descriptor, config.tasks, found, readers, config.data.limit, where, passed_over)


def _files(root, buildings, folder, passed_over=None):
    """Id -> file of one kind of label of some buildings."""
    found = {}
    for building in buildings:
        named = files_in([files.join(root, building, folder)], _FILE, passed_over)
        found |= {f"{building}_{name}": path for name, path in named.items()}
    return found


def _read_valid(mask_of, path, labels):
    """A label in one of the project's own encodings, none where the mask of its picture, 0 or another number, is 0."""
    found = labels.read(path)
    if path not in mask_of:
        return found
    mask = read_label_codes(mask_of[path], "a mask of the valid pixels, 0 or another number")
    if mask.shape != found.shape[:2]:
        raise UsageError(
            f"{mask_of[path]}: {mask.shape[1]}x{mask.shape[0]} pixels, but {files.name_of(path)} is "
            f"{found.shape[1]}x{found.shape[0]}; all files of a sample have one size"
        )
    return np.where((mask != 0).reshape(*mask.shape, *(1 for _ in labels.shape)), found, found.dtype.type(labels.blank))


# === Buildings ===


def _holds(folder):
    """Whether there is a building with pictures in it."""
    return any(_shows(files.join(building, "rgb")) for building in folders_in(folder))


def _shows(folder):
    return files.is_folder(folder) and any(re.fullmatch(_FILE, name) for name in files.listing(folder))


def _find(data):
    return find_place(data, _LAYOUT, _holds, _ARCHIVE, apart=False)


def _splits_of(root):
    """Split -> its buildings, by the list in the folder; without one all are the training split."""
    lists = sorted(files_in([root], r"([^.].*)[.]csv").values())
    there = [files.name_of(folder) for folder in folders_in(root) if files.is_folder(files.join(folder, "rgb"))]
    if not lists:
        return {"train": there}
    if len(lists) > 1:
        raise UsageError(
            f"{root} has {len(lists)} lists of buildings, {', '.join(map(files.name_of, lists))}; keep one"
        )
    found = _listed(lists[0])
    lacking = sorted(set().union(*found.values()) - set(there))
    if lacking:
        raise UsageError(
            f"{lists[0]} names {lacking[0]}, of which {root} has no folder {lacking[0]}/rgb ({len(lacking)} such); "
            "unpack its archives there, or take its line out"
        )
    return found


def _listed(path):
    """The same by a list: a heading with the names of the splits, then a building a line, and 1 for its split."""
    try:
        rows = list(csv.DictReader(read_text(path).splitlines()))
    except csv.Error:
        rows = []
    splits = [name for name in rows[0] if name and name != "id"] if rows else []
    if not splits or any(not row.get("id") or {row[name] for name in splits} - {"0", "1"} for row in rows):
        raise UsageError(
            f"{path}: expected a heading id,train,val,test, then a line for each building with 0 or 1 for each split, "
            "as train_val_test_tiny.csv of Taskonomy has it"
        )
    found = {name: [row["id"] for row in rows if row[name] == "1"] for name in splits}
    return {name: buildings for name, buildings in found.items() if buildings}


DATA_SET = DataSet(lambda data: TASKONOMY, lambda data: list(_splits_of(_find(data))), open_split)
