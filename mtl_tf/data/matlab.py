"""Numbers in MATLAB files of version 5 to 7.2 (newer ones are HDF5). SciPy's reader can crash on damaged files."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.storage.texts import read_bytes

# "MAT-File Format", The MathWorks: data types, and the length to which one compressed variable may grow here.
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_MOST_BYTES = 2**26


def read_numbers(path: str) -> dict[str, np.ndarray]:
    """The numeric variables of a file, each flat, float64; others are left out.

    Raises:
        UsageError: the file is missing, damaged or of another kind.
    """
    return {name: numbers for name, (_, numbers) in _read(path).items()}


def read_map(path: str, name: str) -> np.ndarray:
    """The variable of a file that has a number a pixel, float64 (H, W).

    Args:
        path: of the file.
        name: of the variable.

    Raises:
        UsageError: as of `read_numbers`, or there is no such variable.
    """
    found = _read(path)
    shape, numbers = found.get(name, ((), None))
    if len(shape) != 2 or min(shape) < 1 or shape[0] * shape[1] != numbers.size:
        there = ", ".join(f"{key} {list(size)}" for key, (size, _) in found.items()) or "no numbers"
        raise UsageError(f"{path}: expected numbers (H, W) named {name!r}, got {there}; replace it")
    return numbers.reshape(shape, order="F")


def _read(path):
    """Name -> shape and numbers, these flat in MATLAB's order, of the numeric variables."""
    content = read_bytes(path)
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if not order:
        raise UsageError(f"{path}: not a MATLAB file of version 5 to 7.2; replace it")
    found = {}
    try:
        for kind, data in _elements(content[128:], order):
            if kind == _COMPRESSED:
                data = zlib.decompressobj().decompress(data, _MOST_BYTES)
                kind, data = next(_elements(data, order), (0, b""))
            if kind == _MATRIX:
                found.update(_variable(data, order))
    except (ValueError, zlib.error) as error:
        raise UsageError(f"{path}: a damaged MATLAB file ({error}); replace it") from None
    return found


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """The data elements: type and content."""
    position = 0
    while position < len(data):
        if position + 8 > len(data):
            raise ValueError("it ends early")
        kind, size = struct.unpack_from(order + "II", data, position)
        start = position + 8
        position = start + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if kind >> 16:  # a small element: length, type and content in eight bytes
            kind, size, start, position = kind & 0xFFFF, kind >> 16, start - 4, start
            if size > 4:
                raise ValueError(f"a small element of {size} bytes")
        if start + size > len(data):
            raise ValueError("it ends early")
        yield kind, data[start : start + size]


def _variable(data, order):
    """Name -> shape and numbers of a matrix; nothing where it holds something else."""
    parts = list(_elements(data, order))
    if len(parts) < 4 or parts[3][0] not in _NUMBERS:
        return {}
    (_, _), (_, shape), (_, name), (kind, numbers) = parts[:4]
    shape = tuple(np.frombuffer(shape, order + "i4").tolist())
    numbers = np.frombuffer(numbers, order + _NUMBERS[kind]).astype(np.float64)
    return {name.decode("ascii", "replace"): (shape, numbers)}
