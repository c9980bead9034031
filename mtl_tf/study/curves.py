"""The curves of a study: every run's losses and scores by step and by epoch."""

import dataclasses
import pathlib

from mtl_tf.report.scores import number
from mtl_tf.study.declaration import Figure
from mtl_tf.study.plan import Plan
from mtl_tf.training.run_directory import read_table

# Metric of a figure -> title, column of metrics.csv, column of steps.csv (empty: scores exist only by epoch).
METRICS = {
    "loss": ("Training loss", "train_loss", "loss"),
    "val_loss": ("Validation loss", "val_loss", ""),
    "total": ("Total (mIoU - SI-logRMSE)", "total", ""),
    "miou": ("mIoU, %", "semseg.miou", ""),
    "si": ("SI-logRMSE", "depth.si_log_rmse", ""),
    "grader": ("Grader", "grader", ""),
}


@dataclasses.dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        label: the row, and the seed where there are several.
        points: "epoch" and "step" -> (x, y) pairs.
    """

    label: str
    points: dict[str, list[tuple[float, float | None]]]


def curves_of(plan: Plan, figure: Figure) -> dict[str, list[Curve]]:
    """Metric -> the curves of all runs of the figure's tables that have begun."""
    runs = {}
    for table in (table for table in plan.tables if table.name in figure.tables):
        for row in table.rows:
            found = plan.runs_of(row) or []
            for run in found:
                seed = f", seed {run.seed}" if len(found) > 1 else ""
                runs.setdefault(f"{row.name}{seed}", pathlib.Path(run.config.run_dir))
    tables = {label: (_rows(path / "metrics.csv"), _rows(path / "steps.csv")) for label, path in runs.items()}
    return {metric: _curves(metric, tables) for metric in figure.metrics}


def _curves(metric, tables):
    _, by_epoch, by_step = METRICS[metric]
    found = []
    for label, (epochs, steps) in tables.items():
        points = {"epoch": [(row["epoch"], row.get(by_epoch)) for row in epochs]}
        rows, column = (steps, by_step) if by_step else (epochs, by_epoch)
        points["step"] = [(row["step"], row.get(column)) for row in rows]
        if any(points.values()):
            found.append(Curve(label, points))
    return found


def _rows(path):
    if not path.is_file():
        return []
    rows = [{name: number(cell) for name, cell in row.items()} for row in read_table(path)]
    return [row for row in rows if row.get("epoch") is not None and row.get("step") is not None]
