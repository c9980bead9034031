"""Tables of things that have a name: built in, a row each, or added by `mtl_tf.register`."""

import dataclasses
import functools
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from mtl_tf.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Lazy:
    """Something that is imported when it is first asked for.

    Attributes:
        target: MODULE:NAME in this package.
        options: with which a function of that name is called, besides the arguments of a call; none = the thing itself.
    """

    target: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def load(self) -> Any:
        """Imports it."""
        module, _, name = self.target.partition(":")
        found = getattr(importlib.import_module(f"mtl_tf.{module}"), name)  # noqa: TID251 (ours)
        return functools.partial(found, **self.options) if self.options else found


class Registry(Mapping):
    """Name -> thing, in the order in which they came.

    Args:
        what: a thing is called, for messages.
        rows: those that are built in; a `Lazy` one is imported when it is asked for.

    Attributes:
        what: the same.
        built_in: the names of these rows.
    """

    def __init__(self, what: str, rows: Mapping[str, Any]):
        self.what, self._rows, self.built_in = what, dict(rows), tuple(rows)

    def __getitem__(self, name: str) -> Any:
        found = self._rows[name]
        if isinstance(found, Lazy):
            found = self._rows[name] = found.load()
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def add(self, name: str, thing: Any) -> None:
        """Adds a thing from outside; one that was added before under this name is replaced.

        Raises:
            UsageError: a built-in one has the name.
        """
        if name in self.built_in:
            raise UsageError(f"the {self.what} {name!r} is built in; register yours under another name")
        self._rows[name] = thing
