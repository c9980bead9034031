"""Label ids of Cityscapes (Cordts et al., CVPR 2016), which Synscapes and others use too; train ids, categories.

Instance ids too: label id * 1000 + number from 0, or a label id alone.
"""

import functools

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.storage.codecs import CLASS_STEP
from mtl_tf.storage.pixels import read_int32, read_uint16
from mtl_tf.tasks import CITYSCAPES_CLASSES, CITYSCAPES_THINGS
from mtl_tf.tasks.reading.class_files import NO_CLASS, by_number, read_numbers
from mtl_tf.tasks.reading.instance_files import numbered

# For `table`: the label id of each train id, in the order of `tasks.CITYSCAPES_CLASSES`. No other is trained on.
TRAIN_CLASSES = tuple(
    (number,) for number in (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
)

# Which of them can be counted.
THINGS = tuple(number for number, name in enumerate(CITYSCAPES_CLASSES) if name in CITYSCAPES_THINGS)

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


def read_instances(path: str, labels) -> np.ndarray:
    """Numbers of instances, int32 (H, W), of a PNG of instance ids; a reader as `samples.FileSource` takes it.

    As panoptic scoring has it: stuff is no instance; nothing is known of a thing without a number (a crowd), and of
    label ids that are not scored, whether they have a number or not (caravan, trailer).
    """
    expected = "instance ids of Cityscapes: 0..33, or label id of a thing * 1000 + number"
    codes = read_uint16(path, f"{expected}, in a 16-bit grey PNG")
    codes = by_number(path, codes, _instance_table(labels.blank), lambda: f"; expected {expected}")
    return numbered(codes, codes == labels.blank, path, labels.blank)


@functools.cache
def _instance_table(unknown):
    """Of every 16-bit number: itself where it is that of an instance, 0, `unknown` or `NO_CLASS`; int32 (65536,)."""
    numbers = np.arange(65536, dtype=np.int32)
    alone = numbers < CLASS_STEP
    classes = np.full(CLASS_STEP, NO_CLASS)
    classes[:256] = table(TRAIN_CLASSES)
    classes = classes[np.where(alone, numbers, numbers // CLASS_STEP)]
    is_thing = np.isin(classes, THINGS)
    wrong = (classes == NO_CLASS) | (~alone & (classes < THINGS[0]))
    found = np.where(is_thing & ~alone, numbers, np.where(is_thing | (classes == 255), unknown, 0))
    found = np.where(wrong, NO_CLASS, found)
    found[65535] = unknown  # -1, a licence plate
    return found.astype(np.int32)
