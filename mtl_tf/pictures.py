"""Pictures of images, labels and depth: colours, codes that a page decodes, and PNG files.

Pictures are uint8 RGB arrays (H, W, 3). Pixels without a label or a depth are checkered, so that no colour of a
class or of a distance can be mistaken for "unknown". NumPy and Pillow only: nothing here waits for TensorFlow.
"""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mtl_tf.atomic import write_bytes

Colour = tuple[int, int, int]

WRONG: Colour = (230, 40, 40)
RIGHT: Colour = (44, 48, 58)
# A yes that is right, one that is missing, and one that is false: apart for the colour-blind too.
VERDICTS: dict[str, Colour] = {
    "right": RIGHT,
    "wrong": WRONG,
    "found": (38, 176, 122),
    "missed": (255, 150, 40),
    "false": (120, 184, 255),
}
CHECKER = (np.uint8(226), np.uint8(190))
LARGEST_ERROR = math.log(2)  # a depth wrong by a factor of two has the last colour of `error_depth`


def _table(*anchors: str) -> np.ndarray:
    """256 colours (256, 3) interpolated between equally spaced "rrggbb" anchors."""
    corners = np.array([tuple(bytes.fromhex(anchor)) for anchor in anchors], np.float64)
    places = np.linspace(0, 1, len(anchors))
    steps = np.linspace(0, 1, 256)
    return np.stack([np.interp(steps, places, corners[:, c]) for c in range(3)], axis=1).round().astype(np.uint8)


# All fall or rise in lightness all the way, so they also read in greyscale and by the colour-blind.
DEPTH_COLOURS = _table("fcfdbf", "fec287", "fb8761", "de4968", "b5367a", "812581", "51127c", "241252", "0c0926")
ERROR_COLOURS = _table("2c303a", "7a2031", "e62828", "ff8a1f", "ffd75e", "fffbe0")
NUMBER_COLOURS = _table("440154", "46327e", "365c8d", "277f8e", "1fa187", "4ac16d", "a0da39", "fde725")  # viridis
PROBABILITY_COLOURS = _table("0e1420", "163a66", "2a72b0", "7fb8e0", "f4fbff")  # blue, unlike the grey of the checkers
SCALES = {"depth": DEPTH_COLOURS, "error": ERROR_COLOURS, "numbers": NUMBER_COLOURS, "probability": PROBABILITY_COLOURS}


# === Colours ===


def colour_labels(labels: np.ndarray, palette: Sequence[Colour], ignore: int = 255) -> np.ndarray:
    """The picture of a label map.

    Args:
        labels: class ids, int (H, W).
        palette: the colour of each class, RGB.
        ignore: the id that no class has; it and ids outside the palette are checkered.

    Returns:
        uint8 (H, W, 3).
    """
    labels = np.asarray(labels)
    known = _known(labels, palette, ignore)
    colours = np.array(palette, np.uint8).reshape(-1, 3)
    return np.where(known[..., None], colours[np.where(known, labels, 0)], checker(labels.shape))


def colour_depth(depth: np.ndarray, low: float, high: float) -> np.ndarray:
    """The picture of a depth map on a log scale: near is light, far is dark, invalid pixels are checkered.

    Args:
        depth: metres (H, W); 0, negative and non-finite values are invalid.
        low, high: metres with the first and the last colour; values beyond take the nearest of the two.

    Returns:
        uint8 (H, W, 3).
    """
    depth = np.asarray(depth, np.float32)
    valid = _valid(depth)
    position = log_position(np.where(valid, depth, low), low, high)
    return np.where(valid[..., None], look_up(DEPTH_COLOURS, position), checker(depth.shape))


def depth_range(depth: np.ndarray, fallback: tuple[float, float] = (1.0, 100.0)) -> tuple[float, float]:
    """Smallest and largest valid depth, metres; `fallback` where no pixel is valid."""
    depth = np.asarray(depth, np.float32)
    depth = depth[_valid(depth)]
    return (float(depth.min()), float(depth.max())) if depth.size else fallback


