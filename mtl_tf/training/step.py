"""One training step on any number of replicas, with the result of one device on the same global batch.

Each replica's loss is its share of the global mean: local sum / all-reduced count. Shares and gradients then add up
by SUM, whatever the masks and however the batch was split.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf

from mtl_tf.config import Config
from mtl_tf.losses import loss_sum_and_count
from mtl_tf.tasks import Task
from mtl_tf.training.optimisers import l2_of

FIRST_LOSS_SCALE = 2.0**15
LOSS_SCALE_PATIENCE = 2000  # good steps after which the scale is doubled


def loss_weight(config: Config, task: Task) -> float:
    """The weight of a task in the total loss."""
    return getattr(config.loss, f"{task.name}_weight")


class TrainingStep:
    """Forward, backward and update, compiled once.

    Args:
        strategy: where the model and the optimiser were made.
        model: as `build_model` makes it.
        optimizer: built on the model's trainable variables.
        tasks: the model's tasks.
        config: loss weights, weight decay and precision are read.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        tasks: Sequence[Task],
        config: Config,
    ):
        self._strategy, self._model, self._optimizer, self._tasks = strategy, model, optimizer, tuple(tasks)
        self._weights = {task.name: loss_weight(config, task) for task in tasks}
        self._l2 = l2_of(config.optim)
        self._scaled = config.train.precision == "mixed_float16"
        # === State that a checkpoint must hold ===
        self.loss_scale = tf.Variable(FIRST_LOSS_SCALE if self._scaled else 1.0, trainable=False)
        self.good_steps = tf.Variable(0, dtype=tf.int64, trainable=False)

    @tf.function(autograph=False)
    def __call__(self, batch: dict) -> dict[str, tf.Tensor]:
        """Makes one step.

        Args:
            batch: a (distributed) global batch of the data contract.

        Returns:
            Float32 scalars: `loss` (total), `loss_TASK`, and `good`: whether loss and gradients were finite. Where
            they were not, no weight was changed.
        """
        scale = tf.identity(self.loss_scale)
        losses, norms, gradients = self._strategy.run(self._gradients, args=(batch, scale))
        losses = {name: self._sum(value) for name, value in losses.items()}
        finite_gradients = tf.math.is_finite(self._sum(norms))
        good = tf.math.is_finite(losses["loss"]) & finite_gradients
        tf.cond(good, lambda: self._update(gradients), lambda: tf.constant(False))
        if self._scaled:
            # Too large a scale is no divergence: halve it and go on.
            self._adapt_scale(finite_gradients)
            good = tf.math.is_finite(losses["loss"]) & (finite_gradients | (scale > 1.0))
        return {**losses, "good": good}

    def _sum(self, per_replica):
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)

    def _gradients(self, batch, scale):
        """One replica's shares of the losses, squared norm of its gradients, and the gradients."""
        context = tf.distribute.get_replica_context()
        with tf.GradientTape() as tape:
            outputs = self._model(tf.cast(batch["image"], tf.float32), training=True)
            losses = {}
            for task in self._tasks:
                raws = [outputs[name] for name in (f"{task.name}_initial", task.name) if name in outputs]
                terms = [loss_sum_and_count(task, raw, batch[task.name]) for raw in raws]
                count = context.all_reduce(tf.distribute.ReduceOp.SUM, terms[0][1])
                losses[task.name] = tf.add_n([total for total, _ in terms]) / len(terms) / tf.maximum(count, 1.0)
            loss = tf.add_n([self._weights[name] * value for name, value in losses.items()])
            scaled = loss * scale
        variables = self._model.trainable_variables
        gradients = tape.gradient(scaled, [variable.value for variable in variables])
        if self._scaled:
            gradients = [gradient / scale for gradient in gradients]
        norm = tf.add_n([tf.nn.l2_loss(gradient) for gradient in gradients])
        if self._l2:
            share = self._l2 / context.num_replicas_in_sync
            gradients = [g + share * tf.convert_to_tensor(v) for g, v in zip(gradients, variables, strict=True)]
        return {"loss": loss, **{f"loss_{name}": value for name, value in losses.items()}}, norm, gradients

    def _update(self, gradients):
        def apply(gradients):
            # Keras' optimisers sum the gradients over replicas themselves.
            self._optimizer.apply(gradients, self._model.trainable_variables)

        self._strategy.run(apply, args=(gradients,))
        return tf.constant(True)

    def _adapt_scale(self, finite):
        good = tf.where(finite, self.good_steps + 1, 0)
        double = good >= LOSS_SCALE_PATIENCE
        grown = tf.where(double, self.loss_scale * 2.0, self.loss_scale)
        self.loss_scale.assign(tf.where(finite, grown, tf.maximum(self.loss_scale * 0.5, 1.0)))
        self.good_steps.assign(tf.where(double, tf.zeros_like(good), good))
