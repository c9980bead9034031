"""From declared rows to runs: which configuration each row means, what is carried on, what is still to be run.

What a row means follows from the declaration, the study's flags and, with --carry=best, from outcomes that lie in the
study's folder; so every process of a study finds the same. Rows that mean the same configuration share one run.
"""

import contextlib
import dataclasses
import functools
import hashlib
import pathlib
import re
from typing import Any

from mtl_tf import config as configuration
from mtl_tf import flags
from mtl_tf.config import Config
from mtl_tf.data.sets import describe_training
from mtl_tf.errors import UsageError, said_of
from mtl_tf.study.columns import Columns
from mtl_tf.study.declaration import GIVEN, Declaration, Figure, Row, Table
from mtl_tf.study.options import StudyOptions
from mtl_tf.tasks import KINDS, usual
from mtl_tf.tuning.trial import Outcome, read_outcome

NO_WEIGHTS = "no weights"
RUNS, RESULTS, PAGE = "runs", "results", "study.html"  # what a study's folder holds
WEIGHTS = "model.encoder_weights"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Options that are set, and those that are multiplied."""

    set: dict[str, Any] = dataclasses.field(default_factory=dict)
    scale: dict[str, float] = dataclasses.field(default_factory=dict)

    def __or__(self, other: "Settings") -> "Settings":
        # An option that is set anew is not scaled by what came before.
        scale = {name: factor for name, factor in self.scale.items() if name not in other.set}
        return Settings(self.set | other.set, scale | other.scale)


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run: a row with a seed.

    Attributes:
        name: its folder, made of the row, the seed and what identifies the configuration.
        row: the first row that means it.
        seed: of the run.
        config: with `run_dir` in the study's folder.
    """

    name: str
    row: str = dataclasses.field(compare=False)
    seed: int
    config: Config

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, if it did."""
        return read_outcome(pathlib.Path(self.config.run_dir))


class Plan:
    """The runs of a study.

    Args:
        declaration: the experiments.
        base: the configuration that all runs share; `run_dir` is the study's folder.
        options: of the study.

    Raises:
        UsageError: a table or column that does not exist, or a row whose configuration is not allowed.
    """

    def __init__(self, declaration: Declaration, base: Config, options: StudyOptions):
        self.declaration, self.base, self.options = declaration, base, options
        self.tables = declaration.only(options.tables)
        self._values = configuration.values(base)
        self._by_key: dict[str, str] = {}  # what identifies a configuration -> name of its run
        self._check_choices()
        self._check_columns()
        self.all_runs()  # finds rows that are not allowed before anything is run

    def _check_choices(self):
        made = [table.name for table in self.tables]
        for table in self.tables if self.options.carry == "best" else ():
            lacking = [name for name in table.choose_from if name not in made]
            if lacking:
                raise UsageError(
                    f"--carry=best: table {table.name} chooses from {', '.join(lacking)}, which --tables leaves out; "
                    "name it too, or leave the choice out"
                )

    # === What is measured ===

    @functools.cached_property
    def _descriptor(self):
        return describe_training(self.base.data)

    @functools.cached_property
    def columns(self) -> Columns:
        """The columns of the tables: of all tasks that runs may have and that the data has labels of."""
        descriptor = self._descriptor
        settings = [self.declaration.start]
        for table in self.tables:
            settings += [table.set, *(row.set for row in table.rows)]
        chosen = [found["tasks"] for found in settings if "tasks" in found]
        if "tasks" not in self.declaration.start:
            chosen.insert(0, self.base.tasks)
        names = dict.fromkeys(name for tasks in chosen for name in tasks or descriptor.chosen(()))
        alone = [descriptor[name].task(name, descriptor.name, self.base) for name in names if name in descriptor]
        return Columns([task.beside(alone) for task in alone])

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The figures of the tables that are made, and the diagrams."""
        made = {table.name for table in self.tables}
        return tuple(
            figure for figure in self.declaration.figures if figure.diagram or made.intersection(figure.tables)
        )

    def _check_columns(self):
        for table in self.tables:
            where = f"{self.declaration.path}: table {table.name}"
            with _naming(f"{where}: rank_by"):
                self.columns.ranked(table.rank_by)
            with _naming(f"{where}: choose_by"):
                self.columns.chosen_by(table.choose_by)
            for row in table.rows:
                for name in row.published:
                    with _naming(f"{where}, row {row.name}: published"):
                        self.columns.published(name)
        for figure in self.figures:
            for name in figure.metrics:
                with _naming(f"{self.declaration.path}: figure {figure.name}: metrics"):
                    self.columns.drawn(name)

    # === What a row means ===

    def runs_of(self, row: Row) -> list[Run] | None:
        """The runs of a row, one a seed; none without weights; None where a choice before it is still open."""
        settings = self._settings(row)
        if settings is None:
            return None
        if self._is_about_weights(row) and self.base.model.encoder_weights == "none":
            return []
        count = row.seeds or (self.options.architecture_seeds if row.architecture else self.options.seeds)
        return [self._run(row, settings, self.base.seed + number) for number in range(count)]

    def _is_about_weights(self, row: Row) -> bool:
        """Whether a row is there to show the weights; rows that only build on it do without where there are none."""
        repeats = row.like and not row.set and not row.scale
        return row.set.get(WEIGHTS) == GIVEN or bool(repeats and self._is_about_weights(self.declaration.row(row.like)))

    def _settings(self, row: Row) -> Settings | None:
        own = Settings(row.set, row.scale)
        if row.like:
            start = self._settings(self.declaration.row(row.like))
            return None if start is None else start | own
        table = self.declaration.table(row.table)
        carried = self._carried(table)
        return None if carried is None else Settings(self.declaration.start) | carried | Settings(table.set) | own

    def _carried(self, until: Table) -> Settings | None:
        """What the choices before a table carry on; of tables that are not made, nothing."""
        carried = Settings()
        for table in self.declaration.tables[: self.declaration.tables.index(until)]:
            if table.choose_from and table in self.tables:
                key = self.chosen(table)
                if key is None:
                    return None
                # What the choice is about, not what its row started from.
                row = self.declaration.row(key)
                source = self.declaration.table(row.table)
                carried = carried | Settings(source.set) | Settings(row.set, row.scale)
        return carried

    def chosen(self, table: Table) -> str | None:
        """The row that a choice carries on: the pinned one, or the best of this study; None while that is open."""
        return table.pinned if self.options.carry == "report" else self.best(table)

    def best(self, table: Table) -> str | None:
        """The best row of the tables that a choice chooses from, by the mean score over its seeds; None while open.

        Raises:
            UsageError: every row failed, or has no such score.
        """
        by = self.columns.chosen_by(table.choose_by)
        means = {}
        for row in (row for name in table.choose_from for row in self.declaration.table(name).rows):
            runs = self.runs_of(row)
            if runs is None or any(run.outcome is None for run in runs):
                return None
            scores = [run.outcome.scores.get(by) for run in runs]
            if scores and None not in scores:
                means[row.key] = self.columns.all[by].gain(sum(scores) / len(scores))
        if not means:
            raise UsageError(
                f"--carry=best: every row of {', '.join(table.choose_from)} failed or has no {by}, so that "
                f"{table.name} has no choice"
            )
        return max(means, key=means.get)

    def _run(self, row: Row, settings: Settings, seed: int) -> Run:
        values = configuration.changed(self._values, settings.set | {"seed": seed})
        if values[WEIGHTS] == GIVEN:
            values[WEIGHTS] = self.base.model.encoder_weights
        if values[WEIGHTS] == values["model.weights"] == "none":
            values["model.weights_key"] = ""  # there is no file to choose within
        for name, factor in settings.scale.items():
            if values[name] is None:
                raise UsageError(f"{self.declaration.path}: row {row.key}: {name} has no value to scale; set it first")
            values[name] = max(1, round(values[name] * factor))
        if len(values["tasks"]) == 1 and values["train.best_metric"] not in ("total", "grader", "loss"):
            values["train.best_metric"] = "total"  # of a single task: its own score
        self._leave_out_others(values, {**self.declaration.table(row.table).set, **row.set})
        with said_of(f"{self.declaration.path}: row {row.key}"):
            config = configuration.from_values(values)
        key = hashlib.sha256(identity(config).encode()).hexdigest()[:8]
        name = self._by_key.setdefault(key, f"{_file_name(row.key)}-seed{seed}-{key}")
        folder = pathlib.Path(self.base.run_dir) / RUNS / name
        return Run(name, row.key, seed, configuration.replace(config, run_dir=str(folder)))

    def _leave_out_others(self, values: dict[str, Any], own: dict[str, Any]) -> None:
        """Removes the options of tasks that a row does not train, but for its own: it has them from flags or a choice.

        Those of tasks that are trained where nobody names any may stay, as ever.
        """
        names = values["tasks"] or self._descriptor.chosen(())
        kinds = [self._descriptor[name].kind for name in names if name in self._descriptor]
        for name in values:
            branch, _, rest = name.partition(".")
            kind = rest.partition(".")[0]
            if branch == "task" and kind not in kinds and not KINDS[kind].usual and name not in own:
                values[name] = configuration.leaves()[name].default
        if not any(name.startswith("loss.weights") for name in own):
            kept = [entry for entry in values["loss.weights"] if entry.name in (*names, *usual())]
            values["loss.weights"] = tuple(kept)
        if not any(name.startswith("balance.preference") for name in own):
            kept = [entry for entry in values["balance.preference"] if entry.name in names]
            values["balance.preference"] = tuple(kept)

    # === What is to be run ===

    def all_runs(self) -> list[Run]:
        """Every run that is known by now, once, in the order of the tables."""
        found = {}
        for table in self.tables:
            for row in table.rows:
                for run in self.runs_of(row) or []:
                    found.setdefault(run.name, run)
        return list(found.values())

    def changes(self, run: Run) -> dict[str, Any]:
        """Option -> value of a run that differ from what all runs share."""
        return {name: new for name, (_, new) in configuration.differences(self.base, run.config, training=True).items()}

    def waits(self) -> bool:
        """Whether rows are left whose configuration still depends on others."""
        return any(self.runs_of(row) is None for table in self.tables for row in table.rows)


