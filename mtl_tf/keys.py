"""What a person writes into a file, JSON or TOML: values by key, each of a kind; one line for what is not as expected.

A kind is a function of a value that answers what is meant, and whose docstring says what it takes. It raises a
ValueError for anything else, or a UsageError that says more.
"""

import json
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from mtl_tf.errors import UsageError, did_you_mean, said_of
from mtl_tf.parsing import parse_toml

Kind = Callable[[Any], Any]
_NO_EXAMPLES: Mapping[str, str] = MappingProxyType({})


class Keys:
    """One object of a file: takes its values by key, and says in every complaint where they stand.

    Attributes:
        place: file and object, as people call it: "FILE: table A, row slow".
        prefix: of the keys, where an object is called by them: "semseg."; "" = the object of that place.
        content: what the file says.
    """

    def __init__(
        self,
        place: str,
        content: Any,
        known: Iterable[str],
        prefix: str = "",
        examples: Mapping[str, str] = _NO_EXAMPLES,
    ):
        """Looks at the keys.

        Args:
            place, prefix: as above.
            content: what the file says; should be an object.
            known: its keys.
            examples: prefix without its point -> an object as it should be, for messages.

        Raises:
            UsageError: it is no object, or has an unknown key.
        """
        self.place, self.prefix, self.content, self._examples = place, prefix, content, examples
        if not isinstance(content, dict):
            example = examples.get(prefix.rstrip("."))
            self.fail("", f"an object such as {example}" if example else table.__doc__, content)
        for key in content:
            if key not in known:
                hint = did_you_mean(key, known, "rename or remove it")
                raise UsageError(f'{place}: unknown key "{prefix}{key}"; known here: {", ".join(known)}; {hint}')

    def below(self, key: str, known: Iterable[str]) -> "Keys":
        """The object under a key, called by it."""
        return Keys(self.place, self.content[key], known, f"{self.prefix}{key}.", self._examples)

    def each(self, key: str, what: str, known: Iterable[str]) -> "tuple[Keys, ...]":
        """The objects in the list under a key, called by their names; none where the key is missing.

        Args:
            key: of the list.
            what: one of them is called, with the sign before it: ", row".
            known: the keys of each; "name" is one.

        Raises:
            UsageError: it is no list of objects, one has an unknown key, or two have one name.
        """
        listed = self.take(key, tables, default=[])
        names = [str(content.get("name", position)) for position, content in enumerate(listed, 1)]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UsageError(f"{self.place} has two {what.strip(', :')}s of one name, {twice}; rename one")
        pairs = zip(names, listed, strict=True)
        return tuple(Keys(f"{self.place}{what} {name}", content, known) for name, content in pairs)

    def take(self, key: str, kind: Kind, **default: Any) -> Any:
        """The value under a key, made by `kind`; the `default` where there is none."""
        if key not in self.content and default:
            return default["default"]
        try:
            with said_of(f'{self.place}: "{self.prefix}{key}"'):
                return kind(self.content[key])
        except UsageError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError):
            got = self.content.get(key)
            self.fail(key, kind.__doc__, _shown(got) if isinstance(got, str) else got)

    def take_all(self, kinds: Mapping[str, Kind], needed: Iterable[str]) -> dict[str, Any]:
        """The values of all these keys, but for those that are missing and not needed."""
        return {key: self.take(key, kind) for key, kind in kinds.items() if key in self.content or key in needed}

    def fail(self, key: str, expected: str, got: Any):
        """Raises the UsageError that says what should stand under a key.

        Args:
            key: "" = the object itself.
            expected: what should stand there.
            got: what stands there, or a text that says it; None = nothing.
        """
        section = self.prefix.rstrip(".")
        where = f'"{self.prefix}{key}"' if key else f'"{section}"' if section else "the file"
        came = "it is missing" if got is None else f"it is {got if isinstance(got, str) else _shown(got)}"
        text = f"{self.place}: {where} should be {expected}; {came}: edit the file"
        if section in self._examples and section not in expected and key:
            text += f', for example "{section}": {self._examples[section]}'
        raise UsageError(text)


def _shown(value):
    return json.dumps(value, ensure_ascii=False, default=str)  # TOML has dates


def read_toml(path: str | os.PathLike, option: str) -> dict[str, Any]:
    """The content of a TOML file that an option names.

    Raises:
        UsageError: there is no such file, or it is no TOML.
    """
    try:
        return parse_toml(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--{option}={path}: {error.strerror}; name a TOML file") from None
    except ValueError as error:  # UnicodeDecodeError is one too
        raise UsageError(f"--{option}={path} is no TOML: {error}") from None


# === Kinds ===


def string(value):
    """a text"""
    if not isinstance(value, str):
        raise ValueError
    return value


def text(value):
    """a text that is not empty"""
    if not string(value).strip():
        raise ValueError
    return value


def line(value):
    """a text in one line that is not empty"""
    if not text(value).isprintable():
        raise ValueError
    return value


def one_of(*known):
    """The kind of a text that is one of several."""

    def kind(value):
        if string(value) not in known:
            raise ValueError
        return value

    kind.__doc__ = f"one of {', '.join(known)}"
    return kind


def strings(value):
    """a list of texts"""
    if not isinstance(value, list):
        raise ValueError
    return tuple(map(string, value))


def names(value):
    """a list of different names"""
    if len(set(map(text, strings(value)))) != len(value):
        raise ValueError
    return tuple(value)


def boolean(value):
    """true or false"""
    if not isinstance(value, bool):
        raise ValueError
    return value


def whole(value):
    """a whole number, 0 or more"""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError
    return value


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value):
    """a number"""
    if not is_number(value):
        raise ValueError
    return float(value)


def numbers(value):
    """a list of numbers"""
    if not isinstance(value, list):
        raise ValueError
    return tuple(map(number, value))


def positive(value):
    """a positive number"""
    if number(value) <= 0:
        raise ValueError
    return float(value)


def table(value):
    """an object (in TOML, a table)"""
    if not isinstance(value, dict):
        raise ValueError
    return value


def tables(value):
    """a list of objects (in TOML, of tables)"""
    if not isinstance(value, list):
        raise ValueError
    return [table(entry) for entry in value]
