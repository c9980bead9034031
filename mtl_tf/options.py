"""What an option is: a dataclass field with help and checks, and how its value is read from and written as text."""

import dataclasses
import json
import math
import os
import re
import types
import unicodedata
from typing import Any, NamedTuple

from mtl_tf.errors import UsageError, did_you_mean


def option(default, help, *, choices=None, minimum=None, maximum=None, lengths=None, free=False, before=None, of=()):
    """One leaf of the configuration.

    Args:
        default: its default value; the type of a leaf is that of its annotation. None = it may be left unset.
        help: one sentence, with units.
        choices: the values allowed (of each element where the leaf is a tuple).
        minimum, maximum: bounds, inclusive (of each element).
        lengths: the lengths that a tuple may have.
        free: whether an existing run may be continued or evaluated with another value.
        before: of an option that came later, the value that says what runs did before there was it.
        of: the commands that take it; () = all that take its section.
    """
    limits = dict(choices=choices, minimum=minimum, maximum=maximum, lengths=lengths)
    metadata = dict(help=help, free=free, before=before, of=of) | limits
    return dataclasses.field(default=default, metadata=metadata)


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text that can be a name"}
_TO_QUOTE = ("Cc", "Cs", "Zl", "Zp")  # control characters, what is no Unicode, breaks of lines and paragraphs
_ELEMENT = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^,]*?)\s*(?:,|\Z)', re.DOTALL)
_VARIABLE = re.compile(r"\$(?:([A-Za-z]\w+)|\{([A-Za-z]\w+)\})")
_SIDES = re.compile(r"\s*(\d+)\s*[xX]\s*(\d+)\s*")
_ENTRY_NAME = re.compile(r"\w+")
_LONGEST_NAME = 100  # that is looked for among those that there are
_LARGEST = 2**31 - 1  # a whole number that TensorFlow takes everywhere


class Entry(NamedTuple):
    """One number of an option that has one for each of several names: "NAME:NUMBER"."""

    name: str
    value: float


class Section:
    """A branch of the tree, or the options of one tool; checks every leaf when it is made."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if "help" in field.metadata:
                value = coerce(field, getattr(self, field.name))
                object.__setattr__(self, field.name, value)


def coerce(field: dataclasses.Field, value: Any) -> Any:
    """The value of a leaf, converted from text where it is text, and checked.

    Raises:
        UsageError: naming the leaf, what it takes and what came.
    """
    kind = field.type
    if field.default is None and _is_unset(value):
        return None
    if isinstance(kind, types.GenericAlias):
        element = kind.__args__[0]
        if isinstance(value, str):
            sides = _SIDES.fullmatch(value) if field.metadata["lengths"] in ((2,), (0, 2)) else None
            if sides:  # whose order differs from program to program
                raise UsageError(f"{field.name} takes height,width, as in {','.join(sides.groups())}; got {value!r}")
            parts = [unquoted(part) for part in _ELEMENT.findall(value) if part]
        else:
            parts = value if isinstance(value, (tuple, list)) else (value,)
        value = tuple(_element(field, element, part) for part in parts)
        if element is Entry:
            value = merged((), value)
        if element is str and not all(value):
            raise UsageError(f"{field.name} takes values separated by commas, none of them empty; got {value!r}")
        lengths = field.metadata["lengths"]
        if lengths and len(value) not in lengths:
            expected = " or ".join(map(str, lengths))
            raise UsageError(f"{field.name} takes {expected} values separated by commas, got {format_value(value)!r}")
        return value
    return _element(field, kind, value)


def _is_unset(value):
    return value is None or (value.strip() if isinstance(value, str) else value) in ("", (), [])


def merged(entries: tuple[Entry, ...], changes: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The entries, of which some have other numbers; new ones at the end."""
    return tuple(Entry(*pair) for pair in (dict(entries) | dict(changes)).items())


