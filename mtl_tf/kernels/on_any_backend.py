"""The same functions in `keras.ops`, on one device; `on_tensorflow` says what each does."""

import functools
import math
from collections.abc import Callable

import keras
import numpy as np
from keras import ops


def normalise(inputs, gamma, beta, mean, variance, epsilon: float):
    """Batch normalisation of (B, H, W, C) by given statistics (C,)."""
    scale = gamma * ops.rsqrt(variance + epsilon)
    return ops.cast(ops.cast(inputs, "float32") * scale + (beta - mean * scale), inputs.dtype)


def normalise_by_batch(inputs, gamma, beta, running, epsilon: float):
    """Batch normalisation by the batch's statistics, its mean and unbiased variance; of a single value by `running`."""
    # In float32: Keras would round the statistics of sixteen-bit features to sixteen bits.
    mean, variance = ops.moments(ops.cast(inputs, "float32"), (0, 1, 2))
    count = ops.cast(ops.size(inputs) // inputs.shape[-1], "float32")
    several = count > 1.0
    kept = map(ops.convert_to_tensor, running)
    used = (ops.where(several, *pair) for pair in zip((mean, variance), kept, strict=True))
    outputs = normalise(inputs, gamma, beta, *used, epsilon)
    unbiased = variance * (count / ops.maximum(count - 1.0, 1.0))
    return outputs, *(ops.where(several, each, math.nan) for each in (mean, unbiased))


def convolution(channels: int, filters: int, strides, padding: str, dilations, groups: int, dtype: str) -> Callable:
    """A function (inputs, kernel) -> outputs; groups follow from the channels of both."""
    return functools.partial(
        ops.conv, strides=strides, padding=padding, data_format="channels_last", dilation_rate=dilations
    )


def resize(inputs, reference):
    """Bilinear resize (half-pixel centres) to the height and width of a reference, float32."""
    return ops.image.resize(ops.cast(inputs, "float32"), reference.shape[1:3], data_format="channels_last")


def argmax(inputs):
    """The largest channel, int32."""
    return ops.argmax(inputs, axis=-1)


def new_draws() -> keras.random.SeedGenerator:
    """The state of a layer's random numbers."""
    return keras.random.SeedGenerator(np.random.randint(2**31))


def draw(draws: keras.random.SeedGenerator, shape):
    """Uniform float32 numbers in 0..1."""
    return keras.random.uniform(shape, dtype="float32", seed=draws)


def recompute(model: keras.Model, inputs: list) -> list:
    """A training pass of a model whose activations are computed again for the gradient; its outputs, flat."""

    @keras.remat
    def run(trained, others, inputs):
        # State passes through: what is traced in here must not be kept outside.
        return model.stateless_call(trained, others, inputs, training=True)

    others = model.non_trainable_variables
    values = ([variable.value for variable in each] for each in (model.trainable_variables, others))
    outputs, moved = run(*values, inputs)
    for variable, value in zip(others, moved, strict=True):
        variable.assign(value)
    return keras.tree.flatten(outputs)


def repeated(ago: int):
    """Passes that repeat others serve the balancing of tasks, which runs on TensorFlow."""
    raise NotImplementedError("a pass is repeated on TensorFlow only")


def repeating() -> bool:
    """Whether this pass repeats the one before: here none does that anybody could see."""
    return False


def move_with_momentum(variable, velocity, gradient, rate, momentum: float):
    """velocity = momentum * velocity + gradient; variable = variable - rate * velocity."""
    velocity.assign(velocity * momentum + gradient)
    variable.assign(variable - velocity * rate)
