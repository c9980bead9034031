"""What an option is: a dataclass field with help and checks, and how its value is read from and written as text."""

import dataclasses
import math
import os
import types
import unicodedata
from typing import Any

from mtl_tf.errors import UsageError


def option(default, help, *, choices=None, minimum=None, maximum=None, lengths=None, free=False, before=None):
    """One leaf of the configuration.

    Args:
        default: its default value; the type of a leaf is that of its annotation.
        help: one sentence, with units.
        choices: the values allowed (of each element where the leaf is a tuple).
        minimum, maximum: bounds, inclusive (of each element).
        lengths: the lengths that a tuple may have.
        free: whether an existing run may be continued or evaluated with another value.
        before: what runs did that were made before there was this option, where that is not the default.
    """
    limits = dict(choices=choices, minimum=minimum, maximum=maximum, lengths=lengths)
    metadata = dict(help=help, free=free, before=before) | limits
    return dataclasses.field(default=default, metadata=metadata)


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text of one line"}
_NO_TEXT = ("Cc", "Cs", "Zl", "Zp")  # control characters, what is no Unicode, breaks of lines and paragraphs
_LARGEST = 2**31 - 1  # a whole number that TensorFlow takes everywhere


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
    if isinstance(kind, types.GenericAlias):
        element = kind.__args__[0]
        if isinstance(value, str):
            parts = [part for part in value.split(",") if part.strip()]
        else:
            parts = value if isinstance(value, (tuple, list)) else (value,)
        value = tuple(_element(field, element, part) for part in parts)
        if element is str and any("," in part or not part for part in value):
            raise UsageError(f"{field.name} takes values separated by commas, none of them empty; got {value!r}")
        lengths = field.metadata["lengths"]
        if lengths and len(value) not in lengths:
            expected = " or ".join(map(str, lengths))
            raise UsageError(f"{field.name} takes {expected} values separated by commas, got {format_value(value)!r}")
        return value
    return _element(field, kind, value)


def _element(field, kind, value):
    metadata = field.metadata
    try:
        if kind is bool and isinstance(value, str):
            value = {"true": True, "1": True, "false": False, "0": False}[value.strip().lower()]
        elif kind is str:
            value = os.fspath(value).strip()
            # run.flags holds a value in a line of its own.
            if any(unicodedata.category(sign) in _NO_TEXT for sign in value):
                raise ValueError
        elif not isinstance(value, str) and (isinstance(value, bool) != (kind is bool) or value != kind(value)):
            raise ValueError
        else:
            value = kind(value)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise UsageError(f"{field.name} takes {_KINDS[kind]}, got {value!r}") from None
    if kind is int and abs(value) > _LARGEST:
        raise UsageError(f"{field.name} must be at most {_LARGEST}, got {value}")
    if metadata["choices"] and value not in metadata["choices"]:
        allowed = ", ".join(map(str, metadata["choices"]))
        raise UsageError(f"{field.name} takes one of {allowed}; got {str(value)!r}")
    low, high = metadata["minimum"], metadata["maximum"]
    if kind is float and not math.isfinite(value):
        raise UsageError(f"{field.name} takes a finite number, got {value}")
    if low is not None and value < low:
        raise UsageError(f"{field.name} must be at least {low}, got {value}")
    if high is not None and value > high:
        raise UsageError(f"{field.name} must be at most {high}, got {value}")
    return value


def format_value(value: Any) -> str:
    """The text of a value as it stands on a command line; `coerce` reads it back."""
    if isinstance(value, tuple):
        return ",".join(format_value(part) for part in value)
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)
