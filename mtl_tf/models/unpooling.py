"""Pooling undone: every value goes back to where the largest of its window was."""

import itertools

import keras
from keras import ops


@keras.saving.register_keras_serializable("mtl_tf")
class Unpool(keras.layers.Layer):
    """Puts values where a pooling of 2x2 pixels found its maxima, zero elsewhere: Badrinarayanan et al., TPAMI 2017.

    Of several maxima the first one counts, by rows. The places are found by comparing a window with its maximum, which
    is exact and needs nothing but what every backend and compiler has.
    """

    def call(self, inputs, before):
        """From (B, ceil(H/2), ceil(W/2), C), and what was pooled (B, H, W, C), to (B, H, W, C)."""
        height, width = ops.shape(inputs)[1:3]
        whole = ops.pad(ops.stop_gradient(before), [(0, 0), (0, 1), (0, 1), (0, 0)], constant_values=-float("inf"))
        corners = [
            whole[:, row : row + 2 * height - 1 : 2, column : column + 2 * width - 1 : 2]
            for row, column in itertools.product((0, 1), repeat=2)
        ]
        largest = ops.maximum(ops.maximum(*corners[:2]), ops.maximum(*corners[2:]))
        free, placed = True, []
        for corner in corners:
            here = ops.logical_and(ops.equal(corner, largest), free)
            placed.append(ops.where(here, inputs, ops.zeros_like(inputs)))
            free = ops.logical_and(free, ops.logical_not(here))
        channels = inputs.shape[-1]
        rows = [ops.reshape(ops.stack(placed[at : at + 2], 3), (-1, height, 2 * width, channels)) for at in (0, 2)]
        found = ops.reshape(ops.stack(rows, 2), (-1, 2 * height, 2 * width, channels))
        return found[:, : ops.shape(before)[1], : ops.shape(before)[2]]

    def compute_output_shape(self, inputs_shape, before_shape):
        return (*before_shape[:3], inputs_shape[3])
