"""What a network costs, counted from its graph: multiply-adds of every convolution and matrix product."""

import math

import keras
import tensorflow as tf


def multiply_adds(model: keras.Model, size: tuple[int, int]) -> int:
    """Multiply-adds of one forward pass over one image; biases, batch norm and resizing are not counted.

    Args:
        model: from an image (B, H, W, 3).
        size: (H, W) of the image in pixels.
    """

    @tf.function(autograph=False)
    def forward(image):
        return model(image, training=False)

    graph = forward.get_concrete_function(tf.TensorSpec((1, *size, 3), tf.float32)).graph
    return sum(_COUNTS[op.type](op) for op in graph.get_operations() if op.type in _COUNTS)


def _convolution(op):
    kernel = op.inputs[1].shape.as_list()  # (h, w, in, out)
    return math.prod(op.outputs[0].shape.as_list()) * math.prod(kernel[:3])


def _depthwise(op):
    kernel = op.inputs[1].shape.as_list()  # (h, w, in, multiplier)
    return math.prod(op.outputs[0].shape.as_list()) * math.prod(kernel[:2])


def _matrix_product(op):
    inner = op.inputs[0].shape.as_list()[-2 if op.get_attr("transpose_a") else -1]
    return math.prod(op.outputs[0].shape.as_list()) * inner


_COUNTS = {"Conv2D": _convolution, "DepthwiseConv2dNative": _depthwise, "MatMul": _matrix_product}
