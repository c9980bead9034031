"""Which format a file has, by its content: a name says little, and a wrong one does no harm."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

import safetensors

from mtl_tf.models.weights.hdf5 import open_hdf5
from mtl_tf.models.weights.tensors import Tensor, UnreadableError, damage
from mtl_tf.models.weights.torch_files import open_legacy, open_zip

FORMATS = "HDF5 (.h5, .weights.h5), safetensors, or PyTorch's (.pth, .pt)"

_OF_RUN = {"best": "weights.h5", "averaged": "averaged_weights.h5"}


@contextlib.contextmanager
def open_tensors(path: pathlib.Path) -> Iterator[dict[str, Tensor]]:
    """Opens a weight file; its tensors can be read until it is closed.

    Raises:
        UnreadableError: it is no weight file, or a damaged one.
    """
    if not path.is_file():
        if path.with_name(path.name + ".index").is_file():
            raise UnreadableError(_CHECKPOINT)
        raise UnreadableError(f"names no such file; it takes the path of a run or of a weight file: {FORMATS}")
    try:
        with open(path, "rb") as file:
            head = file.read(512)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from None
    with _opener(path, head, size)(path) as tensors:
        yield tensors


_CHECKPOINT = (
    "is a full-state checkpoint, from which only its own run goes on; give the run's directory or best/weights.h5"
)


def file_of_run(folder: pathlib.Path, key: str = "") -> tuple[pathlib.Path, str]:
    """The weights in the directory of a run.

    Args:
        folder: the directory.
        key: "best", the usual ones, or "averaged".

    Returns:
        The file, and a sentence that says which it is where there are others.

    Raises:
        UnreadableError: it is not the directory of a run, or has no such weights.
    """
    there = {name: folder / "best" / file for name, file in _OF_RUN.items() if (folder / "best" / file).is_file()}
    if key in there or (there and not key):
        taken = key or next(iter(there))
        others = "".join(f", not {name} (--model.weights_key={name} takes them)" for name in there if name != taken)
        return there[taken], f"its {taken} weights are taken{others}" if key or others or taken != "best" else ""
    if there:
        raise UnreadableError(f"is a run without weights {key}; --model.weights_key takes {' or '.join(there)}")
    if (folder / "run.flags").is_file():
        raise UnreadableError("is a run without best/weights.h5: its first epoch is not finished; train it further")
    if (folder / "checkpoint").is_file() or any(folder.glob("ckpt-*.index")):
        raise UnreadableError(_CHECKPOINT)
    raise UnreadableError("names no such file: it is a folder, and not that of a run")


def _opener(path, head: bytes, size: int):
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return open_hdf5
    if head.startswith(b"PK\x03\x04"):
        return open_zip
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return open_legacy
    # Safetensors: the length of a JSON header, then that.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return _open_safetensors
    raise UnreadableError(_what_it_is(path, head, size))


def _what_it_is(path, head, size) -> str:
    text = head.lstrip().lower()
    if not head:
        return "is empty; copy or download it again"
    if text.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the weights themselves; fetch them with: git lfs pull"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, not a weight file: the download went wrong; download it again"
    if head[257:262] == b"ustar":
        return "is a tar archive; unpack it, or, if PyTorch wrote it (before 0.1.10), save it anew with a newer one"
    if path.name.endswith((".index", ".meta")) or ".data-" in path.name:
        return _CHECKPOINT
    if head[8:9] == b"{":
        return f"is a cut off safetensors file of {size} bytes; copy or download it again"
    return f"is no weight file, or a damaged one: it must be {FORMATS}"


@contextlib.contextmanager
def _open_safetensors(path: pathlib.Path) -> Iterator[dict[str, Tensor]]:
    errors = (safetensors.SafetensorError, OSError, ValueError, TypeError, AttributeError, KeyError, MemoryError)

    def read(name):
        with damage("safetensors file", *errors):
            return file.get_tensor(name)

    with contextlib.ExitStack() as stack:
        with damage("safetensors file", *errors):
            file = stack.enter_context(safetensors.safe_open(path, framework="numpy"))
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        yield {name: Tensor(shape, lambda name=name: read(name)) for name, shape in shapes.items()}
