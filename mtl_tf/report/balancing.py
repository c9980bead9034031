"""What balancing the gradients of the tasks did: curves over steps, and where in the network tasks conflict.

Two tasks conflict where the cosine between the gradients of their losses is negative: a step against the one gradient
raises the other loss. Columns are looked up by the names of the tasks: these may contain underscores.
"""

import csv
import dataclasses
import functools
import io
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

from mtl_tf.errors import UsageError
from mtl_tf.report import curves, embedding
from mtl_tf.report.document import Chart, Line
from mtl_tf.tasks import Task

NOTE = (
    "By step: the weight of each task's loss in the gradient of the shared parameters, the norm of each task's own "
    "gradient by them, and the cosine between each two of these; below 0 the tasks conflict."
)
LARGEST = 1.001  # a cosine in float32 may be off 1 by rounding
MOST_MEANS = 60  # points of a curve of cosines: those of single batches would cover one another


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How the gradients of two tasks agree by some parameters.

    Attributes:
        steps: logged steps that have both gradients, at least 1.
        conflicts: how many of them have a negative cosine.
        cosine: the mean over them.
    """

    steps: int
    conflicts: int
    cosine: float

    @property
    def share(self) -> float:
        """Steps in conflict, in percent."""
        return 100 * self.conflicts / self.steps

    @property
    def side(self) -> str:
        """Which end of the scale of colours the cell leans to; at 50 % neither."""
        return "conflict" if self.share > 50 else "agree" if self.share < 50 else ""

    @property
    def strength(self) -> float:
        """How far it leans there, 0 to 1."""
        return abs(self.share - 50) / 50


@dataclasses.dataclass(frozen=True)
class Conflicts:
    """The matrix of conflicts. A cell is None where no logged step has both gradients.

    Attributes:
        pairs: the tasks of each column.
        parts: part of the network -> cells, in the order of the network.
        whole: cells of all shared parameters; not shown if all are None.
    """

    pairs: tuple[tuple[str, str], ...]
    parts: dict[str, tuple[Agreement | None, ...]]
    whole: tuple[Agreement | None, ...]

    @property
    def incomplete(self) -> bool:
        """Whether any cell that is shown is None."""
        shown = [*self.parts.values(), *([self.whole] if any(self.whole) else [])]
        return any(cell is None for cells in shown for cell in cells)

    @property
    def verdict(self) -> str:
        """The part and the pair with the largest share of conflicts, of several that with the lowest mean cosine."""
        parts = {f"in {part}": cells for part, cells in self.parts.items()}
        for rows in (parts, {"over all shared parameters": self.whole}):
            found = [
                (cell, pair, where)
                for where, cells in rows.items()
                for pair, cell in zip(self.pairs, cells, strict=True)
                if cell and cell.conflicts
            ]
            if found:
                most, pair, where = max(found, key=lambda entry: (entry[0].share, -entry[0].cosine))
                count = f"{most.conflicts} of {most.steps} logged steps"
                mean = f"a mean cosine of {most.cosine:z.2f}"
                return f"{' and '.join(pair)} conflict most {where}: at {count}, with {mean}."
        return "No two tasks conflict at any logged step."


def charts(steps: Sequence[dict], tasks: Sequence[Task]) -> tuple[Chart, ...]:
    """The curves of weights, norms and cosines; one without any point is left out.

    Args:
        steps: the rows of steps.csv, column -> number or None.
        tasks: of the run.
    """
    by_step = functools.partial(curves.chart, steps, ("step",), zero=True)
    weights, norms = ([(task.name, f"{what}_{task.name}") for task in tasks] for what in ("weight", "norm"))
    cosines = [(" / ".join(pair), column) for column, pair in _columns(tasks).items()]
    found = (
        curves.log_where_wide(by_step("Weight of the loss", *weights)),
        curves.log_where_wide(by_step("Norm of the gradient", *norms)),
        _smoothed(by_step("Cosine between gradients", *cosines)),
    )
    return tuple(chart for chart in found if chart.lines)


def conflicts(path: Path, steps: Sequence[dict], tasks: Sequence[Task]) -> Conflicts | None:
    """Where the tasks conflict; None where no cosine was logged.

    Args:
        path: conflicts.csv of a run; it may be missing.
        steps: the rows of steps.csv, column -> number or None.
        tasks: of the run.

    Raises:
        UsageError: the file is damaged.
    """
    columns = _columns(tasks)
    parts = {part: _agreements(rows, columns) for part, rows in _parts(path, columns).items()}
    whole = _agreements(steps, columns)
    if not any(cell for cells in (*parts.values(), whole) for cell in cells):
        return None
    return Conflicts(tuple(columns.values()), parts, whole)


def _columns(tasks):
    """Column -> the two tasks whose cosine it holds."""
    names = [task.name for task in tasks]
    return {f"cosine_{first}_{second}": (first, second) for first, second in itertools.combinations(names, 2)}


def _smoothed(chart):
    """The chart with means of consecutive steps where there are many."""
    longest = max((len(embedding.finite(line.points["step"])) for line in chart.lines), default=0)
    if longest <= MOST_MEANS:
        return chart
    lines = [Line(line.label, {"step": embedding.thinned(line.points["step"], MOST_MEANS)}) for line in chart.lines]
    note = f"means of up to {math.ceil(longest / MOST_MEANS)} logged steps"
    return dataclasses.replace(chart, lines=tuple(lines), note=note)


def _agreements(rows, columns):
    found = []
    for column in columns:
        cosines = [y for _, y in embedding.finite([(row.get("step"), row.get(column)) for row in rows])]
        negative = sum(cosine < 0 for cosine in cosines)
        found.append(Agreement(len(cosines), negative, sum(cosines) / len(cosines)) if cosines else None)
    return tuple(found)


def _parts(path, columns):
    """Part of the network -> its rows of conflicts.csv, in the order of the network."""
    if not columns or not path.is_file():
        return {}
    # A last line without its end is still being written.
    text = path.read_text(encoding="utf-8", errors="surrogateescape").rpartition("\n")[0]
    reader = csv.DictReader(io.StringIO(text))
    parts: dict[str, list[dict]] = {}
    try:
        missing = [name for name in ("step", "part", *columns) if text and name not in reader.fieldnames]
        if missing:
            raise ValueError(f"expected the columns step, part and a cosine of each two tasks, {missing[0]} is missing")
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"expected {len(reader.fieldnames)} cells, as the first line has")
            if not row["step"].isdecimal():
                raise ValueError(f"expected a whole number as step, found {row['step']!r}")
            numbers = {column: _cosine(row[column], column) for column in columns}
            parts.setdefault(row["part"], []).append({"step": int(row["step"]), **numbers})
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}; remove the file or restore it") from None
    return parts


def _cosine(cell, column):
    """The number in a cell, None in an empty one; NaN, of gradients that are not finite, is left to the caller."""
    try:
        value = float(cell or "nan")
    except ValueError:
        value = float("inf")
    if abs(value) > LARGEST:
        raise ValueError(f"expected a cosine from -1 to 1 or nothing as {column}, found {cell!r}")
    return value
