"""What a person adds from outside: kinds of tasks, encoders, architectures, data sets and balancers of their own.

`register` takes them from Python; `--plugin=FILE.py` runs a file that calls it, before the options are read. It is the
user's own code, and the only code that is ever run from a path.
"""

import dataclasses
import importlib.util
import inspect
import itertools
import pathlib
import re
import sys
from typing import Any

from mtl_tf.balancing import AGGREGATORS, SCALARIZERS
from mtl_tf.balancing.methods import Aggregator, DirectionAggregator, Scalarizer
from mtl_tf.config import DATA_SETS
from mtl_tf.config.balance import check_options
from mtl_tf.errors import UsageError, one_line
from mtl_tf.models.architectures import ARCHITECTURES, Architecture
from mtl_tf.models.encoders import ENCODERS, Encoder
from mtl_tf.options import Section
from mtl_tf.tasks import KINDS, Labels, Task

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")  # also a part of an option's name

_loaded: set[pathlib.Path] = set()


def register(thing: Any) -> Any:
    """Makes something known under its name, as if it were built in: in options, help, checks and reports.

    Args:
        thing: a subclass of `mtl_tf.Labels`, which is a kind of task (`kind`, `task_type`), or of `mtl_tf.Scalarizer`
            or `mtl_tf.Aggregator` (`name`); a `mtl_tf.Encoder`; a `mtl_tf.Architecture`; or a `mtl_tf.DataSet` that has
            a name.

    Returns:
        The same, so that it may stand above a class.

    Raises:
        UsageError: it is none of these, lacks something, or has the name of something built in.
    """
    if isinstance(thing, type) and issubclass(thing, Labels):
        _check_kind(thing)
        KINDS.add(thing.kind, thing)
        return thing
    for base, table, other in ((Scalarizer, SCALARIZERS, AGGREGATORS), (Aggregator, AGGREGATORS, SCALARIZERS)):
        if isinstance(thing, type) and issubclass(thing, base):
            _check_method(thing, base, table, other)
            table.add(thing.name, thing)
            return thing
    from mtl_tf.data.sets.data_set import DataSet  # NumPy, which options do without

    for kind, table, functions in (
        (Encoder, ENCODERS, ("build",)),
        (Architecture, ARCHITECTURES, ("build",)),
        (DataSet, DATA_SETS, ("describe", "splits", "open")),
    ):
        if isinstance(thing, kind):
            _check_name(f"the {table.what}", "name", thing.name)
            for name in functions:
                if not callable(getattr(thing, name)):
                    raise UsageError(f"register: {name} of the {table.what} {thing.name!r} is no function")
            table.add(thing.name, thing.build if kind is Encoder else thing)
            return thing
    raise UsageError(
        "register takes a subclass of mtl_tf.Labels, mtl_tf.Scalarizer or mtl_tf.Aggregator, or a mtl_tf.Encoder, "
        f"mtl_tf.Architecture or mtl_tf.DataSet; got {one_line(repr(thing))[:80]}"
    )


def _check_name(whose, attribute, name):
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(
            f"register: the {attribute} of {whose} is one of letters, digits and _ that begins with a letter; got "
            f"{name!r}"
        )


def _check_method(method, base, table, other):
    """Raises a UsageError if a method of balancing lacks something, or its options are none for `--balance`."""
    _check_name(method.__name__, "name", method.name)
    if method.name in other:
        raise UsageError(f"register: {method.name!r} is the name of a {other.what}; give the {table.what} another")
    base = DirectionAggregator if issubclass(method, DirectionAggregator) else base
    _check_overrides(method, base)
    _check_is_section(method)
    check_options(method)


def _check_overrides(own, base):
    # Of a class method each look makes another object.
    same = [inspect.getattr_static(own, name) is inspect.getattr_static(base, name) for name in base.REQUIRED]
    lacking = list(itertools.compress(base.REQUIRED, same))
    if lacking:
        raise UsageError(f"register: {own.__name__} lacks {', '.join(lacking)}; see mtl_tf.{base.__name__}")


