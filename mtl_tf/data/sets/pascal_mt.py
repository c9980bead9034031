"""PASCAL for many tasks (Maninis et al., CVPR 2019): classes, parts of people, normals, saliency, edges in one archive.

PASCAL-Context (Mottaghi et al., CVPR 2014) and PASCAL-Part (Chen et al., CVPR 2014), with normals and saliency that
networks have predicted.
"""

import functools
import pathlib
import tomllib

import numpy as np
from scipy import ndimage

from mtl_tf.boundaries import thinned
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.samples import FileSource
from mtl_tf.data.sets.colours import voc_colours
from mtl_tf.data.sets.data_set import DataSet
from mtl_tf.data.sets.nyuv2 import NYUV2_NAMES
from mtl_tf.data.sets.places import demand_parts, files_in, find_place
from mtl_tf.errors import UsageError
from mtl_tf.storage import codecs, files
from mtl_tf.storage.matlab import read_map, read_variables
from mtl_tf.storage.pixels import read_exact_rgb, size_of
from mtl_tf.storage.texts import read_text
from mtl_tf.tasks import ClassLabels, EdgeLabels, NormalLabels, SaliencyLabels

_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)

# Part of a person -> what PASCAL-Part calls it; of what it has on both sides l and r stand before.
_PARTS = {
    "background": (),
    "head": ("hair", "head", "lear", "rear", "lebrow", "rebrow", "leye", "reye", "mouth", "nose"),
    "torso": ("neck", "torso"),
    "upper arms": ("luarm", "ruarm"),
    "lower arms": ("llarm", "rlarm", "lhand", "rhand"),
    "upper legs": ("luleg", "ruleg"),
    "lower legs": ("llleg", "rlleg", "lfoot", "rfoot"),
}
_PART_OF = {name: number for number, names in enumerate(_PARTS.values()) for name in names}
_PERSON = _CLASSES.index("person")

PASCAL_MT = Descriptor(
    name="pascal_mt",
    labels={
        "semseg": ClassLabels(_CLASSES, voc_colours(len(_CLASSES))),
        "parts": ClassLabels(tuple(_PARTS), voc_colours(len(_PARTS))),
        "normals": NormalLabels(axes=codecs.USUAL_AXES),
        "saliency": SaliencyLabels(encoding="grey"),
        "edges": EdgeLabels(),
    },
    splits=("train", "val"),
    # Most pictures show nobody, many none of the classes whose normals count.
    may_be_blank=("parts", "normals"),
)

_CONTEXT = tomllib.loads((pathlib.Path(__file__).parent / "pascal_context.toml").read_text(encoding="utf-8"))["labels"]
# Normals were predicted by a network that was trained on NYU Depth v2: they count where it knows the things.
_KNOWN = {*NYUV2_NAMES, "tvmonitor"} - {"unknown"}
_WITH_NORMALS = [number for number, name in enumerate(_CONTEXT, 1) if name in _KNOWN]

_LISTS, _PICTURES, _MAPS = "ImageSets/Context", "JPEGImages", "pascal-context/trainval"
_LAYOUT = f"{_PICTURES}/*.jpg, {_LISTS}/train.txt, beside them semseg, human_parts, normals_distill, sal_distill, ..."
_ARCHIVE = "PASCAL_MT.tgz"
_FOLDERS = {
    "rgb": ((_PICTURES, "jpg"),),
    "semseg": (("semseg/pascal-context", "png"), ("semseg/VOC12", "png")),  # the latter where both have a file
    "parts": (("human_parts", "mat"),),
    "normals": (("normals_distill", "png"),),
    "saliency": (("sal_distill", "png"),),
    "edges": ((_MAPS, "mat"),),
}


def open_split(config, split, descriptor) -> FileSource:
    """The samples of a split, a list in ImageSets/Context: id = name of the picture."""
    root, passed_over = _find(config.data), []
    names = _listed(root, split)
    _demand_folders(root, config.tasks)
    found = {part: _files(root, _FOLDERS[part], passed_over) for part in ("rgb", *config.tasks)}
    lacking = [name for name in names if name not in found["rgb"]]
    if lacking:
        raise UsageError(
            f"{_list(root, split)} names {lacking[0]}, which is not in {files.join(root, _PICTURES)} ({len(lacking)} "
            f"such); unpack {_ARCHIVE} again, or correct the list"
        )
    found = {part: {name: of[name] for name in names if name in of} for part, of in found.items()}
    picture_of = {path: found["rgb"][name] for name, path in found.get("parts", {}).items()}
    maps = _files(root, _FOLDERS["edges"]) if "normals" in found else {}
    map_of = {path: maps.get(name) for name, path in found.get("normals", {}).items()}
    readers = {
        "parts": functools.partial(_read_parts, picture_of),
        "normals": functools.partial(_read_normals, map_of),
        "edges": _read_edges,
    }
    where = {task: f"unpack {_ARCHIVE} into {root}" for task in config.tasks}
    return FileSource(descriptor, config.tasks, found, readers, config.data.limit, where, passed_over)


