"""Losses of outputs that are no answers: of the regions that a task divides a picture into, or a cost of their own."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mtl_tf.tasks._task import Task

STEPS = 40  # that a quantity is divided into, and directions (Bruggemann et al., ICCV 2021)
_FARTHEST = 2.5  # standard deviations from the mean, where the outermost steps are


def whitened_steps(numbers):
    """The step of whitened numbers, int32 0..STEPS - 1; those that are farther from the mean are in the outermost."""
    from keras import ops

    place = ops.floor((numbers / _FARTHEST + 1.0) * (STEPS / 2))
    return ops.cast(ops.clip(place, 0, STEPS - 1), "int32")


def directions(half: bool) -> np.ndarray:
    """Unit vectors (STEPS, 3) at about the same distance from each other: a spiral by the golden angle.

    Args:
        half: only those that face the camera, z < 0.
    """
    number = np.arange(STEPS) + 0.5
    z = -number / STEPS if half else 1 - 2 * number / STEPS
    angle, radius = number * np.pi * (3 - 5**0.5), np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], -1).astype(np.float32)


class Regions(NamedTuple):
    """A class for every pixel that follows from a task's labels, whatever they are; `Task.regions`.

    Attributes:
        channels: how many classes.
        classes: from labels (B, H, W) to class ids, int (B, H, W), in range where a pixel counts.
        weights: from labels to what a pixel counts, float32 or bool (B, H, W); 0 without a label.
    """

    channels: int
    classes: Callable[[Any], Any]
    weights: Callable[[Any], Any]

    def loss(self, raw, target) -> tuple:
        """Cross-entropy of logits (B, H, W, channels); sum and count as `Task.loss` gives them."""
        from keras import ops

        from mtl_tf import class_losses, losses

        weights = ops.cast(self.weights(target), "float32")
        classes = ops.where(weights > 0, ops.cast(self.classes(target), "int32"), 0)
        return losses.over_pixels(class_losses.cross_entropy(raw, classes), weights)

    def count(self, target):
        """The count of the loss, of the labels alone."""
        from keras import ops

        return ops.sum(ops.cast(self.weights(target), "float32"))


class Cost(NamedTuple):
    """What an output says itself that it costs: its mean over the pixels with a label.

    Attributes:
        task: whose output it is.
    """

    task: Task

    def loss(self, raw, target) -> tuple:
        """Of numbers (B, H, W, 1); sum and count as `Task.loss` gives them."""
        from mtl_tf import losses

        return losses.over_pixels(raw[..., 0], self.task.valid(target))

    def count(self, target):
        """The count of the loss, of the labels alone."""
        from keras import ops

        return ops.sum(ops.cast(self.task.valid(target), "float32"))
