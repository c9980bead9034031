"""What every format of annotations comes down to: pictures with named shapes, one drawn over the other."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.storage.texts import read_text

BACKGROUND, NO_CLASS = "background", "ignore"
Size = tuple[int, int]  # height and width, pixels


class Shape(NamedTuple):
    """A part of a picture.

    Attributes:
        name: of its class; `NO_CLASS` = pixels without a label.
        mask: its pixels, bool (H, W).
        group: what it shares with the other parts of its instance; None = an instance of its own.
        crowd: whether it is several instances that nobody told apart.
    """

    name: str
    mask: np.ndarray
    group: Any = None
    crowd: bool = False


@dataclasses.dataclass(frozen=True)
class Picture:
    """An annotated picture.

    Attributes:
        path: of the picture.
        name: the id of the sample: a path without an ending, below its split.
        split: the name of its split; "" = the format has none.
        shapes: from height and width of the picture to its shapes, in the order in which they are drawn.
        said: height and width that the annotations state; None = they do not.
        place: where its annotations stand, for messages.
    """

    path: pathlib.Path
    name: str
    split: str
    shapes: Callable[[Size], Sequence[Shape]]
    said: Size | None
    place: str


@dataclasses.dataclass(frozen=True)
class Annotations:
    """All that a folder holds.

    Attributes:
        format: what it is, for people.
        classes: names, in the order of the ids, without background; with a colour, or None.
        things: the names of the classes that have instances; None = all.
        pictures: in any order.
    """

    format: str
    classes: Sequence[tuple[str, tuple[int, int, int] | None]]
    pictures: Sequence[Picture]
    things: Sequence[str] | None = None


def read_json(path: pathlib.Path) -> Any:
    """The content of a JSON file of any size.

    Raises:
        UsageError: it cannot be read, or is no JSON (half-written files are none).
    """
    try:
        return json.loads(read_text(str(path)))
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{path}: not JSON: line {error.lineno}, column {error.colno}: {error.msg}; export it again"
        ) from None
    except (RecursionError, ValueError):
        raise UsageError(f"{path}: JSON of too many levels or too long numbers; export it again") from None


def take(content: Any, key: str, kind: type | tuple, place: str, default: Any = ...) -> Any:
    """The value of a key of an object.

    Args:
        content: should be an object.
        key: of the value.
        kind: its type.
        place: where the object stands, for the message.
        default: the value where there is none; ... = there has to be one.

    Raises:
        UsageError: there is none, or it is of another type.
    """
    value = content.get(key, default) if isinstance(content, dict) else ...
    if value is default and default is not ...:
        return value
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        expected = {str: "a text", list: "a list", dict: "an object", int: "a whole number"}.get(kind, "a number")
        came = "nothing" if value is ... else repr(value)[:60]
        raise UsageError(f'{place}: "{key}" should be {expected}, got {came}; export the annotations again')
    return value


def points_of(value: Any, least: int, place: str) -> np.ndarray:
    """A list of points [x, y] as float64 (N, 2).

    Raises:
        UsageError: it is no such list, has fewer than `least` points, or numbers that are not finite.
    """
    try:
        points = np.array(value, np.float64)
    except (TypeError, ValueError):
        points = np.zeros(0)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < least or not np.isfinite(points).all():
        raise UsageError(
            f"{place}: expected {least} or more points [x, y], got {str(value)[:60]}; correct the shape or remove it"
        )
    return np.clip(points, -1e6, 1e6)


def size_of(content: Any, height: str, width: str, place: str) -> Size | None:
    """Height and width that an object states under two keys; None where it has neither; raises as `take`."""
    found = [take(content, key, (int, float), place, None) for key in (height, width)]
    return None if None in found else (int(found[0]), int(found[1]))


def split_named(text: str) -> str:
    """The split that a name of a folder or file stands for: train2017, valid and test-dev are train, val and test."""
    name = text.lower()
    return next((split for split in ("train", "val", "test") if name.startswith(split)), "")
