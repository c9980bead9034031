"""Miniscapes: reduced Synscapes (Wrenninge and Unger, 2018) with the classes of Cityscapes, in the project's layout."""

from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.sets.folder import laid_out
from mtl_tf.tasks import CITYSCAPES_CLASSES

# Statistics of the training split of Miniscapes, as published.
MINISCAPES = Descriptor(
    name="miniscapes",
    classes=tuple(CITYSCAPES_CLASSES),
    palette=tuple(CITYSCAPES_CLASSES.values()),
    depth_encoding="inverse_uint8",
    depth_mean=27.0727,
    depth_std=29.1264,
    depth_log_mean=2.89,
    depth_log_std=0.866,
    splits=("train", "val", "test"),
    crop_multiple=32,
)

DATA_SET = laid_out(MINISCAPES)
