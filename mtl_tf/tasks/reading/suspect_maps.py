"""What is implausible in files of directions and of yes and no: hints that they are read as something they are not."""

from collections.abc import Iterator, Mapping

import numpy as np

from mtl_tf.storage import codecs, pixels
from mtl_tf.tasks.reading.class_files import FILE_NAME
from mtl_tf.tasks.reading.suspect_classes import count_of

SLANTED = 0.1  # of a unit vector along the view; with less of it, as floors have it, it says nothing of its sign
ODD = 0.25  # by which a stored vector is longer or shorter than 1; 8 bits are right to 0.01
MOST = 0.5  # of the pixels; less may be right, or noise


def seen_directions(labels, path: str, label: np.ndarray | None) -> dict:
    """What a file of directions shows: see `Labels.seen`.

    Returns:
        "pixels" that have one; of them those "away" from the camera and "towards" it, and the "odd" ones that are not
        one long, where the file has colours. Nothing where no pixel has one.
    """
    colours = pixels.read_exact_rgb(path, labels.expected) if label is None and labels.encoding == "rgb8" else None
    if colours is not None:
        label = codecs.decode_directions(colours, labels.axes)
    elif label is None:
        label = labels.read(path)
    known = (label != 0).any(-1)
    odd = np.zeros_like(known)
    if colours is not None:
        odd = abs(np.linalg.norm(colours / np.float32(127.5) - 1, axis=-1) - 1) > ODD
    along = label[..., 2]  # at the sides of a picture a surface that is seen may point a little away
    found = {"pixels": known, "away": along > SLANTED, "towards": along < -SLANTED, "odd": known & odd}
    return {name: int(each.sum()) for name, each in found.items()} if known.any() else {}


def suspect_directions(labels, name: str, seen: Mapping) -> Iterator[str]:
    """What is implausible: see `Labels.suspicions`."""
    count, section = count_of(seen["files"]), labels.section(name)
    odd, away, towards = (seen[key] / seen["pixels"] for key in ("odd", "away", "towards"))
    if odd > MOST:
        yield f"{odd:.0%} of the {name} in {count} are no unit vectors (n = 2 v / 255 - 1); are they {labels.kind}?"
    elif away > towards:
        yield (
            f"{away:.0%} of the {name} in {count} point away from the camera, {towards:.0%} towards it, as surfaces "
            f"that are seen do; is {section}.axes={labels.axes} in {FILE_NAME} right?"
        )


def seen_answers(labels, path: str, label: np.ndarray | None) -> dict:
    """What a file of yes and no shows: see `Labels.seen`.

    Returns:
        "pixels" that have a label, of them those that say "yes"; "soft", 1 where a mask holds several numbers for yes,
        as a map of probabilities does, and then its "example". Nothing where no pixel has a label.
    """
    codes = labels.codes(path) if label is None else None
    label = labels.label_of(codes) if label is None else label
    count = int((label != labels.blank).sum())
    if not count:
        return {}
    soft = codes is not None and labels.encoding == "mask" and np.unique(codes[label == 1]).size > 1
    found = {"pixels": count, "yes": int((label == 1).sum()), "soft": int(soft)}
    return found | ({"example": path} if soft else {})


def suspect_answers(labels, name: str, seen: Mapping) -> Iterator[str]:
    """What is implausible: see `Labels.suspicions`."""
    share, count = seen["yes"] / seen["pixels"], count_of(seen["files"])
    if seen["soft"]:
        yield (
            f"{name}: {seen['soft']} of {count} hold more numbers than 0 and one other, for example "
            f"{seen['example']}, and each but 0 is yes; are they probabilities? state "
            f'{labels.section(name)}.encoding: "grey" in {FILE_NAME}, by which 128..255 is yes'
        )
    elif not share or share >= labels.most:
        yield f"{share:.0%} of the labelled pixels in {count} are {name}; 0 means none of them, every other number one"
