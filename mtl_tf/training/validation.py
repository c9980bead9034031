"""The end of an epoch: the weights, and their average, are measured on the validation split; the best are kept."""

import math
import pathlib
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from mtl_tf import pictures
from mtl_tf.atomic import write_json
from mtl_tf.config import Config
from mtl_tf.data.pipeline import EvaluationData, TrainingData
from mtl_tf.errors import UsageError
from mtl_tf.evaluation import Evaluation, Evaluator, finite, strategy_and_batch
from mtl_tf.objective import total_loss
from mtl_tf.selection import selection_score
from mtl_tf.tasks import Task, answers
from mtl_tf.training.averaging import Averaging
from mtl_tf.training.checkpoints import save_weights
from mtl_tf.training.passes import take_part
from mtl_tf.training.runtime import Runtime
from mtl_tf.training.step import encoder_frozen
from mtl_tf.training.summaries import Summaries

# After as many the average of the running statistics weighs 0.9^100 = 3e-5; in a training of fewer steps it weighs in.
STATISTICS_BATCHES = 100


class Validation:
    """Validates after each epoch.

    Args:
        config: of the run.
        tasks: the network's.
        model: the network that is trained.
        machine: where it is.
        data: the validation split.
        training: the training batches, by which SWA measures batch norm's statistics.
        averaging: the averaged weights.
        folder: the run directory; best/ and pictures/ are written.

    Attributes:
        data: the validation split.
        best_score, best_epoch: of the trained weights.
        best_averaged: variable of the same two numbers of the averaged weights.
    """

    def __init__(
        self,
        config: Config,
        tasks: Sequence[Task],
        model: keras.Model,
        machine: Runtime,
        data: EvaluationData,
        training: TrainingData,
        averaging: Averaging,
        folder: pathlib.Path,
    ):
        self._config, self._tasks, self._model, self._machine = config, tuple(tasks), model, machine
        self.data, self._training, self._averaging, self._folder = data, training, averaging, folder
        self._strategy, self._batch_size = strategy_and_batch(
            machine.strategy, config.train.batch_size, data.one_size()
        )
        self._evaluator = Evaluator(self._strategy, model, tasks)
        self.best_score, self.best_epoch = -math.inf, 0
        self.best_averaged = tf.Variable([-math.inf, 0.0], dtype=tf.float64, trainable=False)

    def last_best(self) -> int:
        """The last epoch that was the best so far, of the trained weights or of the averaged ones; 0 = none yet."""
        return max(self.best_epoch, int(self.best_averaged[1]))

    def adopt(self, rows: Sequence[dict]) -> None:
        """Takes the best loss from metrics.csv: a run that an earlier version began has kept another sum."""
        if self._config.train.best_metric == "loss":
            losses = {row["epoch"]: row["val_loss"] for row in rows}
            if (best := losses.get(self.best_epoch)) is not None:
                self.best_score = -best

    def finish(self, epoch: int, after_batch: Callable[[], None]) -> dict:
        """Measures the network after an epoch and keeps its weights where they are the best so far (ties: the later).

        Args:
            epoch: its number, from 1.
            after_batch: called after each batch; may raise to leave.

        Returns:
            The cells of the epoch's row in metrics.csv.
        """
        evaluation = self._measure(f"validating epoch {epoch}", after_batch)
        score = self._score(evaluation)
        if is_best(score, self.best_score):
            self.best_score, self.best_epoch = score, epoch
            self._keep("", epoch, evaluation)
        return {
            "val_loss": self._loss(evaluation),
            # The validation loss of the study that is reproduced.
            "val_loss_unweighted": plain_sum(evaluation.last_losses),
            **{f"val_loss_{name}": value for name, value in evaluation.losses.items()},
            **flatten(evaluation.scores),
            **(self._finish_average(epoch, after_batch) if self._averaging.on else {}),
        }

    def _finish_average(self, epoch, after_batch):
        if self._averaging.takes_epoch(epoch):
            self._averaging.add()
        if not self._averaging.there_is_one():
            return dict.fromkeys(self._averaged_scores())
        with self._averaging.swapped_in():
            if not self._averaging.after_each_step:
                self._measure_statistics(epoch, after_batch)
            evaluation = self._measure(f"validating the average of epoch {epoch}", after_batch)
            score = self._score(evaluation)
            if is_best(score, float(self.best_averaged[0])):
                self.best_averaged.assign([score, epoch])
                self._keep("averaged_", epoch, evaluation)
        scores = flatten(evaluation.scores)
        return {name: scores.get(name.removeprefix("averaged.")) for name in self._averaged_scores()}

    def _averaged_scores(self):
        """What stands in metrics.csv of the averaged weights, beside the same of those that are trained."""
        main = [f"{task.name}.{metric.name}" for task in self._tasks for metric in task.metrics if metric.main]
        return [f"averaged.{name}" for name in ("total", *main)]

    def _measure(self, label, after_batch) -> Evaluation:
        def make(*share):
            return self.data.dataset(self._batch_size, *share)

        with self.data.naming_errors():
            batches = self._machine.distribute(make) if self._strategy is self._machine.strategy else make()
            return self._evaluator.run(batches, self.data.steps(self._batch_size), label, after_batch)

    def _score(self, evaluation):
        """The number that the best weights are chosen by; -inf where it is missing.

        Raises:
            UsageError: it is missing since no label of a task has a pixel that counts, now and in every epoch.
        """
        measured = finite({**evaluation.scores, "loss": self._loss(evaluation)})
        score = selection_score(self._tasks, measured, self._config.train.best_metric)
        for name, loss in evaluation.losses.items():
            if score == -math.inf and loss is None:
                raise UsageError(
                    f"split {self._config.data.val_split} has {self.data.source.labelled[name]} {name} labels, but no "
                    f"pixel of them counts, so that train.best_metric={self._config.train.best_metric} has no value; "
                    "look at them with tools/check_dataset.py, or choose a metric of another task"
                )
        return score

    def _loss(self, evaluation):
        """The same sum as the training loss, so that one may stand beside the other."""
        return total_loss(self._config, self._tasks, evaluation.losses)

    def _keep(self, prefix, epoch, evaluation):
        folder = self._folder / "best"
        save_weights(self._model, folder / f"{prefix}weights.h5")
        write_json(folder / f"{prefix}metrics.json", {"epoch": epoch, **evaluation.scores})

    def _measure_statistics(self, epoch, after_batch):
        """Batch norm's running statistics of the weights in place, from training batches (SWA, section 3.2).

        In the parts of a training step: the statistics that the weights were trained with.
        """
        frozen = self._config.train.encoder_frozen(epoch)
        with self._training.naming_errors():
            batches = self._machine.distribute(lambda share: self._training.dataset(0, share).take(STATISTICS_BATCHES))
            for batch in batches:
                self._forward(batch["image"], frozen)
                after_batch()

    @tf.function(autograph=False)
    def _forward(self, images, frozen):
        parts = self._config.train.accumulate

        def forward(images):
            for number in range(parts):
                self._model(tf.cast(take_part(images, number, parts), tf.float32), training=True)

        with encoder_frozen(self._model, frozen):
            self._machine.strategy.run(forward, args=(images,))

    # === Pictures ===

    def observe(self, summaries: Summaries, step: int):
        """Pictures of the same few validation samples after every epoch."""
        for position, sample in enumerate(self.data.observed(self._config.log.observed)):
            name, answers = f"observed{position}", self.answers(sample["image"])
            (panel,) = summaries.samples(name, self._tasks, sample, answers, step, 1)
            pictures.write_png(self._folder / "pictures" / f"{name}.png", panel)

    def answers(self, images) -> dict[str, np.ndarray]:
        """Decoded answers of the network by task, for images (B, H, W, 3)."""
        found = answers(self._tasks, self._predict(tf.cast(images, tf.float32)))
        return {task.name: found[task.name].numpy() for task in self._tasks}

    @tf.function(reduce_retracing=True, autograph=False)
    def _predict(self, images):
        return self._model(images, training=False)


def is_best(score: float, best: float) -> bool:
    """Whether weights are to be kept by their score, larger being better (ties: the later); -inf is a missing one."""
    return score > -math.inf and score >= best


def plain_sum(losses: dict[str, float | None]) -> float | None:
    """The sum of the losses of the tasks; None where one is missing."""
    return None if None in losses.values() else sum(losses.values())


def flatten(scores: dict, prefix: str = "") -> dict:
    """Nested scores as one row: {"semseg": {"miou": 1}} -> {"semseg.miou": 1}."""
    row = {}
    for name, value in scores.items():
        row.update(flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value})
    return row
