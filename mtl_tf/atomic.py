"""Files that are written whole or not at all: a reader never sees half of one, a full disk spoils none."""

import contextlib
import json
import os
import pathlib

from mtl_tf.errors import UsageError


class WriteError(UsageError):
    """A file could not be written; what was there is untouched."""


def write_bytes(path: str | os.PathLike, content: bytes):
    """Writes a file; its folder is made.

    Raises:
        WriteError: it could not be written; what was there is untouched.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise WriteError(
            f"cannot write {path} ({error.strerror}); what was there is untouched; make room or the folder writable"
        ) from None


def write_text(path: str | os.PathLike, text: str):
    """Writes a text file in UTF-8; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike, content):
    """Writes JSON; NaN and infinity, which JSON has not, are an error of the caller."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
