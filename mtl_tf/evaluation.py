"""From a network and a split to scores: over whole images, exact on any number of replicas."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from mtl_tf.objective import count_of, sums_of
from mtl_tf.progress import Progress
from mtl_tf.selection import total_scores
from mtl_tf.tasks import Task


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The result.

    Attributes:
        scores: {"num_images", task: {metric: value}, "total", "grader"}.
        losses: mean loss of each task as training has it, over the first answers too where the network has any; None
            where no pixel has a label.
        last_losses: the same of the last answers alone.
        images: per image {"index", "TASK.METRIC": value}, in the order of the split.
    """

    scores: dict
    losses: dict[str, float | None]
    last_losses: dict[str, float | None]
    images: list[dict]


class Evaluator:
    """Measures a model; compiled once, used after every epoch.

    Args:
        strategy: where the model was made.
        model: as `build_model` makes it, or any callable from images to raw heads (the baseline is one).
        tasks: what is measured.
    """

    def __init__(self, strategy: tf.distribute.Strategy, model: keras.Model, tasks: Sequence[Task]):
        self._strategy, self._model, self._tasks = strategy, model, tuple(tasks)
        self._several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)

    def run(
        self,
        batches: Iterable,
        steps: int = 0,
        label: str = "evaluating",
        after_batch: Callable[[], None] = lambda: None,
    ) -> Evaluation:
        """Evaluates the batches of `EvaluationData.dataset`.

        Args:
            batches: distributed by the strategy; samples with index -1 are fill and do not count.
            steps: number of batches, for the progress line.
            label: of the progress line.
            after_batch: called after each batch; may raise to leave.
        """
        totals: dict = {task.name: {} for task in self._tasks}
        loss_sums = {task.name: np.zeros((3, 1)) for task in self._tasks}
        images = []
        progress = Progress(label, steps, "batches")
        for batch in batches:
            indices, statistics, losses = self._step(batch)
            index = self._gather(indices)
            real = index >= 0
            rows = [{"index": int(i)} for i in index[real]]
            for task in self._tasks:
                found = {name: self._gather(value)[real] for name, value in statistics[task.name].items()}
                _add_image_scores(task, found, rows)
                total = totals[task.name]
                for name, value in found.items():
                    total[name] = total.get(name, 0.0) + value.sum(0)
                # A row each, of the terms of the loss.
                parts = np.stack([self._gather(part).sum(0).ravel() for part in losses[task.name]])
                loss_sums[task.name] = loss_sums[task.name] + parts
            images += rows
            progress.advance()
            after_batch()
        progress.close()
        return Evaluation(
            _scores(self._tasks, totals, len(images)),
            {name: _mean(total, count) for name, (total, _, count) in loss_sums.items()},
            {name: _mean(total, count) for name, (_, total, count) in loss_sums.items()},
            [finite(row) for row in images],
        )

    @tf.function(reduce_retracing=True, autograph=False)
    def _step(self, batch):
        found = self._strategy.run(self._measure, args=(batch,))
        if self._several:
            found = tf.nest.map_structure(lambda rows: self._strategy.gather(rows, axis=0), found)
        return found

    def _measure(self, batch):
        outputs = self._model(tf.cast(batch["image"], tf.float32), training=False)
        statistics = {task.name: task.measured(outputs, batch) for task in self._tasks}
        weights = self._model.label_weights
        losses = {task.name: _loss_sums(task, outputs, batch[task.name], weights) for task in self._tasks}
        return batch["index"], statistics, {name: [part[None] for part in sums] for name, sums in losses.items()}

    def _gather(self, value) -> np.ndarray:
        """The rows of all replicas, which each has where there are several processes."""
        parts = [part.numpy() for part in self._strategy.experimental_local_results(value)]
        return parts[0] if self._several else np.concatenate(parts)


def _loss_sums(task, outputs, target, weights):
    """The sum of a loss over all that is supervised, that over the answers, and what both count; of its terms."""
    return *sums_of(task, outputs, target, weights), count_of(task, target, weights)


def _mean(total, count):
    """The sum of the means of the terms of a loss; None where none of them counted anything."""
    return float(np.sum(total / np.where(count > 0, count, 1))) if np.any(count) else None


def _scores(tasks, totals, count):
    """The scores of the sums of statistics over so many images; see `Evaluation`."""
    by_task = {task.name: task.scores(totals[task.name]) for task in tasks} if count else {}
    return finite({"num_images": count, **by_task, **total_scores(tasks, by_task)})


def _add_image_scores(task, statistics, rows):
    for position, row in enumerate(rows):
        image = task.scores({name: value[position] for name, value in statistics.items()})
        row.update({f"{task.name}.{m.name}": image[m.name] for m in task.metrics if m.per_image})


# From pictures, uint8 (B, H, W, 3), to all answers by name, (B, H, W, ...).
Answer = Callable[[np.ndarray], Mapping[str, np.ndarray]]


def evaluate_answers(answer: Answer, tasks: Sequence[Task], batches: Iterable[Mapping], steps: int, label: str):
    """Evaluates what answers without raw heads, as exported files do; it has no losses.

    Args:
        answer: is evaluated, on pictures rounded to whole numbers.
        tasks: what is measured.
        batches: of `EvaluationData.dataset(1)`, as arrays; samples with index -1 do not count.
        steps: number of batches, for the progress line.
        label: of the progress line.

    Returns:
        The scores, and those of each image, as in `Evaluation`.
    """
    totals: dict = {task.name: {} for task in tasks}
    images, progress = [], Progress(label, steps)
    for batch in batches:
        if batch["index"][0] >= 0:
            found = add_statistics(tasks, answer(rounded(batch["image"])), batch, totals)
            rows = [{"index": int(batch["index"][0])}]
            for task in tasks:
                _add_image_scores(task, found[task.name], rows)
            images += rows
        progress.advance()
    progress.close()
    return _scores(tasks, totals, len(images)), [finite(row) for row in images]


def rounded(images: np.ndarray) -> np.ndarray:
    """Pictures 0..255 of any type as uint8."""
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def add_statistics(tasks: Sequence[Task], answers: Mapping, labels: Mapping, totals: dict[str, dict]) -> dict:
    """Adds the statistics of answers (B, H, W) to those of other pictures.

    Args:
        tasks: what is measured, those that `labels` has.
        answers: all answers by name.
        labels: by the name of the task, (B, H, W).
        totals: task -> sums of statistics; is changed.

    Returns:
        Task -> the statistics of these pictures alone, with an axis of pictures.
    """
    answers = {name: tf.convert_to_tensor(value) for name, value in answers.items()}
    tasks = [task for task in tasks if task.name in labels]
    labels = {task.name: tf.convert_to_tensor(labels[task.name]) for task in tasks}
    found = {}
    for task in tasks:
        found[task.name] = {name: np.asarray(value) for name, value in task.compared(answers, labels).items()}
        for name, value in found[task.name].items():
            totals[task.name][name] = totals[task.name].get(name, 0.0) + value.sum(0)
    return found


def strategy_and_batch(strategy: tf.distribute.Strategy, batch_size: int, one_size: bool):
    """Where and in which batches to evaluate: pictures of different sizes share no batch, and no step of devices."""
    return (strategy, batch_size) if one_size else (tf.distribute.get_strategy(), 1)


def finite(scores):
    """Scores, nested in dicts, with None for what is not finite, which JSON cannot hold."""
    if isinstance(scores, dict):
        return {name: finite(value) for name, value in scores.items()}
    return None if isinstance(scores, float) and not math.isfinite(scores) else scores
