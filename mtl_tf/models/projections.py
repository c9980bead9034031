"""Dense layers of transformers, and low-rank adapters of those of their attention."""

import math

import keras
import numpy as np
from keras import ops

from mtl_tf.models.layers import pytorch_uniform

ADAPTER = "_lora"  # how the name of an adapter ends, after that of the layer that it adapts
_SUM = "_adapted"


def dense(units: int, name: str, **options) -> keras.Layer:
    """A dense layer of every position, whose kernel starts small as in the published transformers."""
    first = keras.initializers.TruncatedNormal(stddev=0.02)
    return keras.layers.Dense(units, kernel_initializer=first, name=name, **options)


def project(x: keras.KerasTensor, units: int, name: str, rank: int = 0, **options) -> keras.KerasTensor:
    """A projection of an attention: a dense layer of (..., C), plus a low-rank adapter where `rank` is above 0.

    Args:
        x: (..., C).
        units: channels of the result.
        name: of the dense layer; the adapter is NAME_lora.
        rank: of the adapter; 0 = there is none.
        options: of the dense layer.
    """
    y = dense(units, name, **options)(x)
    if not rank:
        return y
    return keras.layers.Add(name=f"{name}{_SUM}")([y, Adapter(units, rank, name=f"{name}{ADAPTER}")(x)])


def merged_kernel(kernel: np.ndarray, down: np.ndarray, up: np.ndarray) -> np.ndarray:
    """The kernel (C, units) of a projection with its adapter, (C, rank) and (rank, units); worked out in float64."""
    product = np.asarray(down, np.float64) @ np.asarray(up, np.float64)
    return (np.asarray(kernel, np.float64) + product).astype(np.float32)


def is_sum(layer: keras.Operation) -> bool:
    """Whether a layer adds an adapter to the projection that it adapts."""
    return isinstance(layer, keras.layers.Add) and layer.name.endswith(_SUM)


@keras.saving.register_keras_serializable("mtl_tf")
class Adapter(keras.layers.Layer):
    """(x down) up, which starts at 0: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.

    Its alpha is the rank, so that nothing is scaled.

    Args:
        units: channels of the result.
        rank: channels in between.
    """

    def __init__(self, units, rank, **kwargs):
        super().__init__(**kwargs)
        self.units, self.rank = units, rank

    def build(self, input_shape):
        self.down = self.add_weight(name="down", shape=(input_shape[-1], self.rank), initializer=pytorch_uniform())
        self.up = self.add_weight(name="up", shape=(self.rank, self.units), initializer="zeros")

    def call(self, inputs):
        """From (..., C) to (..., units)."""
        return ops.matmul(ops.matmul(inputs, self.down), self.up)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def multiply_adds(self, input_shape):
        """Of both products."""
        return math.prod(input_shape[:-1]) * self.rank * (input_shape[-1] + self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "rank": self.rank}
