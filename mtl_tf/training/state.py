"""How far a run is, and the sums of its epoch so far: a vector in every checkpoint, each number with a name."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


class State:
    """What continuing needs besides the network.

    Args:
        losses: names of the losses of a step.

    Attributes:
        step: steps done.
        validated_epochs: epochs done, and validated.
        saved_step: that of the last checkpoint; 0 = none yet.
        losses: the names.
        loss_sums: float64, the losses of the epoch so far, summed over its steps that had any.
        variable: the vector: step, validated_epochs, best_score, best_epoch and the sums.
    """

    def __init__(self, losses: Sequence[str]):
        self.step = self.validated_epochs = self.saved_step = 0
        self.losses = tuple(losses)
        self.loss_sums = np.zeros(len(self.losses))
        self.variable = tf.Variable(np.zeros(4 + len(self.losses)), dtype=tf.float64, trainable=False)

    def pack(self, best_score: float, best_epoch: int) -> None:
        """Puts the state, with the best score of the trained weights and its epoch, into the vector."""
        self.variable.assign(np.array([self.step, self.validated_epochs, best_score, best_epoch, *self.loss_sums]))

    def unpack(self) -> tuple[float, int]:
        """Takes the state from the vector; returns the best score and its epoch."""
        step, validated, best_score, best_epoch, *sums = self.variable.numpy()
        self.step, self.validated_epochs = int(step), int(validated)
        self.saved_step, self.loss_sums = self.step, np.array(sums)
        return best_score, int(best_epoch)

    def add(self, losses: dict[str, float]) -> None:
        """Adds the losses of a step."""
        self.loss_sums += [losses[name] for name in self.losses]

    def end_epoch(self) -> None:
        """Begins to sum anew."""
        self.validated_epochs += 1
        self.loss_sums[:] = 0.0

    def means(self, count: int) -> dict[str, float]:
        """The mean losses of the epoch, of so many steps; NaN of none."""
        means = self.loss_sums / (count or np.nan)
        return {name: float(value) for name, value in zip(self.losses, means, strict=True)}

    def where(self) -> str:
        """For messages: the step under way, and what is kept of those before."""
        kept = f"step {self.saved_step} is the last that is saved" if self.saved_step else "none is saved yet"
        return f"at step {self.step + 1}; {kept}"
