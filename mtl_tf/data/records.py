"""TFRecord files at the level of bytes: records framed with checksums, each a tf.train.Example. Without TensorFlow.

A record is its length (8 bytes, little endian), the masked CRC32C of that (4 bytes), the payload and its masked CRC32C.
Reading one by its place in the file needs no other record, and copies no value out of it.
"""

import struct
from collections.abc import Mapping

from crc32c import crc32c

OVERHEAD = 16  # bytes of a record beside its payload


def frame(payload: bytes) -> bytes:
    """A record of a TFRecord file."""
    length = struct.pack("<Q", len(payload))
    return length + _checksum(length) + payload + _checksum(payload)


def payload_of(record: bytes) -> memoryview:
    """The payload of a record.

    Raises:
        ValueError: it is not whole, or a checksum does not fit.
    """
    record = memoryview(record)
    if len(record) < OVERHEAD or struct.unpack("<Q", record[:8])[0] != len(record) - OVERHEAD:
        raise ValueError("the record is cut off or not there")
    payload = record[12:-4]
    if _checksum(record[:8]) != record[8:12] or _checksum(payload) != record[-4:]:
        raise ValueError("the checksum of the record does not fit")
    return payload


def _checksum(content):
    crc = crc32c(content)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


# === tf.train.Example ===

# Numbers of fields, shifted and joined with the kind of what follows: 2 = bytes with a length, 0 = a number.
_FIRST, _SECOND, _THIRD, _NUMBER = 1 << 3 | 2, 2 << 3 | 2, 3 << 3 | 2, 1 << 3


def encode(features: Mapping[str, bytes | int]) -> bytes:
    """A serialised tf.train.Example; a feature is one value, bytes or an integer that is not negative."""
    entries = []
    for name, value in sorted(features.items()):
        if isinstance(value, int):
            feature = _field(_THIRD, bytes([_NUMBER]) + _varint(value))
        else:
            feature = _field(_FIRST, _field(_FIRST, value))
        entries.append(_field(_FIRST, _field(_FIRST, name.encode()) + _field(_SECOND, feature)))
    return _field(_FIRST, b"".join(entries))


def decode(payload: memoryview) -> dict[str, memoryview | int]:
    """The features of a serialised tf.train.Example that `encode` has written; bytes are views of the payload.

    Raises:
        ValueError: it is something else.
    """
    try:
        found = {}
        for _, features in _fields(payload):
            for _, entry in _fields(features):
                (_, name), (_, feature) = _fields(entry)
                ((kind, values),) = _fields(feature)
                ((_, found[bytes(name).decode()]),) = _fields(values)
                if kind not in (_FIRST, _THIRD):
                    raise ValueError
        return found
    except (IndexError, ValueError, TypeError):
        raise ValueError("the record is no sample of a packed data set") from None


def _field(key, content):
    return b"".join((bytes([key]), _varint(len(content)), content))


def _varint(number):
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def _fields(view):
    """Pairs (key, value) of a message."""
    found, place = [], 0
    while place < len(view):
        key, place = _read_varint(view, place)
        value, place = _read_varint(view, place)
        if key & 7 == 2:
            if place + value > len(view):
                raise ValueError
            value, place = view[place : place + value], place + value
        elif key & 7:
            raise ValueError
        found.append((key, value))
    return found


def _read_varint(view, place):
    number = shift = 0
    while True:
        byte = view[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place
