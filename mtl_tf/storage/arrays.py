"""Numbers in files of arrays: NumPy, MATLAB, HDF5; pictures in .npy. Nothing that such a file may hold is ever run."""

import io
from typing import BinaryIO

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.storage import hdf5, matlab
from mtl_tf.storage.texts import read_bytes
from mtl_tf.storage.windows import Part, cut

ENDING = ".npy"
MAPS = (ENDING, ".npz", ".mat", ".h5", ".hdf5")  # of files with a number a pixel


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


def read_map(path: str, expected: str, key: str = "") -> np.ndarray:
    """The numbers (H, W) of a file, of the type that is stored; (H, W, 1) and (1, H, W) as well.

    Args:
        path: of the file; its ending is one of `MAPS`.
        expected: what it should hold, for the message.
        key: the name of the array, in a struct of MATLAB "struct.field", in a group of HDF5 "group/name"; "" = the only
            one that has such a shape.

    Raises:
        UsageError: the file cannot be read, has no such array, or several.
    """
    found = named_arrays(path)
    there = ", ".join(f"{name} {array.dtype} {array.shape}".strip() for name, array in found.items()) or "no numbers"
    alone = list(found) == [""]
    if key and not alone and key not in found:
        raise UsageError(f"{path}: expected {expected} as array {key!r}, got {there}")
    maps = {name: _flat(array) for name, array in found.items() if alone or key in ("", name)}
    maps = {name: array for name, array in maps.items() if array is not None}
    if len(maps) > 1:  # numbers in one row or column are beside the map, not the map
        maps = {name: array for name, array in maps.items() if min(array.shape) > 1} or maps
    if len(maps) > 1:
        raise UsageError(f"{path}: expected {expected} in one array, got {there}; state which by its name")
    if not maps:
        raise UsageError(f"{path}: expected {expected}, numbers (H, W), got {there}")
    return next(iter(maps.values()))


def _flat(array):
    """The numbers (H, W) that an array is, or None."""
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]):
        array = array[..., 0] if array.shape[2] == 1 else array[0]
    return array if array.ndim == 2 and array.size and array.dtype.kind in "fiub" else None


def named_arrays(path: str) -> dict[str, np.ndarray]:
    """The arrays in a file with one of the endings `MAPS` by name, which in a .npy file is "".

    Raises:
        UsageError: the file is missing, damaged or of another kind.
    """
    content, matlab_file = read_bytes(path), path.lower().endswith(".mat")
    if path.lower().endswith((".h5", ".hdf5")) or (matlab_file and hdf5.is_matlab(content)):
        return hdf5.read_arrays(path)
    if matlab_file:
        return _arrays_in("", matlab.read_variables(path))
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except Exception:  # NumPy does not say what it raises on damaged files
        raise UsageError(f"{path}: no arrays of NumPy (or damaged ones); replace it") from None


def _arrays_in(prefix, variables):
    """The arrays among variables of MATLAB, those in structs too."""
    found = {}
    for name, value in variables.items():
        if isinstance(value, np.ndarray):
            found[prefix + name] = value
        elif isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
            found |= _arrays_in(f"{prefix}{name}.", value[0])
    return found


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
