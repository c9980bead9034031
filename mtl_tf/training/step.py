"""One training step on any number of replicas, with the result of one device on the same global batch.

Each replica's loss is its share of the global mean: local sum / all-reduced count. Shares and gradients then add up
by SUM, whatever the masks and however the batch was split, over replicas or into parts one after another.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from mtl_tf.config import Config
from mtl_tf.models.encoder_layers import encoder_layers, pretrained_layers
from mtl_tf.tasks import Task, loss_weight
from mtl_tf.training.averaging import Averaging
from mtl_tf.training.balance_record import BalanceRecord
from mtl_tf.training.optimisers import l2_of
from mtl_tf.training.passes import Passes

FIRST_LOSS_SCALE = 2.0**15
LOSS_SCALE_PATIENCE = 2000  # good steps after which the scale is doubled


@contextlib.contextmanager
def encoder_frozen(model: keras.Model, frozen: bool) -> Iterator[None]:
    """While a pass is traced inside, it takes the encoder as it is, or trains it where `frozen` is False.

    Batch norm that is not trainable normalises by its running statistics. What the encoder has beside what is published
    (a feature pyramid, adapters) is trained all the same: it may be as random as the decoder.
    """
    layers = [layer for layer in _pretrained_layers(model) if layer.trainable] if frozen else []
    for layer in layers:
        layer.trainable = False
    try:
        yield
    finally:
        for layer in layers:
            layer.trainable = True


def _pretrained_layers(model):
    return [layer for encoder in encoder_layers(model) for layer in pretrained_layers(encoder)]


class Computed(NamedTuple):
    """What one replica makes of its share of a batch.

    Attributes:
        losses: its shares of the losses, by name.
        squares: half the squared norm of each of its gradients.
        gradients: of the trained variables, in their order.
        more: what a subclass adds: a structure of tensors.
    """

    losses: dict[str, tf.Tensor]
    squares: tf.Tensor
    gradients: list[tf.Tensor]
    more: Any = ()


class TrainingStep:
    """Forward, backward and update, compiled once.

    Args:
        strategy: where the model and the optimiser were made.
        model: as `build_model` makes it.
        optimizer: built on the model's trainable variables.
        tasks: the model's tasks.
        config: loss weights, weight decay, clipping, accumulation and precision are read.
        averaging: averages to move after each step.
        parts: of a replica's batch that are made one after another; 0 = train.accumulate.

    Attributes:
        optimizer, averaging: the same.
        record: how what is written down of balancing is read; None = there is none.
        needs_second_batch: whether `at` needs another batch.
        told: what a user should know before the first step; empty = nothing.
    """

    record: BalanceRecord | None = None
    needs_second_batch = False

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        tasks: Sequence[Task],
        config: Config,
        averaging: Averaging | None = None,
        parts: int = 0,
    ):
        self._strategy, self._model, self._tasks = strategy, model, tuple(tasks)
        self.optimizer, self.averaging = optimizer, averaging
        self._weights = {task.name: loss_weight(config, task) for task in tasks}
        self._l2 = l2_of(config.optim)
        self._clip_norm = config.optim.clip_norm
        self._scaled = config.train.precision == "mixed_float16"
        self._passes = Passes(model, tasks, parts or config.train.accumulate, config.train.xla, self._scaled)
        self._variables = list(model.trainable_variables)
        pretrained = _pretrained_layers(model)
        self._frozen_paths = {v.path for layer in pretrained for v in layer.trainable_variables}
        never = {v.path for layer in pretrained if not layer.trainable for v in layer.variables}
        others = (v for v in model.non_trainable_variables if v.path not in never)
        self._statistics = [v for v in others if v.dtype.startswith("float")]
        self.told = "a single task: balance.* has nothing to balance" if config.balance.balances else ""
        # === State that a checkpoint must hold ===
        self.loss_scale = tf.Variable(FIRST_LOSS_SCALE if self._scaled else 1.0, trainable=False)
        self.good_steps = tf.Variable(0, dtype=tf.int64, trainable=False)

    @property
    def tracked(self) -> dict[str, Any]:
        """Name -> what a checkpoint must hold besides the loss scale and the averages."""
        return {}

    @property
    def variables(self) -> list[tf.Variable]:
        """Those of `tracked`, which have to be finite."""
        return []

    def at(self, step: int, second: dict | None = None) -> dict[str, Any]:
        """The arguments of `__call__` that depend on how many steps were made before.

        Args:
            step: how many.
            second: another (distributed) batch, where `needs_second_batch`.
        """
        return {}

    def demand_allowed(self, losses: dict[str, float]) -> None:
        """Raises a UsageError if a step was not applied since it cannot be made of such losses."""

    def end_epoch(self) -> None:
        """What is to be done after the last step of an epoch."""

    @tf.function(autograph=False)
    def __call__(
        self, batch: dict, frozen: bool = False, asked: tf.Tensor | None = None, **at: Any
    ) -> dict[str, tf.Tensor]:
        """Makes one step.

        Args:
            batch: a (distributed) global batch of the data contract.
            frozen: whether the encoder stays as it is.
            asked: float scalar of this process, summed over all replicas: `asked` in what is returned.
            at: what `at` gave.

        Returns:
            Scalars: `loss` (total), `loss_TASK`, `gradient_norm` where it is clipped; `updated`, whether loss and
            gradients were finite (where they were not, the network is as it was); `good`, the same, or only the loss
            scale was too large; `broken_gradient`, the position among `trained` of the first variable whose gradient
            is not finite, or -1.
        """
        scale = tf.identity(self.loss_scale)
        statistics = [tf.identity(variable) for variable in self._statistics]
        with encoder_frozen(self._model, frozen):
            computed = self._strategy.run(self._computed, args=(batch, scale, frozen), kwargs=at)
        losses = {name: self._sum(value) for name, value in computed.losses.items()}
        squares = self._sum(computed.squares)
        broken = ~tf.math.is_finite(squares)
        finite_loss, finite_gradients = tf.math.is_finite(losses["loss"]), ~tf.reduce_any(broken)
        good = updated = finite_loss & finite_gradients & self._allowed(computed)
        tf.cond(updated, lambda: self._update(computed, batch, frozen), lambda: self._undo(statistics))
        if asked is not None:
            losses["asked"] = self._sum(self._strategy.run(tf.identity, args=(asked,)))
        if self._clip_norm:
            # Each replica has the squares of its equal share of the whole gradient.
            losses["gradient_norm"] = tf.sqrt(2.0 * tf.reduce_sum(squares) * self._strategy.num_replicas_in_sync)
        if self._scaled:
            # Too large a scale is no divergence: halve it and go on. A loss that is not finite says nothing about it.
            self._adapt_scale(finite_gradients | ~finite_loss)
            good = finite_loss & (finite_gradients | (scale > 1.0))
        first = tf.where(finite_gradients, -1, tf.argmax(tf.cast(broken, tf.int32), output_type=tf.int32))
        return {**losses, "good": good, "updated": updated, "broken_gradient": first, **self._also(computed)}

    def _allowed(self, computed):
        """Whether the step may be applied, if all is finite."""
        return True

    def _also(self, computed):
        """More to return."""
        return {}

    def _sum(self, per_replica):
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)

    def trained(self, frozen: bool = False) -> list[keras.Variable]:
        """The variables that a step changes, in the order of its gradients."""
        return [variable for variable in self._variables if not (frozen and variable.path in self._frozen_paths)]

    def _computed(self, batch, scale, frozen):
        """One replica's part of a step."""
        variables = self.trained(frozen)
        counts = self._passes.counts(batch)
        losses, gradients = self._passes.of_total(batch, counts, scale, variables, self._weights)
        return Computed(self._with_total(losses, batch), *self._finished(gradients, variables))

    def _with_total(self, losses, batch):
        """The losses by the names that they are logged by, and what is minimised: their weighted sum."""
        loss = tf.add_n([self._weights[name] * value for name, value in losses.items()])
        if batch["image"].dtype.is_floating:
            # Max pooling passes over NaN on some processors, so that the loss of such a picture may look sound.
            loss = tf.where(tf.reduce_all(tf.math.is_finite(batch["image"])), loss, math.nan)
        return {"loss": loss, **{f"loss_{name}": value for name, value in losses.items()}}

    def _finished(self, gradients, variables):
        """Half the squared norms of a replica's gradients, and these clipped, with L2."""
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync
        if self._clip_norm and replicas > 1:
            # The norm is that of the sum over replicas, of which the update takes each replica's share again.
            gradients = [g / replicas for g in context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)]
        squares = tf.stack([tf.nn.l2_loss(gradient) for gradient in gradients])
        if self._clip_norm:
            norm = tf.sqrt(2.0 * tf.reduce_sum(squares)) * replicas
            factor = self._clip_norm / tf.maximum(norm, self._clip_norm)
            gradients = [gradient * factor for gradient in gradients]
        if self._l2:
            share = self._l2 / replicas
            gradients = [g + share * tf.convert_to_tensor(v) for g, v in zip(gradients, variables, strict=True)]
        return squares, gradients

    def _update(self, computed, batch, frozen):
        def apply(gradients):
            # Keras' optimisers sum the gradients over replicas themselves.
            self.optimizer.apply(gradients, self.trained(frozen))

        self._strategy.run(apply, args=(computed.gradients,))
        if self.averaging and self.averaging.after_each_step:
            self.averaging.add()
        return tf.constant(True)

    def _undo(self, statistics):
        """The forward pass has moved batch norm's running statistics."""

        def assign():
            for variable, value in zip(self._statistics, statistics, strict=True):
                variable.assign(value)

        self._strategy.run(assign)
        return tf.constant(False)

    def _adapt_scale(self, finite):
        good = tf.where(finite, self.good_steps + 1, 0)
        double = good >= LOSS_SCALE_PATIENCE
        grown = tf.where(double, self.loss_scale * 2.0, self.loss_scale)
        self.loss_scale.assign(tf.where(finite, grown, tf.maximum(self.loss_scale * 0.5, 1.0)))
        self.good_steps.assign(tf.where(double, tf.zeros_like(good), good))
