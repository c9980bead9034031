"""Branches whose options stand with what has them: kinds of tasks, and methods of balancing."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from mtl_tf.balancing import AGGREGATORS, SCALARIZERS
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.options import Section, format_value, option
from mtl_tf.tasks import KINDS


class Open(Mapping):
    """Part of a branch -> its options; it keeps only what is not the default, so that parts may come later."""

    def __init__(self, named: Mapping[str, Section] | None = None):
        """`named`: the options of some parts."""
        self._named = {part: found for part, options in (named or {}).items() if (found := _not_default(options))}

    @classmethod
    def sections(cls) -> dict[str, type[Section]]:
        """Part -> the class of its options, which have the part in their names unless it is ""."""
        raise NotImplementedError

    def __getitem__(self, part: str) -> Section:
        return type(self).sections()[part](**self._named.get(part, {}))

    def __iter__(self) -> Iterator[str]:
        return iter(type(self).sections())

    def __len__(self) -> int:
        return len(type(self).sections())

    def __hash__(self) -> int:
        return hash(frozenset((part, *options.items()) for part, options in self._named.items()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._named})"

    @property
    def changed(self) -> tuple[str, ...]:
        """The parts whose options are not the defaults."""
        return tuple(self._named)


class OfKinds(Open):
    """The options of the kinds of tasks, by kind."""

    @classmethod
    def sections(cls) -> dict[str, type[Section]]:
        """See `Open.sections`."""
        return {name: labels.Options for name, labels in KINDS.items() if labels.Options}


class OfArchitectures(Open):
    """The options of the architectures, by architecture."""

    @classmethod
    def sections(cls) -> dict[str, type[Section]]:
        """See `Open.sections`."""
        return {name: found.Options for name, found in ARCHITECTURES.items() if found.Options}


class OfMethods(Open):
    """The options of the methods of balancing, all in one part without a name; None = the method's own default."""

    @classmethod
    def sections(cls) -> dict[str, type[Section]]:
        """See `Open.sections`."""
        return {"": _of_all(tuple((name, kind.Options) for name, kind in methods()))}


def registered() -> tuple[str, ...]:
    """The names of all that has options here; more after each plugin."""
    return (*KINDS, *ARCHITECTURES, *SCALARIZERS, *AGGREGATORS)


def methods() -> list[tuple[str, type]]:
    """Name and class of every method of balancing, scalarizers first."""
    return [*SCALARIZERS.items(), *AGGREGATORS.items()]


@functools.cache
def _of_all(named):
    """The options of these methods in one section, (name, Options) each; those of one name are one option."""
    found: dict[str, dict[str, dataclasses.Field]] = {}
    for method, options in named:
        for field in dataclasses.fields(options):
            found.setdefault(field.name, {})[method] = field
    fields = [(name, next(iter(having.values())).type, _merged(having)) for name, having in found.items()]
    return dataclasses.make_dataclass("MethodOptions", fields, bases=(Section,), frozen=True)


def _merged(having):
    """An option of several methods: unset by default, within the widest of their bounds."""

    def of_each(key):
        found = [field.metadata[key] for field in having.values()]
        return None if None in found else found

    told = [f"{name}: {field.metadata['help']} ({_told(field.default)})" for name, field in having.items()]
    low, high, choices = (of_each(key) for key in ("minimum", "maximum", "choices"))
    return option(
        None,
        "; ".join(told) + ".",
        choices=choices and tuple(dict.fromkeys(choice for each in choices for choice in each)),
        minimum=None if low is None else min(low),
        maximum=None if high is None else max(high),
    )


def _told(value: Any) -> str:
    return format_value(value) or "empty"


def _not_default(options):
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    defaults = {field.name: field.default for field in dataclasses.fields(options)}
    return {name: value for name, value in values.items() if value != defaults[name]}
