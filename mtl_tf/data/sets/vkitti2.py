"""Virtual KITTI 2 (Cabon et al., 2020): rendered drives with 14 classes and exact depth, as it is downloaded."""

import functools
import itertools

from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.samples import FileSource
from mtl_tf.data.sets.data_set import DataSet
from mtl_tf.data.sets.places import files_in, find_place, folders_in
from mtl_tf.errors import UsageError
from mtl_tf.storage import files
from mtl_tf.storage.texts import read_colour_names
from mtl_tf.tasks import ClassLabels, DepthLabels, InstanceLabels, NormalLabels
from mtl_tf.tasks.reading import class_files

CLASSES = {
    "Terrain": (210, 0, 200),
    "Sky": (90, 200, 255),
    "Tree": (0, 199, 0),
    "Vegetation": (90, 240, 0),
    "Building": (140, 140, 140),
    "Road": (100, 60, 100),
    "GuardRail": (250, 100, 255),
    "TrafficSign": (255, 255, 0),
    "TrafficLight": (200, 200, 0),
    "Pole": (255, 130, 0),
    "Misc": (80, 80, 80),
    "Truck": (160, 60, 60),
    "Car": (255, 127, 80),
    "Van": (0, 139, 139),
}
UNDEFINED = "Undefined"  # black, without a class

VKITTI2 = Descriptor(
    name="vkitti2",
    labels={
        "semseg": ClassLabels(tuple(CLASSES), tuple(CLASSES.values())),
        "depth": DepthLabels("uint16_scaled", scale=0.01, minimum=1.0, maximum=300.0),
        # As the authors give them, of both cameras.
        "normals": NormalLabels(source="depth", intrinsics=(725.0087, 725.0087, 620.5, 187, 1242, 375), fit=(3, 1)),
        "instances": InstanceLabels(things=("Truck", "Car", "Van")),  # number of the track + 1; no other class has any
    },
    splits=("train", "val"),
)

# There is no official split; whole drives are held back, so that validation does not show the streets of training.
SCENES = {"train": ("Scene01", "Scene02", "Scene06", "Scene20"), "val": ("Scene18",)}
VARIATIONS = (
    "15-deg-left",
    "15-deg-right",
    "30-deg-left",
    "30-deg-right",
    "clone",
    "fog",
    "morning",
    "overcast",
    "rain",
    "sunset",
)

_LAYOUT = "SceneXX/<variation>/frames/rgb/Camera_0/rgb_00000.jpg, beside rgb depth and classSegmentation"
_FOLDERS = {
    "rgb": ("rgb", r"rgb_(\d{5})[.]jpg"),
    "semseg": ("classSegmentation", r"classgt_(\d{5})[.]png"),
    "depth": ("depth", r"depth_(\d{5})[.]png"),
    "instances": ("instanceSegmentation", r"instancegt_(\d{5})[.]png"),
}
_SOURCES = {
    "semseg": "vkitti_2.0.3_classSegmentation.tar",
    "depth": "vkitti_2.0.3_depth.tar",
    "instances": "vkitti_2.0.3_instanceSegmentation.tar",
}


def open_split(config, split, descriptor) -> FileSource:
    """The samples of a split: id = <scene>_<variation>_<camera>_<frame>.

    Args:
        config: the configuration.
        split: "train" or "val" (the variation clone, left camera), "<either>_<variation>" (left camera) or
            "<either>_all" (every variation, both cameras).
        descriptor: of the data set.
    """
    root, passed_over = _find(config.data), []
    scenes, variations, cameras = _parse(root, split)
    homes = _homes(root)
    found = {part: {} for part in ("rgb", *config.tasks)}
    colours_of = {}
    for scene, variation in itertools.product(scenes, variations):
        drive = f"{scene}/{variation}"
        for part, camera in itertools.product(found, cameras):
            numbered = _files(homes, drive, camera, *_FOLDERS[part], passed_over)
            found[part] |= {f"{scene}_{variation}_{camera}_{name}": path for name, path in numbered.items()}
            if part == "semseg" and numbered:
                colours_of |= dict.fromkeys(numbered.values(), _colours(homes, drive))
    if not found["rgb"]:
        raise UsageError(
            f"{root}: no pictures of split {split!r} ({', '.join(scenes)}; {', '.join(variations)}); expected "
            f"{_LAYOUT}; unpack vkitti_2.0.3_rgb.tar there"
        )
    readers = {"semseg": functools.partial(_read_semseg, colours_of)}
    where = {task: f"unpack {archive} into {root}" for task, archive in _SOURCES.items()}
    return FileSource(descriptor, config.tasks, found, readers, config.data.limit, where, passed_over)


def _parse(root, split):
    """Scenes, variations and cameras of a split's name."""
    base, _, variation = split.partition("_")
    if base not in SCENES or (variation and variation not in (*VARIATIONS, "all")):
        raise UsageError(
            f"{root} has no split {split!r}; it has train and val (clone, left camera), train_NAME and val_NAME of "
            f"the variations {', '.join(VARIATIONS)}, and train_all and val_all (every variation, both cameras)"
        )
    if variation == "all":
        return SCENES[base], VARIATIONS, ("Camera_0", "Camera_1")
    return SCENES[base], (variation or "clone",), ("Camera_0",)


def _holds(folder, splits=tuple(SCENES)):
    return any(files.is_folder(files.join(folder, scene)) for split in splits for scene in SCENES[split])


def _find(data):
    return find_place(data, _LAYOUT, _holds, "vkitti_2.0.3_rgb.tar")


def _homes(root):
    """The folders with the scenes: an archive each, or all in one."""
    return [folder for folder in (root, *folders_in(root)) if _holds(folder)]


def _splits(data):
    """Those that most people mean, where a drive of theirs is there; the others are asked for by name."""
    homes = _homes(_find(data))
    return [split for split in SCENES if any(_holds(home, (split,)) for home in homes)]


def _files(homes, drive, camera, folder, pattern, passed_over):
    """Number -> file of one camera in one of the archives."""
    return files_in((files.join(home, drive, "frames", folder, camera) for home in homes), pattern, passed_over)


def _colours(homes, drive):
    """RGB -> class id of a drive: those of its colors.txt (vkitti_2.0.3_textgt.tar.gz), else the usual ones."""
    ids = {name: number for number, name in enumerate(CLASSES)} | {UNDEFINED: VKITTI2["semseg"].ignore}
    black = {(0, 0, 0): VKITTI2["semseg"].ignore}
    found = black | {colour: ids[name] for name, colour in CLASSES.items()}
    for home in homes:
        path = files.join(home, drive, "colors.txt")
        if files.is_file(path):
            named = read_colour_names(path, name_first=True)
            unknown = next((name for name in named.values() if name not in ids), None)
            if unknown:
                raise UsageError(f"{path}: {unknown} is no class of Virtual KITTI 2; expected {', '.join(ids)}")
            found = black | {colour: ids[name] for colour, name in named.items()}
    return found


def _read_semseg(colours_of, path, _):
    return class_files.read_colours(path, colours_of[path], "the class colours of Virtual KITTI 2 (colors.txt)")


DATA_SET = DataSet(lambda data: VKITTI2, _splits, open_split)
