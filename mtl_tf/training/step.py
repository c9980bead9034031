"""One training step on any number of replicas, with the result of one device on the same global batch.

Each replica's loss is its share of the global mean: local sum / all-reduced count. Shares and gradients then add up
by SUM, whatever the masks and however the batch was split, over replicas or into parts one after another.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf

from mtl_tf.config import Config
from mtl_tf.objective import mean_losses
from mtl_tf.tasks import Task, loss_weight
from mtl_tf.training.averaging import Averaging
from mtl_tf.training.optimisers import build_optimizer, l2_of, rate_factors_of

FIRST_LOSS_SCALE = 2.0**15
LOSS_SCALE_PATIENCE = 2000  # good steps after which the scale is doubled


def build_step(
    strategy: tf.distribute.Strategy, model: keras.Model, tasks: Sequence[Task], config: Config
) -> "TrainingStep":
    """The step of a run, with the optimiser and the averages that its options ask for; in the scope of the strategy."""
    optimizer = build_optimizer(config.optim, rate_factors_of(config.optim, model))
    optimizer.build(model.trainable_variables)
    return TrainingStep(strategy, model, optimizer, tasks, config, Averaging(strategy, model, config.train))


@contextlib.contextmanager
def encoder_frozen(model: keras.Model, frozen: bool) -> Iterator[None]:
    """While a pass is traced inside, it takes the encoder as it is, or trains it where `frozen` is False.

    Batch norm that is not trainable normalises by its running statistics.
    """
    encoder = model.get_layer("encoder")
    encoder.trainable = not frozen
    try:
        yield
    finally:
        encoder.trainable = True


def take_part(values: tf.Tensor, number: int, parts: int) -> tf.Tensor:
    """A part of a replica's batch (B, ...), by its number from 0: every so manyth image.

    They are the same images, whose statistics batch norm takes, on any number of replicas.
    """
    return values if parts == 1 else tf.identity(values[number::parts])


class TrainingStep:
    """Forward, backward and update, compiled once.

    Args:
        strategy: where the model and the optimiser were made.
        model: as `build_model` makes it.
        optimizer: built on the model's trainable variables.
        tasks: the model's tasks.
        config: loss weights, weight decay, clipping, accumulation and precision are read.
        averaging: averages to move after each step.

    Attributes:
        optimizer, averaging: the same.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        tasks: Sequence[Task],
        config: Config,
        averaging: Averaging | None = None,
    ):
        self._strategy, self._model, self._tasks = strategy, model, tuple(tasks)
        self.optimizer, self.averaging = optimizer, averaging
        self._weights = {task.name: loss_weight(config, task) for task in tasks}
        self._l2 = l2_of(config.optim)
        self._clip_norm = config.optim.clip_norm
        self._parts = config.train.accumulate
        self._scaled = config.train.precision == "mixed_float16"
        self._variables = list(model.trainable_variables)
        self._statistics = [v for v in model.non_trainable_variables if v.dtype.startswith("float")]
        self._frozen_paths = {variable.path for variable in model.get_layer("encoder").trainable_variables}
        self._xla = config.train.xla
        # === State that a checkpoint must hold ===
        self.loss_scale = tf.Variable(FIRST_LOSS_SCALE if self._scaled else 1.0, trainable=False)
        self.good_steps = tf.Variable(0, dtype=tf.int64, trainable=False)

    @tf.function(autograph=False)
    def __call__(self, batch: dict, frozen: bool = False, asked: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """Makes one step.

        Args:
            batch: a (distributed) global batch of the data contract.
            frozen: whether the encoder stays as it is.
            asked: float scalar of this process, summed over all replicas: `asked` in what is returned.

        Returns:
            Scalars: `loss` (total), `loss_TASK`, `gradient_norm` where it is clipped; `updated`, whether loss and
            gradients were finite (where they were not, the network is as it was); `good`, the same, or only the loss
            scale was too large; `broken_gradient`, the position among `trained` of the first variable whose gradient
            is not finite, or -1.
        """
        scale = tf.identity(self.loss_scale)
        statistics = [tf.identity(variable) for variable in self._statistics]
        with encoder_frozen(self._model, frozen):
            losses, squares, gradients = self._strategy.run(self._gradients, args=(batch, scale, frozen))
        losses = {name: self._sum(value) for name, value in losses.items()}
        squares = self._sum(squares)
        broken = ~tf.math.is_finite(squares)
        finite_loss, finite_gradients = tf.math.is_finite(losses["loss"]), ~tf.reduce_any(broken)
        good = updated = finite_loss & finite_gradients
        tf.cond(updated, lambda: self._update(gradients, frozen), lambda: self._undo(statistics))
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
        return {**losses, "good": good, "updated": updated, "broken_gradient": first}

    def _sum(self, per_replica):
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)

    def trained(self, frozen: bool = False) -> list[keras.Variable]:
        """The variables that a step changes, in the order of its gradients."""
        return [variable for variable in self._variables if not (frozen and variable.path in self._frozen_paths)]

    def _gradients(self, batch, scale, frozen):
        """One replica's shares of the losses; half the squared norm of each of its gradients; these gradients."""
        context = tf.distribute.get_replica_context()
        variables = self.trained(frozen)
        counts = {
            task.name: context.all_reduce(tf.distribute.ReduceOp.SUM, task.count(batch[task.name]))
            for task in self._tasks
        }
        losses, gradients = self._in_parts(batch, counts, scale, variables)
        loss = tf.add_n([self._weights[name] * value for name, value in losses.items()])
        if batch["image"].dtype.is_floating:
            # Max pooling passes over NaN on some processors, so that the loss of such a picture may look sound.
            loss = tf.where(tf.reduce_all(tf.math.is_finite(batch["image"])), loss, math.nan)
        losses = {"loss": loss, **{f"loss_{name}": value for name, value in losses.items()}}
        if self._scaled:
            gradients = [gradient / scale for gradient in gradients]
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
        return losses, squares, gradients

    def _in_parts(self, batch, counts, scale, variables):
        """Sums over the parts of a replica's batch, one after another so that only one is in memory."""
        losses, gradients = {}, []

        def compute(part, counts, scale):
            return self._shares(part, counts, scale, variables)

        if self._xla:
            compute = tf.function(compute, jit_compile=True, autograph=False)
        for number in range(self._parts):
            with tf.control_dependencies(gradients):
                part = {name: take_part(value, number, self._parts) for name, value in batch.items()}
            part_losses, part_gradients = compute(part, counts, scale)
            losses = {name: losses.get(name, 0.0) + value for name, value in part_losses.items()}
            gradients = (
                [sum(pair) for pair in zip(gradients, part_gradients, strict=True)] if gradients else part_gradients
            )
        return losses, gradients

    def _shares(self, batch, counts, scale, variables):
        """The shares of losses and gradients of some images; the counts are those of the whole global batch."""
        with tf.GradientTape() as tape:
            outputs = self._model(tf.cast(batch["image"], tf.float32), training=True)
            losses = mean_losses(self._tasks, outputs, batch, counts)
            scaled = tf.add_n([self._weights[name] * value for name, value in losses.items()]) * scale
        gradients = tape.gradient(scaled, [variable.value for variable in variables])
        return losses, gradients

    def _update(self, gradients, frozen):
        def apply(gradients):
            # Keras' optimisers sum the gradients over replicas themselves.
            self.optimizer.apply(gradients, self.trained(frozen))

        self._strategy.run(apply, args=(gradients,))
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
