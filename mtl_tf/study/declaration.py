"""Reads and checks a file that declares experiments; `report.toml` says what may stand in it."""

import dataclasses
import pathlib
import re
from typing import Any

from mtl_tf import config as configuration
from mtl_tf import keys
from mtl_tf.errors import UsageError, did_you_mean
from mtl_tf.options import coerce
from mtl_tf.tuning.space import SCORED_ON

REPORT = pathlib.Path(__file__).parent / "report.toml"
GIVEN = "given"  # encoder weights: those that the study's flags name
ARCHITECTURES = "architectures"  # seeds: as many as --architecture_seeds says
PUBLISHED = {"miou": "semseg.miou", "si": "depth.si_log_rmse"}  # what the published study calls scores
_FILE_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,59}")  # tables and figures become files


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table: what it changes.

    Attributes:
        table: name of its table.
        set: option -> value.
        scale: option -> factor.
        like: "TABLE/ROW" that it starts from, or empty.
        published: column, as it is named there -> figure of the report.
        architecture: whether it is run with `architecture_seeds` seeds.
        seeds: how many it is run with, whatever the study's are; 0 = as many as the study says.
    """

    table: str
    name: str
    set: dict[str, Any] = dataclasses.field(default_factory=dict)
    scale: dict[str, float] = dataclasses.field(default_factory=dict)
    like: str = ""
    published: dict[str, Any] = dataclasses.field(default_factory=dict)
    architecture: bool = False
    seeds: int = dataclasses.field(default=0, repr=False)

    @property
    def key(self) -> str:
        """What other rows call it."""
        return f"{self.table}/{self.name}"


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        rows: empty where it is a choice.
        set: option -> value, of all its rows.
        rank_by: the columns whose published order is compared with ours; empty: the total and the score of each task.
        choose_from: names of the tables whose best row it carries; empty where it has rows of its own.
        choose_by: the score that a choice goes by; empty: the total, or the score of the only task.
        pinned, published_choice: keys of the row that the report carried, and of the one that it named.
        baseline: whether its rows are the single-task networks of delta_m.
        reference: name of the row that the others' delta_m, time and memory are compared with; empty: none is.
    """

    name: str
    title: str
    note: str = ""
    set: dict[str, Any] = dataclasses.field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    rank_by: tuple[str, ...] = ()
    choose_from: tuple[str, ...] = ()
    choose_by: str = dataclasses.field(default="", repr=False)
    pinned: str = ""
    published_choice: str = ""
    baseline: bool = False
    reference: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True)
class Figure:
    """Curves of all rows of some tables, or a drawn diagram."""

    name: str
    title: str
    tables: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    diagram: str = ""


@dataclasses.dataclass(frozen=True)
class Declaration:
    """All experiments of a study, checked."""

    path: pathlib.Path
    start: dict[str, Any]
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]

    def table(self, name: str) -> Table:
        """The table of a name."""
        return next(table for table in self.tables if table.name == name)

    def row(self, key: str) -> Row:
        """The row of a key "TABLE/ROW"."""
        return next(row for table in self.tables for row in table.rows if row.key == key)

    @property
    def told(self) -> str:
        """All that makes it another study, in one text; that of an older file is as it was."""
        ranked = ("total", *PUBLISHED)  # what an older file ranks by that does not say it
        tables = tuple(dataclasses.replace(table, rank_by=table.rank_by or ranked) for table in self.tables)
        told = repr(dataclasses.replace(self, path=pathlib.Path(), tables=tables, figures=()))
        told += "".join(f", {table.name} by {table.choose_by}" for table in tables if table.choose_by)
        return told + "".join(f", {row.key} x {row.seeds}" for table in tables for row in table.rows if row.seeds)

    def only(self, names: tuple[str, ...]) -> tuple[Table, ...]:
        """The tables of some names, in the order of the file; all where none is named.

        Raises:
            UsageError: a name that no table has.
        """
        known = [table.name for table in self.tables]
        for name in names:
            if name not in known:
                hint = did_you_mean(name, known) or f"there are {', '.join(known)}"
                raise UsageError(f"--tables: {self.path} has no table {name!r}; {hint}")
        return tuple(table for table in self.tables if not names or table.name in names)


def read(path: str = "") -> Declaration:
    """Reads a file of experiments; the report's where no path is given.

    Raises:
        UsageError: no such file, no TOML, or something in it that cannot be run; says where.
    """
    file = pathlib.Path(path) if path else REPORT
    top = keys.Keys(str(file), keys.read_toml(file, "experiments"), ("start", "table", "figure"))
    tables = tuple(_table(entry) for entry in top.each("table", ": table", (*_TABLE, "rows")))
    if not tables:
        raise UsageError(f"{file} declares no [[table]]; add one with rows")
    figures = top.each("figure", ": figure", _FIGURE)
    figures = tuple(Figure(**entry.take_all(_FIGURE, needed=("name", "title"))) for entry in figures)
    found = Declaration(file, top.take("start", _options, default={}), tables, figures)
    _check_references(found)
    return found