def _check_is_section(own):
    if not (dataclasses.is_dataclass(own.Options) and issubclass(own.Options, Section)):
        raise UsageError(
            f"register: {own.__name__}.Options is no dataclass of mtl_tf.option fields below mtl_tf.Section"
        )


def _check_kind(labels):
    """Raises a UsageError if a kind of task lacks something that every kind has."""
    name = labels.__name__
    _check_has(labels, ("kind", "name", "keys", "example", "dtype", "task_type"))
    _check_name(name, "kind", labels.kind)
    if not (isinstance(labels.task_type, type) and issubclass(labels.task_type, Task)):
        raise UsageError(f"register: {name}.task_type is no subclass of mtl_tf.Task; name the class of its tasks there")
    _check_has(labels.task_type, ("kind", "title"))
    if labels.task_type.kind != labels.kind:
        raise UsageError(
            f"register: {name} is of kind {labels.kind!r}, but its tasks, {labels.task_type.__name__}, are of kind "
            f"{labels.task_type.kind!r}; give both the same"
        )
    for own, base in ((labels, Labels), (labels.task_type, Task)):
        _check_overrides(own, base)
        if not dataclasses.is_dataclass(own):
            raise UsageError(f"register: {own.__name__} is no dataclass; put @dataclasses.dataclass(frozen=True) above")
    if labels.Options:
        _check_is_section(labels)
    # What a subclass of a built-in kind has from it would take its place where nobody names tasks.
    taken = [kind.kind for kind in KINDS.values() if kind.name == labels.name and kind.kind != labels.kind]
    if taken:
        raise UsageError(f"register: {name}.name={labels.name!r} is that of kind {taken[0]}; give it another")
    if labels.usual:
        raise UsageError(f"register: {name}.usual is for built-in kinds; set usual = False, and name tasks in --tasks")


def _check_has(own, attributes):
    for attribute in attributes:
        if not hasattr(own, attribute):
            base = "Labels" if issubclass(own, Labels) else "Task"
            raise UsageError(f"register: {own.__name__} has no attribute {attribute}; see mtl_tf.{base}")


def load(*paths: str) -> None:
    """Runs files of `register` calls, each once in a process.

    A file that is not there is taken for one of the same name that is, so that a run goes on after it was moved.

    Raises:
        UsageError: one is not there, or fails.
    """
    missing = []
    for path in paths:
        file = pathlib.Path(path).expanduser().resolve()
        if file.is_file():
            _run(path, file)
        else:
            missing.append((path, file.name))
    for path, name in missing:
        if name not in {file.name for file in _loaded}:
            raise UsageError(
                f"--plugin={path}: no such file; expected a Python file that calls mtl_tf.register: correct the path, "
                f"or where a run names it, say where it is now (--plugin=FOLDER/{name})"
            )


def _run(path, file):
    if file in _loaded:
        return
    if file.suffix != ".py":
        raise UsageError(f"--plugin={path}: expected a Python file that calls mtl_tf.register; its name ends in no .py")
    spec = importlib.util.spec_from_file_location(f"mtl_tf_plugin_{file.stem}", file)  # noqa: TID251 (asked for)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for their module
    try:
        spec.loader.exec_module(module)
    except UsageError as error:
        raise UsageError(f"--plugin={path}: {error}") from None
    except (Exception, SystemExit) as error:
        where = _line_in(file, error)
        raise UsageError(f"--plugin={path}{where}: {type(error).__name__}: {one_line(str(error))}") from error
    _loaded.add(file)


def _line_in(file, error):
    """The last line of a file that an error came through."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    step, line = error.__traceback__, None
    while step:
        line = step.tb_lineno if step.tb_frame.f_code.co_filename == str(file) else line
        step = step.tb_next
    return f", line {line}" if line else ""
