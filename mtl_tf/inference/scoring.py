"""Scores of a run's best weights on a split, beside a baseline that knows nothing but a pixel's position."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from mtl_tf.atomic import write_json
from mtl_tf.config import Config, replace
from mtl_tf.data.pipeline import EvaluationData
from mtl_tf.data.sets import named_splits, open_split
from mtl_tf.errors import UsageError
from mtl_tf.evaluation import Evaluation, Evaluator, strategy_and_batch
from mtl_tf.inference.runs import TrainedRun, open_run
from mtl_tf.inference.scored import data_suffix, of_baseline, scored, scores_suffix
from mtl_tf.progress import Progress
from mtl_tf.storage.listing import told_of
from mtl_tf.tasks import Task, usual
from mtl_tf.training import runtime
from mtl_tf.training.run_directory import write_table

# The usual tasks have an entry in every file of scores, null where the network has not the task.
_NOT_EVALUATED = dict.fromkeys(usual())


class Scores(NamedTuple):
    """What a run is worth.

    Attributes:
        tasks: of its network.
        scores: as evaluation_SPLIT.json holds them.
        baseline: those of the position baseline; None where it was not asked for.
    """

    tasks: tuple[Task, ...]
    scores: dict
    baseline: dict | None


def evaluate_run(config: Config) -> Scores:
    """As `evaluate_splits`, of one split."""
    (found,) = evaluate_splits(config)
    return found


def evaluate_splits(config: Config) -> Iterator[Scores]:
    """Evaluates the best weights on each split that `data.split` names, in one start.

    Writes evaluation_SPLIT.json and per_image_SPLIT.csv of each. What is scored otherwise goes to files of its own: in
    Eigen's crop (`data.eigen_crop`), other data than the run's (`data.root`), averaged weights (`weights`), bfloat16
    (`precision`): evaluation_SPLIT_eigen.json and so on.

    Args:
        config: of the run; `baseline` also scores the position baseline (baseline_SPLIT.json).

    Yields:
        What the run is worth on each split, as soon as it is written.

    Raises:
        UsageError: a split is not there, or named twice; nothing is scored then.
    """
    splits = named_splits(config.data)
    started = runtime.start(config, training=False)
    with started.strategy.scope():
        run = open_run(config)
    configs = [replace(config, data__split=split) for split in splits]
    all_data = [
        EvaluationData(open_split(each, each.data.split, run.descriptor), each, run.descriptor) for each in configs
    ]
    for each, data in zip(configs, all_data, strict=True):
        yield _evaluate_split(each, data, run, started.strategy)


def _evaluate_split(config, data, run, strategy) -> Scores:
    split = config.data.split
    if told := told_of(data.source, split):
        print(told, flush=True)
    for task in config.tasks:
        if not data.source.labelled[task]:
            print(f"{split}: no {task} labels at all; that task has no scores", flush=True)
    one_size = data.one_size()
    strategy, batch = strategy_and_batch(strategy, config.train.batch_size, one_size)
    found = _evaluate(strategy, run.model, run.tasks, data, batch, f"evaluating {split}")
    folder = pathlib.Path(config.run_dir)
    stated = scored(config, data.source)
    units = {name: value for task in run.tasks for name, value in task.stated.items()}
    scores = {"split": split, "scored": stated, **_NOT_EVALUATED, **found.scores, **units}
    if data.bad:
        scores["bad_files"] = data.bad
    rows = [{"id": data.source.ids[row.pop("index")], **row} for row in found.images]
    write_table(folder / f"per_image_{scores_suffix(config)}.csv", rows)
    write_json(folder / f"evaluation_{scores_suffix(config)}.json", scores)
    baseline = None
    if config.baseline:
        if not one_size:
            raise UsageError(f"the position baseline needs pictures of one size; those of {split} differ")
        alone, measured = tf.distribute.get_strategy(), position_baseline(run)
        found = _evaluate(alone, measured, run.tasks, data, config.train.batch_size, "evaluating the baseline")
        baseline = {"split": split, "scored": of_baseline(stated), **_NOT_EVALUATED, **found.scores, **units}
        write_json(folder / f"baseline_{data_suffix(config)}.json", baseline)
    return Scores(run.tasks, scores, baseline)


def _evaluate(strategy, model, tasks, data: EvaluationData, batch: int, label: str) -> Evaluation:
    with data.naming_errors():
        batches = strategy.experimental_distribute_dataset(data.dataset(batch))
        return Evaluator(strategy, model, tasks).run(batches, data.steps(batch), label)


def position_baseline(run: TrainedRun) -> "PositionBaseline":
    """The baseline of a run: fitted to its training split at the size that it is evaluated at."""
    config = run.config
    data = EvaluationData(open_split(config, config.data.train_split, run.descriptor), config, run.descriptor)
    if not data.one_size():
        raise UsageError("the position baseline needs pictures of one size: set --data.image_size=H,W in training")
    baseline = PositionBaseline(run.tasks)
    progress = Progress("fitting the baseline", len(data.source))
    with data.naming_errors():
        for batch in data.dataset(1).as_numpy_iterator():
            baseline.add({task.name: batch[task.name][0] for task in run.tasks})
            progress.advance()
    progress.close()
    return baseline


class PositionBaseline:
    """Per pixel position the most frequent class and the mean depth of the training split: what any network must beat.

    Called like a network, it gives the same answer for every image.
    """

    label_weights: ClassVar[dict[str, float]] = {"": 1.0}

    def __init__(self, tasks: Sequence[Task]):
        self._tasks = tuple(tasks)
        self._sums: dict[str, np.ndarray] = {}

    def add(self, labels: dict[str, np.ndarray]):
        """Counts the labels of one image, (H, W)."""
        for task in self._tasks:
            self._sums[task.name] = self._sums.get(task.name, 0) + task.baseline(labels[task.name])

    def __call__(self, images, training=False):
        """Raw heads (B, H, W, channels) for images (B, H, W, 3)."""
        batch = tf.shape(images)[0]
        raws = {}
        for task in self._tasks:
            raw = tf.cast(task.constant(self._sums[task.name]), tf.float32)
            raws[task.name] = tf.tile(raw[None], [batch, 1, 1, 1])
        return raws
