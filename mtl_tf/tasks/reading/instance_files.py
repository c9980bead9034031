"""Files of instance numbers: how they are read, and what is implausible in them."""

from collections.abc import Iterator, Mapping

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.storage import pixels
from mtl_tf.tasks.reading.suspect_classes import count_of

MOST = 2047  # instances of a label file; as many more come from a picture that is pasted in
BASE = 1000  # of class_1000


def read_instances(path: str, encoding: str, ignore: int | None, blank: int) -> np.ndarray:
    """Numbers of instances of a picture, int32 (H, W): 0 = none.

    Args:
        path: of the file.
        encoding: a key of `instances.ENCODINGS`.
        ignore: the stored number that says that nothing is known.
        blank: the number of pixels of which nothing is known, in what is returned.
    """
    if encoding == "rgb24":
        colours = pixels.read_colour_codes(path)
        codes = colours >> 16 | colours & 0xFF00 | (colours & 255) << 16
    else:
        codes = pixels.read_label_codes(path, "instances as a grey or palette PNG of up to 16 bits").astype(np.int32)
    unknown = codes == ignore if ignore is not None else np.zeros(codes.shape, bool)
    if encoding == "class_1000":
        codes = np.where(codes < BASE, 0, codes)
    return np.where(unknown, blank, renumbered(np.where(unknown, 0, codes), path))


def seen(label: np.ndarray, blank: int) -> dict:
    """What a label map shows: see `Labels.seen`."""
    found = np.unique(label[(label > 0) & (label != blank)]).size
    return {"with": int(found > 0), "several": int(found > 1)}


def suspicions(name: str, seen: Mapping) -> Iterator[str]:
    """What is implausible: see `Labels.suspicions`."""
    count = count_of(seen["files"])
    if not seen["with"]:
        yield f"{name}: no instance in {count}; all numbers are 0, or unknown"
    elif not seen["several"] and seen["with"] > 1:
        yield f"{name}: no more than one instance in each of {count}; are they masks of a class, all of one number?"


def renumbered(codes: np.ndarray, path: str) -> np.ndarray:
    """Ids, int32 (H, W), of any numbers of instances, 0 = none; as they are where none is larger than `MOST`.

    Raises:
        UsageError: there are more instances than that.
    """
    if codes.max(initial=0) <= MOST:
        return codes.astype(np.int32)
    every, found = np.unique(codes, return_inverse=True)
    found = found.reshape(codes.shape) + (every[0] != 0)
    if found.max() > MOST:
        raise UsageError(
            f"{path}: expected at most {MOST} instances in a picture, got {found.max()}; check the encoding that "
            "dataset.json states, or cut the picture into smaller ones"
        )
    return found.astype(np.int32)
