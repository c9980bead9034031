"""Steps whose loss or gradient is not finite: where that comes from, and the record of those that were passed over."""

import math
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from mtl_tf.training.run_directory import Table, read_table

FILE_NAME = "skipped.csv"
LOSS_SCALE = "loss scale"  # the reason of steps that float16's loss scale, halved then, was too large for


class Skipped:
    """The steps of a run that changed no weight, as rows of skipped.csv: which, why, of which samples.

    Args:
        folder: where the file is written.
        home: where that of a run that is continued is read from.
        until: the step that the run continues after; later rows are dropped.
    """

    def __init__(self, folder: pathlib.Path, home: pathlib.Path, until: int):
        rows = read_table(home / FILE_NAME) if (home / FILE_NAME).exists() else []
        self._reasons = {int(row["step"]): row["reason"] for row in rows if int(row["step"]) <= until}
        self._table = Table(folder / FILE_NAME, until)

    def add(self, step: int, reason: str, samples: Sequence[str] = ()):
        """Notes a step."""
        self._reasons[step] = reason
        self._table.append({"step": step, "reason": reason, "samples": ", ".join(samples)})

    def in_a_row(self, step: int) -> int:
        """How many steps, the last of them this one, were passed over one after another."""
        count = 0
        while self._reasons.get(step - count, LOSS_SCALE) != LOSS_SCALE:
            count += 1
        return count

    def after(self, step: int) -> int:
        """How many steps after this one had no loss."""
        return sum(number > step and reason != LOSS_SCALE for number, reason in self._reasons.items())

    def counts(self) -> dict[str, int]:
        """How many there are in all, by their kind."""
        scaled = sum(reason == LOSS_SCALE for reason in self._reasons.values())
        return {"non_finite": len(self._reasons) - scaled, "loss_scale": scaled}


def broken_variable(variables: Iterable) -> str:
    """The name of the first variable with a value that is not finite, and how many values; "" where there is none.

    Args:
        variables: of Keras or TensorFlow.
    """
    for variable in variables:
        value = tf.convert_to_tensor(variable)
        if value.dtype.is_floating and not bool(tf.reduce_all(tf.math.is_finite(value))):
            values = value.numpy()
            name = getattr(variable, "path", None) or variable.name
            return f"{name} ({np.count_nonzero(~np.isfinite(values))} of {values.size} values)"
    return ""


def broken_sample(batch: dict[str, np.ndarray], samples: Sequence[str]) -> str:
    """What is not finite in a batch, and of which sample; "" where all is.

    Labels are not to blame: depth that is not finite is none.

    Args:
        batch: as arrays.
        samples: their ids.
    """
    for sample, image in zip(samples, batch["image"], strict=True):
        if not np.isfinite(image).all():
            return f"image of sample {sample}"
    return ""


def reason_of(in_batch: Iterable[str], loss: float, gradient: str) -> str:
    """What is not finite at a step, of the first that can be: a picture, the loss, a gradient.

    Args:
        in_batch: of the share of each process, what `broken_sample` says.
        loss: of the step.
        gradient: the variable whose gradient is not finite.
    """
    return next(filter(None, in_batch), f"gradient of {gradient}" if math.isfinite(loss) else "loss")
