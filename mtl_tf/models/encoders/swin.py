"""Swin Transformer: Liu et al., "Hierarchical Vision Transformer using Shifted Windows", ICCV 2021.

For images of any size it does what the published segmentation code does: maps are padded to whole windows, rolled, and
masked. Along an axis that a single window covers nothing is shifted, as in the published classifier: at 224x224 the
last feature is the classifier's. (The segmentation code would shift there too, and hide from each other what the window
holds.)

As in that code every stage's feature has a layer norm of its own. The last one is `norm` of the classifier's
checkpoints; `norm0` to `norm2` are in none of those, and start as plain normalisation. All others have the names of
timm's modules: "layers.1.downsample.reduction.weight" is encoder/layers_1_downsample_reduction/kernel.
"""

import math

import keras
import numpy as np
from keras import ops

from mtl_tf.models.encoders.hierarchical import EPSILON, EXPANSION, STRIDES, add_branch, attend, drop_rates, norm
from mtl_tf.models.encoders.pyramid import encoder_model, refuse_dilation
from mtl_tf.models.encoders.sampling import PadToGrid
from mtl_tf.models.layers import IMAGENET, Conv2D, Whiten, ceil_of, pytorch_uniform, scope
from mtl_tf.models.projections import dense, project

WINDOW = 7
HEAD = 32  # channels of each head of the attention
PATCH = 4
_APART = -100.0  # added to the score of two positions that are no neighbours in the image


def swin(
    name: str,
    width: int,
    depths: tuple[int, ...],
    dilation: tuple[int, ...],
    consistent: bool,
    excite: bool = False,
    drop_path: float = 0.0,
    lora_rank: int = 0,
) -> keras.Model:
    """A Swin Transformer with the features of its four stages, of width, 2 width, 4 width and 8 width channels.

    Args:
        name: of the encoder, for messages.
        width: channels of the first stage, a multiple of 32.
        depths: blocks in each stage; every second one has shifted windows.
        dilation: none.
        consistent: changes nothing.
        excite: not defined.
        drop_path: the rate of stochastic depth in the last block; it rises linearly from 0 in the first. The
            published networks for segmentation are trained with 0.2.
        lora_rank: of the adapters of the attention; 0 = there are none.

    Raises:
        UsageError: dilation or squeeze-and-excitation is asked for.
    """
    del consistent
    refuse_dilation(name, dilation, excite, "merges patches between its stages")
    image, features = keras.Input((None, None, 3), name="image"), []
    with scope("encoder"):
        x = Whiten(**IMAGENET, name="whiten")(image)
        x = PadToGrid(PATCH, PATCH, same=False, name="patch_embed_pad")(x)
        first = pytorch_uniform()
        x = Conv2D(width, PATCH, strides=PATCH, kernel_initializer=first, name="patch_embed_proj")(x)
        x = norm("patch_embed_norm")(x)
        blocks = [x]
        for stage, rates in enumerate(drop_rates(drop_path, depths)):
            if stage:
                x = _downsample(x, f"layers_{stage}_downsample")
            for number, rate in enumerate(rates):
                shift = WINDOW // 2 if number % 2 else 0
                x = _block(x, shift, rate, lora_rank, f"layers_{stage}_blocks_{number}")
                blocks.append(x)
            if stage < len(depths) - 1:
                x, feature = TapNorm(epsilon=EPSILON, name=f"norm{stage}")(x)
            else:
                feature = norm("norm")(x)
            features.append((STRIDES[stage], feature))
    return encoder_model(image, features, blocks)


def _downsample(x, name):
    """2x2 positions become one, of twice the channels."""
    width = x.shape[-1]
    x = norm(f"{name}_norm")(MergePatches(name=f"{name}_merge")(x))
    return dense(2 * width, f"{name}_reduction", use_bias=False)(x)


