"""From losses and gradients of a step to the weights of its tasks, by the methods of a run."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mtl_tf.balancing import Balance
from mtl_tf.balancing.rows import stacked
from mtl_tf.training.sharing import Sharing

_GROUPS = 2**32  # tells the draws of one group from those of another
_LEAST = 1e-8  # of a loss whose logarithm is minimised


class Given(NamedTuple):
    """What a replica is given at a step.

    Attributes:
        batch: its share of the batch.
        counts: what each task's sums are divided by.
        present: of which tasks the global batch has labels, bool [K].
        scale: of the losses in float16.
        variables: what is trained.
        state: of the methods, tensors.
        seed: of the step, int64 [2].
        draws: random numbers.
    """

    batch: dict
    counts: dict
    present: tf.Tensor
    scale: tf.Tensor
    variables: list
    state: dict
    seed: tf.Tensor
    draws: dict

    @property
    def given(self):
        """What passes are made of."""
        return self.batch, self.counts, self.scale


class Solver:
    """The methods of a run; to be called in a replica's context, with values of the global batch.

    Args:
        balance: the methods.
        sharing: of the network's variables.
        by_layer: whether each layer has weights of its own.
        specific_by: what weighs the losses for variables that one task alone reaches: unweighted, weighted or log.
    """

    def __init__(self, balance: Balance, sharing: Sharing, by_layer: bool, specific_by: str):
        self._balance, self._sharing, self._by_layer, self._specific_by = balance, sharing, by_layer, specific_by

    def weights(self, work, inner, present, losses, a):
        """The weights of raw rows by their inner products.

        Args:
            work: of the step.
            inner: inner products of the rows by each shared variable, or feature, float64 [V, K, K]; of two batches
                where the aggregator asks for them.
            present: which tasks take part, bool [K].
            losses: of the global batch, [K].
            a: weights of the rows, [K].

        Returns:
            Float64 [groups, K]; their mean [K]; what of the state has a new value.
        """
        with tf.device("CPU:0"):  # many tiny kernels
            if self._by_layer:
                by_group, aggregator = self._of_groups(work, inner, present, losses, a)
            else:
                given = work.state, tf.reduce_sum(inner, 0), present, a, losses, work.draws
                weights, state = self._balance.gramian_weights(*given)
                by_group, aggregator = weights[None], state["aggregator"]
            weights, moved = tf.reduce_mean(by_group, 0), {"aggregator": aggregator}
            if "held" in work.state:  # of absent tasks it stays
                found = tf.math.divide_no_nan(weights, tf.cast(a, tf.float64))
                moved["held"] = tf.where(present, found, work.state["held"])
        return by_group, weights, moved

    def _of_groups(self, work, inner, present, losses, a):
        """The same for each group on its own."""
        gramians = tf.math.unsorted_segment_sum(inner, self._sharing.groups, self._sharing.group_count)

        def solve(given):
            number, gramian, aggregator = given
            draws = self._balance.draws(work.seed + number * _GROUPS)
            state = {**work.state, "aggregator": aggregator}
            weights, state = self._balance.gramian_weights(state, gramian, present, a, losses, draws)
            return weights, state["aggregator"]

        held = work.state["aggregator"]
        like = tf.nest.map_structure(lambda value: tf.TensorSpec(value.shape[1:], value.dtype), held)
        signature = tf.TensorSpec([self._balance.count], tf.float64), like
        groups = tf.range(self._sharing.group_count, dtype=tf.int64)
        return tf.map_fn(solve, (groups, gramians, held), fn_output_signature=signature)

    def directions(self, work, whole, losses, a):
        """The direction of a method that needs the rows themselves.

        Args:
            work, losses, a: see `weights`.
            whole: rows of the global batch, {path: {task: gradient}}.

        Returns:
            {path: this replica's share of the direction}; weights [K], NaN where it is no weighted sum; what of the
            state has a new value.
        """
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        count = self._balance.count
        # A variable that is not trained yet has rows of zeros.
        rows = [
            stacked(whole[path], count) if path in whole else tf.zeros((count, *shape))
            for path, shape in zip(self._sharing.shared, self._sharing.shapes, strict=True)
        ]
        given = work.state, rows, work.present, a, losses
        found, weights, state = self._balance.direction(*given, draws=work.draws)
        named = zip(self._sharing.shared, found, strict=True)
        directions = {path: each / replicas for path, each in named if path in whole}
        weights = tf.fill([count], tf.constant(np.nan, tf.float64)) if weights is None else weights
        return directions, weights, {"aggregator": state["aggregator"]}

    def specific(self, work, losses, a, weights):
        """The weights of the losses for variables that one task alone reaches, [K].

        Args:
            work: of the step.
            losses: of the global batch, [K].
            a: weights of the rows.
            weights: of the losses in the shared direction.
        """
        if self._specific_by == "weighted":
            return weights
        if self._specific_by == "log":
            return a / (losses + _LEAST)
        return self._balance.loss_weights(work.state, losses, work.present, work.draws)
