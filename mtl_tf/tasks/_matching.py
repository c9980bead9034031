"""Which class of one data set is which class of another: by name, or by pairs that a person names."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from mtl_tf.errors import UsageError, did_you_mean
from mtl_tf.tasks._class_entries import some

_SEPARATORS = re.compile(r"[\s_-]+")


class Pair(NamedTuple):
    """A pair of `data.mix_classes`: a class of a further data set, and what it is called in `data.name`."""

    theirs: str
    ours: str

    def __str__(self):
        return f"data.mix_classes={self.theirs}={self.ours}"


def same_name(name: str) -> str:
    """What two names have in common that differ in case, spaces, underscores and hyphens only."""
    return _SEPARATORS.sub("", name).casefold()


def named(name: str, classes: Iterable[str]) -> list[str]:
    """The classes that a name stands for: the one of exactly this name, else all of the same name."""
    classes = list(classes)
    return [name] if name in classes else [each for each in classes if same_name(each) == same_name(name)]


def match(theirs: Sequence[str], ours: Sequence[str], pairs: Sequence[Pair] = ()) -> dict[str, str]:
    """The class of ours that each of theirs is; those that are none of ours are left out.

    Args:
        theirs, ours: names of classes.
        pairs: what is matched otherwise than by name; a pair of which either class is missing here is skipped.

    Raises:
        UsageError: a name stands for several classes, or two pairs name one class.
    """
    paired: dict[str, Pair] = {}
    for pair in pairs:
        left, right = named(pair.theirs, theirs), named(pair.ours, ours)
        if not (left and right):
            continue
        for name, found in ((pair.theirs, left), (pair.ours, right)):
            if len(found) > 1:
                raise UsageError(f"{pair}: {name} may be {_either(found)}; write it as one of these")
        if left[0] in paired:
            raise UsageError(f"{pair}: {left[0]} is {paired[left[0]].ours} by another pair; leave one of them out")
        paired[left[0]] = Pair(left[0], right[0])
    found = {name: paired[name].ours if name in paired else _by_name(name, theirs, ours, paired) for name in theirs}
    return {name: ours for name, ours in found.items() if ours}


def _by_name(name: str, theirs: Sequence[str], ours: Sequence[str], paired: Collection[str]) -> str | None:
    """The class of ours with the same name; None where there is none."""
    found = named(name, ours)
    rivals = [each for each in theirs if each not in paired and named(each, ours) == found] if found else []
    for names, what in ((found, "classes of data.name"), (rivals, "of its classes")):
        if len(names) > 1:
            raise UsageError(
                f"class {name} has several namesakes, {_either(names)} ({what}); say which is which by "
                f"--data.mix_classes={rivals[0]}={found[0]}"
            )
    return found[0] if found else None


def check_pairs(pairs: Sequence[Pair], theirs: Sequence[str], ours: Sequence[str]):
    """Refuses a pair that names a class which neither data set has.

    Args:
        pairs: of `data.mix_classes`.
        theirs: all classes of the further data sets.
        ours: those of data.name.

    Raises:
        UsageError: with the class that was probably meant.
    """
    for pair in pairs:
        sides = ((pair.theirs, theirs, "no further data set has"), (pair.ours, ours, "data.name does not have"))
        for name, known, lacks in sides:
            if not named(name, known):
                hint = did_you_mean(name, known) or f"expected one of {some(known) or 'none: it has no classes'}"
                raise UsageError(f"{pair}: {lacks} a class {name}; {hint}")


def _either(names):
    return " or ".join(map(repr, names))
