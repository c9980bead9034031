"""A number for every pixel, in whatever kind of file it is: arrays, floating-point pictures, grey TIFF."""

import os

import numpy as np

from mtl_tf.storage import arrays, exr, pixels

ENDINGS = (*arrays.MAPS, ".tif", ".tiff", ".pfm", ".exr")


def read_map(path: str, expected: str, key: str = "") -> np.ndarray:
    """The numbers (H, W) of a file, of the type in which they are stored.

    Args:
        path: of the file; its ending, one of `ENDINGS` or of a grey picture, says what it is.
        expected: what it should hold, for the message.
        key: name of the array in it, or of the channel of an EXR picture; "" = the only one, or Z.

    Raises:
        UsageError: the file is missing or damaged, or has no such numbers.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending in arrays.MAPS:
        return arrays.read_map(path, expected, key)
    if ending == ".exr":
        return exr.read_exr(path, key or "Z")
    return pixels.read_numbers(path, expected)
