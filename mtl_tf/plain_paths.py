"""Paths that TensorFlow and Keras Tuner take as they are.

Both look for files by patterns in which the signs of a folder's own name count as well (`[1]`, `*`), and take texts for
UTF-8, which a name need not be: checkpoints are not found or never deleted, or those of another run are.
"""

import os
import pathlib

from mtl_tf.errors import UsageError

_PATTERN_SIGNS = frozenset("*?[]{}\\\n\r")
_OPEN_FOLDERS = pathlib.Path("/proc/self/fd")  # Linux: an open folder's number is a path to it
_open: dict[str, int] = {}


def plain_path(folder: str | os.PathLike) -> str:
    """The path of a folder as TensorFlow takes it: its own where that is plain, else one by a number.

    Args:
        folder: which there is; it stays open to the end of the process where its path is not plain.

    Raises:
        UsageError: the path is not plain, and this system has no other for it.
        OSError: there is no such folder.
    """
    path = os.path.abspath(folder)
    if is_plain(path):
        return str(folder)
    if not _OPEN_FOLDERS.is_dir():
        raise UsageError(f"{path}: TensorFlow cannot use a folder of this name here; rename it, or choose another")
    number = _open.get(path)
    if number is None or not os.path.samestat(os.fstat(number), os.stat(path)):
        number = _open[path] = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    return str(_OPEN_FOLDERS / str(number))


def is_plain(path: str) -> bool:
    """Whether TensorFlow takes a path as it is."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return _PATTERN_SIGNS.isdisjoint(path)
