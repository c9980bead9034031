"""Options of the kinds of tasks: each stands with its kind, and comes here under its name."""

from collections.abc import Iterator, Mapping

from mtl_tf.options import Section
from mtl_tf.tasks import KINDS


class OfKinds(Mapping):
    """Kind of task -> its options; kinds that are not named have their defaults."""

    def __init__(self, named: Mapping[str, Section] | None = None):
        """`named`: the options of some kinds."""
        sections = type(self).sections()
        self._named = {kind: options for kind, options in (named or {}).items() if options != sections[kind]()}

    @classmethod
    def sections(cls) -> dict[str, type[Section]]:
        """Kind -> the class of its options."""
        return {name: labels.Options for name, labels in KINDS.items() if labels.Options}

    def __getitem__(self, kind: str) -> Section:
        return self._named.get(kind) or type(self).sections()[kind]()

    def __iter__(self) -> Iterator[str]:
        return iter(type(self).sections())

    def __len__(self) -> int:
        return len(type(self).sections())

    def __hash__(self) -> int:
        return hash(frozenset(self._named.items()))

    @property
    def changed(self) -> tuple[str, ...]:
        """The kinds whose options are not the defaults."""
        return tuple(self._named)