def _entry(field, value):
    name, colon, number = value.rpartition(":") if isinstance(value, str) else (value[0], ":", value[1])
    if not colon or not _ENTRY_NAME.fullmatch(name):
        raise UsageError(f"{field.name} takes NAME:NUMBER, separated by commas, got {value!r}")
    try:
        return Entry(name, _element(field, float, number))
    except UsageError as error:
        raise UsageError(f"{error} for {name}") from None


def _element(field, kind, value):
    metadata = field.metadata
    if kind is Entry:
        return _entry(field, value)
    try:
        if kind is bool and isinstance(value, str):
            value = {"true": True, "1": True, "false": False, "0": False}[value.strip().lower()]
        elif kind is str:
            value = _text(field, os.fspath(value))
        elif not isinstance(value, str) and (isinstance(value, bool) != (kind is bool) or value != kind(value)):
            raise ValueError
        else:
            value = kind(value)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise UsageError(f"{field.name} takes {_KINDS[kind]}, got {value!r}") from None
    if kind is str and not metadata["choices"]:
        _refuse_variables(field, value)
    if kind is int and abs(value) > _LARGEST:
        raise UsageError(f"{field.name} must be at most {_LARGEST}, got {value}")
    if metadata["choices"] and value not in metadata["choices"]:
        allowed = ", ".join(map(str, metadata["choices"]))
        hint = did_you_mean(str(value)[:_LONGEST_NAME], list(map(str, metadata["choices"])))
        raise UsageError(f"{field.name} takes one of {allowed}; got {str(value)!r}{hint and f': {hint}'}")
    low, high = metadata["minimum"], metadata["maximum"]
    if kind is float and not math.isfinite(value):
        raise UsageError(f"{field.name} takes a finite number, got {value}")
    if low is not None and value < low:
        raise UsageError(f"{field.name} must be at least {low}, got {value}")
    if high is not None and value > high:
        raise UsageError(f"{field.name} must be at most {high}, got {value}")
    return value


def _text(field, value):
    """A text as it is, since a name may be any; with the user's folder for ~, as a shell has it."""
    if field.metadata["choices"]:
        return value.strip()
    if "\0" in os.fsdecode(os.fsencode(value)):  # else UnicodeEncodeError, a ValueError
        raise ValueError
    return os.path.expanduser(value)


def _refuse_variables(field, value):
    """A path that a shell was to complete would become a folder called $HOME; one that there is has this name."""
    for match in _VARIABLE.finditer(value):
        if (match[1] or match[2]) in os.environ and not os.path.lexists(value):
            raise UsageError(
                f"{field.name} takes a path as it is, got {value!r}; {match[0]} is replaced by a shell only, where it "
                "stands in no single quotes or file of flags: write out what it stands for"
            )


def format_value(value: Any) -> str:
    """The text of a value as it stands on a command line, empty for one that is not set; `coerce` reads it back."""
    if value is None:
        return ""
    if isinstance(value, Entry):
        return f"{value.name}:{value.value!r}"
    if isinstance(value, tuple):
        return ",".join(quoted(part, ",") if isinstance(part, str) else format_value(part) for part in value)
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)


def quoted(text: str, also: str = "") -> str:
    """A text as it stands in a file of flags: as it is, or as JSON where that would be read as something else.

    Args:
        text: any.
        also: signs that ask for it besides.
    """
    odd = any(unicodedata.category(sign) in _TO_QUOTE or sign in also for sign in text)
    return json.dumps(text) if odd or text != text.strip() or text[:1] in ("'", '"') else text


def unquoted(text: str) -> str:
    """What `quoted` was given, and what stands between the quotes of others; a text without quotes as it is."""
    if len(text) < 2 or text[0] != text[-1] or text[0] not in ("'", '"'):
        return text
    if text[0] == '"':
        try:
            return str(json.loads(text, strict=False))
        except ValueError:
            pass  # a backslash as others write it
    inner = text[1:-1]
    return text if text[0] in inner else inner
