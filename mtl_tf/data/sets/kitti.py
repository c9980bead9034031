"""KITTI 2015 (Menze and Geiger, CVPR 2015; Alhaija et al., IJCV 2018): 19 classes, and metres from stereo disparity."""

import functools

from mtl_tf.data import cityscapes_ids, stereo
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.samples import FileSource
from mtl_tf.data.sets.data_set import DataSet
from mtl_tf.data.sets.places import files_in, find_place, parts
from mtl_tf.errors import UsageError
from mtl_tf.storage import files
from mtl_tf.tasks import CITYSCAPES_CLASSES, ClassLabels, DepthLabels, NormalLabels

KITTI = Descriptor(
    name="kitti",
    labels={
        "semseg": ClassLabels(tuple(CITYSCAPES_CLASSES), tuple(CITYSCAPES_CLASSES.values())),
        "depth": DepthLabels("disparity", minimum=1.0, maximum=100.0),
        # One of its cameras, where a picture's own is not known.
        "normals": NormalLabels(
            source="depth", intrinsics=(721.5377, 721.5377, 609.5593, 172.854, 1242, 375), fit=(4, 2)
        ),
    },
    splits=("train", "val"),
)

# The benchmarks have no validation split: of the 200 training images, those numbered 0, 5, 10, ... are it.
VAL_EVERY = 5

_LAYOUT = "training/image_2/000000_10.png, beside it semantic, disp_occ_0 and calib_cam_to_cam"
_ARCHIVE = "data_scene_flow.zip or data_semantics.zip"
_SOURCES = {
    "semseg": "data_semantics.zip",
    "depth": "data_scene_flow.zip and data_scene_flow_calib.zip",
}
_CLASSES = cityscapes_ids.table(cityscapes_ids.TRAIN_CLASSES)
_FRAME = r"(\d{6})_10[.]png"  # the frame with labels; _11 is the next one


def open_split(config, split, descriptor) -> FileSource:
    """The samples of a split: id = number of the scene. "test" has pictures only."""
    root, passed_over = _find(config.data), []
    if split not in _splits(config.data):
        raise UsageError(f"{root} has no split {split!r}; it has {', '.join(_splits(config.data))}")
    if split == "test":
        found = {"rgb": _files(root, "testing/image_2", _FRAME, passed_over)}
    else:
        found = {"rgb": _files(root, "training/image_2", _FRAME, passed_over)}
        found["semseg"] = _files(root, "training/semantic", _FRAME, passed_over)
        found["depth"] = _files(root, "training/disp_occ_0", _FRAME, passed_over)
        found["depth"] = found["depth"] or _files(root, "training/disp_noc_0", _FRAME)
        found = {part: _of_split(numbered, split) for part, numbered in found.items()}
    readers = {"semseg": functools.partial(cityscapes_ids.read_classes, _CLASSES)}
    cameras = {}
    if found.get("depth") and "depth" in config.tasks:
        cameras = _files(root, "training/calib_cam_to_cam", r"(\d{6})[.]txt")
        if not cameras:
            raise UsageError(
                f"{root} has disparity, but no training/calib_cam_to_cam, by which it becomes metres: unpack "
                "data_scene_flow_calib.zip there"
            )
        readers["depth"] = stereo.depth_reader(
            found["depth"], cameras, stereo.kitti_camera, _disparity, "data_scene_flow_calib.zip"
        )
    if not found["rgb"]:
        raise UsageError(f"{root}: no pictures of split {split!r}; expected {_LAYOUT}; unpack {_ARCHIVE} there")
    where = {task: f"unpack {archive} into {root}" for task, archive in _SOURCES.items()}
    camera = functools.partial(stereo.camera_of, cameras, stereo.kitti_intrinsics)
    return FileSource(descriptor, config.tasks, found, readers, config.data.limit, where, passed_over, camera)


def _of_split(numbered, split):
    return {name: path for name, path in numbered.items() if (int(name) % VAL_EVERY == 0) == (split == "val")}


def _find(data):
    return find_place(data, _LAYOUT, lambda folder: files.is_folder(files.join(folder, "training/image_2")), _ARCHIVE)


def _splits(data):
    root = _find(data)
    return ["train", "val"] + (["test"] if parts(root, "testing/image_2") else [])


def _files(root, part, pattern, passed_over=None):
    """Id -> file of a folder, which each of the archives may hold a part of."""
    return files_in(parts(root, part), pattern, passed_over)


def _disparity(codes):
    """Pixels, p / 256; code p = 0 is invalid."""
    return codes / 256


DATA_SET = DataSet(lambda data: KITTI, _splits, open_split)
