"""Scores as people read them: what each metric is called, its unit, and which way is better.

Scores are handled flat, by dotted name ("semseg.miou"): the columns of metrics.csv and, once flattened, the evaluation
JSON look the same. A score that does not exist is None.
"""

import dataclasses
import math
from collections.abc import Sequence

from mtl_tf.config import TASKS
from mtl_tf.tasks import DEPTH_UNITS, Depth, Task

MISSING = "\N{EN DASH}"


@dataclasses.dataclass(frozen=True)
class Metric:
    """How one score is shown.

    Attributes:
        label: its name in the field.
        digits: decimals.
        unit: printed after the number.
        higher: whether more is better; None: neither.
    """

    label: str
    digits: int = 2
    unit: str = ""
    higher: bool | None = None

    @property
    def better(self) -> str:
        """Which way is better, in a word."""
        return {True: "higher", False: "lower", None: ""}[self.higher]

    def show(self, value: float | None) -> str:
        """The number with its unit, or a dash."""
        return MISSING if value is None else f"{value:.{self.digits}f}{self.unit}"


_DEPTH = {
    "si_log_rmse": Metric("SI-logRMSE", higher=False),
    "abs_rel": Metric("abs rel", 4, higher=False),
    "sq_rel": Metric("sq rel", 4, higher=False),
    "rmse": Metric("RMSE", 3, " m", higher=False),
    "rmse_log": Metric("RMSE log", 4, higher=False),
    "log10": Metric("log10", 4, higher=False),
    "mae": Metric("MAE", 3, " m", higher=False),
    "delta1": Metric("\N{GREEK SMALL LETTER DELTA}1", 2, " %", higher=True),
    "delta2": Metric("\N{GREEK SMALL LETTER DELTA}2", 2, " %", higher=True),
    "delta3": Metric("\N{GREEK SMALL LETTER DELTA}3", 2, " %", higher=True),
}

METRICS = {
    "total": Metric("Total", higher=True),
    "grader": Metric("Grader", higher=True),
    "semseg.miou": Metric("mIoU", 2, " %", higher=True),
    "semseg.miou_all_classes": Metric("mIoU of all classes", 2, " %", higher=True),
    "semseg.pixel_accuracy": Metric("Pixel accuracy", 2, " %", higher=True),
    **{f"depth.{name}": metric for name, metric in _DEPTH.items()},
    **{f"depth.{name}_pixels": metric for name, metric in _DEPTH.items()},
}
"""Dotted name -> how it is shown, in the order of the tables."""

GROUPS = ("Overall", "Segmentation", "Depth, mean over images", "Depth, pooled over all pixels")


# A terminal may know nothing but ASCII.
_ASCII = str.maketrans({MISSING: "-", "\N{MULTIPLICATION SIGN}": "x", "\N{GREEK SMALL LETTER DELTA}": "delta"})


def describe(name: str, unit: str = "metres") -> Metric:
    """The metric of a dotted name; a name that is not known is shown as it is.

    Args:
        name: dotted.
        unit: of depth, a key of `tasks.DEPTH_UNITS`.
    """
    metric = METRICS.get(name) or Metric(name.partition(".")[2] or name, 4)
    if unit == "metres" or metric.unit != DEPTH_UNITS["metres"].symbol:
        return metric
    return dataclasses.replace(metric, digits=5, unit=DEPTH_UNITS[unit].symbol)


def depth_unit(tasks: Sequence[Task]) -> str:
    """The unit of depth of a network's tasks, a key of `tasks.DEPTH_UNITS`."""
    return next((task.unit for task in tasks if isinstance(task, Depth)), "metres")


def group(name: str) -> str:
    """The part of the scores table that a dotted name belongs to."""
    if name.startswith("semseg."):
        return GROUPS[1]
    if name.startswith("depth."):
        return GROUPS[3 if name.endswith("_pixels") else 2]
    return GROUPS[0]


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


def flatten(evaluation: dict) -> dict[str, float | None]:
    """Dotted name -> score of an evaluation; the counts and the IoU of single classes are left out."""
    flat = {}
    for name, value in evaluation.items():
        if name in TASKS:
            flat.update({f"{name}.{key}": number(v) for key, v in (value or {}).items() if not isinstance(v, dict)})
        elif name in METRICS:
            flat[name] = number(value)
    return flat


def class_iou(evaluation: dict) -> dict[str, float | None]:
    """Class -> IoU in percent; empty where segmentation was not evaluated."""
    return {name: number(value) for name, value in ((evaluation.get("semseg") or {}).get("iou") or {}).items()}


def ratio(ours: float | None, baseline: float | None) -> str:
    """Ours over the baseline, or a dash."""
    return MISSING if ours is None or not baseline else f"{ours / baseline:.2f}\N{MULTIPLICATION SIGN}"


def results_table(evaluation: dict, baseline: dict) -> str:
    """The scores that matter against a baseline that knows only a pixel's position, as text for a terminal.

    Args:
        evaluation, baseline: the contents of two evaluation JSON files; a task may be absent from either, and the
            baseline may be empty.

    Returns:
        Lines of metric, ours, position baseline, ours over baseline (these two not without one), and which way is
        better.
    """
    names = ("semseg.miou", "semseg.pixel_accuracy", "depth.si_log_rmse", "depth.abs_rel", "depth.rmse", "depth.delta1")
    ours, theirs = flatten(evaluation), flatten(baseline)
    rows = [("metric", "ours", "position baseline", "ratio", "better")]
    for name in names:
        if ours.get(name) is not None or theirs.get(name) is not None:
            metric = describe(name, evaluation.get("depth_unit", "metres"))
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
