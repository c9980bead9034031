"""What is written down of balancing at a step: weights, lengths of the tasks' gradients, and where they conflict."""

import itertools
from collections.abc import Iterable, Sequence

import keras
import numpy as np
import tensorflow as tf

from mtl_tf.errors import UsageError
from mtl_tf.models.encoder_layers import encoder_stages
from mtl_tf.tasks import Task


class BalanceRecord:
    """One vector a step, made in the graph and read as columns only where a step is logged.

    Args:
        tasks: of the network.
        rows: of each variable, or feature, whose gradients are compared, the part of the network that it belongs to;
            () = there are weights alone.

    Attributes:
        parts: names of the parts of the network, in its order.

    Raises:
        UsageError: the names of two pairs of tasks read the same.
    """

    def __init__(self, tasks: Sequence[Task], rows: Sequence[str]):
        self._names, self._count = [task.name for task in tasks], len(tasks)
        self._rows = list(rows)
        self.parts = tuple(dict.fromkeys(rows))
        self._pairs = list(itertools.combinations(range(len(self._names)), 2))
        self._columns = [f"cosine_{self._names[one]}_{self._names[other]}" for one, other in self._pairs]
        twice = {name for name in self._columns if self._columns.count(name) > 1}
        if twice:
            raise UsageError(
                f"two pairs of tasks would both be column {min(twice)} of steps.csv; rename one of the tasks"
            )

    def vector(self, weights, present, gramian=None):
        """The numbers of a step, float32; NaN where there is none.

        Args:
            weights: of the losses, [K].
            present: of which tasks the batch has labels, bool [K].
            gramian: inner products of the gradients by each of the rows, float64 [V, K, K]; None = not at hand.
        """
        nan = tf.constant(np.nan, tf.float64)
        found = [tf.where(present, tf.cast(weights, tf.float64), nan)]
        if self.parts and gramian is None:
            found.append(tf.fill([len(self._names) + len(self._pairs) * (1 + len(self.parts))], nan))
        elif self.parts:
            members = [self.parts.index(part) for part in self._rows]
            whole, by_part = tf.reduce_sum(gramian, 0), tf.math.unsorted_segment_sum(gramian, members, len(self.parts))
            found.append(tf.where(present, tf.sqrt(tf.linalg.diag_part(whole)), nan))
            found.append(self._cosines(tf.concat([whole[None], by_part], 0), present))
        return tf.cast(tf.concat(found, 0), tf.float32)

    def _cosines(self, gramians, present):
        """Those of all pairs, of each Gramian (P, K, K) in turn; NaN where a task is absent or has no gradient."""
        norms = tf.sqrt(tf.linalg.diag_part(gramians))
        lengths = norms[:, :, None] * norms[:, None, :]
        known = (lengths > 0.0) & present[None, :, None] & present[None, None, :]
        cosines = tf.clip_by_value(gramians / tf.where(lengths > 0.0, lengths, 1.0), -1.0, 1.0)
        one, other = zip(*self._pairs, strict=True)
        pairs = tf.where(known, cosines, np.nan)
        places = [self._count * first + second for first, second in zip(one, other, strict=True)]
        return tf.reshape(tf.gather(tf.reshape(pairs, [-1, self._count**2]), places, axis=1), [-1])

    def columns(self, vector: np.ndarray) -> dict[str, float | int | None]:
        """A step's columns of steps.csv; None where there is no number."""
        count, pairs = len(self._names), len(self._pairs)
        found = {f"weight_{name}": _number(value) for name, value in zip(self._names, vector, strict=False)}
        if self.parts:
            norms, cosines = vector[count : 2 * count], vector[2 * count : 2 * count + pairs]
            found |= {f"norm_{name}": _number(value) for name, value in zip(self._names, norms, strict=True)}
            found |= self._of_pairs(cosines)
            found["conflicts"] = None if np.isnan(cosines).all() else int((cosines < 0).sum())
        return found

    def by_part(self, vector: np.ndarray) -> list[dict[str, str | float | None]]:
        """A step's rows of conflicts.csv: the cosines of each part of the network."""
        cosines = vector[2 * len(self._names) + len(self._pairs) :].reshape(len(self.parts), -1)
        return [
            {"part": part, **self._of_pairs(values)}
            for part, values in zip(self.parts, cosines, strict=self.parts != ())
        ]

    def _of_pairs(self, values):
        return {name: _number(value) for name, value in zip(self._columns, values, strict=True)}


def parts_of(model: keras.Model, paths: Iterable[str]) -> list[str]:
    """The part of the network that each variable belongs to: a stage of the encoder, or what its path begins with."""
    stages = encoder_stages(model)
    return [f"encoder/stage{stages[path] + 1}" if path in stages else "/".join(path.split("/")[:2]) for path in paths]


def _number(value):
    return None if np.isnan(value) else round(float(value), 6)
