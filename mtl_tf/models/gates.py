"""Gates: from an image, or a feature, to the weights of experts.

Published code has a dense layer of the whole flattened input, which ties a network to one size of image. Here the
first gate sees a thumbnail of the image, later ones the mean of a feature, whatever the size.
"""

import math
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from mtl_tf.models.layers import IMAGENET, Whiten, pytorch_uniform, scope
from mtl_tf.tasks import Task

SIDE = 32  # of the thumbnail, in pixels


@keras.saving.register_keras_serializable("mtl_tf")
class Thumbnail(keras.layers.Layer):
    """The means over a grid of SIDE x SIDE areas of images (B, H, W, C) of any size, float32."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.autocast = False  # as with `Whiten`

    def call(self, inputs):
        """Returns (B, SIDE, SIDE, C)."""
        rows, columns = (_shares(ops.shape(inputs)[axis]) for axis in (1, 2))
        return ops.einsum("ih,bhwc,jw->bijc", rows, ops.cast(inputs, "float32"), columns)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], SIDE, SIDE, input_shape[-1])


def _shares(size):
    """What each of `size` pixels adds to each of SIDE means, (SIDE, size): the part of it that lies in the area."""
    area = ops.cast(size, "float32") / SIDE
    begin = (ops.arange(SIDE, dtype="float32") * area)[:, None]
    pixel = ops.cast(ops.arange(size), "float32")[None]
    inside = ops.minimum(begin + area, pixel + 1.0) - ops.maximum(begin, pixel)
    return ops.maximum(inside, 0.0) / area


def thumbnail(image: keras.KerasTensor) -> keras.KerasTensor:
    """What a first gate sees of images (B, H, W, 3) RGB 0..255: (B, SIDE * SIDE * 3), whitened as for ImageNet."""
    small = Thumbnail(dtype="float32", name="thumbnail")(image)
    white = Whiten(**IMAGENET, dtype="float32", name="thumbnail_white")(small)
    return keras.layers.Flatten(dtype="float32", name="thumbnail_flat")(white)


def softmax_gate(inputs: keras.KerasTensor, experts: int, path: str) -> keras.KerasTensor:
    """Weights of experts that sum up to 1, float32 (B, experts), by a dense layer.

    Args:
        inputs: (B, n).
        experts: how many.
        path: where its variables stand, e.g. "semseg/gate".
    """
    given = keras.Input((inputs.shape[-1],), dtype="float32")
    with scope(path):
        weights = keras.layers.Dense(
            experts, "softmax", kernel_initializer=pytorch_uniform(), dtype="float32", name="dense"
        )(given)
    return keras.Model(given, weights, name=path.replace("/", "_"))(inputs)


def softmax_gates(image: keras.KerasTensor) -> Callable[[Task, int], keras.KerasTensor]:
    """From a task and the number of its experts to their weights, by what a gate of its own sees of the image."""
    seen = thumbnail(image)
    return lambda task, count: softmax_gate(seen, count, f"{task.name}/gate")


# === DSelect-k: Hazimeh et al., "DSelect-k: Differentiable Selection in the Mixture of Experts", NeurIPS 2021 ===


def smooth_step(values, width: float = 1.0):
    """0 below -width / 2, 1 above width / 2, a cubic between that joins both smoothly."""
    cubic = 0.5 + values * (1.5 / width) - values**3 * (2.0 / width**3)
    return ops.where(values <= -width / 2, 0.0, ops.where(values >= width / 2, 1.0, cubic))


@keras.saving.register_keras_serializable("mtl_tf")
class Selection(keras.layers.Layer):
    """Weights of experts of which at most k are not zero, once the codes have settled, and what these cost.

    Each of k selectors has a binary code: expert e gets the product over the bits of S(z), where its number has a 1,
    or 1 - S(z), S the smooth step. A softmax of w weighs the selectors.

    The cost of an image is the sum over the selectors of the entropy of what they give, which drives them to a single
    expert; where the number of experts is no power of 2, a code may be of none: such a selector costs 1 / sum - 1 more,
    sum what it gives to experts. (The published 1 / sum has the same gradient.)

    Args:
        experts: how many.
        entropy_weight: factor of the entropy, in nats.
    """

    def __init__(self, experts, entropy_weight, **kwargs):
        super().__init__(**kwargs)
        self.experts, self.entropy_weight = experts, entropy_weight

    def call(self, codes, logits):
        """From z (B, k * bits) and w (B, k) to weights (B, experts) and the cost (B, 1, 1, 1)."""
        bits, selectors = bits_of(self.experts), logits.shape[-1]
        steps = smooth_step(ops.reshape(codes, (-1, selectors, 1, bits)))
        ones = (np.arange(self.experts)[:, None] >> np.arange(bits)) & 1
        given = ops.prod(ops.where(ones.astype(bool), steps, 1.0 - steps), axis=-1)  # (B, k, experts)
        weights = ops.sum(ops.softmax(logits)[..., None] * given, axis=1)
        cost = self.entropy_weight * -ops.sum(given * ops.log(given + 1e-6), axis=-1)
        if self.experts < 2**bits:
            # A code of no expert at all would cost infinitely much, and has no gradient.
            cost += 1.0 / ops.maximum(ops.sum(given, axis=-1), 1e-3) - 1.0
        return weights, ops.sum(cost, axis=-1)[:, None, None, None]

    def compute_output_shape(self, codes_shape, logits_shape):
        return (codes_shape[0], self.experts), (codes_shape[0], 1, 1, 1)

    def get_config(self):
        return {**super().get_config(), "experts": self.experts, "entropy_weight": self.entropy_weight}


def bits_of(experts: int) -> int:
    """How many bits the numbers of so many experts have."""
    return math.ceil(math.log2(experts))


def selecting_gate(
    inputs: keras.KerasTensor, experts: int, k: int, entropy_weight: float, path: str
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Weights of experts, float32 (B, experts), and what they cost, float32 (B, 1, 1, 1); see `Selection`.

    Args:
        inputs: (B, n).
        experts: how many, at least two.
        k: how many at most get a weight.
        entropy_weight: factor of the entropy.
        path: where its variables stand.
    """
    given = keras.Input((inputs.shape[-1],), dtype="float32")

    def dense(units, bound, name):
        first = keras.initializers.RandomUniform(-bound, bound)
        return keras.layers.Dense(units, kernel_initializer=first, dtype="float32", name=name)(given)

    with scope(path):
        codes, logits = dense(k * bits_of(experts), 0.01, "codes"), dense(k, 0.05, "selectors")
    found = Selection(experts, entropy_weight, dtype="float32", name="selection")(codes, logits)
    return keras.Model(given, found, name=path.replace("/", "_"))(inputs)
