"""What a network costs, counted layer by layer: multiply-adds of every convolution and matrix product."""

import math

import keras

from mtl_tf.models.recompute import Recomputed
from mtl_tf.models.upsampled import UpsampledConv2D

_COUNTED = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense, UpsampledConv2D)


def parameters(layer: keras.Layer) -> int:
    """How many numbers a layer, or a network, learns."""
    return sum(math.prod(variable.shape) for variable in layer.trainable_variables)


def multiply_adds(model: keras.Model, size: tuple[int, int]) -> int:
    """Multiply-adds of one forward pass over one image; biases, batch norm and resizing are not counted.

    Those that define the network: `UpsampledConv2D` does fewer. A layer that multiplies activations with each other
    says its own: `multiply_adds(*input_shapes)`.

    Args:
        model: functional, from an image (B, H, W, 3).
        size: (H, W) of the image in pixels.
    """
    return _count(model, [keras.Input((*size, 3), batch_size=1)])


def _count(model, inputs):
    """Multiply-adds of all layers of a functional model, for inputs of known size."""
    total = 0

    def call(layer, *args, **kwargs):
        nonlocal total
        outputs = layer(*args, **kwargs)
        inner = layer.segment if isinstance(layer, Recomputed) else layer
        if isinstance(inner, keras.Model):
            given = [keras.Input(batch_shape=x.shape, dtype=x.dtype) for x in keras.tree.flatten(args)]
            total += _count(inner, given)
        elif isinstance(layer, _COUNTED):
            # A kernel (h, w, in, out), or (in, out), is applied once for each position of what comes out.
            total += math.prod(outputs.shape[:-1]) * math.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Conv2DTranspose):  # once for each position of what goes in
            total += math.prod(args[0].shape[:-1]) * math.prod(layer.kernel.shape)
        elif hasattr(layer, "multiply_adds"):
            total += layer.multiply_adds(*(x.shape for x in keras.tree.flatten(args)))
        return outputs

    given = keras.tree.pack_sequence_as(model.input, inputs)
    keras.models.clone_model(model, given, clone_function=lambda layer: layer, call_function=call)
    return total
