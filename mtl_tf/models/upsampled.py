"""A 3x3 convolution over a map that is upsampled, worked out on the small map.

Resizing and convolving are both linear, so that they may change places. With the interpolation along rows and columns
as matrices U (large, small), a shift S_i that takes row p to p + i (zeros outside), and a kernel K_ij of 1x1 for each
of the nine places:

    conv3x3(U_h x U_w') = sum_ij  (S_i U_h) (x K_ij) (S_j U_w)'

The products with channels, nearly all of the cost, are done once for each position of the small map instead of each of
the large one: from stride 16 to 4 a sixteenth.
"""

import keras
from keras import ops

from mtl_tf import kernels

_PLACES = 3  # of a kernel along an axis


@keras.saving.register_keras_serializable("mtl_tf")
class UpsampledConv2D(keras.layers.Layer):
    """The 3x3 convolution of a small map, resized bilinearly to a large one, and that one, concatenated in this order.

    Stride 1, padding with zeros. The kernel is one variable (3, 3, channels of both, filters), as that of `Conv2D`.

    Args:
        filters: channels that come out.
        use_bias: whether a bias is added.
        kernel_initializer: of the kernel.
    """

    def __init__(self, filters, use_bias=False, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.filters, self.use_bias = filters, use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shapes):
        small, large = (shape[-1] for shape in input_shapes)
        shape = (_PLACES, _PLACES, small + large, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=self.kernel_initializer)
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        self._convolve = kernels.convolution(large, self.filters, (1, 1), "same", (1, 1), 1, self.compute_dtype)

    def call(self, inputs):
        """From [(B, h, w, C), (B, H, W, D)] to (B, H, W, filters)."""
        small, large = inputs
        kernel, channels = ops.convert_to_tensor(self.kernel), small.shape[-1]
        outputs = self._convolve(large, kernel[:, :, channels:])
        if self.use_bias:
            outputs = ops.add(outputs, self.bias)  # here it is fused with the convolution, its gradient too
        return outputs + _over_upsampled(small, kernel[:, :, :channels], large)

    def compute_output_shape(self, input_shapes):
        return (*input_shapes[1][:-1], self.filters)

    def get_config(self):
        initializer = keras.initializers.serialize(self.kernel_initializer)
        own = {"filters": self.filters, "use_bias": self.use_bias, "kernel_initializer": initializer}
        return {**super().get_config(), **own}


def _over_upsampled(small, kernel, large):
    """What the convolution of the resized map gives, (B, H, W, filters)."""
    filters, (batch, height, width) = kernel.shape[-1], ops.shape(small)[:3]
    rows, columns = (_interpolation(ops.shape(small)[axis], ops.shape(large)[axis], small.dtype) for axis in (1, 2))
    # (B, h, w, 3 down, 3 across, filters): what each position of the small map gives to the nine places.
    given = ops.tensordot(small, kernel, [[3], [2]])
    # A row of the matrices below stands for a position and a place.
    given = ops.reshape(ops.transpose(given, (0, 1, 3, 2, 4, 5)), (batch, height * _PLACES, width * _PLACES, filters))
    wide = ops.matmul(columns, given)
    wide = ops.reshape(wide, (batch, height * _PLACES, ops.shape(large)[2] * filters))
    return ops.reshape(ops.matmul(rows, wide), (batch, *ops.shape(large)[1:3], filters))


def _interpolation(small: int, large: int, dtype: str):
    """S_i U for i = -1, 0, 1 as (large, small * 3), the places of one position side by side."""
    target = ops.arange(large, dtype="int32")[:, None, None] + ops.arange(_PLACES, dtype="int32") - 1
    scale = ops.cast(small, "float32") / ops.cast(large, "float32")
    source = (ops.cast(target, "float32") + 0.5) * scale - 0.5  # half-pixel centres
    source = ops.clip(source, 0.0, ops.cast(small, "float32") - 1.0)
    position = ops.cast(ops.arange(small, dtype="int32"), "float32")[:, None]
    weight = ops.maximum(1.0 - ops.abs(source - position), 0.0)
    weight = ops.where((target >= 0) & (target < large), weight, 0.0)
    return ops.cast(ops.reshape(weight, (large, small * _PLACES)), dtype)
