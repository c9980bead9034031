"""Numbers in NumPy files (.npy), and pictures that are stored so. Nothing that such a file may hold is ever run."""

import io
from typing import BinaryIO

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.storage.texts import read_bytes
from mtl_tf.storage.windows import Part, cut

ENDING = ".npy"


def is_array(path: str) -> bool:
    """Whether a file is one of these, by its name."""
    return path.lower().endswith(ENDING)


def read_floats(path: str, expected: str, part: Part | None = None) -> np.ndarray:
    """The floating-point numbers (H, W, 3) of a file.

    Args:
        path: of the file.
        expected: what it should hold, for the message.
        part: of its picture that is wanted, 0 outside; None = all.
    """
    array, came = array_of(path)
    if array is None or array.dtype.kind != "f" or array.ndim != 3 or array.shape[2] != 3:
        raise UsageError(f"{path}: expected {expected}, got {came}")
    return cut(array, part and part.of(path, array.shape[:2]))


def read_numbers(path: str, expected: str, channels: int) -> np.ndarray:
    """The numbers (H, W, channels) of a file, of any type; of one channel also (H, W).

    Args:
        path: of the file.
        expected: what it should hold, for the message.
        channels: how many numbers each pixel has.
    """
    array, came = array_of(path)
    if array is not None and channels == 1 and array.ndim == 2:
        array = array[..., None]
    if array is None or array.dtype.kind not in "fiub" or array.ndim != 3 or array.shape[2] != channels:
        raise UsageError(f"{path}: expected {expected}, channels = {channels}, got {came}")
    return array


def read_picture(path: str) -> np.ndarray:
    """A picture, uint8 (H, W, 3), of numbers (H, W, 3) or (3, H, W).

    Floats that are 1 at the most are shares of the full colour, all other numbers its 255ths; both are rounded.
    """
    array, came = array_of(path)
    if array is not None and array.ndim == 3 and array.shape[0] == 3 and array.shape[2] != 3:
        array = array.transpose(1, 2, 0)
    if array is None or array.dtype.kind not in "fiu" or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise UsageError(f"{path}: expected a picture, numbers (H, W, 3) as numpy.save writes them, got {came}")
    low, high = float(array.min()), float(array.max())  # NaN where one is
    shares = array.dtype.kind == "f" and 255 * high < 255.5
    scale = 255 if shares else 1
    # A picture of 0..255 is never so dark; floats a little beyond 1 are shares that something has changed.
    doubtful = array.dtype.kind == "f" and not shares and high < 2
    if doubtful or not (scale * low > -0.5 and scale * high < 255.5):
        raise UsageError(f"{path}: expected colours 0 to 1 or 0 to 255, got {low:g} to {high:g}; make the file again")
    return array if array.dtype == np.uint8 else np.rint(array * np.float32(scale)).astype(np.uint8)


def size_in(file: BinaryIO) -> tuple[int, int] | None:
    """Height and width of the picture in an open file, by its header; None where it holds none.

    Raises:
        OSError: the file cannot be read.
    """
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape = headers[np.lib.format.read_magic(file)](file)[0]
    except OSError:
        raise
    except Exception:  # NumPy does not say what it raises on damaged files
        return None
    if len(shape) != 3 or 3 not in (shape[0], shape[2]):
        return None
    return tuple(shape[:2]) if shape[2] == 3 else tuple(shape[1:])


def array_of(path: str) -> tuple[np.ndarray | None, str]:
    """The array in a file, None where there is none; what it is, for messages."""
    try:
        array = np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
        return array, f"{array.dtype} {array.shape}"
    except UsageError:
        raise
    except Exception:  # NumPy does not say what it raises on damaged files
        return None, "no array of NumPy (or a damaged one)"
