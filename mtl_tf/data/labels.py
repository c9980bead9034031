"""Segmentation labels that data sets store as numbers of their own, or as colours, read as class ids."""

from collections.abc import Mapping

import numpy as np

from mtl_tf.data.pixels import read_codes, read_rgb
from mtl_tf.errors import UsageError

NO_CLASS = -1  # in a table of class ids: a value that does not occur in the data set


def read_numbers(path: str, classes: np.ndarray, expected: str) -> np.ndarray:
    """Class ids of an 8-bit grey or palette PNG.

    Args:
        path: of the file.
        classes: class id or ignore value of each of the 256 values, or `NO_CLASS`.
        expected: what the values should be, for the message.

    Returns:
        int32 (H, W).

    Raises:
        UsageError: the file cannot be read, or holds a value that is `NO_CLASS`.
    """
    codes = read_codes(path, expected)
    labels = np.asarray(classes, np.int32)[codes]
    wrong = labels == NO_CLASS
    if wrong.any():
        values = np.unique(codes[wrong]).tolist()
        raise UsageError(f"{path}: label value {_some(values)} ({wrong.sum()} pixels); expected {expected}")
    return labels


def read_colours(path: str, classes: Mapping[tuple[int, int, int], int], expected: str) -> np.ndarray:
    """Class ids of a colour-coded picture.

    Args:
        path: of the file.
        classes: RGB colour -> class id or ignore value.
        expected: what the colours should be, for the message.

    Returns:
        int32 (H, W).

    Raises:
        UsageError: the file cannot be read, or holds a colour that is not in `classes`.
    """
    # One number a colour, so that a binary search finds each pixel's.
    pixels = _number(read_rgb(path).astype(np.int32))
    known = sorted((int(_number(np.array(colour))), number) for colour, number in classes.items())
    numbers, ids = (np.array(column, np.int32) for column in zip(*known, strict=True))
    place = np.minimum(np.searchsorted(numbers, pixels), len(numbers) - 1)
    wrong = numbers[place] != pixels
    if wrong.any():
        colours = [f"{value >> 16},{value >> 8 & 255},{value & 255}" for value in np.unique(pixels[wrong]).tolist()]
        raise UsageError(f"{path}: RGB colour {_some(colours)} ({wrong.sum()} pixels) is no class; expected {expected}")
    return ids[place]


def _number(rgb):
    return rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]


def _some(values, most=3):
    return " or ".join(map(str, values[:most])) + (f" or {len(values) - most} others" if len(values) > most else "")
