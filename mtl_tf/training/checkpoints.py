"""Full-state checkpoints: everything a run needs to go on as if it had never stopped, written atomically."""

import contextlib
import os
import pathlib
import shutil

import h5py
import keras
import tensorflow as tf

from mtl_tf.atomic import write_bytes
from mtl_tf.errors import UsageError
from mtl_tf.models.weights import hdf5
from mtl_tf.models.weights.tensors import UnreadableError, damage, numbers
from mtl_tf.plain_paths import plain_path

SAVE_ERRORS = (OSError, tf.errors.OpError)
# What TensorFlow raises on a checkpoint cut short or damaged, depending on where; memory, if a damaged size is large.
DAMAGED = (tf.errors.OpError, IndexError, ValueError, AssertionError, MemoryError)
_NO_MEMORY = (MemoryError, tf.errors.ResourceExhaustedError)


class Checkpoints:
    """The last checkpoints of a run.

    Args:
        directory: where they are kept.
        keep: how many.
        home: where they are restored from, if not there.
        tracked: name -> trackable object (model, optimiser, variables).
    """

    def __init__(self, directory: pathlib.Path, keep: int, home: pathlib.Path | None = None, **tracked):
        self._directory = directory
        self._home = home or directory
        self._checkpoint = tf.train.Checkpoint(**tracked)
        directory.mkdir(parents=True, exist_ok=True)
        folder = plain_path(directory)
        try:
            self._manager = tf.train.CheckpointManager(self._checkpoint, folder, max_to_keep=keep)
        except ValueError:
            # TensorFlow's list of checkpoints is damaged; the checkpoints themselves are found on disk.
            (directory / "checkpoint").unlink()
            self._manager = tf.train.CheckpointManager(self._checkpoint, folder, max_to_keep=keep)

    def restore(self) -> bool:
        """Restores the newest checkpoint that can be read, and warns of those that cannot.

        Returns:
            Whether there is any checkpoint.

        Raises:
            UsageError: there are checkpoints, and none can be read.
        """
        self._sweep()
        paths = checkpoints_in(self._home)
        newest = ""  # why it cannot be read
        for path in reversed(paths):
            try:
                self._checkpoint.restore(os.path.join(plain_path(self._home), path.name)).assert_consumed()
                return True
            except DAMAGED as error:
                why = "out of memory" if isinstance(error, _NO_MEMORY) else reason(error) or type(error).__name__
                newest = newest or why
                print(f"warning: {path} cannot be read ({why}); trying the one before it", flush=True)
        if paths:
            raise UsageError(
                f"none of the checkpoints in {self._home} can be read (the newest: {newest}); --train.fresh starts the "
                "run anew"
            )
        return False

    def save(self):
        """Writes a checkpoint; the earlier ones stay until it is complete.

        Raises:
            UsageError: it could not be written; the last good one is untouched.
        """
        try:
            self._manager.save()
        except SAVE_ERRORS as error:
            latest = self._manager.latest_checkpoint
            kept = f"the last good one is {pathlib.Path(latest).name}" if latest else "there is none yet"
            raise UsageError(
                f"cannot save a checkpoint in {self._directory} ({reason(error)}); {kept}: "
                "make room and run the same command again"
            ) from None

    def _sweep(self):
        """Removes what a killed process left half written."""
        if not self._directory.is_dir():
            return
        whole = {path.name for path in checkpoints_in(self._directory)}
        for file in self._directory.iterdir():
            if file.name.startswith("ckpt-") and file.name.partition(".")[0] not in whole:
                with contextlib.suppress(OSError):
                    file.unlink() if file.is_file() else shutil.rmtree(file)


def checkpoints_in(directory: pathlib.Path) -> list[pathlib.Path]:
    """The complete checkpoints of a directory, from old to new (TensorFlow writes the index last)."""
    indices = [file for file in directory.glob("ckpt-*.index") if file.stem.removeprefix("ckpt-").isdecimal()]
    return [file.with_suffix("") for file in sorted(indices, key=lambda file: int(file.stem.removeprefix("ckpt-")))]


def save_weights(model: keras.Model, path: pathlib.Path):
    """Writes a model's weights to HDF5; see `save_variables`."""
    save_variables(model.variables, path)


def save_variables(variables: list[keras.Variable], path: pathlib.Path):
    """Writes variables to HDF5, one data set a variable under the variable's path, atomically.

    Keras' own `.weights.h5` is written in place and names variables by their position in the model.
    """
    # In memory first: on a full disk HDF5 fails in ways that cannot be caught.
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        for variable in variables:
            file.create_dataset(variable.path, data=keras.ops.convert_to_numpy(variable))
        file.flush()
        image = file.id.get_file_image()
    write_bytes(path, image)


def load_weights(model: keras.Model, path: pathlib.Path):
    """Reads what `save_weights` wrote into a model of the same configuration.

    Raises:
        UsageError: the file is missing or damaged, or holds the weights of another network; nothing was changed then.
    """
    try:
        path.open("rb").close()
        with hdf5.open_file(path) as file:
            with damage("HDF5 file", *hdf5.DAMAGED):
                found = hdf5.datasets(file)
                shapes = {name: dataset.shape for name, dataset in found.items()}
            wrong = [v.path for v in model.variables if shapes.get(v.path) != tuple(v.shape)]
            if wrong:
                raise UsageError(
                    f"{path} holds the weights of another network: {len(wrong)} differ, e.g. {wrong[0]}; "
                    "put back the file that the run wrote"
                )
            values = [(variable, _value(variable, found[variable.path])) for variable in model.variables]
    except OSError as error:
        raise UsageError(f"cannot read weights from {path}: {reason(error)}; repair it and run again") from None
    except UnreadableError as error:
        raise UsageError(f"{path} {error}") from None
    for variable, value in values:
        variable.assign(value)


def _value(variable, dataset):
    tensor = hdf5.tensor_of(dataset)
    if keras.backend.is_float_dtype(variable.dtype):
        return numbers(variable.path, tensor)
    with damage("HDF5 file", *hdf5.DAMAGED):  # the state of random numbers
        return dataset.astype(variable.dtype)[()]


def reason(error: Exception) -> str:
    """What an error of the system or of TensorFlow says, without TensorFlow's name for where."""
    text = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    return " ".join(text.rpartition("}}")[2].split())[:500]
