"""Files that are written whole or not at all: a reader never sees half of one, a full disk spoils none."""

import contextlib
import hashlib
import json
import os
import pathlib

from mtl_tf.errors import UsageError

_LONGEST = 160  # bytes, of the 255 that file systems take


class WriteError(UsageError):
    """A file could not be written; what was there is untouched."""


def leads_out(name: str) -> bool:
    """Whether a name that came with data would, below a folder, be the path of something outside, or of nothing."""
    path = pathlib.PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name


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
def replacing(path: str | os.PathLike):
    """A file for bytes that takes the place of `path` when the block ends; after an error it never was. See above."""
    path = pathlib.Path(path)
    temporary = path.with_name(f".{file_name(path.name)}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise WriteError(
            f"cannot write {path} ({error.strerror}); what was there is untouched; make room or the folder writable"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str):
    """Writes a text file in UTF-8; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike, content):
    """Writes JSON; NaN and infinity, which JSON has not, are an error of the caller."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
