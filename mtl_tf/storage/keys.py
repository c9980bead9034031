"""The values of a JSON file by key: each of a kind, and one line for what is not, which names file and key."""

import difflib
import json
import math
from collections.abc import Mapping, Sequence

from mtl_tf.atomic import leads_out
from mtl_tf.errors import UsageError
from mtl_tf.storage import codecs


class Keys:
    """One object of a file: takes its values by key, and names file and key in every complaint."""

    def __init__(self, path: str, prefix: str, content, known: Sequence[str], examples: Mapping[str, str]):
        """Looks at the keys.

        Args:
            path: of the file.
            prefix: of the keys, as "semseg."; "" = the whole file.
            content: what the file says; should be an object.
            known: its keys.
            examples: prefix without its point -> an object as it should be, for messages.

        Raises:
            UsageError: it is no object, or has an unknown key.
        """
        self.path, self.prefix, self.content, self._examples = path, prefix, content, examples
        if not isinstance(content, dict):
            example = examples.get(prefix.rstrip("."), '{"name": "mine", "depth": {...}}')
            self.fail("", f"an object such as {example}", content)
        for key in content:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f'rename it to "{close[0]}", or remove it' if close else "rename or remove it"
                raise UsageError(f'{path}: unknown key "{prefix}{key}"; known here: {", ".join(known)}; {hint}')

    def below(self, key: str, known: Sequence[str]) -> "Keys":
        """The object under a key."""
        return Keys(self.path, f"{self.prefix}{key}.", self.content[key], known, self._examples)

    def take(self, key, kind, **default):
        """The value under `key`, converted by `kind`, whose docstring says what it takes."""
        if key not in self.content and default:
            return default["default"]
        try:
            return kind(self.content[key])
        except (KeyError, TypeError, ValueError, OverflowError):
            self.fail(key, kind.__doc__, self.content.get(key))

    def fail(self, key: str, expected: str, got):
        """Raises the UsageError that says what should stand under a key."""
        where = f'"{self.prefix}{key}"' if key else f'"{self.prefix.rstrip(".")}"' if self.prefix else "the file"
        came = "it is missing" if got is None else f"it is {got if isinstance(got, str) else json.dumps(got)}"
        text = f"{self.path}: {where} should be {expected}; {came}: edit the file"
        section = self.prefix.rstrip(".")
        if section in self._examples and section not in expected and key:
            text += f', for example "{section}": {self._examples[section]}'
        raise UsageError(text)


def text(value):
    """a text that is not empty"""
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value


def names(value):
    """a list of different names"""
    if not isinstance(value, list) or len({text(name) for name in value}) != len(value):
        raise ValueError
    return tuple(value)


def folders(value):
    """a list of different names of folders in the data set"""
    if any(leads_out(name) for name in names(value)):
        raise ValueError
    return tuple(value)


def whole(value):
    """a whole number, 0 or more"""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError
    return value


def wholes(value):
    """a list of different whole numbers, 0 or more"""
    if not isinstance(value, list) or len(set(map(whole, value))) != len(value):
        raise ValueError
    return tuple(value)


def named(value):
    """an object of texts, not empty, by name"""
    if not isinstance(value, dict) or not value:
        raise ValueError
    return tuple((text(key), text(entry)) for key, entry in value.items())


def number(value):
    """a number"""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def positive(value):
    """a positive number"""
    if number(value) <= 0:
        raise ValueError
    return float(value)


def axes(value):
    """what x, y and z are, such as "right,up,to_camera": one each of right or left, up or down, to_camera or forward"""
    names = [name.strip() for name in text(value).split(",")]
    if len(names) != 3 or {codecs.AXES[name][0] for name in names} != {0, 1, 2}:
        raise ValueError
    return ",".join(names)


def intrinsics(value):
    """six numbers: focal lengths fx, fy and principal point cx, cy of a picture of width, height, all in pixels"""
    if not isinstance(value, list) or len(value) != 6 or not all(number(value[i]) > 0 for i in (0, 1, 4, 5)):
        raise ValueError
    return tuple(map(number, value))


def fit(value):
    """two whole numbers: radius (0 = differences, no fit) and spacing in pixels of the window that is fitted"""
    if not isinstance(value, list) or len(value) != 2 or not 0 <= whole(value[0]) <= 8 or not 1 <= whole(value[1]) <= 8:
        raise ValueError
    return tuple(value)


def triple(value):
    """three numbers, 0..255"""
    if not isinstance(value, list) or len(value) != 3 or not all(0 <= number(part) <= 255 for part in value):
        raise ValueError
    return tuple(map(float, value))


def colours(value):
    """a list of RGB colours, each three whole numbers 0..255"""
    if not isinstance(value, list) or not all(isinstance(colour, list) and len(colour) == 3 for colour in value):
        raise ValueError
    if any(whole(part) > 255 for colour in value for part in colour):
        raise ValueError
    return tuple(map(tuple, value))