def number_range(numbers: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest number (NaN: none), apart; 0 and 1 where there is none."""
    numbers = np.asarray(numbers, np.float64)
    numbers = numbers[np.isfinite(numbers)]
    low, high = (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 1.0)
    return (low, high) if low < high else (low - 0.5, low + 0.5)


def colour_numbers(numbers: np.ndarray, low: float, high: float) -> np.ndarray:
    """The picture of numbers (H, W) on a linear scale, NaN is checkered: uint8 (H, W, 3).

    Args:
        numbers: float (H, W).
        low, high: numbers with the first and the last colour; those beyond take the nearest of the two.
    """
    known, position = _linear_position(numbers, low, high)
    return np.where(known[..., None], look_up(NUMBER_COLOURS, position), checker(known.shape))


def overlay(
    image: np.ndarray, labels: np.ndarray, palette: Sequence[Colour], alpha: float = 0.5, ignore: int = 255
) -> np.ndarray:
    """Label colours laid over an image with opacity `alpha`; ignored pixels show the image alone.

    Args:
        image: RGB 0..255 (H, W, 3).
        labels: class ids, int (H, W).

    Returns:
        uint8 (H, W, 3).
    """
    image = as_picture(image)
    labels = np.asarray(labels)
    mixed = (1 - alpha) * image + alpha * colour_labels(labels, palette, ignore).astype(np.float32)
    return np.where(_known(labels, palette, ignore)[..., None], mixed.round().astype(np.uint8), image)


def error_labels(truth: np.ndarray, prediction: np.ndarray, ignore: int = 255) -> np.ndarray:
    """Wrong pixels red, right ones dim, ignored ones checkered: uint8 (H, W, 3) of two int (H, W) label maps."""
    truth = np.asarray(truth)
    wrong = (truth != np.asarray(prediction))[..., None]
    verdict = np.where(wrong, np.uint8(WRONG), np.uint8(RIGHT))
    return np.where((truth == ignore)[..., None], checker(truth.shape), verdict)


def error_depth(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """|ln z - ln z*|: dim where exact, red to pale up to a factor of two and more, checkered without truth.

    Args:
        truth, prediction: metres (H, W).

    Returns:
        uint8 (H, W, 3).
    """
    truth, prediction = np.asarray(truth, np.float32), np.asarray(prediction, np.float32)
    valid = _valid(truth) & _valid(prediction)
    ratio = np.divide(prediction, truth, out=np.ones_like(truth), where=valid)
    # A ratio can still underflow to 0 between two extreme floats; the error is then simply the largest.
    error = np.abs(np.log(np.maximum(ratio, np.finfo(np.float32).tiny)))
    colours = look_up(ERROR_COLOURS, np.minimum(error / LARGEST_ERROR, 1))
    return np.where(valid[..., None], colours, checker(truth.shape))


def checker(shape: tuple[int, int]) -> np.ndarray:
    """Light and dark grey squares, uint8 (H, W, 3), about 48 along the longer side."""
    side = max(2, max(shape) // 48)
    rows, columns = (np.arange(length) // side for length in shape)
    odd = (rows[:, None] + columns[None, :]) % 2 == 1
    return np.repeat(np.where(odd, CHECKER[1], CHECKER[0])[..., None], 3, axis=2)


def as_picture(image: np.ndarray) -> np.ndarray:
    """An RGB image of any number type, 0..255, as uint8 (H, W, 3)."""
    image = np.asarray(image)
    return image if image.dtype == np.uint8 else np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _known(labels, palette, ignore):
    return (labels != ignore) & (labels >= 0) & (labels < len(palette))


def _valid(depth):
    return np.isfinite(depth) & (depth > 0)


def log_position(depth, low, high):
    """Where metres stand between low and high, 0..1 on a log scale (0.5 if the two are equal)."""
    if not 0 < low < high:
        return np.full(np.shape(depth), 0.5)
    return np.clip(np.log(np.asarray(depth, np.float64) / low) / math.log(high / low), 0, 1)


def _linear_position(numbers, low, high):
    """Which numbers are known (no NaN), and where they stand between low and high, 0..1."""
    numbers = np.asarray(numbers, np.float64)
    known = np.isfinite(numbers)
    return known, np.clip((np.where(known, numbers, low) - low) / (high - low), 0, 1)


def look_up(table, position):
    """The colours (..., 3) of one of `SCALES` at places 0..1."""
    return table[np.rint(position * 255).astype(np.uint8)]


# === Codes ===


def pack_depth(depth: np.ndarray, step: float = 0.01) -> tuple[np.ndarray, float]:
    """Depth as a picture: code = 256 * red + green, metres = code * step, 0 = invalid.

    Args:
        depth: metres (H, W); 0, negative and non-finite values are invalid.
        step: the smallest step, metres.

    Returns:
        uint8 (H, W, 3) and the step in metres: the one asked for, more where a depth lies beyond 65535 of it.
    """
    depth = np.asarray(depth, np.float64)
    valid = np.isfinite(depth) & (depth > 0)
    step = max(step, float(depth.max(where=valid, initial=0)) / 65535)
    # A valid depth below half a step must not turn into "invalid".
    codes = np.where(valid, np.clip(np.rint(np.where(valid, depth, 0) / step), 1, 65535), 0)
    return _two_bytes(codes), step


def pack_numbers(numbers: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers (H, W) as a picture, uint8 (H, W, 3): 256 red + green = 1 at low, 65535 at high, 0 for NaN."""
    known, position = _linear_position(numbers, low, high)
    return _two_bytes(np.where(known, 1 + np.rint(65534 * position), 0))


def _two_bytes(codes):
    """Codes 0..65535 (H, W) as red and green, uint8 (H, W, 3)."""
    codes = codes.astype(np.uint16)
    return np.dstack([codes >> 8, codes & 255, np.zeros_like(codes)]).astype(np.uint8)


# === Files ===


def write_png(path: str | Path, array: np.ndarray, palette: Sequence[Colour] | None = None) -> Path:
    """Writes a PNG; a reader never sees half of it.

    Args:
        path: the file; its folder is made.
        array: uint8 (H, W, 3) RGB or (H, W) grey, or uint16 (H, W); with a palette, class ids 0..255 (H, W), kept as
            ids (mode P).
        palette: the colour of each class, RGB; ids beyond it are shown black.

    Returns:
        The path.
    """
    kind = np.uint16 if np.asarray(array).dtype == np.uint16 else np.uint8
    image = Image.fromarray(np.ascontiguousarray(array, dtype=kind))
    if palette is not None:
        colours = np.zeros((256, 3), np.uint8)
        colours[: len(palette)] = np.array(palette, np.uint8).reshape(-1, 3)
        image.putpalette(colours.tobytes())
    return _save(image, path)


def _save(image, path):
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    write_bytes(path, encoded.getvalue())
    return Path(path)
