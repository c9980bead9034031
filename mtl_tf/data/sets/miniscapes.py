"""Miniscapes: reduced Synscapes (Wrenninge and Unger, 2018) with the classes of Cityscapes, in the project's layout."""

from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.sets.folder import laid_out
from mtl_tf.tasks import (
    CITYSCAPES_CLASSES,
    CITYSCAPES_THINGS,
    ClassLabels,
    DepthLabels,
    InstanceLabels,
    NormalLabels,
)

# Statistics of the training split of Miniscapes, as published.
MINISCAPES = Descriptor(
    name="miniscapes",
    labels={
        "semseg": ClassLabels(tuple(CITYSCAPES_CLASSES), tuple(CITYSCAPES_CLASSES.values())),
        "depth": DepthLabels("inverse_uint8", mean=27.0727, std=29.1264, log_mean=2.89, log_std=0.866),
        # That of Synscapes, one of Cityscapes' at 1440x720.
        "normals": NormalLabels(source="depth", intrinsics=(1590.83, 1592.79, 771.3, 360.8, 1440, 720), fit=(4, 3)),
        "instances": InstanceLabels(ignore=65535, things=CITYSCAPES_THINGS),
    },
    splits=("train", "val", "test"),
    crop_multiple=32,
)

DATA_SET = laid_out(MINISCAPES)
