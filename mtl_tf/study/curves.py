"""The curves of a study: every run's losses and scores by step and by epoch."""

import dataclasses
import pathlib

from mtl_tf.report.scores import number
from mtl_tf.study.columns import Drawn
from mtl_tf.study.declaration import Figure
from mtl_tf.study.plan import Plan
from mtl_tf.training.run_directory import read_table

SEED = ", seed "  # between the name of a row and the seed, in the label of a curve


@dataclasses.dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        label: the row, and the seed where there are several.
        points: "epoch" and "step" -> (x, y) pairs.
    """

    label: str
    points: dict[str, list[tuple[float, float | None]]]


@dataclasses.dataclass(frozen=True)
class Chart:
    """A number over time.

    Attributes:
        metric: as the declaration names it.
        drawn: how.
        curves: of the runs that have begun.
    """

    metric: str
    drawn: Drawn
    curves: list[Curve]


def charts_of(plan: Plan, figure: Figure) -> list[Chart]:
    """A chart of each metric of a figure that the tasks of the study have, with the runs of the figure's tables."""
    runs = {}
    for table in (table for table in plan.tables if table.name in figure.tables):
        for row in table.rows:
            found = plan.runs_of(row) or []
            for run in found:
                seed = f"{SEED}{run.seed}" if len(found) > 1 else ""
                runs.setdefault(f"{row.name}{seed}", pathlib.Path(run.config.run_dir))
    tables = {label: (_rows(path / "metrics.csv"), _rows(path / "steps.csv")) for label, path in runs.items()}
    drawn = {metric: plan.columns.drawn(metric) for metric in figure.metrics}
    return [Chart(metric, how, _curves(how, tables)) for metric, how in drawn.items() if how]


def _curves(drawn: Drawn, tables):
    found = []
    for label, (epochs, steps) in tables.items():
        points = {"epoch": [(row["epoch"], row.get(drawn.by_epoch)) for row in epochs]}
        rows, column = (steps, drawn.by_step) if drawn.by_step else (epochs, drawn.by_epoch)
        points["step"] = [(row["step"], row.get(column)) for row in rows]
        if any(points.values()):
            found.append(Curve(label, points))
    return found


def _rows(path):
    if not path.is_file():
        return []
    rows = [{name: number(cell) for name, cell in row.items()} for row in read_table(path)]
    return [row for row in rows if row.get("epoch") is not None and row.get("step") is not None]
