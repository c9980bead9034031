"""Label maps of shapes, one drawn over the other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from _describing.classes import distinct_colours

from _drawing.annotated import NO_CLASS, Shape, Size
from mtl_tf.errors import UsageError

IGNORE, UNKNOWN = 255, 65535  # no class; nothing is known of instances
_MOST = UNKNOWN - 1  # instances in a picture


class Painted(NamedTuple):
    """Label maps.

    Attributes:
        classes: uint8 (H, W), ids in the order of the names; `IGNORE` = none.
        numbers: uint16 (H, W), instances from 1 on, 0 = none, `UNKNOWN`.
    """

    classes: np.ndarray
    numbers: np.ndarray


def paint(
    shapes: Sequence[Shape], size: Size, names: Sequence[str], background: str, things: Sequence[str] | None
) -> Painted:
    """Draws shapes in their order.

    Args:
        shapes: of one picture; a name "" is the background.
        size: height and width, pixels.
        names: of the classes.
        background: name of the class under all shapes; "ignore" = none.
        things: the classes that have instances; None = all but the background.

    Raises:
        UsageError: there are more instances than a file holds.
    """
    ids = {name: number for number, name in enumerate(names)} | {NO_CLASS: IGNORE}
    bottom = ids[background]
    classes = np.full(size, bottom, np.uint8)
    numbers = np.full(size, UNKNOWN if bottom == IGNORE else 0, np.uint16)
    groups: dict = {}
    for place, shape in enumerate(shapes):
        name = shape.name or background
        classes[shape.mask] = ids[name]
        if name == NO_CLASS or shape.crowd:
            numbers[shape.mask] = UNKNOWN
        elif name == background or (things is not None and name not in things):
            numbers[shape.mask] = 0
        else:
            key = ("alone", place) if shape.group is None else ("group", shape.group)
            numbers[shape.mask] = groups.setdefault(key, len(groups) + 1)
    if len(groups) > _MOST:
        raise UsageError(f"{len(groups)} instances in one picture; at most {_MOST} are possible")
    return Painted(classes, numbers)


def palette_of(colours: Sequence[tuple[int, int, int] | None]) -> tuple[tuple[int, int, int], ...]:
    """A colour for each class: its own, where every class but the first has one and all differ; else even hues."""
    given = [colour or (0, 0, 0) for colour in colours]
    if all(colours[1:]) and len(set(given)) == len(given):
        return tuple(given)
    return tuple(distinct_colours(len(colours)))
