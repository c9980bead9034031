"""PyTorch's files: the zip archive that is written since version 1.6, and the file of pickles before it."""

import contextlib
import io
import math
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np

from mtl_tf.models.weights import pickles
from mtl_tf.models.weights.pickles import Storage, View
from mtl_tf.models.weights.tensors import Tensor, UnreadableError, damage

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file before version 1.6
_DEEPEST = 4  # dicts within dicts: {"state_dict": {"model": {"module": {...}}}}
_DAMAGED = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError)
_DAMAGED = (*_DAMAGED, IndexError, TypeError, OverflowError, MemoryError, struct.error)

Fetch = Callable[[Storage], bytes]


@contextlib.contextmanager
def open_zip(path: pathlib.Path) -> Iterator[dict[str, Tensor]]:
    """The tensors of a zip archive that `torch.save` wrote."""
    with contextlib.ExitStack() as stack:
        with damage("PyTorch file", *_DAMAGED):
            archive, size = stack.enter_context(zipfile.ZipFile(path)), path.stat().st_size
            records = {info.filename: info for info in archive.infolist()}
            roots = [name.removesuffix("data.pkl") for name in records if name.count("/") == 1]
            roots = [root for root in roots if f"{root}data.pkl" in records]
        if len(roots) != 1:
            what = "a Keras archive" if "model.weights.h5" in records else "a zip archive"
            raise UnreadableError(
                f"is {what} that torch.save did not write; take the weights alone: for Keras, "
                "model.save_weights('NAME.weights.h5'), for PyTorch torch.save(model.state_dict(), 'NAME.pth')"
            )
        (root,) = roots

        def record(name: str) -> bytes:
            info = records.get(root + name)
            if info is None:
                raise UnreadableError(f"is a damaged PyTorch file: {name} is missing in it; copy or download it again")
            # torch.save never compresses: a record that is may be far larger than its file.
            if info.compress_type != zipfile.ZIP_STORED or not info.file_size == info.compress_size <= size:
                raise UnreadableError(f"is not a file that torch.save wrote: {name} in it is compressed, or too large")
            with damage("PyTorch file", *_DAMAGED):
                return archive.read(info)

        if records[f"{root}data.pkl"].file_size > pickles.LARGEST:
            raise UnreadableError(f"is not a file of weights: its pickle is larger than {pickles.LARGEST >> 20} MiB")
        if f"{root}byteorder" in records and record("byteorder") != b"little":
            raise UnreadableError("was written on a machine that is big-endian, which is not supported")
        content = pickles.load(io.BytesIO(record("data.pkl")))
        yield _tensors(content, _Kept(lambda storage: record(f"data/{storage.key}")))


@contextlib.contextmanager
def open_legacy(path: pathlib.Path) -> Iterator[dict[str, Tensor]]:
    """The tensors of a file that `torch.save` wrote before version 1.6: pickles, then every storage in a row."""
    with open(path, "rb") as file:
        head = io.BytesIO(file.read(pickles.LARGEST))
        if pickles.load(head) != MAGIC:
            raise UnreadableError("is a pickle, but none that torch.save wrote")
        version, system = pickles.load(head), pickles.load(head)
        if version != 1001 or not isinstance(system, dict) or not system.get("little_endian"):
            raise UnreadableError("is a PyTorch file of a version or machine that is not supported")
        content, keys = pickles.load(head), pickles.load(head)
        size = file.seek(0, io.SEEK_END)
        widths = {view.storage.key: _dtype(view.storage).itemsize for view in _views(content)}
        places: dict[str, tuple[int, int]] = {}
        with damage("PyTorch file", *_DAMAGED):
            position = head.tell()
            for key in keys:
                file.seek(position)
                (elements,) = struct.unpack("<q", file.read(8))
                # A storage that no tensor of the dict uses has a width that is not known, and nothing follows it then.
                length = elements * widths[key] if key in widths else size - position - 8
                if elements < 0 or position + 8 + length > size:
                    raise ValueError(f"storage {key} reaches beyond the end")
                places[key] = position + 8, length
                position += 8 + length

        def fetch(storage: Storage) -> bytes:
            if storage.key not in places:
                raise UnreadableError("is a damaged PyTorch file: a storage is missing; copy or download it again")
            start, length = places[storage.key]
            file.seek(start)
            return file.read(length)

        yield _tensors(content, _Kept(fetch))


class _Kept:
    """Keeps the storage read last: many tensors may share one."""

    def __init__(self, fetch: Fetch):
        self._fetch, self._key, self._content = fetch, "", b""

    def __call__(self, storage: Storage) -> bytes:
        if self._key != storage.key:
            self._key, self._content = "", self._fetch(storage)
            self._key = storage.key
        return self._content


def _tensors(content: Any, fetch: Fetch) -> dict[str, Tensor]:
    return {
        name: Tensor(view.shape, lambda view=view: _read(view, fetch)) for name, view in named_views(content).items()
    }


def named_views(content: Any) -> dict[str, View]:
    """All tensors in what was saved, by their names; those of dicts within dicts as "state_dict.conv1.weight".

    Raises:
        UnreadableError: there is none.
    """
    found: dict[str, View] = {}
    level, seen = [("", content)], set()
    for _ in range(_DEEPEST):
        inner = []
        for prefix, value in level:
            # One dict may stand in many places, and within itself.
            if not isinstance(value, dict) or id(value) in seen:
                continue
            seen.add(id(value))
            for name, item in value.items():
                if isinstance(name, str) and isinstance(item, View):
                    found[prefix + name] = item
                elif isinstance(name, str):
                    inner.append((f"{prefix}{name}.", item))
        level = inner
    if not found:
        raise UnreadableError("is a PyTorch file without a dict of tensors (a state_dict); save model.state_dict()")
    return found


def _views(content):
    """All tensors in nested dicts and lists, each container once."""
    waiting, seen = [content], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, View):
            yield value
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)


def _read(view: View, fetch: Fetch) -> np.ndarray:
    storage = view.storage
    dtype = _dtype(storage)
    content = fetch(storage)
    start = (storage.start + view.offset) * dtype.itemsize
    if len(content) < (storage.start + storage.elements) * dtype.itemsize:
        raise UnreadableError("is a damaged PyTorch file: a storage is too short; copy or download it again")
    if not math.prod(view.shape):
        return np.zeros(view.shape, dtype)
    # The pickle was checked: no view reaches beyond the elements of its storage.
    flat = np.frombuffer(content, dtype, storage.elements - view.offset, start)
    strides = tuple(stride * dtype.itemsize for stride in view.strides)
    return np.array(np.lib.stride_tricks.as_strided(flat, view.shape, strides))


def _dtype(storage: Storage) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16 if storage.dtype == "bfloat16" else storage.dtype)
