"""Variables in MATLAB files of version 5 to 7.2 (newer ones are HDF5). SciPy's reader can crash on damaged files."""

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.storage.texts import read_bytes

# "MAT-File Format", The MathWorks: data types, classes of arrays, and the length to which one compressed variable may
# grow here. A picture with many people has a mask of every pixel for each of their parts.
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _TEXT, _NUMERIC = 1, 2, 4, range(6, 16)
_MOST_BYTES = 2**28
_DEEPEST = 8


def read_numbers(path: str) -> dict[str, np.ndarray]:
    """The numeric variables of a file, float64 arrays of the shape that they have in MATLAB; others are left out.

    Raises:
        UsageError: the file is missing, damaged or of another kind.
    """
    found = read_variables(path)
    return {name: value.astype(np.float64) for name, value in found.items() if isinstance(value, np.ndarray)}


def read_map(path: str, name: str) -> np.ndarray:
    """The variable of a file that has a number a pixel, float64 (H, W).

    Args:
        path: of the file.
        name: of the variable.

    Raises:
        UsageError: as of `read_numbers`, or there is no such variable.
    """
    found = read_numbers(path)
    if name not in found or found[name].ndim != 2 or not found[name].size:
        there = ", ".join(f"{key} {list(value.shape)}" for key, value in found.items()) or "no numbers"
        raise UsageError(f"{path}: expected numbers (H, W) named {name!r}, got {there}; replace it")
    return found[name]


def read_variables(path: str) -> dict:
    """The variables of a file by name.

    Returns:
        Numbers are arrays of the shape that they have in MATLAB, in the type in which they are stored; a text is a str;
        a cell array is a list of its values, and a struct array one of dicts, both flat; what is neither is None.

    Raises:
        UsageError: the file is missing, damaged or of another kind.
    """
    content = read_bytes(path)
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if not order or content[:10] == b"MATLAB 7.3":
        raise UsageError(f"{path}: not a MATLAB file of version 5 to 7.2; replace it, or save it there with -v7")
    found = {}
    try:
        for kind, data in _elements(memoryview(content)[128:], order):
            if kind == _COMPRESSED:
                data = memoryview(zlib.decompressobj().decompress(data, _MOST_BYTES))
                kind, data = next(_elements(data, order), (0, b""))
            if kind == _MATRIX:
                name, value = _variable(data, order)
                found[name] = value
    except (ValueError, zlib.error) as error:
        raise UsageError(f"{path}: a damaged MATLAB file ({error}); replace it") from None
    return found


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
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


def _variable(data, order, depth=0):
    """Name and value of a matrix."""
    if depth > _DEEPEST:
        raise ValueError(f"nested more than {_DEEPEST} deep")
    if not len(data):  # as MATLAB stores an empty array inside of others
        return "", np.zeros((0, 0))
    parts = _elements(data, order)
    flags, shape, name = (_next(parts)[1] for _ in range(3))
    if len(flags) < 4 or len(shape) % 4:
        raise ValueError("a matrix without a class or a shape")
    kind = struct.unpack_from(order + "I", flags)[0] & 0xFF
    shape = np.frombuffer(shape, order + "i4").tolist()
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"a shape of {shape}")
    count = math.prod(shape)
    value = None
    if kind in _NUMERIC:
        value = _numbers(*_next(parts), shape, order) if count else np.zeros(shape)
    elif kind == _TEXT:
        value = _text(*_next(parts), order) if count else ""
    elif kind in (_CELL, _STRUCT):
        fields = _fields(parts, order) if kind == _STRUCT else ("",)
        # Each value has at least its eight bytes; a shape may say anything.
        if count * len(fields) * 8 > len(data):
            raise ValueError("it ends early")
        value = [{field: _inner(parts, order, depth) for field in fields} for _ in range(count if fields else 0)]
        value = value if kind == _STRUCT else [each[""] for each in value]
    return bytes(name).decode("ascii", "replace"), value


def _next(parts):
    found = next(parts, None)
    if found is None:
        raise ValueError("it ends early")
    return found


def _inner(parts, order, depth):
    """The value of the next matrix inside of one."""
    kind, data = _next(parts)
    if kind != _MATRIX:
        raise ValueError(f"an element of type {kind} for a matrix")
    return _variable(data, order, depth + 1)[1]


def _fields(parts, order):
    """The names of the fields of a struct: their length with what fills it up, then all of them."""
    length, names = _next(parts)[1], bytes(_next(parts)[1])
    length = struct.unpack_from(order + "i", length)[0] if len(length) >= 4 else 0
    if length < 1:
        raise ValueError(f"names of {length} bytes")
    names = [names[start : start + length] for start in range(0, len(names), length)]
    return tuple(name.partition(b"\0")[0].decode("ascii", "replace") for name in names)


def _numbers(kind, data, shape, order):
    if kind not in _NUMBERS:
        raise ValueError(f"numbers of type {kind}")
    values = np.frombuffer(data, order + _NUMBERS[kind])
    if values.size != math.prod(shape):
        raise ValueError(f"{values.size} numbers for a shape of {shape}")
    return values.reshape(shape, order="F")


def _text(kind, data, order):
    """Of one line: texts are stored in UTF-8 (16), in UTF-16 (17), or as numbers of one or two bytes."""
    utf16 = "utf-16-le" if order == "<" else "utf-16-be"
    return bytes(data).decode({16: "utf-8", 4: utf16, 17: utf16}.get(kind, "latin-1"), "replace")
