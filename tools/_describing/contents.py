"""What the label files of a data set hold: stored numbers or colours."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.storage import files
from mtl_tf.storage.pixels import (
    UNREADABLE,
    open_picture,
    palette_of,
    read_colour_codes,
    read_label_codes,
)
from mtl_tf.tasks import ClassLabels
from mtl_tf.tasks.reading.class_files import stored_numbers
from mtl_tf.tasks.reading.suspect_classes import MANY_CLASSES, is_rough

Colour = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Labels:
    """What label files hold.

    Attributes:
        encoding: "index" or "colour", as in `tasks.classes.ENCODINGS`.
        values: the stored numbers, ascending; empty where classes are read by colour.
        colours: the colours in the order of their appearance; empty where classes are read by number.
        palette: stored number -> colour, of the first palette file.
        where: colour -> how many pixels have it, and the first file of these, as text.
        key: the name of the array in files of several; "" = there is one.
        why: why classes are read by colour; empty where that is plain.
    """

    encoding: str
    values: tuple[int, ...] = ()
    colours: tuple[Colour, ...] = ()
    palette: dict[int, Colour] = dataclasses.field(default_factory=dict)
    where: dict[Colour, str] = dataclasses.field(default_factory=dict)
    key: str = ""
    why: str = ""


def look_at_labels(paths: Sequence[str], encoding: str = "", key: str = "") -> Labels:
    """Looks at label files and says what they hold.

    Args:
        paths: of the files, at least one.
        encoding: how they are to be read; "" = by colour where files hold colours or palettes that differ.
        key: the name of the array in files of several.

    Raises:
        UsageError: a file is no label map.
    """
    differ = "" if encoding else _palettes_differ(paths)
    if encoding == "colour" or differ or (not encoding and any(map(_has_colours, paths))):
        where = _colours(paths)
        print(f"label colours in {len(paths)} files: {', '.join(map(text_of, where))}")
        return Labels("colour", colours=tuple(where), where=where, why=f"palettes differ ({differ})" if differ else "")
    by_number, found = ClassLabels((), (), key=key), set()
    for path in paths:
        codes = stored_numbers(path, by_number)
        if is_rough(codes):
            raise UsageError(
                f"{path}: {len(np.unique(codes))} values that change from pixel to pixel, as in a photograph; expected "
                "a class id per pixel"
            )
        found.update(np.unique(codes).tolist())
    values = tuple(sorted(found))
    if len(values) > 256:
        raise UsageError(
            f"{files.folder_of(paths[0])}: {len(values)} label values, {ranges(values)}; expected class ids, at most "
            "255 (instance ids and depth are none)"
        )
    palette = next(filter(None, map(palette_of, paths)), {})
    print(f"label values in {len(paths)} files: {ranges(values)}{' (with a palette)' if palette else ''}")
    return Labels("index", values=values, palette=palette)


def _has_colours(path):
    """Whether a file holds more than grey."""
    try:
        with files.open_file(path) as file, open_picture(file) as image:
            if image.mode not in ("RGB", "RGBA"):
                return False
    except UNREADABLE:
        return False
    codes = read_colour_codes(path)
    return bool((codes >> 16 != codes & 255).any() or (codes >> 8 & 255 != codes & 255).any())


def _palettes_differ(paths):
    """In which files one index has two colours, as text; "" where palettes agree."""
    seen: dict[int, tuple[Colour, str]] = {}
    for path in paths:
        palette = palette_of(path)
        for value in np.unique(read_label_codes(path, "a class id per pixel")).tolist() if palette else ():
            colour, where = seen.setdefault(value, (palette.get(value, (0, 0, 0)), path))
            if value in palette and palette[value] != colour:
                return f"index {value} is {text_of(colour)} in {where}, {text_of(palette[value])} in {path}"
    return ""


def _colours(paths):
    """The colours in the order of their appearance, with how many pixels have them, and the first file of these."""
    found: dict[int, tuple[int, str]] = {}
    for path in paths:
        colours, first, counts = np.unique(read_colour_codes(path), return_index=True, return_counts=True)
        for place in np.argsort(first).tolist():
            before, where = found.get(colour := int(colours[place]), (0, path))
            found[colour] = before + int(counts[place]), where
        if len(found) > MANY_CLASSES:
            raise UsageError(
                f"{path}: {len(found)} colours up to this file; expected a colour for each class: is it a photograph, "
                "or are edges smoothed, as JPEG and resizing do?"
            )
    return {
        (number >> 16, number >> 8 & 255, number & 255): f"{count} pixels, first in {path}"
        for number, (count, path) in found.items()
    }


def ranges(values: Sequence[int]) -> str:
    """The numbers as text: 0-11, 255."""
    parts = []
    for value in sorted(values):
        if parts and parts[-1][1] == value - 1:
            parts[-1][1] = value
        else:
            parts.append([value, value])
    return ", ".join(f"{low}-{high}" if low < high else str(low) for low, high in parts)


def text_of(colour: Colour) -> str:
    """A colour as dataset.json has it: 128,64,128."""
    return ",".join(map(str, colour))
