"""A table of the study as columns of text and numbers: one form for Markdown, CSV and the page."""

import dataclasses

from mtl_tf.errors import UsageError
from mtl_tf.progress import format_seconds
from mtl_tf.report.document import Cell
from mtl_tf.study.columns import DELTA, Column
from mtl_tf.study.declaration import Table
from mtl_tf.study.plan import Plan
from mtl_tf.study.results import Figure, ResultRow, relative, result_rows, single_task
from mtl_tf.study.verdicts import SPREAD, difference, noise_of, verdict
from mtl_tf.tasks import MISSING


@dataclasses.dataclass(frozen=True)
class Made:
    """A finished table.

    Attributes:
        table: as declared.
        head: the columns.
        rows: cells under them.
        verdicts: a sentence for each column with published figures, and what the spread is that rows are compared by.
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
    known = plan.columns.all
    ranked = plan.columns.ranked(table.rank_by)
    asked = {name for row in results for name in row.published}.union(ranked, [plan.columns.chosen_by(table.choose_by)])
    shown = [
        name
        for name in plan.columns.shown(asked)
        if any(name in row.figures or name in row.published for row in results)
    ]
    extra = dict.fromkeys(name for row in results for name in row.published if name not in known and name != "status")
    status = any(row.status != "done" or "status" in row.published for row in results)
    head, columns = ["row"], [[Cell(_name(plan, table, row)) for row in results]]
    if status:
        head.append("status")
        columns.append([Cell(row.status) for row in results])
        if any("status" in row.published for row in results):
            head.append("status, published")
            columns.append([Cell(str(row.published.get("status", ""))) for row in results])
    for name in shown:
        label = known[name].head
        if any(name in row.figures for row in results):
            head.append(label)
            columns.append([_ours(name, known[name], row.figures.get(name)) for row in results])
        if any(name in row.published for row in results):
            head.append(f"{label}, published")
            columns.append([_published(name, known[name], row.published.get(name)) for row in results])
    for name in extra:
        head.append(name)
        columns.append([_published(name, Column(name), row.published.get(name)) for row in results])
    for name, cells in _beside_reference(plan, table, results, everything).items():
        head.append(name)
        columns.append(cells)
    head.append("seeds")
    columns.append([Cell(str(len(row.runs)), len(row.runs)) for row in results])
    sentences = _verdicts(plan, table, ranked, results, everything)
    return Made(table, tuple(head), tuple(zip(*columns, strict=True)), sentences, tuple(results))


def _name(plan, table, row):
    if not table.choose_from:
        return row.row.name
    carried = " (carried on)" if plan.chosen(table) == row.row.key else ""
    return f"{row.row.table}: {row.row.name}{carried}"


def _beside_reference(plan, table, results, everything):
    """Column -> cells of what each row costs and gains beside the reference of the table, where it has one."""
    if not table.reference:
        return {}
    reference = next(row for row in results if row.row.name == table.reference)
    noise = noise_of(DELTA, everything)
    costs = [relative(row, reference) for row in results]
    found = {
        f"{name}, x {table.reference}": [_ratio(cost.get(name)) for cost in costs]
        for name in dict.fromkeys(name for cost in costs for name in cost)
    }
    sentences = [
        "The reference." if row is reference else difference(DELTA, row, reference, plan.columns, noise)
        for row in results
    ]
    return found | {f"against {table.reference}": [Cell(text) for text in sentences]}


def _ratio(value: float | None) -> Cell:
    return Cell(MISSING) if value is None else Cell(f"{value:.2f}", value)


def _verdicts(plan, table, ranked, results, everything):
    if table.choose_from:
        return (_choice(plan, table),)
    found = [verdict(column, list(results), plan.columns, noise_of(column, everything)) for column in ranked]
    if table.reference:
        found.append(SPREAD)
    if table.baseline:
        found += [
            f"The {plan.columns.all[name].said} of the single-task network is 0: no delta_m is relative to it."
            for name, value in single_task(plan).items()
            if value == 0
        ]
    return tuple(sentence for sentence in found if sentence)


def _choice(plan, table):
    theirs = table.published_choice or table.pinned
    by = plan.columns.all[plan.columns.chosen_by(table.choose_by)].said
    try:
        ours = plan.best(table)
    except UsageError:
        return f"Published choice: {theirs}. No row here has a {by}."
    if ours is None:
        return f"Published choice: {theirs}. Not all rows have been run."
    same = "the same here" if ours == theirs else f"here the best row by {by} is {ours}"
    return f"Published choice: {theirs}; {same}. Carried on: {plan.chosen(table)}."


def _ours(name, column: Column, figure: Figure | None) -> Cell:
    if figure is None:
        return Cell(MISSING)
    if name == "seconds":
        return Cell(format_seconds(figure.mean), figure.mean)
    # What does not depend on the seed has no spread worth a name.
    spread = f" ± {column.show(figure.spread)}" if figure.spread else ""
    return Cell(column.show(figure.mean) + spread, figure.mean)


def _published(name, column: Column, value) -> Cell:
    if value is None:
        return Cell(MISSING)
    if isinstance(value, str):
        return Cell(value)
    if name == "seconds":
        return Cell(format_seconds(value), value)
    return Cell(column.show(value), value)
