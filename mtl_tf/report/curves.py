"""The curves of a run: losses, scores and speed over epochs and steps."""

import dataclasses
import functools
from collections.abc import Sequence

from mtl_tf.report import embedding, scores
from mtl_tf.report.document import Chart, Line

LOG_FROM = 30.0  # positive values that span more than this factor get a log axis


def charts(epochs: Sequence[dict], steps: Sequence[dict], board: scores.Board) -> tuple[Chart, ...]:
    """The curves of a run; one without any point is left out.

    Args:
        epochs, steps: the rows of metrics.csv and steps.csv, column -> number or None.
        board: of the tasks.
    """
    # metrics.csv tells the step of each epoch as well.
    by_epoch = functools.partial(chart, epochs, ("epoch", "step"))
    by_step = functools.partial(chart, steps, ("step",))

    def loss(title, name):
        return log_where_wide(by_epoch(title, ("train", f"train_{name}"), ("val", f"val_{name}")))

    def scored(titles, *names):
        """The first of the names is the one whose best epoch is told."""
        labels = ["val"] if len(names) == 1 else [board.describe(name).label for name in names]
        unit = board.describe(names[0]).unit.strip()
        note = _best(epochs, names[0], board)
        columns = zip(labels, names, strict=True)
        return by_epoch(", ".join(filter(None, (titles, unit))), *columns, note=note, zero=unit == "%")

    found = [loss("Loss", "loss")]
    found += [loss(f"{board.title(task)} loss", f"loss_{task.name}") for task in board.tasks]
    for task in board.tasks:
        by_unit: dict[str, list[str]] = {}
        for name in (f"{task.name}.{metric.name}" for metric in task.metrics if metric.main):
            by_unit.setdefault(board.describe(name).unit, []).append(name)
        for names in by_unit.values():
            # Only percentages share an axis: what has no unit may be of any size.
            together = [names] if board.describe(names[0]).unit == " %" else [[name] for name in names]
            found += [scored(_title(board, task, group), *group) for group in together]
    parts = [("train", "loss"), *((task.name, f"loss_{task.name}") for task in board.tasks)]
    found += [
        scored("Total", "total"),
        by_epoch("Learning rate", ("train", "learning_rate"), zero=True),
        log_where_wide(by_step("Training loss by step", *parts)),
        by_step("Images a second", ("train", "images_per_second"), zero=True),
        by_step("Step time, ms", ("step", "step_ms"), ("waiting for data", "wait_ms"), zero=True),
    ]
    return tuple(drawn for drawn in found if drawn.lines)


def chart(
    rows: Sequence[dict], axes: Sequence[str], title: str, *columns: tuple[str, str], note: str = "", **axis: bool
) -> Chart:
    """Columns of a table over others of it; a column without any point is no line.

    Args:
        rows: column -> number or None.
        axes: the columns that may be the x axis.
        title: what is drawn, with its unit.
        *columns: (label, column) of each line.
        note: a remark beside the title.
        **axis: `Chart.log` and `Chart.zero`.
    """
    lines = []
    for label, name in columns:
        points = {x: [(row[x], row.get(name)) for row in rows if row.get(x) is not None] for x in axes}
        points = {x: found for x, found in points.items() if embedding.finite(found)}
        lines += [Line(label, points)] if points else []
    return Chart(title, tuple(lines), note, **axis)


def log_where_wide(chart: Chart) -> Chart:
    """The chart on a log axis if its values are positive and span more than a factor of 30."""
    values = [y for line in chart.lines for points in line.points.values() for _, y in points if y is not None]
    wide = bool(values) and min(values) > 0 and max(values) / min(values) > LOG_FROM
    return dataclasses.replace(chart, log=wide)


def _title(board, task, names):
    if len(names) > 1:
        return board.title(task)
    label = board.describe(names[0]).label.removeprefix(f"{task.name} ")
    return f"{board.title(task)}: {label}"


def _best(epochs, name, board):
    """The best value of a column and its epoch, in words."""
    found = [(row[name], row["epoch"]) for row in epochs if row.get(name) is not None and row.get("epoch") is not None]
    if not found:
        return ""
    metric = board.describe(name)
    value, epoch = (max if metric.higher else min)(found)
    return f"best {metric.show(value)} at epoch {epoch:g}"
