"""Reads and checks a file that declares experiments; `report.toml` says what may stand in it."""

import dataclasses
import math
import pathlib
import re
from collections.abc import Iterable
from typing import Any

from mtl_tf import config as configuration
from mtl_tf.errors import UsageError, did_you_mean, said_of
from mtl_tf.options import coerce
from mtl_tf.parsing import parse_toml
from mtl_tf.tuning.space import SCORED_ON

REPORT = pathlib.Path(__file__).parent / "report.toml"
GIVEN = "given"  # encoder weights: those that the study's flags name
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
    """

    table: str
    name: str
    set: dict[str, Any]
    scale: dict[str, float]
    like: str
    published: dict[str, Any]
    architecture: bool

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
        return told + "".join(f", {table.name} by {table.choose_by}" for table in tables if table.choose_by)

    def only(self, names: tuple[str, ...]) -> tuple[Table, ...]:
        """The tables of some names, in the order of the file; all where none is named.

        Raises:
            UsageError: a name that no table has.
        """
        known = [table.name for table in self.tables]
        for name in names:
            if name not in known:
                raise UsageError(f"--tables: {self.path} has no table {name!r}; {_hint(name, known)}")
        return tuple(table for table in self.tables if not names or table.name in names)


def read(path: str = "") -> Declaration:
    """Reads a file of experiments; the report's where no path is given.

    Raises:
        UsageError: no such file, no TOML, or something in it that cannot be run; says where.
    """
    file = pathlib.Path(path) if path else REPORT
    try:
        content = parse_toml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--experiments={file}: {error.strerror}; name a TOML file") from None
    except ValueError as error:  # UnicodeDecodeError is one too
        raise UsageError(f"--experiments={file} is no TOML: {error}") from None
    _only_known(content, ("start", "table", "figure"), str(file))
    tables = tuple(_table(entry, file) for entry in _list(content, "table", str(file)))
    if not tables:
        raise UsageError(f"{file} declares no [[table]]; add one with rows")
    figures = tuple(_figure(entry, file) for entry in _list(content, "figure", str(file)))
    start = _options(_optional(content, "start", {}, str(file)), f"{file}: [start]")
    found = Declaration(file, start, tables, figures)
    _check_references(found)
    return found


def _list(content, name, where):
    found = content.get(name, [])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise UsageError(f"{where}: {name} must be a list of tables")
    return found


def _table(entry, file):
    name = _name(entry, f"{file}: a [[table]]")
    where = f"{file}: table {name}"
    _only_known(entry, [field.name for field in dataclasses.fields(Table)], where)
    _text(entry, "title", where)
    texts = {key: _optional(entry, key, "", where) for key in ("note", "pinned", "published_choice", "choose_by")}
    lists = {key: _texts(entry, key, where) for key in ("rank_by", "choose_from") if key in entry}
    baseline = _optional(entry, "baseline", False, where)
    rows = tuple(_row(row, name, where) for row in _list(entry, "rows", where))
    names = [row.name for row in rows]
    if len(set(names)) < len(names):
        raise UsageError(f"{where} has two rows of one name; rename one")
    if bool(rows) == bool(entry.get("choose_from")):
        raise UsageError(f"{where} must have either rows or choose_from")
    if entry.get("choose_by") and not entry.get("choose_from"):
        raise UsageError(f"{where} has choose_by, but no choose_from; name the tables that it chooses from")
    if entry.get("choose_from") and not entry.get("pinned"):
        raise UsageError(f'{where} chooses, so it must name the row that --carry=report takes: pinned = "TABLE/ROW"')
    settings = _options(_optional(entry, "set", {}, where), where)
    return Table(name=name, title=entry["title"], rows=rows, set=settings, baseline=baseline, **texts, **lists)


def _row(entry, table, where):
    name = _text(entry, "name", f"{where}: a row")
    where = f"{where}, row {name}"
    _only_known(entry, ("name", "set", "scale", "like", "published", "seeds"), where)
    if entry.get("seeds", "architectures") != "architectures":
        raise UsageError(f'{where}: seeds takes "architectures"; got {entry["seeds"]!r}')
    with said_of(where):
        scale = dict(configuration.by_option(_optional(entry, "scale", {}, where)))
        for option, factor in scale.items():
            if _field(option).type is not int or not _is_number(factor) or factor <= 0:
                raise UsageError(f"scale takes whole-number options and positive factors; got {option} = {factor}")
    published = _optional(entry, "published", {}, where)
    if not all(isinstance(figure, str) or _is_number(figure) for figure in published.values()):
        raise UsageError(f"{where}: published takes columns and figures: {{total = 44.45}}")
    return Row(
        table,
        name,
        _options(_optional(entry, "set", {}, where), where),
        scale,
        _optional(entry, "like", "", where),
        published,
        "seeds" in entry,
    )


def _figure(entry, file):
    name = _name(entry, f"{file}: a [[figure]]")
    where = f"{file}: figure {name}"
    title = _text(entry, "title", where)
    _only_known(entry, [field.name for field in dataclasses.fields(Figure)], where)
    tables, metrics = _texts(entry, "tables", where), _texts(entry, "metrics", where)
    return Figure(name, title, tables, metrics, _optional(entry, "diagram", "", where))


def _name(entry, where):
    """A name that is also that of a file, in the study's folder and nowhere else."""
    name = _text(entry, "name", where)
    if not _FILE_NAME.fullmatch(name):
        raise UsageError(
            f"{where} is called {name!r}, which becomes a file: use up to 60 letters, digits, dots, - and _"
        )
    return name


