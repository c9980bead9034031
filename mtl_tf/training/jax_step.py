"""One training step under JAX (KERAS_BACKEND=jax), on one device: for checks and for measuring without TensorFlow.

The same arithmetic as `step.TrainingStep`: losses, L2 term, optimiser. Clipping, accumulation, averages, loss scaling
and the check for values that are not finite are left to that.
"""

from collections.abc import Sequence

import jax
import keras

from mtl_tf.config import Config
from mtl_tf.errors import UsageError
from mtl_tf.objective import count_of, mean_losses
from mtl_tf.tasks import Task, loss_weight
from mtl_tf.training.optimisers import build_optimizer, l2_of, rate_factors_of


class JaxStep:
    """Forward, backward and update, compiled once. It keeps the weights; `write_back` gives them to the model.

    Args:
        model: as `build_model` makes it.
        tasks: the model's tasks.
        config: loss weights, optimiser and precision are read.

    Raises:
        UsageError: float16 is asked for, which needs loss scaling, or balancing.
    """

    def __init__(self, model: keras.Model, tasks: Sequence[Task], config: Config):
        if config.train.precision == "mixed_float16":
            raise UsageError("--train.precision=mixed_float16 is not there under JAX; use mixed_bfloat16")
        if config.balance.balances:
            raise UsageError("balance.* is not there under JAX; leave it out")
        optimizer = build_optimizer(config.optim, rate_factors_of(config.optim, model))
        optimizer.build(model.trainable_variables)
        weights, l2 = {task.name: loss_weight(config, task) for task in tasks}, l2_of(config.optim)

        def total(trained, others, batch):
            image = keras.ops.cast(batch["image"], "float32")
            outputs, others = model.stateless_call(trained, others, image, training=True)
            labels = model.label_weights
            counts = {task.name: count_of(task, batch[task.name], labels) for task in tasks}
            losses = mean_losses(tasks, outputs, batch, counts, labels)
            return sum(weights[name] * value for name, value in losses.items()), (losses, others)

        def step(state, batch):
            trained, others, slots = state
            (loss, (losses, others)), gradients = jax.value_and_grad(total, has_aux=True)(trained, others, batch)
            gradients = [g + l2 * value for g, value in zip(gradients, trained, strict=True)] if l2 else gradients
            trained, slots = optimizer.stateless_apply(slots, gradients, trained)
            losses = {"loss": loss, **{f"loss_{name}": value for name, value in losses.items()}}
            return (trained, others, slots), losses

        # The old state's memory becomes the new one's.
        self._step = jax.jit(step, donate_argnums=0)
        self._variables = model.trainable_variables, model.non_trainable_variables, optimizer.variables
        # Copies, since what is donated is gone, and the model keeps its values until `write_back`.
        self._state = tuple([variable.value.copy() for variable in each] for each in self._variables)

    def __call__(self, batch: dict) -> dict[str, jax.Array]:
        """Makes one step with a batch of the data contract; returns `loss` and `loss_TASK`, float32 scalars."""
        self._state, losses = self._step(self._state, batch)
        return losses

    def write_back(self):
        """Puts weights, running statistics and the optimiser's state into their variables."""
        for variables, values in zip(self._variables, self._state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value.copy())
