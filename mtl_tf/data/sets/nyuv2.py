"""NYU Depth v2 (Silberman et al., ECCV 2012) with 13 or 40 classes, prepared in the project's layout."""

import dataclasses
import pathlib
import re
import tomllib
from collections.abc import Sequence

import numpy as np

from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.sets.folder import laid_out
from mtl_tf.errors import UsageError
from mtl_tf.tasks import ClassLabels, DepthLabels, InstanceLabels, NormalLabels

_NYU_CLASSES = {
    "bed": (119, 11, 132),
    "books": (196, 156, 148),
    "ceiling": (199, 199, 199),
    "chair": (44, 160, 44),
    "floor": (148, 103, 79),
    "furniture": (255, 187, 120),
    "objects": (214, 39, 40),
    "picture": (227, 119, 194),
    "sofa": (0, 0, 142),
    "table": (188, 189, 34),
    "tv": (23, 190, 207),
    "wall": (174, 199, 232),
    "window": (31, 119, 180),
}

_STUFF = ("wall", "floor", "ceiling")  # all other classes can be counted


def _instances(classes):
    return InstanceLabels(ignore=65535, things=tuple(name for name in classes if name not in _STUFF))


# Statistics of the first 700 of the 795 official training pictures.
NYUV2 = Descriptor(
    name="nyuv2",
    labels={
        "semseg": ClassLabels(
            tuple(_NYU_CLASSES),
            tuple(_NYU_CLASSES.values()),
            frequency=(
                *(0.051326, 0.0076708, 0.018494, 0.03447, 0.11827, 0.19727, 0.11567),
                *(0.023395, 0.025971, 0.034054, 0.0069738, 0.309, 0.057433),
            ),
            frequency_where_present=(
                *(0.17026, 0.032604, 0.054682, 0.062303, 0.10814, 0.17451, 0.095784),
                *(0.035954, 0.11775, 0.060348, 0.055794, 0.24578, 0.095553),
            ),
        ),
        "depth": DepthLabels(
            "uint16_scaled",
            scale=0.001,
            minimum=0.1,
            maximum=10.0,
            mean=2.798,
            std=1.402,
            log_mean=0.914,
            log_std=0.479,
        ),
        # The Kinect of the data set's authors; labelled pictures are 640x480. Some copies have depth in steps of 39 mm.
        "normals": NormalLabels(
            source="depth", intrinsics=(518.8579, 519.4696, 325.5824, 253.7362, 640, 480), fit=(4, 3)
        ),
        "instances": _instances(_NYU_CLASSES),
    },
    rgb_mean=(123.96, 106.56, 101.62),
    rgb_std=(73.03, 74.69, 78.01),
    splits=("train", "val"),
)

DATA_SET = laid_out(NYUV2)


# === From the 894 official labels ===

_FORTY = tomllib.loads((pathlib.Path(__file__).parent / "nyuv2_classes.toml").read_text(encoding="utf-8"))
NYUV2_NAMES = frozenset(name for entry in _FORTY.values() for name in entry["names"])

NYUV2_40 = dataclasses.replace(NYUV2, name="nyuv2_40").with_labels(
    semseg=ClassLabels(tuple(_FORTY), tuple(tuple(entry["colour"]) for entry in _FORTY.values())),
    instances=_instances(_FORTY),
)


def train_ids(names: Sequence[str], classes: int, otherprop_as_objects: bool = False) -> np.ndarray:
    """The train id of every official label id: uint8 (1 + len(names),); 255 for label 0 (unlabelled) and the ignored.

    Args:
        names: of the labels 1, 2, ..., as the official file lists them.
        classes: 40 (Gupta et al., CVPR 2013) or 13 (Couprie et al., ICLR 2013).
        otherprop_as_objects: 13 classes: whether "otherprop" of the 40 (707 of the labels, of small things) is
            "objects", as in the published table, or has no class, as in the copy that multi-task papers use.

    Raises:
        UsageError: a name is none of the data set's.
    """
    known = {_key(name): of_forty for of_forty, entry in _FORTY.items() for name in entry["names"]}
    strange = [name for name in names if _key(name) not in known]
    if strange:
        raise UsageError(
            f"{len(strange)} of {len(names)} label names are not of NYU Depth v2, for example {strange[0]!r}; "
            "expected the names of nyu_depth_v2_labeled.mat"
        )
    ids = {name: index for index, name in enumerate((NYUV2_40 if classes == 40 else NYUV2)["semseg"].classes)}
    if classes == 13:
        ids = {of_forty: ids[entry["thirteen"]] for of_forty, entry in _FORTY.items()}
        if not otherprop_as_objects:
            ids["otherprop"] = NYUV2["semseg"].ignore
    return np.array([NYUV2["semseg"].ignore, *(ids[known[_key(name)]] for name in names)], np.uint8)


def _key(name):
    """What is compared: copies of the data set differ in spaces and signs between the words of a name."""
    return re.sub("[^a-z0-9]", "", name.lower())
