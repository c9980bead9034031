"""Files and folders that are written whole or not at all: a reader never sees half of one, a full disk spoils none.

What a killed process was writing lies beside its place, under a name that begins with a dot. Whoever writes holds a
lock on it; what nobody holds is removed when the next file or folder is written there.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
import threading
from collections.abc import Iterator
from typing import BinaryIO

from mtl_tf.errors import UsageError

_LONGEST = 160  # bytes, of the 255 that file systems take
_FILES, _FOLDERS = ".mtl_tf-", ".export-"
_BEFORE = "before"  # what a new folder replaces, until it is there
_swept: set[pathlib.Path] = set()  # folders that this process has looked through for files
_sweeping = threading.Lock()


class WriteError(UsageError):
    """A file could not be written; what was there is untouched."""


def leads_out(name: str) -> bool:
    """Whether a name that came with data would, below a folder, be the path of something outside, or of nothing."""
    paths = pathlib.PurePosixPath(name), pathlib.PureWindowsPath(name)
    return any(path.is_absolute() or ".." in path.parts for path in paths) or "\0" in name


def below(folder: pathlib.Path, name: str) -> pathlib.Path:
    """The path of a file below a folder, by a name that came with data.

    Raises:
        UsageError: it would lie elsewhere.
    """
    if leads_out(name):
        raise UsageError(f"{name!r} would lie outside of {folder}; rename it where it comes from")
    return folder / name


def file_name(text: str) -> str:
    """A text as the name of a file, or a part of one with room for a few words more; other texts give other names."""
    name = text.replace("%", "%25").replace("/", "%2F").replace("\\", "%5C").replace("\0", "%00")
    encoded = name.encode("utf-8", "surrogateescape")
    if len(encoded) <= _LONGEST:
        return name
    return f"{encoded[:_LONGEST].decode('utf-8', 'ignore')}%{hashlib.sha256(encoded).hexdigest()[:12]}"


def write_bytes(path: str | os.PathLike, content: bytes):
    """Writes a file; its folder is made.

    Raises:
        WriteError: it could not be written; what was there is untouched.
    """
    with replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A file for bytes that takes the place of `path` when the block ends; after an error it never was.

    Raises:
        WriteError: the system could not write it; what was there is untouched.
    """
    path = pathlib.Path(path)
    try:
        with swapping(path) as file:
            yield file
    except OSError as error:
        raise WriteError(
            f"cannot write {path} ({error.strerror}); what was there is untouched; make room or the folder writable"
        ) from None


@contextlib.contextmanager
def swapping(path: pathlib.Path, durable: bool = True) -> Iterator[BinaryIO]:
    """As `replacing`, errors of the system as they are.

    Args:
        path: the file; its folder is made.
        durable: whether the file is on the disk, and not only on its way there, before it takes its place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _sweeping:
        if path.parent not in _swept:
            _swept.add(path.parent)
            _remove_abandoned_files(path.parent)
    temporary, file = _open_held(path)
    try:
        with file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def swapping_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path for a folder, which takes the place of `path` when the block ends; what lies beside it then goes.

    Killed between the two steps of the exchange, a process leaves the old folder aside; the next one puts it back.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned_folders(path.parent)
    scratch, lock = _make_held(path.parent)
    try:
        yield scratch / "new"
        if path.exists():
            (scratch / _BEFORE).mkdir()
            os.replace(path, scratch / _BEFORE / path.name)
        os.replace(scratch / "new", path)
    finally:
        with contextlib.suppress(OSError):
            _dissolve(scratch)
        os.close(lock)


def remove_abandoned_folders(parent: pathlib.Path):
    """Removes what killed processes left of folders in `parent`."""
    for folder in parent.glob(f"{_FOLDERS}*"):
        with contextlib.suppress(OSError):
            # Of another's folder of such a name nothing is touched.
            if folder.is_symlink() or {entry.name for entry in folder.iterdir()} - {"new", _BEFORE, "tasks.json"}:
                continue
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _dissolve(folder)
            finally:
                os.close(lock)


def _dissolve(scratch):
    """Removes a folder that was to be put in place; what it was to replace goes back if nothing has replaced it."""
    for before in (scratch / _BEFORE).glob("*"):
        if not (scratch.parent / before.name).exists():
            os.replace(before, scratch.parent / before.name)
    shutil.rmtree(scratch)


def _remove_abandoned_files(folder):
    for path in folder.glob(f"{_FILES}*.tmp"):
        with contextlib.suppress(OSError), open(path, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _open_held(target) -> tuple[pathlib.Path, BinaryIO]:
    """A new file that this process holds; one that another took for abandoned before that is left to it."""
    while True:
        path = target.with_name(f"{_FILES}{os.urandom(4).hex()}.{file_name(target.name)}.tmp")
        file = open(path, "xb")  # noqa: SIM115 (held until it is whole)
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return path, file
        file.close()


def _make_held(parent) -> tuple[pathlib.Path, int]:
    """A new folder that this process holds, and the lock."""
    while True:
        folder = pathlib.Path(tempfile.mkdtemp(dir=parent, prefix=_FOLDERS))
        lock = os.open(folder, os.O_RDONLY)
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)


def write_text(path: str | os.PathLike, text: str):
    """Writes a text file in UTF-8, names in it that are not so as the bytes that they are; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def write_json(path: str | os.PathLike, content):
    """Writes JSON; NaN and infinity, which JSON has not, are an error of the caller."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
