"""What a person adds from outside: kinds of tasks, encoders, architectures and data sets of their own.

`register` takes them from Python; `--plugin=FILE.py` runs a file that calls it, before the options are read. It is the
user's own code, and the only code that is ever run from a path.
"""

import importlib.util
import pathlib
import sys
from typing import Any

from mtl_tf.config import DATA_SETS
from mtl_tf.errors import UsageError, one_line
from mtl_tf.models.architectures import ARCHITECTURES, Architecture
from mtl_tf.models.encoders import ENCODERS, Encoder
from mtl_tf.tasks import KINDS, Labels, Task

_loaded: set[pathlib.Path] = set()


def register(thing: Any) -> Any:
    """Makes something known under its name, as if it were built in: in options, help, checks and reports.

    Args:
        thing: a subclass of `mtl_tf.Labels`, which is a kind of task (`kind`, `task_type`); a `mtl_tf.Encoder`; a
            `mtl_tf.Architecture`; or a `mtl_tf.DataSet` that has a name.

    Returns:
        The same, so that it may stand above a class.

    Raises:
        UsageError: it is none of these, lacks something, or has the name of something built in.
    """
    if isinstance(thing, type) and issubclass(thing, Labels):
        _check_kind(thing)
        KINDS.add(thing.kind, thing)
        return thing
    from mtl_tf.data.sets.data_set import DataSet  # NumPy, which options do without

    for kind, table in ((Encoder, ENCODERS), (Architecture, ARCHITECTURES), (DataSet, DATA_SETS)):
        if isinstance(thing, kind):
            if not thing.name:
                raise UsageError(f"register: a {table.what} has a name; give one: {kind.__name__}(..., name=...)")
            table.add(thing.name, thing if kind is DataSet else thing.build)
            return thing
    raise UsageError(
        f"register takes a subclass of mtl_tf.Labels, or a mtl_tf.Encoder, mtl_tf.Architecture or mtl_tf.DataSet; got "
        f"{one_line(repr(thing))[:80]}"
    )


def _check_kind(labels):
    """Raises a UsageError if a kind of task lacks something that every kind has."""
    name = labels.__name__
    for attribute in ("kind", "name", "keys", "example", "dtype", "task_type"):
        if not hasattr(labels, attribute):
            raise UsageError(f"register: {name} has no attribute {attribute}; see mtl_tf.Labels")
    if not (isinstance(labels.task_type, type) and issubclass(labels.task_type, Task)):
        raise UsageError(f"register: {name}.task_type is no subclass of mtl_tf.Task")
    for own, base in ((labels, Labels), (labels.task_type, Task)):
        lacking = [method for method in base.REQUIRED if getattr(own, method) is getattr(base, method)]
        if lacking:
            raise UsageError(f"register: {own.__name__} lacks {', '.join(lacking)}; see mtl_tf.{base.__name__}")


def load(path: str) -> None:
    """Runs a file of `register` calls, once in a process.

    Raises:
        UsageError: it is not there, or fails.
    """
    file = pathlib.Path(path).expanduser().resolve()
    if file in _loaded:
        return
    if file.suffix != ".py" or not file.is_file():
        raise UsageError(f"--plugin={path}: expected a Python file that calls mtl_tf.register; there is none")
    spec = importlib.util.spec_from_file_location(f"mtl_tf_plugin_{file.stem}", file)  # noqa: TID251 (asked for)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for their module
    try:
        spec.loader.exec_module(module)
    except UsageError as error:
        raise UsageError(f"--plugin={path}: {error}") from None
    except Exception as error:
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
