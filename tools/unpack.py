"""tools/unpack.py --archives=FILE,... --output=FOLDER: unpacks the archives in which data sets are downloaded.

Takes .zip and .tar, plain or packed with gzip, bzip2 or xz. An archive with an entry that would land outside FOLDER, or
that is a link or a device, is refused. Files are written whole or not at all, and one that is there with the right size
is not written again, so that a stopped run continues. Of the options of main.py it takes --output.
"""

import dataclasses
import lzma
import os
import pathlib
import re
import shutil
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from _tool import run_tool
from _writing import output_folder

from mtl_tf.atomic import swapping
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option
from mtl_tf.progress import Progress

# What the readers raise on damaged archives, and on encrypted ones.
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError)
_MIB = 2**20

USES = ("output",)  # of the options of main.py


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    archives: tuple[str, ...] = option((), "The archives, with commas.")


class Entry(NamedTuple):
    """A file in an archive: its name, its size in bytes, whether it is neither a link nor a device, its content."""

    name: str
    size: int
    plain: bool
    open: Callable[[], BinaryIO]


def unpack_all(parsed):
    """Unpacks the archives.

    Raises:
        UsageError: one is missing, damaged or no archive, or has an entry that is refused; the folder cannot be used.
    """
    folder = output_folder(parsed.config)
    if not parsed.own.archives:
        raise UsageError("--archives=FILE,... is missing: the archives to unpack")
    for archive in parsed.own.archives:
        new, found = unpack(archive, folder)
        print(f"{archive}: {new + found} files in {folder} ({new} new, {found} found)")


def unpack(archive: str, folder: pathlib.Path) -> tuple[int, int]:
    """Unpacks one archive into a folder; returns how many files are new and how many were there."""
    new = found = done = 0
    try:
        size = os.path.getsize(archive)
        with open(archive, "rb") as raw:
            progress = Progress(f"unpacking {pathlib.Path(archive).name}", size // _MIB, "MiB")
            for entry in _entries(raw):
                target = folder / relative_name(archive, entry)
                if target.is_file() and target.stat().st_size == entry.size:
                    found += 1
                else:
                    _write(entry, target, folder)
                    new += 1
                progress.advance(raw.tell() // _MIB - done)
                done = raw.tell() // _MIB
            progress.close()
    except OSError as error:
        raise UsageError(
            f"{error.filename or archive}: {(error.strerror or str(error)).lower()}; what is complete stays"
        ) from None
    except UsageError:  # a ValueError too
        raise
    except _DAMAGED as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"{archive}: no .zip or .tar file, or damaged ({text}); download it again; what is complete stays"
        ) from None
    return new, found


def relative_name(archive: str, entry: Entry) -> str:
    """The name of an entry below the folder.

    Raises:
        UsageError: it would land outside, or is no plain file.
    """
    parts = re.split(r"[/\\]", entry.name)
    if parts[0] == "" or ":" in parts[0] or ".." in parts:
        raise UsageError(f"{archive}: entry {entry.name!r} points outside the folder; do not trust this archive")
    if not entry.plain:
        raise UsageError(f"{archive}: entry {entry.name!r} is a link or a device; expected plain files only")
    return "/".join(part for part in parts if part not in ("", "."))


def _entries(raw: BinaryIO) -> Iterator[Entry]:
    """The files in an archive, folders left out."""
    if zipfile.is_zipfile(raw):
        with zipfile.ZipFile(raw) as file:
            for info in file.infolist():
                if not info.is_dir():
                    kind = stat.S_IFMT(info.external_attr >> 16)
                    plain = kind in (0, stat.S_IFREG)
                    yield Entry(info.filename, info.file_size, plain, lambda info=info: file.open(info))
        return
    raw.seek(0)
    with tarfile.open(fileobj=raw, tarinfo=_Header) as file:
        for member in file:
            if not member.isdir():
                yield Entry(member.name, member.size, member.isreg(), lambda member=member: file.extractfile(member))


class _Header(tarfile.TarInfo):
    """A header of a .tar file; one that is damaged or cut off is an error, which the library takes for the end."""

    @classmethod
    def fromtarfile(cls, file):
        try:
            return super().fromtarfile(file)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


def _write(entry, target, folder):
    """Writes a file, whole or not at all."""
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{target.parent} leads outside {folder} through a link; remove the link")
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if entry.size > free:
        raise UsageError(f"{target} takes {entry.size / 1e9:.1f} GB, but {free / 1e9:.1f} are free; make room")
    with entry.open() as content, swapping(target, durable=False) as file:
        shutil.copyfileobj(content, file, _MIB)
        if file.tell() != entry.size:
            raise EOFError(f"{entry.name} ends early")


if __name__ == "__main__":
    sys.exit(run_tool(unpack_all, Options))
