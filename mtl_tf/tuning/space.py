"""The file that says what is searched, and what it makes of a configuration.

One line an option (dotted name in quotes, or the name below a [section]):

    "optim.name" = ["sgd", "adam"]                                      a list
    "optim.learning_rate" = {low = 1e-4, high = 1e-1, scale = "log"}    a range, even in the logarithm
    "train.batch_size" = {low = 2, high = 16, step = 2}                 2, 4, ..., 16
    "model.dilation" = ["0,0,1", "0,1,1"]                               several numbers
    "train.batch_size" = {values = [2, 4], multiply = {"train.epochs" = [0.5, 1]}}    another option follows
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import keras_tuner

from mtl_tf import config as configuration
from mtl_tf import keys
from mtl_tf.config import Config
from mtl_tf.errors import UsageError, said_of
from mtl_tf.options import coerce, format_value

# What a trial gets from the search, or what changes nothing that could be measured.
_NOT_SEARCHED = ("run_dir", "input", "output", "scale", "baseline", "train.resume", "train.fresh")
# What would score trials, or rows of a study, on different things.
SCORED_ON = ("data.name", "data.root", "data.split", "data.val_split", "data.eigen_crop", "data.limit")
SCORED_ON += ("data.synthetic_val", "data.synthetic_seed")
_TABLE_KEYS = ("values", "multiply", "low", "high", "step", "scale")
_MOST_STEPS = 10_000


@dataclasses.dataclass(frozen=True)
class Dimension:
    """One searched option: a list of values as text, or a range.

    Attributes:
        name: dotted name of the option.
        values: the values as text, in their order; empty for a range.
        low, high, log: the range.
        whole: whether the range is of whole numbers.
        multiply: other option -> factor for each of `values`.
    """

    name: str
    values: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    whole: bool = False
    multiply: dict[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)

    def text(self) -> str:
        """The dimension as text, for comparing searches."""
        if not self.values:
            return f"{self.low!r}..{self.high!r}{' log' if self.log else ''}"
        follows = "".join(f" x {name} {list(factors)}" for name, factors in self.multiply.items())
        return " | ".join(self.values) + follows


@dataclasses.dataclass(frozen=True)
class Space:
    """All searched options, in the order of the file."""

    dimensions: tuple[Dimension, ...]

    @property
    def size(self) -> int:
        """Number of combinations; 0 = endless."""
        if any(not dimension.values for dimension in self.dimensions):
            return 0
        return math.prod(len(dimension.values) for dimension in self.dimensions)

    @property
    def names(self) -> tuple[str, ...]:
        """Every option that differs among trials, searched or following."""
        found = [dimension.name for dimension in self.dimensions]
        found += [name for dimension in self.dimensions for name in dimension.multiply]
        return tuple(dict.fromkeys(found))

    def combinations(self) -> Iterator[dict[str, str]]:
        """The grid: every combination, the last option changing fastest.

        Raises:
            UsageError: an option has a range without a step.
        """
        for dimension in self.dimensions:
            if not dimension.values:
                raise UsageError(
                    f"space: {dimension.name} is a range without a step, which a grid cannot walk; give it a list or "
                    "a step, or use --algorithm=random"
                )
        for values in itertools.product(*(dimension.values for dimension in self.dimensions)):
            yield {dimension.name: value for dimension, value in zip(self.dimensions, values, strict=True)}

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """The space as Keras Tuner has it. Lists are of text, so that tuples and booleans pass unharmed."""
        found = keras_tuner.HyperParameters()
        for dimension in self.dimensions:
            sampling = "log" if dimension.log else "linear"
            if dimension.values:
                found.Choice(dimension.name, list(dimension.values))
            elif dimension.whole:
                found.Int(dimension.name, int(dimension.low), int(dimension.high), sampling=sampling)
            else:
                found.Float(dimension.name, dimension.low, dimension.high, sampling=sampling)
        return found

    def apply(self, base: Config, values: dict[str, Any]) -> Config:
        """The configuration of a trial.

        Args:
            base: what is not searched.
            values: by dotted name; `tuner/epochs` are Hyperband's.

        Raises:
            UsageError: the values do not go together.
        """
        named, changes = configuration.values(base), {}
        if "tuner/epochs" in values:
            changes["train.epochs"] = int(values["tuner/epochs"])
        for dimension in self.dimensions:
            value = values[dimension.name]
            text = format_value(value)
            changes[dimension.name] = coerce(configuration.field_of(dimension.name), text)
            for other, factors in dimension.multiply.items():
                before = changes.get(other, configuration.value_of(base, other))
                if before is None:
                    raise UsageError(f"{other} has no value that multiply could change; set it on the command line")
                product = before * factors[dimension.values.index(text)]
                changes[other] = _product(other, configuration.field_of(other), product)
        return configuration.from_values(configuration.changed(named, changes))


def _product(name, field, product):
    if not math.isfinite(product):
        raise UsageError(f"{name}: its value times a factor of multiply is {product}; use a smaller factor")
    if field.type is int:
        return max(round(product), field.metadata["minimum"] or 0)
    return product


def read_space(path: str) -> Space:
    """Reads and checks the file.

    Raises:
        UsageError: it cannot be read, or a line of it is wrong.
    """
    if not path:
        raise UsageError("--space=FILE is missing: a TOML file that names the options to search and their ranges")
    content = keys.read_toml(path, "space")
    with said_of(f"--space={path}"):
        dimensions = tuple(_dimension(name, given) for name, given in configuration.by_option(content, tables=True))
        _check_multiplied(dimensions)
    if not dimensions:
        raise UsageError(f'--space={path} names no option; write lines such as "optim.name" = ["sgd", "adam"]')
    return Space(dimensions)


def _dimension(name, given) -> Dimension:
    if name in _NOT_SEARCHED or name.startswith("log."):
        raise UsageError(f"{name} cannot be searched: it changes nothing that a trial is measured by; leave it out")
    if name in SCORED_ON:
        raise UsageError(f"{name} cannot be searched: trials scored on different things do not compare; leave it out")
    field = configuration.field_of(name)
    if isinstance(given, list):
        given = {"values": given}
    if not isinstance(given, dict):
        raise UsageError(
            f"{name} takes a list or a range {{low = ..., high = ...}}, got {given!r}; one value for all trials "
            f"belongs on the command line (--{name}={given})"
        )
    entry = keys.Keys(name, given, _TABLE_KEYS)
    if "values" in given:
        if extra := [key for key in given if key not in ("values", "multiply")]:
            raise UsageError(f"{name} has both values and {extra[0]}; give a list or a range")
        values = _values(name, field, entry.take("values", _several))
        return Dimension(name, values, multiply=_multiply(entry, len(values)))
    if "multiply" in given:
        raise UsageError(f"{name}: multiply goes with values = [...], which it has one factor each for")
    return _range(name, field, entry)


def _several(value):
    """a list of at least one value"""
    if not isinstance(value, list) or not value:
        raise ValueError
    return value


def _values(name, field, given) -> tuple[str, ...]:
    found = [format_value(coerce(field, value)) for value in given]
    twice = [value for value in found if found.count(value) > 1]
    if twice:
        raise UsageError(f"{name} names {twice[0]} twice; leave one out")
    return tuple(found)


def _range(name, field, entry) -> Dimension:
    if field.type not in (int, float):
        raise UsageError(f"{name} is no number and takes a list of values, not a range")
    low, high = (coerce(field, entry.take(key, keys.number)) for key in ("low", "high"))
    scale = entry.take("scale", keys.one_of("linear", "log"), default="linear")
    step = entry.take("step", keys.positive, default=None)
    if low >= high:
        raise UsageError(f"{name}: low = {low} must be below high = {high}")
    if scale == "log" and low <= 0:
        raise UsageError(f"{name}: a log scale needs low above 0, got {low}")
    if step:
        return Dimension(name, _steps(name, field, low, high, step, scale))
    return Dimension(name, (), low, high, scale == "log", field.type is int)


def _steps(name, field, low, high, step, scale) -> tuple[str, ...]:
    """low, low + step, ... or, on a log scale, low, low x step, ..., up to high."""
    if scale == "log" and step <= 1:
        raise UsageError(f"{name}: on a log scale each step multiplies and must be above 1, got {step}")
    if field.type is int and step != int(step):
        raise UsageError(f"{name} takes whole numbers, got step = {step}")
    count = math.log(high / low, step) if scale == "log" else (high - low) / step
    if count > _MOST_STEPS:
        raise UsageError(f"{name} has more than {_MOST_STEPS} steps; choose a larger step, or none")
    values = [low * step**i if scale == "log" else low + i * step for i in range(int(count + 1e-9) + 1)]
    return tuple(
        format_value(coerce(field, value if field.type is int else float(f"{value:.12g}"))) for value in values
    )


def _multiply(entry, count) -> dict[str, tuple[float, ...]]:
    found = dict(configuration.by_option(entry.take("multiply", keys.table, default={})))
    for other, factors in found.items():
        if configuration.field_of(other).type not in (int, float):
            raise UsageError(f"{entry.place}: {other} is no number and cannot be multiplied")
        numbers = isinstance(factors, list) and all(keys.is_number(factor) and factor > 0 for factor in factors)
        if not numbers or len(factors) != count:
            entry.fail(f"multiply.{other}", f"{count} factors above 0, one a value", factors)
    return {other: tuple(factors) for other, factors in found.items()}


def _check_multiplied(dimensions):
    searched = {dimension.name for dimension in dimensions}
    meant: dict[tuple[str, str], str] = {}
    for dimension in dimensions:
        other = meant.setdefault(configuration.leaf_of(dimension.name), dimension.name)
        if other != dimension.name:
            raise UsageError(f"{other} and {dimension.name} are one option, by its name from before and of today")
    for dimension in dimensions:
        for other in dimension.multiply:
            if other in searched:
                raise UsageError(f"{other} is searched and also multiplied by {dimension.name}; do one of both")
