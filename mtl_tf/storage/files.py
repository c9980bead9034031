"""Files, local or remote: a path with a scheme (gs://, s3://, hdfs://) passes through TensorFlow's file systems.

Paths are texts, since a pathlib.Path would make one slash of the two. Errors are those of local files (OSError), so
that callers need not know where a file lies. TensorFlow is imported only where a path is remote. A path may also lie
in a tree of files that a program has mounted, such as the files in a packed data set.
"""

import contextlib
import errno
import io
import os
import stat
import sys
import time
from collections.abc import Callable
from typing import BinaryIO, Protocol, TypeVar

join, name_of, folder_of = os.path.join, os.path.basename, os.path.dirname


def is_remote(path: str) -> bool:
    """Whether a path names a file system of TensorFlow's."""
    return "://" in path


def as_bytes(name: str) -> bytes:
    """A file's name as the bytes that it is, UTF-8 or not."""
    return name.encode("utf-8", "surrogateescape")


def from_bytes(name: bytes) -> str:
    """What `as_bytes` was given."""
    return bytes(name).decode("utf-8", "surrogateescape")


class Tree(Protocol):
    """Files by their path below a root, "" being the root itself; folders have no slash at their end."""

    def read(self, path: str) -> bytes:
        """The bytes of a file that there is."""

    def listing(self, path: str) -> list[str] | None:
        """The names in a folder, sorted; None where there is no such folder."""

    def has(self, path: str) -> bool:
        """Whether there is such a file."""


_MOUNTED = "mounted://"
_trees: dict[str, Tree] = {}


def mount(name: str, tree: Tree) -> str:
    """Makes the files of a tree readable by path; returns the path of its root. The same name replaces a tree."""
    root = _MOUNTED + name.strip("/")
    _trees[root] = tree
    return root


def _mounted(path):
    """The tree that a path lies in, and the path below its root; None where it lies in no tree."""
    if not path.startswith(_MOUNTED):
        return None
    for root, tree in _trees.items():
        if path.rstrip("/") == root or path.startswith(root + "/"):
            return tree, path[len(root) :].strip("/")
    return _Nothing, path


class _Nothing:
    """The tree of paths that lie in none of those mounted."""

    @staticmethod
    def listing(path):
        return None

    @staticmethod
    def has(path):
        return False


class InMemory(str):
    """A path, for messages, that carries the bytes of its file: what opens it reads them.

    Attributes:
        content: of the file.
        others: the files that `beside` finds, by the ends of their names.
    """

    content: bytes
    others: dict[str, "InMemory"]

    def __new__(cls, path: str, content: bytes):
        made = super().__new__(cls, path)
        made.content, made.others = content, {}
        return made


def beside(path: str, end: str) -> str:
    """The path of the file that is called as another, but has this end of its name instead of the ending."""
    other = os.path.splitext(path)[0] + end
    return path.others.get(end, other) if isinstance(path, InMemory) else other


def open_file(path: str) -> BinaryIO:
    """A file opened for reading bytes; it can seek.

    Raises:
        OSError: of the kind that a local file would give.
    """
    if isinstance(path, InMemory):
        return io.BytesIO(path.content)
    if not is_remote(path):
        return open(path, "rb")
    if found := _mounted(path):
        tree, below = found
        if not tree.has(below):
            raise FileNotFoundError(None, "no such file or folder", path)
        return io.BytesIO(tree.read(below))
    with _as_local_errors(path):
        file = _gfile().GFile(path, "rb")
        file.size()  # the file is looked up when it is first used
        return file


def read(path: str) -> bytes:
    """All bytes of a file; what fails for a moment is tried again."""

    def once():
        with open_file(path) as file, _as_local_errors(path):
            return file.read()

    return patiently(once, path)


def read_range(path: str, start: int, length: int) -> bytes:
    """`length` bytes of a file from `start` on, fewer where it ends before; what fails for a moment is tried again."""

    def once():
        with open_file(path) as file, _as_local_errors(path):
            file.seek(start)
            return file.read(length)

    return patiently(once, path)


def size(path: str) -> int:
    """The bytes that a file has; what fails for a moment is tried again."""
    return patiently(lambda: _size(path), path)


