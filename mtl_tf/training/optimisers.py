"""Optimisers and the learning rate over time."""

import keras
import tensorflow as tf

from mtl_tf.config import OptimConfig

SMALLEST_FACTOR = 1e-6


class SGD(keras.optimizers.SGD):
    """SGD with the velocity of PyTorch: v = momentum * v + g; w = w - rate * v.

    Keras keeps the rate inside (v = momentum * v - rate * g), so that a rate that falls takes hold only as the old
    velocity fades: Sutskever et al., "On the importance of initialization and momentum", 2013, against PyTorch's
    documented form. One fused kernel a variable.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its velocity in place."""
        if not self.momentum:
            self.assign_sub(variable, learning_rate * gradient)
            return
        velocity = self.momentums[self._get_variable_index(variable)]
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=velocity.value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=tf.cast(self.momentum, variable.dtype),
        )


def build_optimizer(config: OptimConfig) -> keras.optimizers.Optimizer:
    """The Keras optimiser; decoupled weight decay is its own, L2 is `l2_of` and enters the gradient."""
    decoupled = (config.weight_decay or None) if is_decoupled(config) else None
    if config.name == "sgd":
        return SGD(config.learning_rate, momentum=config.momentum, weight_decay=decoupled)
    moments = dict(beta_1=config.beta1, beta_2=config.beta2, epsilon=config.epsilon, weight_decay=decoupled)
    return keras.optimizers.Adam(config.learning_rate, **moments)


def is_decoupled(config: OptimConfig) -> bool:
    """Whether weights decay by themselves: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019."""
    return config.decoupled or config.name == "adamw"


def l2_of(config: OptimConfig) -> float:
    """The factor wd of the term wd * w that is added to the gradient of every parameter w."""
    return 0.0 if is_decoupled(config) else config.weight_decay


def learning_rate_at(config: OptimConfig, step: int, steps_per_epoch: int, epochs: int) -> float:
    """The learning rate of a step.

    Poly: rate * max(1e-6, (1 - t)^power), with t = epoch / epochs, or step / steps (Liu et al., "ParseNet", 2015).
    """
    if config.schedule == "constant":
        return config.learning_rate
    if config.schedule_unit == "epoch":
        progress = (step // steps_per_epoch) / epochs
    else:
        progress = step / (steps_per_epoch * epochs)
    return config.learning_rate * max(SMALLEST_FACTOR, max(0.0, 1.0 - progress) ** config.schedule_power)
