"""A table of the study as columns of text and numbers: one form for Markdown, CSV and the page."""

import dataclasses

from mtl_tf.progress import format_seconds
from mtl_tf.report.document import Cell
from mtl_tf.study.declaration import Table
from mtl_tf.study.plan import Plan
from mtl_tf.study.results import COSTS, PUBLISHED_AS, SCORES, Figure, ResultRow, result_rows
from mtl_tf.study.verdicts import noise_of, verdict
from mtl_tf.tasks import MISSING


@dataclasses.dataclass(frozen=True)
class Column:
    """How a column is shown.

    Attributes:
        label: its head, with the unit.
        digits: decimals.
        per: what a number is divided by before it is shown.
    """

    label: str
    digits: int = 2
    per: float = 1.0

    def show(self, value: float) -> str:
        """A number as text."""
        return f"{value / self.per:.{self.digits}f}"


COLUMNS = {
    "total": Column("total"),
    "miou": Column("mIoU, %"),
    "si": Column("SI-logRMSE"),
    "grader": Column("grader"),
    "delta_m": Column("delta_m, %"),
    "train_loss": Column("train loss", 4),
    "val_loss": Column("val loss", 4),
    "val_loss_unweighted": Column("val loss, unweighted", 4),
    "loss": Column("loss", 4),
    "parameters": Column("parameters, M", 2, 1e6),
    "multiply_adds": Column("multiply-adds at 256x256, G", 2, 1e9),
    "checkpoint_mib": Column("checkpoint, MiB", 1),
    "peak_memory_mib": Column("peak memory, MiB", 0),
    "images_per_second": Column("training images/s", 1),
    "seconds": Column("run time"),
}
_ORDER = [*SCORES, "delta_m", "loss", *COSTS]


@dataclasses.dataclass(frozen=True)
class Made:
    """A finished table.

    Attributes:
        table: as declared.
        head: the columns.
        rows: cells under them.
        verdicts: a sentence for each column with published figures.
        results: the rows' results.
    """

    table: Table
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    verdicts: tuple[str, ...]
    results: tuple[ResultRow, ...]


def make_tables(plan: Plan) -> list[Made]:
    """All tables of a study, as far as it has come."""
    results = {table.name: result_rows(plan, table) for table in plan.tables}
    everything = [row for rows in results.values() for row in rows]
    return [_make(plan, table, results[table.name], everything) for table in plan.tables]


def _make(plan, table, results, everything):
    shown = [name for name in _ORDER if any(name in row.figures or name in row.published for row in results)]
    extra = dict.fromkeys(name for row in results for name in row.published if name not in COLUMNS and name != "status")
    status = any(row.status != "done" or "status" in row.published for row in results)
    head, columns = ["row"], [[Cell(_name(plan, table, row)) for row in results]]
    if status:
        head.append("status")
        columns.append([Cell(row.status) for row in results])
        if any("status" in row.published for row in results):
            head.append("status, published")
            columns.append([Cell(str(row.published.get("status", ""))) for row in results])
    for name in shown:
        label = COLUMNS[name].label
        if any(name in row.figures for row in results):
            head.append(label)
            columns.append([_ours(name, row.figures.get(name)) for row in results])
        if any(name in row.published for row in results):
            head.append(f"{label}, published")
            columns.append([_published(name, row.published.get(name)) for row in results])
    for name in extra:
        head.append(name)
        columns.append([_published(name, row.published.get(name)) for row in results])
    head.append("seeds")
    columns.append([Cell(str(len(row.runs)), len(row.runs)) for row in results])
    sentences = _verdicts(plan, table, results, everything)
    return Made(table, tuple(head), tuple(zip(*columns, strict=True)), sentences, tuple(results))


def _name(plan, table, row):
    if not table.choose_from:
        return row.row.name
    carried = " (carried on)" if plan.chosen(table) == row.row.key else ""
    return f"{row.row.table}: {row.row.name}{carried}"


def _verdicts(plan, table, results, everything):
    if table.choose_from:
        return (_choice(plan, table),)
    columns = [PUBLISHED_AS.get(column, (column, 1.0))[0] for column in table.rank_by]
    found = [verdict(column, list(results), noise_of(column, everything)) for column in columns]
    return tuple(sentence for sentence in found if sentence)


def _choice(plan, table):
    ours = plan.best(table)
    theirs = table.published_choice or table.pinned
    if ours is None:
        return f"Published choice: {theirs}. Not all rows have been run."
    same = "the same here" if ours == theirs else f"here the best row by total is {ours}"
    return f"Published choice: {theirs}; {same}. Carried on: {plan.chosen(table)}."


def _ours(name, figure: Figure | None) -> Cell:
    if figure is None:
        return Cell(MISSING)
    if name == "seconds":
        return Cell(format_seconds(figure.mean), figure.mean)
    column = COLUMNS[name]
    # What does not depend on the seed has no spread worth a name.
    spread = f" ± {column.show(figure.spread)}" if figure.spread else ""
    return Cell(column.show(figure.mean) + spread, figure.mean)


def _published(name, value) -> Cell:
    if value is None:
        return Cell(MISSING)
    if isinstance(value, str):
        return Cell(value)
    if name == "seconds":
        return Cell(format_seconds(value), value)
    return Cell(COLUMNS.get(name, Column(name)).show(value), value)