def _find(data):
    def holds(folder):
        return files.is_folder(files.join(folder, _PICTURES)) and files.is_folder(files.join(folder, _LISTS))

    return find_place(data, _LAYOUT, holds, _ARCHIVE, apart=False)


def _demand_folders(root, tasks):
    """Raises a UsageError if a folder of the archive that some tasks need is not there."""
    needed = {}
    for task in tasks:
        folders = [folder for folder, _ in _FOLDERS[task]]
        needed[task] = next((folder for folder in folders if files.is_folder(files.join(root, folder))), folders[0])
    demand_parts(root, needed, _ARCHIVE)
    if "normals" in tasks:  # which count where the label maps say so
        demand_parts(root, needed | {"normals": _MAPS}, _ARCHIVE)


def _splits(data):
    """Those of which there is a list, train and val first."""
    there = files_in([files.join(_find(data), _LISTS)], r"([^.].*)[.]txt")
    return sorted(there, key=lambda name: (name not in PASCAL_MT.splits, name))


def _list(root, split):
    return files.join(root, _LISTS, f"{split}.txt")


def _listed(root, split):
    """The names of the pictures of a split."""
    path = _list(root, split)
    if not files.is_file(path):
        raise UsageError(f"{path}: no such list of the pictures of split {split!r}; unpack {_ARCHIVE} again, or add it")
    names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise UsageError(f"{path}: no picture is named; a name a line was expected, such as 2008_000008")
    return names


def _files(root, folders, passed_over=None):
    """Id -> file of some folders, of which the later count where both have one."""
    return functools.reduce(
        lambda found, of: found | files_in([files.join(root, of[0])], rf"([^.].*)[.]{of[1]}", passed_over), folders, {}
    )


# === Labels ===


def _label_map(path):
    """The labels of PASCAL-Context, int32 (H, W): 1..459, 0 = none."""
    labels = read_map(path, "LabelMap")
    if labels.min() < 0 or labels.max() > len(_CONTEXT) or (labels % 1).any():
        raise UsageError(f"{path}: LabelMap should hold 0..{len(_CONTEXT)}, it has {labels.min():g}..{labels.max():g}")
    return labels.astype(np.int32)


def _read_edges(path, _):
    """Thinned: where the Laplacian of the label map (of the four neighbours, mirrored at the border) is not zero."""
    return thinned(ndimage.laplace(_label_map(path), mode="mirror") != 0).astype(np.uint8)


def _read_normals(map_of, path, labels):
    """Those of the classes that count."""
    if map_of[path] is None:
        raise UsageError(
            f"{path}: the normals count on some classes only, and {_MAPS}/{files.name_of(path)[:-4]}.mat, which says "
            f"where these are, is missing; unpack {_ARCHIVE} again"
        )
    normals = codecs.decode_directions(read_exact_rgb(path, labels.expected), labels.axes)
    classes = _label_map(map_of[path])
    if classes.shape != normals.shape[:2]:
        raise UsageError(
            f"{map_of[path]}: LabelMap of {classes.shape[1]}x{classes.shape[0]}, but {files.name_of(path)} is "
            f"{normals.shape[1]}x{normals.shape[0]}; replace one of them"
        )
    return np.where(np.isin(classes, _WITH_NORMALS)[..., None], normals, np.float32(0))


def _read_parts(picture_of, path, labels):
    """The parts of all people, int32 (H, W), the later over the earlier; no class at all where there is none."""
    objects = _objects(path)
    size = objects[0][1].shape if objects else size_of(picture_of[path]) or (1, 1)
    found = np.zeros(size, np.int32)
    for name, mask in (part for kind, _, parts in objects if kind == _PERSON for part in parts):
        if name not in _PART_OF:
            raise UsageError(f"{path}: {name!r} is no part of a person; expected {', '.join(_PART_OF)}")
        if mask.shape != size:
            raise UsageError(f"{path}: masks of {size} and of {mask.shape}; all masks of a file have one size")
        found[mask != 0] = _PART_OF[name]
    return found if found.any() else labels.empty(size)


def _objects(path):
    """Class, mask and parts of each object that PASCAL-Part annotates; parts are names and masks.

    The fields are taken by their places, which is how the public readers know them.
    """
    annotation = read_variables(path).get("anno")
    try:
        ((_, objects, *_),) = (each.values() for each in annotation)
        found = []
        for _, kind, mask, parts, *_ in (each.values() for each in _structs(objects)):
            named = [tuple(each.values())[:2] for each in _structs(parts)]
            if not all(isinstance(name, str) and part.ndim == 2 for name, part in named) or mask.ndim != 2:
                raise ValueError
            found.append((int(kind.item()), mask, named))
        return found
    except (TypeError, ValueError, AttributeError, OverflowError):
        expected = "a struct anno of objects with their masks and parts, as PASCAL-Part has it"
        raise UsageError(f"{path}: expected {expected}; replace it") from None


def _structs(value):
    """The structs of an array; none where an empty array of numbers stands for one."""
    if isinstance(value, np.ndarray) and not value.size:
        return []
    if not isinstance(value, list):
        raise ValueError
    return value


DATA_SET = DataSet(lambda data: PASCAL_MT, _splits, open_split)
