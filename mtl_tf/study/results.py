"""Outcomes as table rows: mean and spread over seeds, cost, delta_m, beside the published figures."""

import dataclasses
import statistics

from mtl_tf.errors import UsageError
from mtl_tf.study.columns import COSTS, DELTA, Columns
from mtl_tf.study.declaration import Row, Table
from mtl_tf.study.plan import NO_WEIGHTS, Plan, Run
from mtl_tf.tuning.trial import DONE, Outcome


@dataclasses.dataclass(frozen=True)
class Figure:
    """A number over seeds.

    Attributes:
        values: one of each seed.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of all seeds."""
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over the seeds; None of a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclasses.dataclass(frozen=True)
class ResultRow:
    """A row of a table, as far as its runs have come.

    Attributes:
        row: as declared.
        runs: one a seed.
        status: "done", "no weights", "not run yet", "running: k of n seeds", or "failed: ..." with how.
        figures: column -> figure.
        published: column -> published figure, in our units; columns that we have not are kept as they are.
    """

    row: Row
    runs: tuple[Run, ...]
    status: str
    figures: dict[str, Figure]
    published: dict[str, float | str]

    @property
    def failed(self) -> bool:
        """Whether a run of it failed."""
        return self.status.startswith("failed")


def result_rows(plan: Plan, table: Table) -> list[ResultRow]:
    """The rows of a table; those of a choice are the best of each table it chooses from, and what was carried."""
    rows = [_result(plan, row) for row in _rows(plan, table)]
    singles = single_task(plan)
    return [dataclasses.replace(row, figures=row.figures | _delta(row, singles, plan.columns)) for row in rows]


def _rows(plan, table):
    if not table.choose_from:
        return table.rows
    found, by = [], plan.columns.chosen_by(table.choose_by)
    gain = plan.columns.all[by].gain
    for source in map(plan.declaration.table, table.choose_from):
        figures = [(row, _result(plan, row).figures.get(by)) for row in source.rows]
        done = [(gain(figure.mean), row) for row, figure in figures if figure]
        found += [max(done, key=lambda pair: pair[0])[1]] if done else []
    carried = plan.chosen(table)
    keys = dict.fromkeys([row.key for row in found] + ([carried] if carried else []))
    return [plan.declaration.row(key) for key in keys]


def _result(plan: Plan, row: Row) -> ResultRow:
    runs = plan.runs_of(row)
    outcomes = [run.outcome for run in runs or []]
    ended = [outcome for outcome in outcomes if outcome]
    done = [outcome for outcome in ended if outcome.status == DONE]
    if runs == []:
        status = NO_WEIGHTS
    elif not ended:
        status = "not run yet"
    elif len(done) < len(ended):
        status = "failed: " + next(outcome.message for outcome in ended if outcome.status != DONE)
    elif len(ended) < len(outcomes):
        status = f"running: {len(ended)} of {len(outcomes)} seeds"
    else:
        status = DONE
    return ResultRow(row, tuple(runs or ()), status, _figures(done, plan.columns), _published(row, plan.columns))


def _figures(outcomes: list[Outcome], columns: Columns) -> dict[str, Figure]:
    found = {}
    for column in (*columns.scores, *COSTS):
        values = [(outcome.costs if column in COSTS else outcome.scores).get(column) for outcome in outcomes]
        if values and None not in values:
            found[column] = Figure(tuple(values))
    return found


def _published(row: Row, columns: Columns) -> dict[str, float | str]:
    found = {}
    for name, value in row.published.items():
        column, factor = columns.published(name)
        found[column] = value * factor if factor != 1.0 else value
    return found


# === Cost relative to another row ===


def relative(row: ResultRow, reference: ResultRow) -> dict[str, float]:
    """Time of a step and peak memory of a row as multiples of another's, as far as both are known.

    Returns:
        "time a step" and "memory" -> ratio of the means over the seeds. A step is that of the median speed of a run.
    """
    pairs = {"time a step": (_step_seconds(row), _step_seconds(reference))}
    pairs["memory"] = tuple(each.figures.get("peak_memory_mib") for each in (row, reference))
    return {name: ours.mean / theirs.mean for name, (ours, theirs) in pairs.items() if ours and theirs}


def _step_seconds(row: ResultRow) -> Figure | None:
    speed = row.figures.get("images_per_second")
    return speed and Figure(tuple(row.runs[0].config.train.batch_size / each for each in speed.values))


# === Gain over single-task networks ===


def single_task(plan: Plan) -> dict[str, float]:
    """Mean of the leading score of each task over the seeds of its single-task network, as far as they are done."""
    found = {}
    for row in (_result(plan, row) for table in plan.tables if table.baseline for row in table.rows):
        names = _leading(row, plan.columns)
        if len(names) == 1 and names[0] in row.figures:
            found[names[0]] = row.figures[names[0]].mean
    return found


def _leading(row: ResultRow, columns: Columns) -> list[str]:
    """The score that stands for each task of a row."""
    tasks = row.runs[0].config.tasks or columns.leading if row.runs else ()
    return [columns.leading.get(task, task) for task in tasks]


def delta_m(scores: dict[str, float], singles: dict[str, float], higher: dict[str, bool]) -> float | None:
    """Mean relative gain over single-task networks, percent, positive = better; None where a score is missing.

    Maninis et al., "Attentive Single-Tasking of Multiple Tasks", CVPR 2019, eq. 6: 100/T sum of (-1)^l (m - b) / b
    with l = 1 where lower is better.

    Args:
        scores, singles: of a network, and of the single-task networks.
        higher: name -> whether more is better, of one score of each task.

    Raises:
        UsageError: a single-task network has 0, of which nothing is a percentage.
    """
    if any(found.get(name) is None for found in (scores, singles) for name in higher):
        return None
    if zero := [name for name in higher if singles[name] == 0]:
        raise UsageError(f"no delta_m: {', '.join(zero)} of the single-task network is 0")
    gains = [(scores[name] - singles[name]) / singles[name] * (1 if more else -1) for name, more in higher.items()]
    return 100 * statistics.fmean(gains)


def _delta(row: ResultRow, singles, columns: Columns) -> dict[str, Figure]:
    """delta_m of each seed over the tasks of a row, against the mean of the single-task networks."""
    named = _leading(row, columns)
    if len(named) < 2 or not all(name in row.figures for name in named):
        return {}
    higher = {name: columns.all[name].higher for name in named}
    try:
        seeds = zip(*(row.figures[name].values for name in named), strict=True)
        values = [delta_m(dict(zip(named, seed, strict=True)), singles, higher) for seed in seeds]
    except UsageError:
        return {}
    return {} if None in values else {DELTA: Figure(tuple(values))}