@contextlib.contextmanager
def _naming(where: str):
    """Says where in the declaration a UsageError is about."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{where} {error}") from None


def identity(config: Config) -> str:
    """The options that make two runs the same: all but those that may change on an existing run.

    What a run did before there was an option is left out, so that older studies find their runs.
    """
    values = configuration.values(config)
    left_out = {
        name
        for name, field in configuration.leaves().items()
        if field.metadata["free"] or values[name] == field.metadata["before"]
    }
    left_out -= {name for name in configuration.OF_EVALUATION if values[name]}
    lines = flags.run_flags(config).splitlines()
    kept = [line for line in lines if line.removeprefix("--").partition("=")[0] not in left_out]
    return "\n".join(line for name in kept for line in _as_before(name))


def _as_before(line):
    """A line of run.flags with the names that options had before."""
    name, _, value = line.removeprefix("--").partition("=")
    old = {new: before for before, new in configuration.OLD_NAMES.items()}
    entries = value.split(",") if any(key.startswith(f"{name}.") for key in old) else []
    if not entries:
        return [f"--{old.get(name, name)}={value}" if name in old else line]
    pairs = [(f"{name}.{entry.partition(':')[0]}", entry.partition(":")[2]) for entry in entries]
    return [f"--{old.get(key, key)}={number}" for key, number in pairs]


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:60]
