"""Floating-point pictures: one channel of an OpenEXR file."""

import contextlib
import io
import os
import sys
import tempfile
import threading

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.storage.texts import read_bytes

_MOST_PIXELS = 2**27  # what a damaged header asks for beyond this is not believed
_ITS_ERROR = b"(EXR_ERR_"
_lock = threading.Lock()  # of what all threads print to


def read_exr(path: str | os.PathLike, channel: str) -> np.ndarray:
    """A channel of an EXR file of half or single precision; the only channel there is, whatever its name.

    Args:
        path: of the file.
        channel: its name.

    Returns:
        float32 (H, W).

    Raises:
        UsageError: the file is missing or damaged, or has no such channel.
    """
    import OpenEXR  # here, since few need it

    content = read_bytes(os.fspath(path))
    try:
        with _without_its_lines():
            with OpenEXR.File(io.BytesIO(content), separate_channels=True, header_only=True) as file:
                low, high = file.header()["dataWindow"]
                pixels = np.prod(np.asarray(high, np.float64) - low + 1)
            if not 0 < pixels <= _MOST_PIXELS:
                raise ValueError(f"its header tells of {pixels:.0f} pixels")
            with OpenEXR.File(io.BytesIO(content), separate_channels=True) as file:
                channels = {name: entry.pixels for name, entry in file.channels().items()}
    # The library's errors of damaged files: its own are RuntimeErrors, a damaged text in them is a ValueError.
    except (RuntimeError, ValueError, TypeError, KeyError, MemoryError) as error:
        text = " ".join(str(error).split())
        raise UsageError(f"{path}: not an EXR picture, or damaged ({text}); replace it") from None
    found = channels.get(channel) if channel in channels or len(channels) != 1 else next(iter(channels.values()))
    if found is None or found.dtype not in (np.float16, np.float32):
        raise UsageError(f"{path}: expected a floating-point channel {channel}, found {', '.join(channels) or 'none'}")
    return np.asarray(found, np.float32)


class _OfOthers:
    """A stream that forgets what the thread that made it writes, and passes on what others do."""

    def __init__(self, stream):
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text):
        return len(text) if threading.get_ident() == self._thread else self._stream.write(text)

    def __getattr__(self, name):
        return getattr(self._stream, name)


@contextlib.contextmanager
def _without_its_lines():
    """Keeps back what the library prints of damaged files: warnings in Python, errors in C."""
    with _lock, tempfile.TemporaryFile() as errors:
        before, copy = sys.stdout, os.dup(2)
        sys.stdout = mine = _OfOthers(before)
        os.dup2(errors.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(copy, 2)
            if sys.stdout is mine:
                sys.stdout = before
            errors.seek(0)
            os.write(copy, b"".join(line for line in errors if _ITS_ERROR not in line))  # those of others
            os.close(copy)