def _size(path):
    if not is_remote(path):
        return os.stat(path).st_size
    if _mounted(path):
        return len(read(path))
    with _as_local_errors(path):
        return int(_gfile().stat(path).length)


def listing(path: str) -> list[str]:
    """The names in a folder, sorted, a folder's without a slash at its end; what fails for a moment is tried again."""
    return patiently(lambda: _listing(path), path)


def _listing(path):
    if not is_remote(path):
        return sorted(os.listdir(path))
    if found := _mounted(path):
        names = found[0].listing(found[1])
        if names is None:
            raise FileNotFoundError(None, "no such file or folder", path)
        return names
    with _as_local_errors(path):
        return sorted(name.rstrip("/") for name in _gfile().listdir(path))


def is_folder(path: str) -> bool:
    """Whether there is such a folder; what fails for a moment is tried again."""
    if not is_remote(path):
        return stat.S_ISDIR(_mode(path))
    if found := _mounted(path):
        return found[0].listing(found[1]) is not None
    return patiently(lambda: _remote_is(path, folder=True), path)


def is_file(path: str) -> bool:
    """Whether there is such a file; what fails for a moment is tried again."""
    if not is_remote(path):
        return stat.S_ISREG(_mode(path))
    if found := _mounted(path):
        return found[0].has(found[1])
    return patiently(lambda: _remote_is(path, folder=False), path)


def _mode(path):
    """What kind of thing a local path names, as os.stat says it; 0 for nothing that can be looked at."""
    try:
        return patiently(lambda: os.stat(path).st_mode, path)
    except (OSError, ValueError) as error:  # a path may be too long, or hold what none may hold
        if isinstance(error, OSError) and may_pass(error):
            raise
        return 0


def _remote_is(path, folder):
    with _as_local_errors(path):
        return _gfile().exists(path) and _gfile().isdir(path) == folder


def _gfile():
    import tensorflow as tf

    return tf.io.gfile


@contextlib.contextmanager
def _as_local_errors(path):
    if not is_remote(path):
        yield
        return
    import tensorflow as tf

    passing = (
        tf.errors.UnavailableError,
        tf.errors.DeadlineExceededError,
        tf.errors.AbortedError,
        tf.errors.InternalError,
        tf.errors.ResourceExhaustedError,
    )
    kinds = {
        tf.errors.NotFoundError: (FileNotFoundError, "no such file or folder"),
        tf.errors.PermissionDeniedError: (PermissionError, "no permission"),
        tf.errors.UnauthenticatedError: (PermissionError, "not signed in"),
    }
    try:
        yield
    except tf.errors.UnimplementedError:
        raise OSError(None, "no such file system is known to TensorFlow here", path) from None
    except tf.errors.OpError as error:
        kind, text = kinds.get(type(error), (OSError, " ".join(str(error.message).split())[:200]))
        raise kind(errno.EIO if isinstance(error, passing) else None, text, path) from None


# === Patience ===

PAUSES = (0.1, 0.4, 1.6, 3.2)  # seconds before each further try
# Of a disk or network that may be well again in a moment; everything else is final at once.
_PASSING = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "EREMOTEIO", "EAGAIN", "EBUSY", "EINTR", "ETIMEDOUT", "ESTALE", "EMFILE", "ENFILE", "ENOBUFS"),
        *("ENETDOWN", "ENETUNREACH", "ENETRESET", "ECONNRESET", "ECONNABORTED", "ECONNREFUSED"),
        *("EHOSTDOWN", "EHOSTUNREACH", "ENOTCONN", "ESHUTDOWN"),
    )
    if hasattr(errno, name)
)
_Result = TypeVar("_Result")


def may_pass(error: OSError) -> bool:
    """Whether an error is of the kind that goes away by itself."""
    return error.errno in _PASSING


def patiently(job: Callable[[], _Result], path: str) -> _Result:
    """What a job on a file gives; where it fails for a moment it is tried again, after growing pauses.

    Raises:
        OSError: it cannot be done, or not in so many tries.
    """
    for pause in PAUSES:
        try:
            return job()
        except OSError as error:
            if not may_pass(error):
                raise
            print(f"{path}: {error.strerror}; trying again in {pause:g} s", file=sys.stderr, flush=True)
        time.sleep(pause)
    return job()