def _table(entry):
    values = entry.take_all(_TABLE, needed=("name", "title"))
    rows = tuple(_row(row, values["name"]) for row in entry.each("rows", ", row", _ROW))
    table = Table(rows=rows, **values)
    if bool(rows) == bool(table.choose_from):
        raise UsageError(f"{entry.place} must have either rows or choose_from")
    if table.choose_by and not table.choose_from:
        raise UsageError(f"{entry.place} has choose_by, but no choose_from; name the tables that it chooses from")
    if table.choose_from and not table.pinned:
        raise UsageError(
            f'{entry.place} chooses, so it must name the row that --carry=report takes: pinned = "TABLE/ROW"'
        )
    return table


def _row(entry, table):
    values = entry.take_all(_ROW, needed=("name",))
    seeds = values.pop("seeds", 0)
    count = {"architecture": True} if seeds == ARCHITECTURES else {"seeds": seeds}
    return Row(table, **count, **values)


# === Kinds of values ===


def _file_name(value):
    """a name of up to 60 letters, digits, dots, - and _, since it becomes that of a file"""
    if not _FILE_NAME.fullmatch(value):
        raise ValueError
    return value


def _field(option):
    field = configuration.field_of(option)
    if field.metadata["free"] or option in ("seed", *SCORED_ON):
        raise UsageError(f"{option} belongs to the study as a whole; give it on the command line")
    return field


def _options(value):
    """a table of options and values: {optim.name = "adam"}"""
    options = [(name, _field(name), said) for name, said in configuration.by_option(keys.table(value))]
    return {name: said if said == GIVEN else coerce(field, said) for name, field, said in options}


def _factors(value):
    """a table of whole-number options and positive factors: {train.epochs = 2}"""
    factors = dict(configuration.by_option(keys.table(value)))
    if not all(_field(name).type is int and keys.positive(factor) for name, factor in factors.items()):
        raise ValueError
    return factors


def _seeds(value):
    """a whole number of at least 1, or the word architectures"""
    if value != ARCHITECTURES and keys.whole(value) < 1:
        raise ValueError
    return value


def _figures(value):
    """a table of columns and figures: {total = 44.45}"""
    found = {}
    for name, figure in keys.table(value).items():  # TOML reads `normals.mean` as a table in a table
        below = figure.items() if isinstance(figure, dict) else ()
        found |= {f"{name}.{score}": each for score, each in below} if below else {name: figure}
    if not all(isinstance(figure, str) or keys.is_number(figure) for figure in found.values()):
        raise ValueError
    return found


_TABLE = {
    "name": _file_name,
    "title": keys.line,
    "note": keys.string,
    "set": _options,
    "rank_by": keys.strings,
    "choose_from": keys.strings,
    "choose_by": keys.string,
    "pinned": keys.string,
    "published_choice": keys.string,
    "baseline": keys.boolean,
    "reference": keys.string,
}
_ROW = {
    "name": keys.line,
    "set": _options,
    "scale": _factors,
    "like": keys.string,
    "published": _figures,
    "seeds": _seeds,
}
_FIGURE = {
    "name": _file_name,
    "title": keys.line,
    "tables": keys.strings,
    "metrics": keys.strings,
    "diagram": keys.string,
}


def _check_references(declaration):
    """Rows start from rows, and choices choose from tables, that stand before them."""
    rows, tables = [], []
    for table in declaration.tables:
        where = f"{declaration.path}: table {table.name}"
        for name in table.choose_from:
            if name not in tables:
                hint = did_you_mean(name, tables) or f"there are {', '.join(tables)}"
                raise UsageError(f"{where} chooses from {name!r}, which does not stand before it; {hint}")
        for key in (table.pinned, table.published_choice):
            if (key and key.partition("/")[0] not in table.choose_from) or (key and key not in rows):
                raise UsageError(f"{where} names the row {key!r}, which is none of the tables it chooses from")
        own = [row.name for row in table.rows]
        if table.reference and table.reference not in own:
            hint = did_you_mean(table.reference, own) or "it must be the name of one of its rows"
            raise UsageError(f"{where} has the reference {table.reference!r}, which is no row of it; {hint}")
        if table.reference and not any(each.baseline for each in declaration.tables):
            raise UsageError(
                f"{where} compares delta_m with that of {table.reference!r}, but no table has the single-task networks "
                "that delta_m is relative to; add one with baseline = true"
            )
        for row in table.rows:
            if row.like and row.like not in rows:
                raise UsageError(f"{where}: row {row.name} is like {row.like!r}, which does not stand before it")
            rows.append(row.key)
        tables.append(table.name)
    for figure in declaration.figures:
        for name in figure.tables:
            if name not in tables:
                hint = did_you_mean(name, tables) or f"there are {', '.join(tables)}"
                raise UsageError(f"{declaration.path}: {figure.name} shows table {name!r}; {hint}")
