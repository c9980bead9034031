"""CamVid (Brostow et al., Pattern Recognition Letters 2009) with the usual 11 classes: the original, SegNet's copy."""

import functools
import re

import numpy as np

from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.samples import FileSource
from mtl_tf.data.sets.data_set import DataSet
from mtl_tf.data.sets.places import files_in, find_place, folders_in
from mtl_tf.errors import UsageError
from mtl_tf.storage import files
from mtl_tf.storage.texts import read_colour_names, read_text
from mtl_tf.tasks import ClassLabels
from mtl_tf.tasks.reading import class_files

# Class -> its colour, and its parts among the 32 labels of the original.
_CLASSES = {
    "Sky": ((128, 128, 128), ("Sky",)),
    "Building": ((128, 0, 0), ("Building", "Archway", "Bridge", "Tunnel", "Wall")),
    "Pole": ((192, 192, 128), ("Column_Pole", "TrafficCone")),
    "Road": ((128, 64, 128), ("Road", "LaneMkgsDriv", "LaneMkgsNonDriv")),
    "Pavement": ((0, 0, 192), ("Sidewalk", "ParkingBlock", "RoadShoulder")),
    "Tree": ((128, 128, 0), ("Tree", "VegetationMisc")),
    "SignSymbol": ((192, 128, 128), ("SignSymbol", "Misc_Text", "TrafficLight")),
    "Fence": ((64, 64, 128), ("Fence",)),
    "Car": ((64, 0, 128), ("Car", "SUVPickupTruck", "Truck_Bus", "Train", "OtherMoving")),
    "Pedestrian": ((64, 64, 0), ("Pedestrian", "Child", "CartLuggagePram", "Animal")),
    "Bicyclist": ((0, 128, 192), ("Bicyclist", "MotorcycleScooter")),
}
VOID = "Void"

# The colours of the original's label_colors.txt, which is read instead where it is there.
_COLOURS = {
    (64, 128, 64): "Animal",
    (192, 0, 128): "Archway",
    (0, 128, 192): "Bicyclist",
    (0, 128, 64): "Bridge",
    (128, 0, 0): "Building",
    (64, 0, 128): "Car",
    (64, 0, 192): "CartLuggagePram",
    (192, 128, 64): "Child",
    (192, 192, 128): "Column_Pole",
    (64, 64, 128): "Fence",
    (128, 0, 192): "LaneMkgsDriv",
    (192, 0, 64): "LaneMkgsNonDriv",
    (128, 128, 64): "Misc_Text",
    (192, 0, 192): "MotorcycleScooter",
    (128, 64, 64): "OtherMoving",
    (64, 192, 128): "ParkingBlock",
    (64, 64, 0): "Pedestrian",
    (128, 64, 128): "Road",
    (128, 128, 192): "RoadShoulder",
    (0, 0, 192): "Sidewalk",
    (192, 128, 128): "SignSymbol",
    (128, 128, 128): "Sky",
    (64, 128, 192): "SUVPickupTruck",
    (0, 0, 64): "TrafficCone",
    (0, 64, 64): "TrafficLight",
    (192, 64, 128): "Train",
    (128, 128, 0): "Tree",
    (192, 128, 192): "Truck_Bus",
    (64, 0, 64): "Tunnel",
    (192, 192, 0): "VegetationMisc",
    (0, 0, 0): VOID,
    (64, 192, 0): "Wall",
}

CAMVID = Descriptor(
    name="camvid",
    labels={"semseg": ClassLabels(tuple(_CLASSES), tuple(colour for colour, _ in _CLASSES.values()))},
    splits=("train", "val", "test"),
)

_PICTURES, _LABELS = "701_StillsRaw_full", "LabeledApproved_full"
_LAYOUT = f"{_PICTURES}/*.png and {_LABELS}/*_L.png, or the folders train, trainannot, val, ... of SegNet's copy"
_PNG = r"([^.].*)[.]png"
_ARCHIVE = "701_StillsRaw_full.zip and LabeledApproved_full.zip"


def split_of(name: str) -> str:
    """The official split of a picture: by its sequence and the number of its frame (367, 101 and 233 pictures)."""
    match = re.fullmatch(r"(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)", name)
    if not match:
        return ""
    sequence, frame = match[1], int(match[2])
    if sequence == "0001TP":
        return "train" if frame <= 8520 else "test"
    if sequence == "0016E5":
        return "val" if 7959 <= frame <= 8159 else "train"
    return {"0006R0": "train", "Seq05VD": "test"}[sequence]