def _texts(entry, name, where):
    found = entry.get(name, [])
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise UsageError(f"{where}: {name} takes a list of texts; got {found!r}")
    return tuple(found)


def _optional(entry, name, default, where):
    found = entry.get(name, default)
    if type(found) is not type(default):
        kind = {str: "a text", bool: "true or false", dict: "a table"}[type(default)]
        raise UsageError(f"{where}: {name} takes {kind}; got {found!r}")
    return found


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _text(entry, name, where):
    if not isinstance(entry.get(name), str) or not entry[name].strip() or not entry[name].isprintable():
        raise UsageError(f"{where} has no {name}; give it one, in one line")
    return entry[name]


def _only_known(entry, known, where):
    _allowed(entry, known, f"{where}: unknown entry")


def _allowed(names, known, where):
    for name in names:
        if name not in known:
            raise UsageError(f"{where} {name!r}; {_hint(name, known)}")


def _hint(name, known: Iterable[str]):
    return did_you_mean(name, known) or f"there are {', '.join(known)}"


def _field(option):
    field = configuration.field_of(option)
    if field.metadata["free"] or option in ("seed", *SCORED_ON):
        raise UsageError(f"{option} belongs to the study as a whole; give it on the command line")
    return field


def _options(nested, where):
    with said_of(where):
        options = [(name, _field(name), value) for name, value in configuration.by_option(nested)]
        return {name: value if value == GIVEN else coerce(field, value) for name, field, value in options}


def _check_references(declaration):
    """Rows start from rows, and choices choose from tables, that stand before them."""
    rows, tables = [], []
    for table in declaration.tables:
        where = f"{declaration.path}: table {table.name}"
        if table.name in tables:
            raise UsageError(f"{where} stands there twice; rename one")
        for name in table.choose_from:
            if name not in tables:
                raise UsageError(
                    f"{where} chooses from {name!r}, which does not stand before it; {_hint(name, tables)}"
                )
        for key in (table.pinned, table.published_choice):
            if (key and key.partition("/")[0] not in table.choose_from) or (key and key not in rows):
                raise UsageError(f"{where} names the row {key!r}, which is none of the tables it chooses from")
        for row in table.rows:
            if row.like and row.like not in rows:
                raise UsageError(f"{where}: row {row.name} is like {row.like!r}, which does not stand before it")
            rows.append(row.key)
        tables.append(table.name)
    for figure in declaration.figures:
        for name in figure.tables:
            if name not in tables:
                raise UsageError(f"{declaration.path}: {figure.name} shows table {name!r}; {_hint(name, tables)}")
