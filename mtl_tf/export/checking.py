"""Whether an export answers as its run does: the same pictures through both, answers and scores compared."""

import dataclasses
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mtl_tf.evaluation import Answer, add_statistics, finite, rounded
from mtl_tf.tasks import Task

SAME_CLASSES = 99.5  # percent of pixels of whole numbers that have to agree, unless quantised to int8
RELATIVE_ERROR = 0.5  # percent; largest mean error of other answers over their mean size, likewise


@dataclasses.dataclass(frozen=True)
class Comparison:
    """An export beside its run.

    Attributes:
        samples: number of pictures.
        same: name of an answer of whole numbers -> percent of pixels with the same value.
        error: name of another answer -> mean absolute difference over the mean absolute value, percent.
        run, export: the scores of each task; None where no pixel has a label.
    """

    samples: int
    same: dict[str, float]
    error: dict[str, float]
    run: dict[str, dict]
    export: dict[str, dict]

    def faults(self, tasks: Sequence[Task], quantized: bool) -> list[str]:
        """What is worse than the bounds allow, with figures.

        Args:
            tasks: of the network.
            quantized: whether only scores count, since int8 changes every answer.
        """
        if quantized and any(self.loss(task) is not None for task in tasks):
            return [text for task in tasks if (text := self._worse(task))]
        faults = [
            f"{name}: {share:.2f} % of pixels agree, at least {SAME_CLASSES} % expected"
            for name, share in self.same.items()
            if not share >= SAME_CLASSES
        ]
        return faults + [
            f"{name}: mean difference {error:.2f} %, at most {RELATIVE_ERROR} % expected"
            for name, error in self.error.items()
            if not error <= RELATIVE_ERROR  # also of what is not finite
        ]

    def loss(self, task: Task) -> float | None:
        """By how much the headline score of the export is worse, in its unit; None where there is none."""
        run, export = (found.get(task.name, {}).get(task.metrics[0].name) for found in (self.run, self.export))
        return None if run is None or export is None else task.metrics[0].gain(run) - task.metrics[0].gain(export)

    def _worse(self, task):
        loss, metric = self.loss(task), task.metrics[0]
        if loss is None or loss <= task.tolerance:
            return ""
        found = [metric.show(scores[task.name][metric.name]) for scores in (self.export, self.run)]
        return (
            f"{task.headline} {found[0]}, of the run {found[1]}: at most {metric.show(task.tolerance)} worse expected"
        )


def compare(tasks: Sequence[Task], run: Answer, export: Answer, batches: Iterable[Mapping]) -> Comparison:
    """The answers of a run and of its export on the same pictures.

    Args:
        tasks: of the network.
        run, export: from pictures, uint8 (B, H, W, 3), to all answers by name.
        batches: "image" (B, H, W, 3), 0..255, rounded here to whole numbers, and the labels of tasks that there are.
    """
    totals = [{task.name: {} for task in tasks}, {task.name: {} for task in tasks}]
    sums: dict[str, np.ndarray] = {}
    samples, whole = 0, set()
    for batch in batches:
        pictures = rounded(batch["image"])
        found = [{name: np.asarray(value) for name, value in answer(pictures).items()} for answer in (run, export)]
        samples += len(pictures)
        for name, expected in found[0].items():
            if expected.dtype.kind in "iu":
                whole.add(name)
                row = (found[1][name] == expected).sum(), expected.size
            else:
                expected = expected.astype(np.float64)
                row = np.abs(found[1][name] - expected).sum(), np.abs(expected).sum()
            sums[name] = sums.get(name, 0) + np.array(row, np.float64)
        for total, answers in zip(totals, found, strict=True):
            add_statistics(tasks, answers, batch, total)
    shares = {name: float(100 * part / max(of, 1e-12)) for name, (part, of) in sums.items()}
    return Comparison(
        samples,
        {name: share for name, share in shares.items() if name in whole},
        {name: share for name, share in shares.items() if name not in whole},
        *(finite({task.name: task.scores(total[task.name]) for task in tasks if total[task.name]}) for total in totals),
    )


def latency(answer: Answer, picture: np.ndarray, calls: int = 7) -> float:
    """Milliseconds for a picture, uint8 (1, H, W, 3): the median of some calls after one that is not timed."""
    answer(picture)
    seconds = []
    for _ in range(calls):
        begun = time.perf_counter()
        answer(picture)
        seconds.append(time.perf_counter() - begun)
    return 1000 * statistics.median(seconds)
