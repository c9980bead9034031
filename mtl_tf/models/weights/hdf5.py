"""HDF5 files: a run's own weights, and the two formats of Keras."""

import contextlib
import math
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import h5py

from mtl_tf.models.weights.tensors import Tensor, UnreadableError, damage

# What h5py raises on damaged files, depending on where.
DAMAGED = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)
_TRIAL = pathlib.Path(__file__).with_name("hdf5_trial.py")
_ELSEWHERE = "is an HDF5 file whose numbers stand in other files; give one that holds them itself"
_LARGEST_CHUNK = 2**28  # elements; a piece is read whole, even for a small tensor


@contextlib.contextmanager
def open_file(path: pathlib.Path) -> Iterator[h5py.File]:
    """An HDF5 file, opened; its library has read it before, where it could do no harm.

    Raises:
        UnreadableError: it is damaged.
    """
    trial = subprocess.run([sys.executable, "-I", _TRIAL, path], capture_output=True, check=False)
    if trial.returncode:
        raise UnreadableError("is a damaged HDF5 file, which its library cannot read; copy or download it again")
    with contextlib.ExitStack() as stack:
        with damage("HDF5 file", *DAMAGED):
            file = stack.enter_context(h5py.File(path, "r"))
        yield file


def datasets(file: h5py.Group) -> dict[str, h5py.Dataset]:
    """All data sets below a group, by their paths; raises one of `DAMAGED`."""
    found: dict[str, h5py.Dataset] = {}
    file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    return found


@contextlib.contextmanager
def open_hdf5(path: pathlib.Path) -> Iterator[dict[str, Tensor]]:
    """The tensors of an HDF5 file.

    Those of a run have the paths of its variables. Those of Keras have names LAYER/VARIABLE, where VARIABLE is the
    variable's name in its old format (.h5), and the variable's number within its layer in its new one (.weights.h5).
    """
    with open_file(path) as file:
        with damage("HDF5 file", *DAMAGED):
            if "model_weights" in file:  # Keras' old format, with the network beside the weights
                if not isinstance(file.get("model_weights", getlink=True), h5py.HardLink):
                    raise UnreadableError(_ELSEWHERE)
                file = file["model_weights"]
            found = datasets(file)
            if "layers" in file:
                found = _of_layers(file, found)
            elif "layer_names" in file.attrs:
                found = _of_named_layers(found)
            tensors = {name: tensor_of(dataset) for name, dataset in found.items()}
        if not tensors:
            raise UnreadableError("is an HDF5 file without any tensor")
        yield tensors


def _of_layers(file, found):
    """Keras 3 numbers layers by class (conv2d_7); the name that the layer has stands beside its variables."""
    named = {}
    for path, dataset in found.items():
        folder, _, number = path.rpartition("/")
        layer = file[folder].attrs.get("name") if folder.endswith("/vars") else None
        if not path.startswith("layers/") or "/seed_generator/" in path or not number.isdecimal():
            continue  # the state of the optimiser, or of random numbers
        if not isinstance(layer, str):
            raise UnreadableError(
                "was written by a Keras that did not store the names of layers; "
                "load it and save it anew with Keras 3.15: model.save_weights('NAME.weights.h5')"
            )
        named[f"{layer}/{number}"] = dataset
    return named


def _of_named_layers(found):
    """Keras 2: LAYER/.../LAYER/VARIABLE:0, where a nested layer has its own name last but one."""
    named = {}
    for path, dataset in found.items():
        layer, _, variable = path.rpartition("/")
        named[f"{layer.rpartition('/')[2]}/{variable.partition(':')[0]}"] = dataset
    return named


def tensor_of(dataset: h5py.Dataset) -> Tensor:
    """A tensor of floating-point numbers.

    Raises:
        UnreadableError: its numbers stand in another file.
    """
    if dataset.external or dataset.is_virtual:
        raise UnreadableError(_ELSEWHERE)

    def read():
        with damage("HDF5 file", *DAMAGED):
            if dataset.dtype.kind != "f" or math.prod(dataset.chunks or ()) > _LARGEST_CHUNK:
                raise ValueError(f"{dataset.name} is of type {dataset.dtype}, in pieces of {dataset.chunks}")
            return dataset[()]

    return Tensor(tuple(map(int, dataset.shape or ())), read)
