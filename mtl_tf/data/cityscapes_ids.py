"""Label ids of Cityscapes (Cordts et al., CVPR 2016), which Synscapes and others use too; train ids, categories."""

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.storage.pixels import read_int32
from mtl_tf.tasks.reading.class_files import NO_CLASS, read_numbers

# For `table`: the label id of each train id, in the order of `tasks.CITYSCAPES_CLASSES`. No other is trained on.
TRAIN_CLASSES = tuple(
    (number,) for number in (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
)

# The categories that the official evaluation scores, without void, and the label ids of each. Label ids that it does
# not score (parking, rail track, guard rail, bridge, tunnel, pole group, caravan, trailer) are in none.
CATEGORIES = {
    "flat": (7, 8),
    "construction": (11, 12, 13),
    "object": (17, 19, 20),
    "nature": (21, 22),
    "sky": (23,),
    "human": (24, 25),
    "vehicle": (26, 27, 28, 31, 32, 33),
}

# The parts of people (person, rider) and of vehicles (car, truck, bus) in the order of their numbers, from 1 on
# (Meletis et al., "Cityscapes-Panoptic-Parts and PASCAL-Panoptic-Parts", 2020).
PARTS = {(24, 25): ("torso", "head", "arms", "legs"), (26, 27, 28): ("windows", "wheels", "lights", "plate", "chassis")}


def table(groups, ignore: int = 255) -> np.ndarray:
    """The class of each label id: its position in `groups`.

    Args:
        groups: the label ids of each class.
        ignore: the value of label ids without a class.

    Returns:
        int32 (256,); `labels.NO_CLASS` where there is no such label id (0..33, and 255 for -1, a licence plate).
    """
    classes = np.full(256, NO_CLASS, np.int32)
    classes[[*range(34), 255]] = ignore
    for number, ids in enumerate(groups):
        classes[list(ids)] = number
    return classes


def read_classes(classes: np.ndarray, path: str, descriptor=None) -> np.ndarray:
    """Class ids, int32 (H, W), of a PNG of label ids, by a `table`; a reader as `samples.FileSource` takes it."""
    return read_numbers(path, classes, "label ids of Cityscapes, 0..33")


def read_parts(path: str, labels=None) -> np.ndarray:
    """The parts of a file of Cityscapes-Panoptic-Parts, int32 (H, W): 0 = none, then those of `PARTS` in their order.

    Its ids are a label id (up to 99), 1000 times it plus an instance, or 100000 times it plus 100 times an instance
    plus a part.
    """
    ids = read_int32(path, "ids of panoptic parts in a 32-bit TIFF")
    strange = (ids < 0) | ((ids > 99) & (ids < 1000)) | (ids > 9_999_999)
    if strange.any():
        some = ", ".join(map(str, np.unique(ids[strange])[:3]))
        raise UsageError(f"{path}: {some} is no id of panoptic parts, which have 1, 2 or 4 to 7 digits; replace it")
    number = np.where(ids > 99_999, ids % 100, 0)
    found, before = np.zeros(ids.shape, np.int32), 0
    for of, names in PARTS.items():
        here = np.isin(ids // 100_000, of) & (number >= 1) & (number <= len(names))
        found[here] = before + number[here]
        before += len(names)
    return found
