"""Pictures of instances: a colour for each, and their outlines. NumPy only."""

import numpy as np

from mtl_tf import pictures
from mtl_tf.boundaries import differing
from mtl_tf.storage.codecs import UNKNOWN_ID as UNKNOWN

BACKGROUND = (58, 64, 76)
OUTLINE = (255, 255, 255)
_OPACITY = 0.5
_GOLDEN = 0.6180339887498949  # turns of hue by so much are far apart, however many there are


def colours(numbers: np.ndarray) -> np.ndarray:
    """The colour of each instance by its number: float64 (..., 3) of int (...)."""
    hue = (np.asarray(numbers)[..., None] * _GOLDEN + np.array([0, 2 / 3, 1 / 3])) % 1 * 6
    bright = np.clip(np.abs(hue - 3) - 1, 0, 1)
    return 255 * (0.25 + 0.75 * bright)


def edges(numbers: np.ndarray) -> np.ndarray:
    """The pixels of instances beside which there is another, or none: bool (H, W)."""
    apart = differing(numbers, np.pad(numbers, [(0, 1), (0, 1)], "edge"))
    back = differing(numbers[::-1, ::-1], np.pad(numbers[::-1, ::-1], [(0, 1), (0, 1)], "edge"))[::-1, ::-1]
    return (apart | back) & (numbers > 0) & (numbers != UNKNOWN)


def colour_instances(numbers: np.ndarray) -> np.ndarray:
    """The picture of a map of instances: a colour each, outlined; grey where there is none, checkered if unknown.

    Args:
        numbers: int (H, W): 0 = none, 65535 = unknown.

    Returns:
        uint8 (H, W, 3).
    """
    numbers = np.asarray(numbers)
    filled = np.where((numbers > 0)[..., None], colours(numbers), BACKGROUND)
    filled = np.where(edges(numbers)[..., None], OUTLINE, filled).astype(np.uint8)
    return np.where((numbers != UNKNOWN)[..., None], filled, pictures.checker(numbers.shape))


def outlined(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """A picture, uint8 (H, W, 3), with its instances in colours, outlined; `numbers` of an answer, all known."""
    numbers = np.asarray(numbers)
    blended = (1 - _OPACITY) * image + _OPACITY * colours(numbers)
    shown = np.where((numbers > 0)[..., None], blended, image)
    return np.where(edges(numbers)[..., None], OUTLINE, shown).astype(np.uint8)
