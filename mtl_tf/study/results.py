"""Outcomes as table rows: mean and spread over seeds, cost, delta_m, beside the published figures."""

import dataclasses
import statistics

from mtl_tf.study.declaration import Row, Table
from mtl_tf.study.plan import NO_WEIGHTS, Plan, Run
from mtl_tf.tuning.trial import DONE, Outcome

# Column -> where an outcome holds it; the order of the columns of a table.
SCORES = {
    "total": "total",
    "miou": "semseg.miou",
    "si": "depth.si_log_rmse",
    "grader": "grader",
    "train_loss": "train_loss",
    "val_loss": "val_loss",
    "val_loss_unweighted": "val_loss_unweighted",
}
COSTS = ("parameters", "multiply_adds", "checkpoint_mib", "peak_memory_mib", "images_per_second", "seconds")
HIGHER = {"total": True, "miou": True, "si": False, "grader": True, "train_loss": False, "val_loss": False}
HIGHER |= {"val_loss_unweighted": False, "seconds": False, "checkpoint_mib": False}
# Published name -> our column, and how many of ours it is. The report's validation loss is the plain sum.
PUBLISHED_AS = {"hours": ("seconds", 3600.0), "val_loss": ("val_loss_unweighted", 1.0)}


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
    singles = _single_task(plan)
    return [dataclasses.replace(row, figures=row.figures | _delta(row, singles)) for row in rows]


def _rows(plan, table):
    if not table.choose_from:
        return table.rows
    found = []
    for source in map(plan.declaration.table, table.choose_from):
        done = [(result.figures["total"].mean, row) for row in source.rows if (result := _result(plan, row)).figures]
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
    return ResultRow(row, tuple(runs or ()), status, _figures(done), _published(row))


def _figures(outcomes: list[Outcome]) -> dict[str, Figure]:
    found = {}
    measured = [outcome.costs | {name: outcome.scores.get(key) for name, key in SCORES.items()} for outcome in outcomes]
    for column in (*SCORES, *COSTS):
        values = [one.get(column) for one in measured]
        if values and None not in values:
            found[column] = Figure(tuple(values))
    return found


def _published(row: Row) -> dict[str, float | str]:
    found = {}
    for name, value in row.published.items():
        column, factor = PUBLISHED_AS.get(name, (name, 1.0))
        found[column] = value * factor if factor != 1.0 else value
    return found


# === Gain over single-task networks ===


def _single_task(plan: Plan) -> dict[str, float]:
    """Mean score of the single-task networks: {"miou": ..., "si": ...} as far as they are done."""
    found = {}
    for table in plan.tables:
        if table.baseline:
            for row in table.rows:
                figures = _result(plan, row).figures
                found.update({name: figures[name].mean for name in ("miou", "si") if name in figures})
    return found


def delta_m(scores: dict[str, float], singles: dict[str, float]) -> float | None:
    """Mean relative gain over single-task networks, percent; None where a task is missing.

    Maninis et al., "Attentive Single-Tasking of Multiple Tasks", CVPR 2019, eq. 6: 100/T sum of (-1)^l (m - b) / b
    with l = 1 where lower is better; here m = mIoU (higher) and SI-logRMSE (lower).
    """
    if not all(singles.get(name) and name in scores for name in ("miou", "si")):
        return None
    gain = (scores["miou"] - singles["miou"]) / singles["miou"]
    return 100 * (gain - (scores["si"] - singles["si"]) / singles["si"]) / 2


def _delta(row: ResultRow, singles) -> dict[str, Figure]:
    """delta_m of each seed, against the mean of the single-task networks."""
    if "miou" not in row.figures or "si" not in row.figures:
        return {}
    pairs = zip(row.figures["miou"].values, row.figures["si"].values, strict=True)
    values = [delta_m({"miou": miou, "si": si}, singles) for miou, si in pairs]
    return {} if None in values else {"delta_m": Figure(tuple(values))}
