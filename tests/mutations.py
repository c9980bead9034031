"""Damage as it happens to files: seeded mutations of bytes, and a guard against readers that hang."""

import contextlib
import signal

import numpy as np


def mutate(random: np.random.Generator, data: bytes) -> bytes:
    """The bytes after one to three kinds of damage; never the same bytes."""
    damaged = data
    while damaged == data:
        for _ in range(random.integers(1, 4)):
            damaged = DAMAGES[random.integers(len(DAMAGES))](random, damaged)
    return damaged


def _flip_bits(random, data):
    found = bytearray(data)
    for position in random.integers(0, max(len(found), 1), random.integers(1, 9)):
        if found:
            found[position] ^= 1 << random.integers(8)
    return bytes(found)


def _truncate(random, data):
    """Half a download."""
    return data[: random.integers(0, len(data) + 1)]


def _blank(random, data):
    """A block that was never written."""
    start = random.integers(0, len(data) + 1)
    end = min(len(data), start + int(random.integers(1, 600)))
    return data[:start] + bytes(end - start) + data[end:]


def _remove(random, data):
    start = random.integers(0, len(data) + 1)
    return data[:start] + data[start + int(random.integers(1, 200)) :]


def _insert(random, data):
    start = random.integers(0, len(data) + 1)
    return data[:start] + random.bytes(int(random.integers(1, 200))) + data[start:]


def _extreme(random, data):
    """A number of four bytes, such as a size, becomes as large as it can be, or zero."""
    found = bytearray(data)
    start = int(random.integers(0, max(len(found) - 4, 1)))
    found[start : start + 4] = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0")[random.integers(3)]
    return bytes(found)


def _repeat(random, data):
    """A block written twice."""
    start = int(random.integers(0, len(data) + 1))
    block = data[start : start + int(random.integers(1, 300))]
    return data[:start] + block + data[start:]


def _overwrite(random, data):
    """A character, so that texts stay texts."""
    found = bytearray(data)
    if found:
        found[random.integers(len(found))] = b'0123456789-+.eE,:[]{}" nulltrue/\\'[random.integers(32)]
    return bytes(found)


DAMAGES = (_flip_bits, _truncate, _blank, _remove, _insert, _extreme, _repeat, _overwrite)


@contextlib.contextmanager
def seconds_at_most(seconds: int):
    """Raises a TimeoutError inside when the block takes longer (main thread only)."""

    def end(number, frame):
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
