"""Stored values that have no meaning, for messages: which they are, how many pixels have them, where the first is."""

import numpy as np

from mtl_tf.errors import UsageError

LARGEST = 65535  # of whole numbers of a class, a mask or an instance


def told(stored: np.ndarray, wrong: np.ndarray, text=str) -> str:
    """Such as "7 or 9 (3 pixels, first at row 1, column 4)".

    Args:
        stored: the values (H, W).
        wrong: which have no meaning, (H, W), at least one.
        text: from a value to what is said of it.
    """
    values = [text(value) for value in np.unique(stored[wrong]).tolist()]
    others = f" or {len(values) - 3} others" if len(values) > 3 else ""
    row, column = divmod(int(wrong.argmax()), wrong.shape[1])
    return f"{' or '.join(values[:3])}{others} ({wrong.sum()} pixels, first at row {row}, column {column})"


def whole(path: str, numbers: np.ndarray, expected: str, smallest: int = 0) -> np.ndarray:
    """Numbers (H, W) of any type as int32.

    Args:
        path: of their file.
        numbers: as they are stored.
        expected: what the file should hold, for the message.
        smallest: the smallest that may be.

    Raises:
        UsageError: one is not whole, or not `smallest`..`LARGEST`.
    """
    with np.errstate(invalid="ignore"):
        found = numbers.astype(np.int32)
        wrong = (found != numbers) | (numbers < smallest) | (numbers > LARGEST)  # of NaN found != numbers
    if wrong.any():
        raise UsageError(
            f"{path}: expected {expected}, whole numbers {smallest}..{LARGEST}, got "
            f"{told(numbers, wrong, lambda value: f'{value:g}')}"
        )
    return found
