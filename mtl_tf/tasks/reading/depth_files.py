"""Depth as data sets store it: numbers, or codes of 8 or 16 bits that are read as metres by one table a data set."""

import functools

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.storage import arrays, codecs, files, maps, pixels
from mtl_tf.storage.windows import Part, cut
from mtl_tf.tasks._depth_entries import CODES
from mtl_tf.tasks.depth import DepthLabels


def read(path: str, labels: DepthLabels, part: Part | None = None) -> np.ndarray:
    """The metres of a depth file, float32 (H, W), 0 = no label; arguments as of `read_codes`."""
    if labels.encoding in CODES:
        return table(labels).take(read_codes(path, labels, part))
    return read_metres(path, labels, part)


def read_codes(path: str, labels: DepthLabels, part: Part | None = None) -> np.ndarray:
    """The stored values of a depth file, uint8 or uint16 (H, W).

    Args:
        path: of the file.
        labels: how they are stored.
        part: of its picture that is wanted, 0 outside; None = all.
    """
    expected = f"depth in steps of {labels.scale:g} m in"
    if labels.encoding == "inverse_uint8":
        codes = pixels.read_codes(path, "inverse depth in an 8-bit grey PNG", part)
    elif labels.encoding == "uint8_scaled":
        codes = pixels.read_codes(path, f"{expected} an 8-bit grey PNG", part)
    else:
        codes = pixels.read_uint16(path, f"{expected} a 16-bit grey PNG", part)
    return _masked(codes, path, labels, part)


def read_metres(path: str, labels: DepthLabels, part: Part | None = None) -> np.ndarray:
    """The metres of a file of numbers, float32 (H, W), 0 = no label; arguments as of `read_codes`."""
    return within_range(stored_numbers(path, labels, part), labels)


def stored_numbers(path: str, labels: DepthLabels, part: Part | None = None) -> np.ndarray:
    """The metres (H, W) of a file of numbers, in range or not; 0 or none above where nothing was measured.

    Arguments as of `read_codes`.
    """
    if labels.encoding == "npy":
        stored = arrays.read_numbers(path, "depth as numbers (H, W) in a .npy file", 1)[..., 0]
    else:
        stored = maps.read_map(path, "depth", labels.key)
    stored = _masked(cut(stored, part and part.of(path, stored.shape)), path, labels, part)
    if labels.encoding == "npy":
        return stored
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = stored.astype(np.float64) * labels.scale
        if labels.encoding == "disparity":
            disparity = np.where(stored > 0, numbers + labels.offset, 0.0)
            numbers = codecs.depth_of_disparity(disparity, labels.baseline * labels.fx)
    return np.where(np.isin(stored, labels.invalid), 0.0, numbers) if labels.invalid else numbers


def _masked(stored, path, labels, part=None):
    """The same numbers of a file, or of a part of it, 0 where its mask is."""
    if not labels.mask:
        return stored
    mask_path = files.beside(path, labels.mask)
    read = pixels.read_label_codes if mask_path.lower().endswith((".png", ".bmp")) else maps.read_map
    mask = read(mask_path, "a mask, 0 where nothing was measured")
    size = part.size if part else stored.shape
    if mask.shape != tuple(size):
        raise UsageError(
            f"{mask_path}: {mask.shape[1]}x{mask.shape[0]} pixels, but {files.name_of(path)} beside it is "
            f"{size[1]}x{size[0]}; a mask is as large as its depth"
        )
    return np.where(cut(mask, part and part.window) > 0, stored, np.zeros((), stored.dtype))


@functools.lru_cache(maxsize=8)
def table(labels: DepthLabels) -> np.ndarray:
    """The metres, float32, of every stored value; 0 where it means no measurement or lies outside the range."""
    return within_range(stored_metres(labels), labels)


def stored_metres(labels: DepthLabels) -> np.ndarray:
    """The metres, float32, of every stored value, whether in range or not; 0 where it means no measurement."""
    every = np.arange(CODES[labels.encoding])
    if labels.encoding == "inverse_uint8":
        metres = codecs.decode_inverse_uint8(every, labels.minimum, labels.maximum)
    else:
        every = codecs.rotated(every) if labels.encoding == "uint16_rotated" else every
        metres = codecs.decode_uint16_scaled(every, labels.scale)
    metres[list(labels.invalid)] = 0.0
    return metres


def within_range(metres: np.ndarray, labels: DepthLabels) -> np.ndarray:
    """The same depth, float32 metres; 0 what lies outside the range of the data set, or is not finite."""
    with np.errstate(over="ignore"):  # beyond float32 is infinite
        metres = metres.astype(np.float32, copy=False)
    low, high = np.float32(labels.minimum), np.float32(labels.maximum)
    return np.where((metres >= low) & (metres <= high), metres, np.float32(0.0))
