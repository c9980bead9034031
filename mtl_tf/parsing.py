"""JSON and TOML that others wrote: read whole and unambiguous, or a ValueError of one line; nothing else comes back."""

import json
import tomllib
from collections.abc import Callable
from typing import Any

_TOO_DEEP = "has too many levels of lists or tables"
LARGEST = 2**26  # characters
DEEPEST = 32  # levels of lists and tables; what is read here has five


def parse_json(text: str) -> Any:
    """The content of a JSON text.

    Raises:
        json.JSONDecodeError: it is no JSON.
        ValueError: it is too large or nested too deep, has a key twice, or a number that is none (NaN) or too long.
    """
    return _parsed(text, lambda: json.loads(text, object_pairs_hook=_unambiguous, parse_constant=_no_number))


def parse_toml(text: str) -> dict[str, Any]:
    """The content of a TOML text.

    Raises:
        tomllib.TOMLDecodeError: it is no TOML.
        ValueError: it is too large or nested too deep, or has a number that is too long.
    """
    return _parsed(text, lambda: tomllib.loads(text))


def _parsed(text: str, parse: Callable[[], Any]):
    if len(text) > LARGEST:
        raise ValueError(f"has more than {LARGEST} characters")
    try:
        content = parse()
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    level = [content]
    for _ in range(DEEPEST):
        if any(isinstance(value, int) and abs(value) >= 2**63 for value in level):
            raise ValueError("has a whole number of more than 64 bits")
        lists = [list(value.values()) if isinstance(value, dict) else value for value in level]
        level = [part for values in lists if isinstance(values, list) for part in values]
    if level:
        raise ValueError(_TOO_DEEP)
    return content


def _unambiguous(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"has {next(key for key in keys if keys.count(key) > 1)!r} twice in one object")
    return found


def _no_number(text):
    raise ValueError(f"has {text}, which is no number")
