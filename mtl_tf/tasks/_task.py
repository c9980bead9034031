"""What every task can do. A kind of task is a subclass in a file of its own; a task is an instance of a kind."""

from typing import ClassVar

import numpy as np


class Task:
    """A map that is predicted for every picture; kinds are frozen dataclasses. NumPy only until a method needs more.

    B, H and W are the sides of a batch of pictures; a raw head is what the network's last convolution gives.

    Attributes:
        name: of the task; of its labels, head and scores.
        weight: option of the section `loss` that weights it.
    """

    kind: ClassVar[str]

    name: str
    weight: str

    @property
    def channels(self) -> int:
        """Channels of the raw head."""
        raise NotImplementedError

    def valid(self, target):
        """Which pixels of a label map (B, H, W) count: bool (B, H, W)."""
        raise NotImplementedError

    def loss(self, raw, target) -> tuple:
        """What is minimised, with its mask a part of it.

        Args:
            raw: raw head, float32 (B, H, W, channels).
            target: label map (B, H, W).

        Returns:
            Sum and count, float32 scalars, so that parts of a batch merge exactly; the mean is sum / count. The
            gradient of the sum is finite for any mask and target.
        """
        raise NotImplementedError

    def count(self, target):
        """The count of the loss, of the labels alone (the loss of a raw head of zeros is never computed)."""
        from keras import ops

        return self.loss(ops.zeros((*ops.shape(target), self.channels)), target)[1]

    def decode(self, raw):
        """The answer of a raw head (B, H, W, channels)."""
        raise NotImplementedError

    def answers(self, raw) -> dict:
        """All that a raw head says: the answer under the task's name, and what else there is under NAME_WHAT."""
        return {self.name: self.decode(raw)}

    def measure(self, raw, target) -> dict:
        """Additive statistics of each image: name -> float64 (B, ...). Whoever merges images adds rows up, exactly."""
        raise NotImplementedError

    def scores(self, statistics: dict[str, np.ndarray]) -> dict:
        """The scores of a sum of statistics over images; None where nothing was counted."""
        raise NotImplementedError

    def baseline(self, label: np.ndarray) -> np.ndarray:
        """What the position baseline sums up over the label maps (H, W) of the training split."""
        raise NotImplementedError

    def constant(self, sums: np.ndarray):
        """The raw head (H, W, channels) of the best answer that knows only a pixel's position, of such a sum."""
        raise NotImplementedError
