"""Scores as people read them: what each metric is called, its unit, and which way is better.

Scores are handled flat, by dotted name ("semseg.miou"): the columns of metrics.csv and, once flattened, the evaluation
JSON look the same. A score that does not exist is None.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

from mtl_tf.tasks import MISSING, Metric, Task

OVERALL = (Metric("total", "Total", higher=True, main=True), Metric("grader", "Grader", higher=True))

# A terminal may know nothing but ASCII.
_ASCII = str.maketrans({MISSING: "-", "\N{MULTIPLICATION SIGN}": "x", "\N{GREEK SMALL LETTER DELTA}": "delta"})


class Board:
    """The scores of some tasks by dotted name, in the order of the tables.

    Attributes:
        tasks: whose scores they are.
        metrics: dotted name -> metric; its label names the task where another task has a score of that label, its group
            where another is of that kind.
    """

    def __init__(self, tasks: Sequence[Task]):
        self.tasks = tuple(tasks)
        self.metrics = {metric.name: metric for metric in OVERALL}
        self._of_a_kind = Counter(task.kind for task in self.tasks)
        labels = Counter(label for task in self.tasks for label in {metric.label for metric in task.metrics})
        for task in self.tasks:
            for metric in task.metrics:
                if labels[metric.label] > 1:
                    metric = dataclasses.replace(metric, label=f"{task.name} {metric.label}")
                if self._of_a_kind[task.kind] > 1:
                    metric = dataclasses.replace(metric, group=f"{metric.group}: {task.name}")
                self.metrics[f"{task.name}.{metric.name}"] = metric

    def title(self, task: Task) -> str:
        """What a task is called: by its kind, or by its name where several are of one kind."""
        return task.title if self._of_a_kind[task.kind] == 1 else task.name

    @property
    def leading(self) -> list[str]:
        """The score that stands for each task."""
        return [task.headline for task in self.tasks]

    @property
    def main(self) -> list[str]:
        """The few scores that stand where there is little room, those of all tasks together last."""
        names = [name for name, metric in self.metrics.items() if metric.main]
        return sorted(names, key=lambda name: "." not in name)

    def describe(self, name: str) -> Metric:
        """The metric of a dotted name; a name that is not known is shown as it is."""
        return self.metrics.get(name) or Metric(name, name.partition(".")[2] or name, 4)

    def ordered(self, names: Sequence[str]) -> list[str]:
        """The names, those that are known first and in their order."""
        known = [name for name in self.metrics if name in names]
        return known + [name for name in names if name not in self.metrics]

    def flatten(self, evaluation: dict) -> dict[str, float | None]:
        """Dotted name -> score of an evaluation; the counts and the scores of single classes are left out."""
        flat = {}
        names = {task.name for task in self.tasks}
        for name, value in evaluation.items():
            if name in names:
                flat.update({f"{name}.{key}": number(v) for key, v in (value or {}).items() if not isinstance(v, dict)})
            elif name in self.metrics:
                flat[name] = number(value)
        return flat

    def by_class(self, evaluation: dict) -> dict[str, dict[str, float | None]]:
        """Task -> class -> score in percent (`Task.of_classes`), of the tasks that have classes and were evaluated."""
        found = {task.name: (evaluation.get(task.name) or {}).get(task.of_classes[0]) for task in self.tasks}
        return {task: {name: number(value) for name, value in rows.items()} for task, rows in found.items() if rows}


def number(value: object) -> float | None:
    """A finite number, or None for anything else (null, an empty cell, NaN)."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def short(value: float | None) -> str:
    """A number in few characters: four significant digits, powers of ten where it is tiny or huge; None: a dash."""
    if value is None:
        return MISSING
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{round(value):d}" if abs(value) >= 1000 else f"{value:.4g}"


def ratio(ours: float | None, baseline: float | None) -> str:
    """Ours over the baseline, or a dash."""
    return MISSING if ours is None or not baseline else f"{ours / baseline:.2f}\N{MULTIPLICATION SIGN}"


def results_table(tasks: Sequence[Task], evaluation: dict, baseline: dict) -> str:
    """The scores that matter against a baseline that knows only a pixel's position, as text for a terminal.

    Args:
        tasks: what was evaluated.
        evaluation, baseline: the contents of two evaluation JSON files; a task may be absent from either, and the
            baseline may be empty.

    Returns:
        Lines of metric, ours, position baseline, ours over baseline (these two not without one), and which way is
        better.
    """
    board = Board(tasks)
    ours, theirs = board.flatten(evaluation), board.flatten(baseline)
    rows = [("metric", "ours", "position baseline", "ratio", "better")]
    for name in (name for name in board.main if "." in name):
        if ours.get(name) is not None or theirs.get(name) is not None:
            metric = board.describe(name)
            values = (metric.show(ours.get(name)), metric.show(theirs.get(name)))
            rows.append((metric.label, *values, ratio(ours.get(name), theirs.get(name)), metric.better))
    if not theirs:
        rows = [(row[0], row[1], row[4]) for row in rows]
    rows = [tuple(cell.translate(_ASCII) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join("  ".join(_aligned(row, widths)).rstrip() for row in rows)


def _aligned(row, widths):
    """Words (the first and the last column) to the left, numbers to the right."""
    first, *numbers, last = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
    return [first.strip().ljust(widths[0]), *numbers, last.strip()]
