"""What a run writes down as it goes: steps.csv, metrics.csv, TensorBoard, a line an epoch."""

import contextlib
import statistics
from collections.abc import Sequence

import tensorflow as tf

from mtl_tf.config import Config
from mtl_tf.evaluation import finite
from mtl_tf.tasks import Task
from mtl_tf.training.balance_record import BalanceRecord
from mtl_tf.training.run_directory import RunDirectory, Table
from mtl_tf.training.state import State
from mtl_tf.training.summaries import Summaries
from mtl_tf.training.validation import Validation

CONFLICTS = "conflicts.csv"


class Journal(contextlib.AbstractContextManager):
    """The tables and events of a run, continued after its last checkpoint.

    Args:
        config: of the run.
        run: its directory.
        state: how far it is.
        tasks: the network's.
        balance: how what is written down of balancing is read; None = there is none.

    Attributes:
        epochs: metrics.csv.
        summaries: TensorBoard's events.
    """

    def __init__(
        self,
        config: Config,
        run: RunDirectory,
        state: State,
        tasks: Sequence[Task],
        balance: BalanceRecord | None = None,
    ):
        self._config, self._state, self._tasks = config, state, tuple(tasks)
        self.epochs = Table(run.path / "metrics.csv", state.validated_epochs, "epoch")
        self._steps = Table(run.path / "steps.csv", state.step)
        self._balance = balance
        self._conflicts = Table(run.path / CONFLICTS, state.step) if balance and balance.parts else None
        self.summaries = Summaries(run.path / "events", config.log.tensorboard, state.step)

    def __exit__(self, *_):
        self.summaries.close()

    def step(
        self,
        epoch: int,
        losses: dict[str, float],
        balance: tf.Tensor | None,
        rate: float,
        seconds: float,
        waited: float,
        skipped: int,
    ):
        """A row of steps.csv, of balancing a row of conflicts.csv for each part of the network, and scalars.

        Args:
            epoch: of the step, from 1.
            losses: of the step, by name.
            balance: `BalanceRecord.vector` of the step, where there is balancing.
            rate: the learning rate.
            seconds, waited: that it took, and of these for data.
            skipped: steps that were passed over so far.
        """
        losses = finite(losses)
        row = {"step": self._state.step, "epoch": epoch, **losses, "learning_rate": rate}
        speed = {
            "images_per_second": round(self._config.train.batch_size / seconds, 3),
            "step_ms": round(seconds * 1e3, 2),
            "wait_ms": round(waited * 1e3, 2),
        }
        balanced = {} if balance is None else self._balance.columns(balance.numpy())
        self._steps.append(row | speed | {"skipped": skipped} | balanced)
        for found in self._balance.by_part(balance.numpy()) if self._conflicts else ():
            self._conflicts.append({"step": self._state.step, **found})
        named = {f"train/{name}": value for name, value in losses.items()}
        named |= {f"balance/{name}": value for name, value in balanced.items()}
        self.summaries.scalars(named | {"learning_rate": rate, **speed}, self._state.step)

    def panels(self, batch: dict, answers: dict):
        """Pictures of a training batch, as arrays, with the network's answers."""
        self.summaries.samples("train", self._tasks, batch, answers, self._state.step, 4)

    def epoch(self, row: dict, validation: Validation):
        """A row of metrics.csv, scalars, pictures of the observed samples, and a line."""
        row = finite(row)
        self.epochs.append(row)
        names = ("train_loss", "val_loss", *(task.headline for task in self._tasks), "total")
        shown = "  ".join(f"{name} {row[name]:.4g}" for name in names if row.get(name) is not None)
        print(f"epoch {row['epoch']}/{self._config.train.all_epochs}  {shown}", flush=True)
        skip = ("epoch", "step", "num_images", "learning_rate")
        scalars = {f"val/{name}": value for name, value in row.items() if name not in skip and "train_" not in name}
        scalars |= {f"epoch/{name}": value for name, value in row.items() if name.startswith("train_")}
        self.summaries.scalars(scalars, self._state.step)
        validation.observe(self.summaries, self._state.step)
        self.summaries.flush()

    def images_per_second(self) -> float | None:
        """The median over the rows of steps.csv."""
        speeds = [row["images_per_second"] for row in self._steps.rows()]
        return statistics.median(speeds) if speeds else None
