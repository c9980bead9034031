"""Questions on the terminal, and the parsers of their answers."""

import pathlib
import sys
from types import MappingProxyType

from _describing.contents import ranges, text_of
from mtl_tf.errors import UsageError
from mtl_tf.storage.class_lists import parse_class, read_classes
from mtl_tf.tasks.classes import IGNORE


class Questions:
    """Asks on the terminal; `ask=False` takes every guess."""

    def __init__(self, ask: bool):
        self._ask = ask

    def __call__(self, question: str, guess: str, parse, name: str):
        """The parsed answer; asks again while `parse` raises a UsageError.

        Args:
            question: what is asked.
            guess: the text that Enter stands for; "" = there is no guess.
            parse: function of the text.
            name: of the option that answers instead, for the message where input ends.
        """
        while True:
            if self._ask:
                print(f"{question} [{guess}] " if guess else f"{question} ", end="", flush=True)
                line = sys.stdin.readline()
                if not line:
                    print()
                    raise UsageError(f"the input ended before the answer to: {question} Give --{name}, or --noask")
            elif not guess:
                raise UsageError(f"not to be guessed: {question} Give --{name}, or leave out --noask")
            try:
                return parse((line.strip() if self._ask else "") or guess)
            except UsageError as error:
                if not self._ask:
                    raise
                print(f"  {error}")

    def decided(self, text: str, asked: bool = True) -> None:
        """Prints a warning about a guess that may be wrong; none where it was asked, since then it is an answer."""
        if not (asked and self._ask):
            print(f"warning: {text}")


def yes_or_no(text):
    if text.lower() not in ("y", "yes", "n", "no"):
        raise UsageError(f"yes or no, not {text!r}")
    return text.lower().startswith("y")


def splits_of(there):
    def parse(text):
        names = tuple(filter(None, (part.strip() for part in text.split(","))))
        if not names or len(set(names)) != len(names) or not set(names) <= set(there):
            raise UsageError(f"some of {', '.join(there)}, with commas, not {text!r}")
        return names

    return parse


def one_of(allowed):
    """A parser of one of some words."""

    def parse(text):
        if text not in allowed:
            raise UsageError(f"one of {', '.join(allowed)}, not {text!r}")
        return text

    return parse


def ignore_value(values):
    """A parser of the label value without a class: 0, or one above all others."""

    def parse(text):
        if not text.isdecimal() or int(text) > 65535:
            raise UsageError(f"a whole number, 0 to 65535, not {text!r}")
        above = [value for value in values if value > int(text)]
        if above and int(text):
            raise UsageError(
                f"the labels hold {ranges(above)}, but the value without a class, {text}, must be above all classes: "
                f"call each value a class, and those without one {IGNORE} (--classes)"
            )
        return int(text)

    return parse


def positive_number(text):
    above, _, below = text.partition("/")
    try:
        value = float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"a positive number, not {text!r}")
    return value


def more_than(low):
    def parse(text):
        value = positive_number(text)
        if value <= low:
            raise UsageError(f"more than the smallest depth, {low:g} m, not {text}")
        return value

    return parse


def class_names(least, ignore, exact=False, colours=MappingProxyType({})):
    """A parser of names with commas, or of a file of them, into pairs of a name and its colour or None.

    Args:
        least: the number of classes found.
        ignore: the label value of no class, above all ids.
        exact: no more names than that.
        colours: those of label files, and where they are; names that have colours must have all of these, and may be
            more.
    """

    def parse(text):
        named = read_classes(text) if pathlib.Path(text).is_file() else _parsed(text)
        names = [name for name, _ in named if name != IGNORE]
        if len(set(names)) != len(names):
            raise UsageError("different names, not one twice")
        if not names:
            raise UsageError(f"a name of a class at least, besides {IGNORE}")
        if colours and any(colour for _, colour in named):
            return _with_all_colours(named, colours)
        if exact and len(named) != least:
            raise UsageError(f"{least} names; got {len(named)}")
        if not least <= len(named) <= ignore:
            raise UsageError(
                f"{least} names or more, and no more than the value without a class, {ignore}; got {len(named)}"
            )
        return named

    return parse


def _with_all_colours(named, colours):
    listed = [colour for _, colour in named]
    if None in listed or len(set(listed)) < len(listed):
        raise UsageError("a colour of its own for each name, or for none")
    if lacking := [f"{text_of(colour)} ({where})" for colour, where in colours.items() if colour not in listed]:
        raise UsageError(f"a name for each colour of the labels; none is there for {', '.join(lacking)}")
    return named


def _parsed(text):
    """Names with commas, each of which may have a colour: road 128 64 128."""
    try:
        return [parse_class(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UsageError(f"names with commas, not {text!r}") from None
