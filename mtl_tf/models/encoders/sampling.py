"""Padding and pooling that see, on a finer grid, what a strided layer of the original network saw on its own grid.

Where strides were traded for dilation d, the original's grid is every d-th pixel. Its ceil(N / d) pixels decide how
TensorFlow's "same" pads a strided layer there: one side less than the other where their number is even.
"""

import keras
from keras import ops


@keras.saving.register_keras_serializable("mtl_tf")
class PadToGrid(keras.layers.Layer):
    """Pads (B, H, W, C) with zeros so that a following "valid" layer starts its windows where the original's did.

    Args:
        kernel: size of the following layer's window.
        stride: of that layer in the original network.
        dilation: distance of the original's pixels here.
        same: whether the original pads as "same" does; else it does not pad, and only what a last, incomplete window
            lacks is added, which makes ceil(H / stride) features of H pixels instead of floor.
    """

    def __init__(self, kernel, stride, dilation=1, same=True, **kwargs):
        super().__init__(**kwargs)
        self.kernel, self.stride, self.dilation, self.same = kernel, stride, dilation, same

    def call(self, inputs):
        """Returns (B, H + (kernel - 1) * dilation, W + (kernel - 1) * dilation, C)."""
        sides = [self._sides(size) for size in ops.shape(inputs)[1:3]]
        return ops.pad(inputs, [(0, 0), *sides, (0, 0)])

    def _sides(self, size):
        """Pixels before and after."""
        everything = (self.kernel - 1) * self.dilation
        if not self.same:
            return 0, everything
        original = -(-size // self.dilation)
        lacking = (-(-original // self.stride) - 1) * self.stride + self.kernel - original
        if isinstance(size, int):
            before = max(lacking, 0) // 2 * self.dilation
        else:
            before = ops.maximum(lacking, 0) // 2 * self.dilation
        return before, everything - before

    def compute_output_shape(self, input_shape):
        more = (self.kernel - 1) * self.dilation
        return (input_shape[0], *(side and side + more for side in input_shape[1:3]), input_shape[3])

    def get_config(self):
        own = {"kernel": self.kernel, "stride": self.stride, "dilation": self.dilation, "same": self.same}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("mtl_tf")
class AtrousAveragePooling(keras.layers.Layer):
    """Means over windows of size x size pixels, `dilation` apart, that begin at every pixel and end at the border."""

    def __init__(self, size, dilation, **kwargs):
        super().__init__(**kwargs)
        self.size, self.dilation = size, dilation

    def call(self, inputs):
        """Returns (B, H, W, C)."""
        inside = ops.ones_like(inputs[:1, ..., :1])
        return self._sum(inputs) / self._sum(inside)

    def _sum(self, inputs):
        height, width = ops.shape(inputs)[1:3]
        reach = (self.size - 1) * self.dilation
        padded = ops.pad(inputs, [(0, 0), (0, reach), (0, reach), (0, 0)])
        steps = range(0, reach + 1, self.dilation)
        return sum(padded[:, i : i + height, j : j + width] for i in steps for j in steps)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "size": self.size, "dilation": self.dilation}
