"""What a run shows in TensorBoard: scalars, histograms of quantities and picture panels."""

import contextlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mtl_tf.atomic import WriteError
from mtl_tf.errors import is_out_of_memory
from mtl_tf.panels import sample_panel
from mtl_tf.plain_paths import plain_path
from mtl_tf.tasks import Task
from mtl_tf.training.checkpoints import reason


class Summaries:
    """A TensorBoard writer, or nothing where it is switched off.

    Args:
        directory: where the event files go.
        enabled: False writes nothing.
        until: the step that the run continues after; what older files hold of later ones is cut off.
    """

    def __init__(self, directory: pathlib.Path, enabled: bool, until: int):
        self._directory = directory
        for path in directory.glob("events.out.tfevents.*"):
            _cut(path, until)
        self._writer = events_writer(directory) if enabled else tf.summary.create_noop_writer()

    def scalars(self, values: dict[str, float | None], step: int):
        """Numbers by name; None is left out."""
        with self._writing(), self._writer.as_default(step):
            for name, value in values.items():
                if value is not None:
                    tf.summary.scalar(name, value)

    def samples(self, name: str, tasks: Sequence[Task], batch: dict, answers: dict, step: int, most: int) -> list:
        """Panels of the first samples of a batch, and histograms of true and predicted quantities.

        Args:
            name: the tag.
            tasks: the network's tasks.
            batch: a batch of the data contract, as arrays.
            answers: decoded answers by task, as arrays (B, H, W).
            step: the global step.
            most: number of samples.

        Returns:
            The panels, uint8 (h, w, 3).
        """
        panels = []
        with self._writing(), self._writer.as_default(step):
            for position in range(min(most, len(batch["image"]))):
                truth = {task.name: batch[task.name][position] for task in tasks}
                answer = {task.name: answers[task.name][position] for task in tasks}
                panels.append(sample_panel(batch["image"][position], tasks, truth, answer))
                tf.summary.image(f"{name}/{position}", panels[-1][None])
            for task in tasks:
                for tag, values in task.histograms(batch[task.name], answers[task.name]).items():
                    tf.summary.histogram(f"{name}/{tag}", values)
        return panels

    def flush(self):
        """Makes everything written so far visible.

        Raises:
            WriteError: it could not be written, here or by the other methods.
        """
        with self._writing():
            self._writer.flush()

    def close(self):
        """Ends the event file; what could not be written has been told."""
        with contextlib.suppress(WriteError), self._writing():
            self._writer.close()

    @contextlib.contextmanager
    def _writing(self):
        try:
            yield
        except tf.errors.OpError as error:
            if is_out_of_memory(error):
                raise
            raise WriteError(
                f"cannot write events to {self._directory} ({reason(error)}); make room and run the same command again"
            ) from None


def events_writer(directory: pathlib.Path) -> tf.summary.SummaryWriter:
    """TensorBoard's writer of a folder, which is made."""
    directory.mkdir(parents=True, exist_ok=True)
    return tf.summary.create_file_writer(plain_path(directory))


def _cut(path, until):
    """Ends an event file before the first event of a later step: the steps in a file only grow."""
    end, size = 0, path.stat().st_size
    try:
        for record in tf.data.TFRecordDataset(os.path.join(plain_path(path.parent), path.name)).as_numpy_iterator():
            if tf.compat.v1.Event.FromString(record).step > until:
                break
            end += len(record) + 16  # its length, and two checksums
    except tf.errors.DataLossError:
        pass  # half an event, from a process that was killed
    if end < size:
        os.truncate(path, end)


def as_arrays(strategy: tf.distribute.Strategy, batch: dict) -> dict[str, np.ndarray]:
    """A (distributed) batch as arrays: of the global batch, where there are several processes of this one's share."""
    return {
        name: np.concatenate([part.numpy() for part in strategy.experimental_local_results(value)])
        for name, value in batch.items()
    }