def _block(x, shift, rate, rank, name):
    """Attention within windows, and two dense layers, each beside a shortcut."""
    width = x.shape[-1]
    windows = Windows(WINDOW, shift, name=f"{name}_windows")(norm(f"{name}_norm1")(x))
    windows = project(windows, 3 * width, f"{name}_attn_qkv", rank)
    windows = WindowAttention(width // HEAD, WINDOW, shift, name=f"{name}_attn")(windows)
    windows = project(windows, width, f"{name}_attn_proj", rank)
    x = add_branch(x, FromWindows(WINDOW, shift, name=f"{name}_map")(windows, x), rate, f"{name}_attn")
    y = dense(EXPANSION * width, f"{name}_mlp_fc1", activation="gelu")(norm(f"{name}_norm2")(x))
    return add_branch(x, dense(width, f"{name}_mlp_fc2")(y), rate, f"{name}_mlp")


# === Layers ===


@keras.saving.register_keras_serializable("mtl_tf")
class TapNorm(keras.layers.LayerNormalization):
    """Layer norm that gives its input too: (x, normalised x).

    What goes on to the next stage passes through here, so that in the order of the graph a stage's feature comes before
    the next stage.
    """

    def call(self, inputs):
        return inputs, super().call(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape, input_shape


@keras.saving.register_keras_serializable("mtl_tf")
class MergePatches(keras.layers.Layer):
    """From (B, H, W, C) to the squares of 2x2 positions (B, ceil(H / 2), ceil(W / 2), 4 C), columns first.

    An odd side is padded with zeros.
    """

    def call(self, inputs):
        batch, height, width, channels = ops.shape(inputs)
        padded = ops.pad(inputs, [(0, 0), (0, height % 2), (0, width % 2), (0, 0)])
        rows, columns = ceil_of(height, 2), ceil_of(width, 2)
        squares = ops.reshape(padded, (batch, rows, 2, columns, 2, channels))
        return ops.reshape(ops.transpose(squares, (0, 1, 3, 4, 2, 5)), (batch, rows, columns, 4 * channels))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return batch, ceil_of(height, 2), ceil_of(width, 2), 4 * channels


class _Windowed(keras.layers.Layer):
    """What works on windows.

    Args:
        window: positions along each side.
        shift: how many positions the windows are moved down and to the right; along an axis of a single window none.
    """

    def __init__(self, window, shift, **kwargs):
        super().__init__(**kwargs)
        self.window, self.shift = window, shift

    def _rolled(self, maps, direction, rows, columns):
        """Maps of so many windows, moved by the shift."""
        if not self.shift:
            return maps
        moved = (direction * self.shift * _several(count) for count in (rows, columns))
        return ops.roll(maps, tuple(moved), axis=(1, 2))

    def get_config(self):
        return {**super().get_config(), "window": self.window, "shift": self.shift}


@keras.saving.register_keras_serializable("mtl_tf")
class Windows(_Windowed):
    """From (B, H, W, C) to windows (B, ceil(H / window), ceil(W / window), window^2, C), zeros beyond the border."""

    def call(self, inputs):
        batch, height, width, channels = ops.shape(inputs)
        side, rows, columns = self.window, ceil_of(height, self.window), ceil_of(width, self.window)
        x = ops.pad(inputs, [(0, 0), (0, rows * side - height), (0, columns * side - width), (0, 0)])
        x = self._rolled(x, -1, rows, columns)
        x = ops.transpose(ops.reshape(x, (batch, rows, side, columns, side, channels)), (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (batch, rows, columns, side**2, channels))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return batch, ceil_of(height, self.window), ceil_of(width, self.window), self.window**2, channels


@keras.saving.register_keras_serializable("mtl_tf")
class FromWindows(_Windowed):
    """What `Windows` does, undone: to (B, H, W, C) of the size of a reference."""

    def call(self, inputs, reference):
        batch, rows, columns, _, channels = ops.shape(inputs)
        height, width = ops.shape(reference)[1:3]
        side = self.window
        x = ops.transpose(ops.reshape(inputs, (batch, rows, columns, side, side, channels)), (0, 1, 3, 2, 4, 5))
        x = self._rolled(ops.reshape(x, (batch, rows * side, columns * side, channels)), 1, rows, columns)
        return x[:, :height, :width]

    def compute_output_shape(self, inputs_shape, reference_shape):
        return (*reference_shape[:3], inputs_shape[-1])


@keras.saving.register_keras_serializable("mtl_tf")
class WindowAttention(_Windowed):
    """Attention of the positions of a window to each other, with a learnt bias for every offset between two of them.

    In shifted windows the last row and column of windows hold parts from opposite borders of the image, which do not
    see each other.

    Args:
        heads: among which the channels are shared out.
        window, shift: see above.
    """

    def __init__(self, heads, window, shift, **kwargs):
        super().__init__(window, shift, **kwargs)
        self.heads = heads

    def build(self, input_shape):
        self.table = self.add_weight(
            name="relative_position_bias_table",
            shape=((2 * self.window - 1) ** 2, self.heads),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            autocast=False,
        )

    def call(self, inputs):
        """From queries, keys and values beside each other, (B, rows, columns, window^2, 3 C), to (..., C)."""
        shape = ops.shape(inputs)
        head = inputs.shape[-1] // (3 * self.heads)
        query, key, value = ops.unstack(ops.reshape(inputs, (*shape[:4], 3, self.heads, head)), axis=4)
        bias = self._bias()
        if self.shift:
            bias = bias + self._mask(*shape[1:3])[:, :, None]
        return ops.reshape(attend(query, key, value, bias), (*shape[:4], self.heads * head))

    def _bias(self):
        """(heads, window^2, window^2), of queries and keys.

        By slices: the gradient of a look-up would be sparse, and summed in any order.
        """
        side, last = self.window, self.window - 1
        table = ops.reshape(self.table, (2 * side - 1, 2 * side - 1, self.heads))[::-1, ::-1]
        # Row r sees key row k at offset r - k, which is row last - r + k of the table upside down.
        table = ops.stack([table[last - row : last - row + side] for row in range(side)])
        table = ops.stack([table[:, :, last - column : last - column + side] for column in range(side)], axis=1)
        return ops.transpose(ops.reshape(table, (side**2, side**2, self.heads)), (2, 0, 1))

    def _mask(self, rows, columns):
        """(rows, columns, window^2, window^2): what is added to the scores of a window."""
        beyond = np.arange(self.window) >= self.window - self.shift  # from the opposite border
        apart = []
        for each, count in zip(np.meshgrid(beyond, beyond, indexing="ij"), (rows, columns), strict=True):
            pairs = (each.reshape(-1, 1) != each.reshape(1, -1)).astype(np.float32)
            last = ops.logical_and(ops.arange(count) == count - 1, count > 1)
            apart.append(ops.cast(last, "float32")[:, None, None] * pairs)
        return _APART * ops.maximum(apart[0][:, None], apart[1][None])

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] // 3)

    def multiply_adds(self, input_shape):
        """Of the products between queries, keys and values."""
        return 2 * math.prod(input_shape[:4]) * self.window**2 * input_shape[-1] // 3

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}


def _several(count):
    """1 if there are several windows along an axis, else 0."""
    return int(count > 1) if isinstance(count, int) else ops.cast(count > 1, "int32")
