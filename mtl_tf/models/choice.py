"""A branching point: a layer that learns which of several features to take, and a network without what none takes."""

import math

import keras
import numpy as np
from keras import ops

from mtl_tf import kernels


@keras.saving.register_keras_serializable("mtl_tf")
class Choice(keras.layers.Layer):
    """One of several features: Guo et al., "Learning to Branch for Multi-Task Learning", ICML 2020.

    In training it is drawn by alpha plus Gumbel noise, and the gradient is that of the softmax at a temperature
    (straight-through Gumbel softmax: Jang et al., ICLR 2017); otherwise it is that of the largest alpha, the first of
    equals. Before, in the first hundredth of the epochs, all features are taken at once.

    Args:
        warm_up: whether all at once are their "mean" or "sum".

    Attributes:
        temperature: of the epoch; 0 = all are taken.
    """

    def __init__(self, warm_up="mean", **kwargs):
        super().__init__(**kwargs)
        self.warm_up = warm_up

    def build(self, input_shape):
        self.alpha = self.add_weight(name="alpha", shape=(len(input_shape),), initializer="ones", autocast=False)
        # A weight, so that whoever answers with the weights of an epoch takes what was taken then.
        self.temperature = self.add_weight(
            name="temperature",
            shape=(),
            initializer="ones",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )
        self.draws = kernels.new_draws()

    def begin_epoch(self, epoch, epochs):
        """Sets the temperature, (epochs / 20) / sqrt(epoch + 1)."""
        warm = 100 * epoch < epochs
        self.temperature.assign(0.0 if warm else epochs / 20 / math.sqrt(epoch + 1))

    def call(self, inputs, training=False):
        """Of a list of (B, h, w, C), one such."""
        shares = ops.cast(self._shares(training), self.compute_dtype)
        return sum(shares[number] * feature for number, feature in enumerate(inputs))

    def _shares(self, training):
        count, temperature = self.alpha.shape[0], ops.convert_to_tensor(self.temperature)
        warm = ops.equal(temperature, 0.0)
        logits = ops.convert_to_tensor(self.alpha)
        if training:
            uniform = ops.clip(kernels.draw(self.draws, (count,)), 1e-7, 1.0 - 1e-7)
            soft = ops.softmax((logits - ops.log(-ops.log(uniform))) / ops.where(warm, 1.0, temperature))
            drawn = ops.one_hot(ops.argmax(soft), count, dtype="float32")
            one = drawn + (soft - ops.stop_gradient(soft))
        else:
            one = ops.one_hot(ops.argmax(logits), count, dtype="float32")
        return ops.where(warm, 1.0 if self.warm_up == "sum" else 1.0 / count, one)

    def chosen(self) -> int | None:
        """The number of the feature that is taken, if not in training; None = all are."""
        if float(ops.convert_to_numpy(self.temperature)) == 0.0:
            return None
        return int(np.argmax(ops.convert_to_numpy(self.alpha)))

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return {**super().get_config(), "warm_up": self.warm_up}


def pruned(model: keras.Model) -> keras.Model:
    """The same network for inference without choices, and without what is not chosen.

    Args:
        model: functional; its layers are shared, and choices are those of now.
    """

    def call(layer, *args, **kwargs):
        chosen = layer.chosen() if isinstance(layer, Choice) else None
        return layer(*args, **kwargs) if chosen is None else args[0][chosen]

    if not any(isinstance(layer, Choice) for layer in model.layers):
        return model
    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
