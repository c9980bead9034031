"""Segmentation labels: numbers or colours as data sets store them, read as class ids by one table a data set."""

import functools
from collections.abc import Callable, Mapping

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.storage import arrays
from mtl_tf.storage.pixels import read_codes, read_colour_codes, read_label_codes
from mtl_tf.storage.strange import LARGEST, told, whole
from mtl_tf.tasks._class_entries import IGNORE, OTHER, SMALLEST
from mtl_tf.tasks.classes import ClassLabels

FILE_NAME = "dataset.json"
NUMBERS = LARGEST + 1 - SMALLEST  # so many may be stored; arrays and TIFF may hold negative ones
NO_CLASS = -1  # in a table of class ids: a value that does not occur in the data set


def read_labels(path: str, how: ClassLabels) -> np.ndarray:
    """Class ids of a label file.

    Args:
        path: of the file.
        how: they are stored.

    Returns:
        int32 (H, W), class ids or the ignore value.

    Raises:
        UsageError: the file cannot be read, or holds a value that has no meaning.
    """
    if how.encoding == "colour" and not path.lower().endswith(arrays.MAPS):
        known, other = _colours(how)
        return _by_colour(path, read_colour_codes(path), known, other, _expected_colours(how))
    codes = stored_numbers(path, how)
    return by_number(path, codes, number_table(how), lambda: _expected_numbers(how))


def stored_numbers(path: str, how: ClassLabels) -> np.ndarray:
    """The numbers in a label file that are read by number, (H, W), `SMALLEST`..65535; raises as `read_labels`."""
    if not path.lower().endswith(arrays.MAPS):
        return read_label_codes(path, _EXPECTED_IDS, SMALLEST)
    if how.encoding == "colour":
        raise UsageError(f'{path}: expected a colour per pixel, got an array; "encoding": "index" in {FILE_NAME}')
    expected = "a class id per pixel"
    try:
        numbers = arrays.read_map(path, expected, how.key)
    except UsageError as error:
        which = (
            f': "key" in {FILE_NAME}, or describe_dataset.py --semseg_key=NAME'
            if str(error).endswith("by its name")
            else ""
        )
        raise UsageError(f"{error}{which}") from None
    return whole(path, numbers, expected, SMALLEST)


_EXPECTED_IDS = (
    'a class id per pixel: grey, palette or three equal channels (classes by colour: "encoding": "colour" in '
    f"{FILE_NAME})"
)


@functools.lru_cache(maxsize=8)
def number_table(how: ClassLabels) -> np.ndarray:
    """The class id, ignore value or `NO_CLASS` of every stored number, int32 (`NUMBERS`,), the negative ones last."""
    ids = _ids(how)
    named = dict(how.values)
    table = np.full(NUMBERS, ids[named.pop(OTHER)] if OTHER in named else NO_CLASS, np.int32)
    if not how.values:
        table[: len(how.classes)] = np.arange(len(how.classes))
        table[how.ignore] = how.ignore
    for value, name in named.items():
        table[int(value)] = ids[name]
    return table


@functools.lru_cache(maxsize=8)
def _colours(how):
    """RGB colour -> class id or ignore value, and that of every other colour."""
    ids = _ids(how)
    named = dict(how.values)
    other = ids[named.pop(OTHER)] if OTHER in named else NO_CLASS
    known = {tuple(colour): number for number, colour in enumerate(how.palette)}
    return known | {tuple(map(int, value.split(","))): ids[name] for value, name in named.items()}, other


def _ids(how):
    return {name: number for number, name in enumerate(how.classes)} | {IGNORE: how.ignore}


def _expected_numbers(how):
    if not how.values:
        return (
            f" is neither a class (0..{len(how.classes) - 1}) nor ignore ({how.ignore}); expected class ids as "
            f"{FILE_NAME} or --data.name says"
        )
    listed = ", ".join(value for value, _ in how.values[:5])
    listed += ", ..." if len(how.values) > 5 else ""
    return f' is not in "values" ({listed}); add it there in {FILE_NAME}, with a class or "{IGNORE}"'


def _expected_colours(how):
    return f'a colour of "palette"; add it to "values" in {FILE_NAME}, with a class or "{IGNORE}"'


def read_numbers(path: str, classes: np.ndarray, expected: str) -> np.ndarray:
    """Class ids of an 8-bit grey or palette PNG.

    Args:
        path: of the file.
        classes: class id or ignore value of each of the 256 values, or `NO_CLASS`.
        expected: what the values should be, for the message.

    Returns:
        int32 (H, W).

    Raises:
        UsageError: the file cannot be read, or holds a value that is `NO_CLASS`.
    """
    return by_number(path, read_codes(path, expected), np.asarray(classes, np.int32), lambda: f"; expected {expected}")


def by_number(path: str, codes: np.ndarray, table: np.ndarray, expected: Callable[[], str]) -> np.ndarray:
    """Labels, int32 (H, W), of stored numbers.

    Args:
        path: of their file.
        codes: the stored numbers, (H, W).
        table: the label of each number, or `NO_CLASS`.
        expected: gives the end of the message.

    Raises:
        UsageError: there is a number that is `NO_CLASS`.
    """
    labels = table.take(codes)
    wrong = labels == NO_CLASS
    if wrong.any():
        raise UsageError(f"{path}: label value {told(codes, wrong)}{expected()}")
    return labels


def counted(path: str, numbers: np.ndarray, first: int, how: ClassLabels) -> np.ndarray:
    """Class ids of stored numbers that count the classes; the number before the first class is one without a class.

    Args:
        path: of the file, for messages.
        numbers: (H, W), of any type.
        first: the number of the first class.
        how: the classes.

    Returns:
        int32 (H, W).

    Raises:
        UsageError: a number is of no class.
    """
    numbers, last = np.asarray(numbers, np.float64), first + len(how.classes) - 1
    known = (numbers >= first - 1) & (numbers <= last)  # also False for NaN
    ids = np.where(known, numbers, first - 1).astype(np.int32)
    wrong = ~known | (ids != numbers)
    if wrong.any():
        strange = told(numbers, wrong, lambda value: f"{value:g}")
        raise UsageError(
            f"{path}: label value {strange}; expected whole numbers {first - 1}..{last}, {first - 1} = no class"
        )
    return np.where(ids < first, how.ignore, ids - first).astype(np.int32)


def read_colours(path: str, classes: Mapping[tuple[int, int, int], int], expected: str) -> np.ndarray:
    """Class ids of a colour-coded picture.

    Args:
        path: of the file.
        classes: RGB colour -> class id or ignore value.
        expected: what the colours should be, for the message.

    Returns:
        int32 (H, W).

    Raises:
        UsageError: the file cannot be read, or holds a colour that is not in `classes`.
    """
    return _by_colour(path, read_colour_codes(path), classes, NO_CLASS, expected)


def _by_colour(path, pixels, classes, other, expected):
    # One number a colour, so that a binary search finds each pixel's.
    known = sorted((red << 16 | green << 8 | blue, number) for (red, green, blue), number in classes.items())
    numbers, ids = (np.array(column, np.int32) for column in zip(*known, strict=True))
    place = np.minimum(np.searchsorted(numbers, pixels), len(numbers) - 1)
    labels = np.where(numbers[place] == pixels, ids[place], np.int32(other))
    wrong = labels == NO_CLASS
    if wrong.any():
        strange = told(pixels, wrong, lambda value: f"{value >> 16},{value >> 8 & 255},{value & 255}")
        raise UsageError(f"{path}: RGB colour {strange} is no class; expected {expected}")
    return labels
