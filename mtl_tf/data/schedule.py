"""Which sample stands at a position of training: a pure function of the seed, for one data set or several mixed.

One data set: each epoch is an order of its own, whose last incomplete batch rests. In a mix, every batch has the share
of each data set to within one sample, and many batches have it exactly. Each data set is gone through round after
round, every round all of its samples in an order of its own; an epoch is as many batches as hold the first data set
once. Nothing is remembered, and memory does not grow with the number of samples.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mtl_tf.errors import UsageError

ORDER = 0  # the random stream of the orders, of those that grow from one seed
_CYCLE = 1024  # batches after which the pattern of a mix repeats; a power of two
_STREAM = 1 << 40  # between the numbers of the rounds of two data sets


class Schedule:
    """The order of the samples.

    Attributes:
        batch_size: samples a batch.
        steps_per_epoch: batches an epoch.
    """

    def __init__(self, lengths: Sequence[int], weights: Sequence[float], batch_size: int, seed: int):
        """Plans.

        Args:
            lengths: number of samples of each data set.
            weights: their shares, in any unit.
            batch_size: samples a batch.
            seed: of the orders.

        Raises:
            UsageError: a share is so small that no sample of the data set would come.
        """
        self.batch_size, self.seed, self._lengths = batch_size, seed, tuple(lengths)
        # Systematic sampling: batch t takes the data sets at the points (j + u_t) / B, j = 0..B-1, of the line 0..1
        # that they divide by their shares. A stretch of length s holds floor(B s) or ceil(B s) such points; the offsets
        # u_t run evenly through a cycle of fractions (van der Corput), so that the mean is B s. In whole numbers.
        ends = np.round(np.cumsum(weights) / np.sum(weights) * (batch_size * _CYCLE)).astype(np.int64)
        bits = _CYCLE.bit_length() - 1
        offsets = np.array([int(f"{step:0{bits}b}"[::-1], 2) for step in range(_CYCLE)])
        self._ends = -((offsets[:, None] - ends) // _CYCLE)  # (cycle, sets): slots of a batch up to and with a set
        counts = np.diff(self._ends, axis=1, prepend=0)
        self._before = np.cumsum(counts, axis=0) - counts  # of the batches before in the cycle
        self._in_cycle = counts.sum(0)
        for number in np.flatnonzero(self._in_cycle == 0):
            share = weights[number] / sum(weights)
            raise UsageError(
                f"data.mix_weights: the share {share:.1e} of data set {number + 1} is less than a sample in "
                f"{_CYCLE} batches of {batch_size}; give it more, or leave it out"
            )
        self.steps_per_epoch = self._lengths[0] * _CYCLE // int(self._in_cycle[0])

    def counts(self, steps: int) -> np.ndarray:
        """The samples of each data set in the first so many batches."""
        cycles, rest = divmod(steps, _CYCLE)
        return cycles * self._in_cycle + self._before[rest]

    def shares(self) -> list[tuple[int, int, float]]:
        """Of each data set, the fewest, the most and the mean number of samples in a batch."""
        counts = np.diff(self._ends, axis=1, prepend=0)
        means = self._in_cycle / _CYCLE
        return [
            (int(low), int(high), float(mean))
            for low, high, mean in zip(counts.min(0), counts.max(0), means, strict=True)
        ]

    def at(self, position):
        """The sample at a position, int64, of all of training.

        Returns:
            int64 scalars: how often its data set has been gone through before, and its index, where the samples of all
            data sets stand one after another.
        """
        if len(self._lengths) == 1:
            per_epoch = self.steps_per_epoch * self.batch_size
            epoch = position // per_epoch
            return epoch, epoch_order(position % per_epoch, epoch, self._lengths[0], self.seed)
        step, slot = position // self.batch_size, position % self.batch_size
        cycle, turn = step // _CYCLE, step % _CYCLE
        ends = tf.gather(self._ends, turn)
        part = tf.reduce_sum(tf.cast(ends <= slot, tf.int64))
        begin = tf.where(part > 0, tf.gather(ends, tf.maximum(part - 1, 0)), 0)
        number = tf.gather(cycle * self._in_cycle + tf.gather(self._before, turn), part) + slot - begin
        lengths = np.array(self._lengths, np.int64)
        count = tf.gather(lengths, part)
        rounds, place = number // count, number % count
        index = epoch_order(place, rounds + part * _STREAM, count, self.seed)
        return rounds, tf.gather(np.cumsum(lengths) - lengths, part) + index


def fold(seed: int, *data):
    """A random seed, int64 (2,), that depends on every number given."""
    state = tf.constant([seed, 0], tf.int64)
    for number in data:
        state = tf.random.experimental.stateless_fold_in(state, tf.cast(number, tf.int64))
    return state


def epoch_order(position, epoch, count, seed: int):
    """The sample, int64, at a position of an epoch: a permutation of 0..count-1 that no memory is needed for."""
    last = tf.cast(count, tf.int64) - 1
    # The shuffle cannot do without a choice.
    shuffled = tf.random.experimental.index_shuffle(position, fold(seed, ORDER, epoch), tf.maximum(last, 1))
    return tf.where(last > 0, shuffled, 0)