def open_split(config, split, descriptor) -> FileSource:
    """The samples of a split: id = name of the picture."""
    root, passed_over = _find(config.data), []
    if split not in CAMVID.splits:
        raise UsageError(f"{root} has no split {split!r}; it has {', '.join(CAMVID.splits)}")
    if files.is_folder(files.join(root, _PICTURES)):
        found, reader = _original(root, split, passed_over)
        where = f"unpack LabeledApproved_full.zip into {files.join(root, _LABELS)}"
    else:
        found = {"rgb": files_in([files.join(root, split)], _PNG, passed_over)}
        found["semseg"] = files_in([files.join(root, f"{split}annot")], _PNG, passed_over)
        reader, where = _read_numbers, f"put the folder {split}annot into {root}"
    if not found["rgb"]:
        raise UsageError(f"{root}: no pictures of split {split!r}; expected {_LAYOUT}; unpack {_ARCHIVE} there")
    return FileSource(
        descriptor, config.tasks, found, {"semseg": reader}, config.data.limit, {"semseg": where}, passed_over
    )


def _original(root, split, passed_over):
    """Files of a split of the original, and the reader of its labels."""
    pictures = files_in([files.join(root, _PICTURES)], _PNG, passed_over)
    listed = _list(root, split)
    if listed is None:
        names = [name for name in pictures if split_of(name) == split]
    else:
        names, path = listed
        lacking = [name for name in names if name not in pictures]
        if lacking:
            raise UsageError(
                f"{path} names {lacking[0]}, which is not in {files.join(root, _PICTURES)} ({len(lacking)} such); "
                "unpack 701_StillsRaw_full.zip again, or correct the list"
            )
    annotated = files_in([files.join(root, _LABELS)], r"([^.].*)_L[.]png", passed_over)
    found = {
        "rgb": {name: pictures[name] for name in names},
        "semseg": {name: annotated[name] for name in names if name in annotated},
    }
    return found, functools.partial(_read_colours, _class_of_colour(root))


def _list(root, split):
    """The names in <split>.txt, and its path; None where the data set has no such lists."""
    there = _listed(root)
    if not there:
        return None
    path = files.join(root, f"{split}.txt")
    if split not in there:
        raise UsageError(f"{path}: no such file, beside {there[0]}.txt; add it, or remove the lists (official split)")
    lines = [line.split()[0] for line in read_text(path).splitlines() if line.split()]
    return [files.name_of(name).removesuffix(".png").removesuffix("_L") for name in lines], path


def _listed(root):
    """The splits of which there is a list, <split>.txt."""
    return [name for name in CAMVID.splits if files.is_file(files.join(root, f"{name}.txt"))]


def _class_of_colour(root):
    """RGB -> class id of the original's 32 colours."""
    path = files.join(root, "label_colors.txt")
    named = read_colour_names(path, name_first=False) if files.is_file(path) else _COLOURS
    ids = {part: number for number, (_, names) in enumerate(_CLASSES.values()) for part in names}
    ids[VOID] = CAMVID["semseg"].ignore
    unknown = next((name for name in named.values() if name not in ids), None)
    if unknown:
        raise UsageError(f"{path}: {unknown} is no label of CamVid; expected {', '.join(sorted(ids))}")
    return {colour: ids[name] for colour, name in named.items()}


def _read_colours(classes, path, _):
    return class_files.read_colours(path, classes, "the 32 colours of CamVid (label_colors.txt)")


def _read_numbers(path, _):
    """Class ids of SegNet's copy: 0..10, 11 = void."""
    return class_files.read_numbers(path, _NUMBERS, "class ids 0..10, or 11 = void")


_NUMBERS = np.full(256, class_files.NO_CLASS, np.int32)
_NUMBERS[:12] = [*range(11), CAMVID["semseg"].ignore]


def _holds(folder):
    there = (files.is_folder(files.join(folder, name)) for name in ("train", "trainannot"))
    return files.is_folder(files.join(folder, _PICTURES)) or all(there)


def _find(data):
    return find_place(data, _LAYOUT, _holds, _ARCHIVE, apart=False)


def _splits(data):
    """Those that are there."""
    root = _find(data)
    if files.is_folder(files.join(root, _PICTURES)):
        found = _listed(root) or {split_of(name) for name in files_in([files.join(root, _PICTURES)], _PNG)}
    else:
        found = {files.name_of(folder) for folder in folders_in(root)}
    return [name for name in CAMVID.splits if name in found]


DATA_SET = DataSet(lambda data: CAMVID, _splits, open_split)
