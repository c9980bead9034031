"""Floating-point pictures: one channel of an OpenEXR file."""

import contextlib
import io
import os

import numpy as np

from mtl_tf.errors import UsageError

_MOST_PIXELS = 2**27  # what a damaged header asks for beyond this is not believed


def read_exr(path: str, channel: str) -> np.ndarray:
    """A channel of an EXR file of half or single precision; the only channel there is, whatever its name.

    While it reads, what the process prints is lost: the library prints its own lines about damaged files.

    Returns:
        float32 (H, W).

    Raises:
        UsageError: the file is missing or damaged, or has no such channel.
    """
    import OpenEXR  # here, since few need it

    try:
        with open(path, "rb"):
            pass
        with _silent():
            with OpenEXR.File(str(path), separate_channels=True, header_only=True) as file:
                low, high = file.header()["dataWindow"]
                pixels = np.prod(np.asarray(high, np.float64) - low + 1)
            if not 0 < pixels <= _MOST_PIXELS:
                raise ValueError(f"its header tells of {pixels:.0f} pixels")
            with OpenEXR.File(str(path), separate_channels=True) as file:
                channels = {name: entry.pixels for name, entry in file.channels().items()}
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    # The library's errors of damaged files: its own are RuntimeErrors, a damaged text in them is a ValueError.
    except (RuntimeError, ValueError, TypeError, KeyError, MemoryError) as error:
        text = " ".join(str(error).split())
        raise UsageError(f"{path}: not an EXR picture, or damaged ({text}); replace it") from None
    found = channels.get(channel) if channel in channels or len(channels) != 1 else next(iter(channels.values()))
    if found is None or found.dtype not in (np.float16, np.float32):
        raise UsageError(f"{path}: expected a floating-point channel {channel}, found {', '.join(channels) or 'none'}")
    return np.asarray(found, np.float32)


@contextlib.contextmanager
def _silent():
    """Sends the process's output and errors nowhere, those of libraries in C too."""
    kept = [(number, os.dup(number)) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number, _ in kept:
            os.dup2(nowhere, number)
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.close(nowhere)
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
