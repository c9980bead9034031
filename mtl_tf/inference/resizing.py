"""Resizing of pictures by operations that every runtime has: two products of matrices.

TensorFlow's resize with anti-aliasing is one kernel, ScaleAndTranslate, which LiteRT, ONNX, TensorRT and TensorFlow.js
lack. Where the sizes are known when a graph is made, converters fold the matrices into constants.
"""

import tensorflow as tf


def resize_antialiased(images, size):
    """Bilinear resize with anti-aliasing, half-pixel centres, as `tf.image.resize(images, size, antialias=True)`.

    A triangle filter as wide as two pixels of the larger of both grids, normalised at the edges (`ScaleAndTranslate`
    in TensorFlow with kernel_type "triangle").

    Args:
        images: (B, H, W, C), of any type.
        size: height and width of the result: numbers, or an int32 (2,) tensor.

    Returns:
        float32 (B, height, width, C); the images themselves where the sizes are equal and known.
    """
    images = tf.cast(images, tf.float32)
    height, width, channels = (_known(images, axis) for axis in (1, 2, 3))
    rows, columns = size[0], size[1]
    if _same(height, rows) and _same(width, columns):
        return images
    # Rows first, of lines as long as a whole row of the picture: one large product an image.
    lines = tf.reshape(images, (-1, height, width * channels))
    lines = tf.matmul(_weights(height, rows)[None], lines)
    return tf.matmul(_weights(width, columns)[None, None], tf.reshape(lines, (-1, rows, width, channels)))


def _known(images, axis):
    """The size of an axis: a number where it is known, else a scalar tensor."""
    return images.shape[axis] or tf.shape(images)[axis]


def _same(one, other):
    return isinstance(one, int) and isinstance(other, int) and one == other


def _weights(old, new):
    """How much each of `old` pixels counts for each of `new` ones: float32 (new, old), rows add up to 1."""
    step = tf.cast(old, tf.float32) / tf.cast(new, tf.float32)
    centres = (tf.range(tf.cast(new, tf.float32), dtype=tf.float32) + 0.5) * step
    places = tf.range(tf.cast(old, tf.float32), dtype=tf.float32) + 0.5
    reach = tf.maximum(step, 1.0)
    weights = tf.maximum(1.0 - tf.abs(places[None] - centres[:, None]) / reach, 0.0)
    return weights / tf.reduce_sum(weights, axis=1, keepdims=True)
