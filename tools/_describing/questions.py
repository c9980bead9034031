"""Questions on the terminal, and the parsers of their answers."""

import pathlib
import sys

from _describing.looking import ranges
from mtl_tf.errors import UsageError


class Questions:
    """Asks on the terminal; `ask=False` takes every guess."""

    def __init__(self, ask: bool):
        self._ask = ask

    def __call__(self, question: str, guess: str, parse, name: str):
        """The parsed answer; asks again while `parse` raises a UsageError.

        Args:
            question: what is asked.
            guess: the text that Enter stands for.
            parse: function of the text.
            name: of the option that answers instead, for the message where input ends.
        """
        while True:
            if self._ask:
                print(f"{question} [{guess}] ", end="", flush=True)
                line = sys.stdin.readline()
                if not line:
                    print()
                    raise UsageError(f"the input ended before the answer to: {question} Give --{name}, or --noask")
            try:
                return parse((line.strip() if self._ask else "") or guess)
            except UsageError as error:
                if not self._ask:
                    raise
                print(f"  {error}")


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


def ignore_value(values):
    def parse(text):
        if not text.isdecimal() or not 0 < int(text) < 256:
            raise UsageError(f"a whole number, 1 to 255, not {text!r}")
        above = [value for value in values if value > int(text)]
        if above:
            raise UsageError(
                f"the labels hold {ranges(above)}, but the value without a class, {text}, must be above all classes: "
                "renumber the labels, or call it a class as well"
            )
        return int(text)

    return parse


def positive_number(text):
    try:
        value = float(text)
    except ValueError:
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


def class_names(least, ignore):
    """A parser of names with commas, or of a file of them: name -> colour or None."""

    def parse(text):
        lines = text.split(",")
        if "," not in text and pathlib.Path(text).is_file():
            lines = pathlib.Path(text).read_text(encoding="utf-8", errors="replace").splitlines()
        named = [_name_and_colour(line) for line in lines if line.strip()]
        if len({name for name, _ in named}) != len(named):
            raise UsageError("different names, not one twice")
        if not least <= len(named) <= ignore:
            raise UsageError(
                f"{least} names or more, and no more than the value without a class, {ignore}; got {len(named)}"
            )
        return dict(named)

    return parse


def _name_and_colour(line):
    words = line.split()
    if len(words) > 3 and all(word.isdecimal() and int(word) < 256 for word in words[-3:]):
        return " ".join(words[:-3]), tuple(map(int, words[-3:]))
    return " ".join(words), None
