"""Mix Transformer, the encoder of SegFormer: Xie et al., NeurIPS 2021.

Its layers have the names of the published checkpoints' modules without the prefix "segformer.encoder.":
"segformer.encoder.block.0.1.attention.self.query.weight" is encoder/block_0_1_attention_self_query/kernel. Layer norms
have the epsilon of transformers (the authors' own code has 1e-6 in blocks).

Sizes need not be divisible: convolutions overlap and pad as published. What is left of a map whose size is no multiple
of the reduction is not seen by keys and values, as published; a map smaller than that is padded with zeros.
"""

import math

import keras
from keras import ops

from mtl_tf.models.encoders.hierarchical import EXPANSION, STRIDES, add_branch, attend, drop_rates, norm
from mtl_tf.models.encoders.pyramid import encoder_model, refuse_dilation
from mtl_tf.models.layers import IMAGENET, Conv2D, Whiten, scope
from mtl_tf.models.projections import dense, project

HEADS = (1, 2, 5, 8)  # of the four stages, as all that follow
REDUCTIONS = (8, 4, 2, 1)  # positions along each side that become one key and value
KERNELS = (7, 3, 3, 3)  # of the convolutions that embed patches


def mit(
    name: str,
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    dilation: tuple[int, ...],
    consistent: bool,
    excite: bool = False,
    drop_path: float = 0.0,
    lora_rank: int = 0,
) -> keras.Model:
    """A Mix Transformer with the features of its four stages.

    Args:
        name: of the encoder, for messages.
        widths: channels of each stage.
        depths: blocks in each stage.
        dilation: none.
        consistent: changes nothing.
        excite: not defined.
        drop_path: the rate of stochastic depth in the last block; it rises linearly from 0 in the first. The
            published networks are trained with 0.1.
        lora_rank: of the adapters of the attention; 0 = there are none.

    Raises:
        UsageError: dilation or squeeze-and-excitation is asked for.
    """
    del consistent
    refuse_dilation(name, dilation, excite, "merges patches between its stages")
    image, features = keras.Input((None, None, 3), name="image"), []
    blocks = []
    with scope("encoder"):
        x = Whiten(**IMAGENET, name="whiten")(image)
        for stage, rates in enumerate(drop_rates(drop_path, depths)):
            x = _embed(x, widths[stage], KERNELS[stage], 2 if stage else 4, f"patch_embeddings_{stage}")
            blocks = blocks or [x]
            for number, rate in enumerate(rates):
                x = _block(x, HEADS[stage], REDUCTIONS[stage], rate, lora_rank, f"block_{stage}_{number}")
                blocks.append(x)
            x = norm(f"layer_norm_{stage}")(x)
            features.append((STRIDES[stage], x))
    return encoder_model(image, features, blocks)


def _embed(x, width, kernel, stride, name):
    """Overlapping patches: (B, H, W, C) -> (B, ceil(H / stride), ceil(W / stride), width)."""
    x = keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    return norm(f"{name}_layer_norm")(_conv(width, kernel, stride, f"{name}_proj")(x))


def _block(x, heads, reduction, rate, rank, name):
    """Attention to a reduced map, and two dense layers with a convolution between them, each beside a shortcut."""
    width, attention = x.shape[-1], f"{name}_attention_self"
    y = seen = norm(f"{name}_layer_norm_1")(x)
    if reduction > 1:
        seen = PadToLeast(reduction, name=f"{attention}_pad")(seen)
        seen = _conv(width, reduction, reduction, f"{attention}_sr")(seen)
        seen = norm(f"{attention}_layer_norm")(seen)
    query = project(y, width, f"{attention}_query", rank)
    key, value = (project(seen, width, f"{attention}_{what}", rank) for what in ("key", "value"))
    y = MapAttention(heads, name=attention)(query, key, value)
    y = project(y, width, f"{name}_attention_output_dense", rank)
    x = add_branch(x, y, rate, f"{name}_attention")
    y = dense(EXPANSION * width, f"{name}_mlp_dense1")(norm(f"{name}_layer_norm_2")(x))
    y = keras.layers.DepthwiseConv2D(
        3, padding="same", activation="gelu", depthwise_initializer=_he_normal(), name=f"{name}_mlp_dwconv_dwconv"
    )(y)
    return add_branch(x, dense(width, f"{name}_mlp_dense2")(y), rate, f"{name}_mlp")


def _conv(filters, kernel, stride, name):
    return Conv2D(filters, kernel, strides=stride, kernel_initializer=_he_normal(), name=name)


def _he_normal():
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


# === Layers ===


@keras.saving.register_keras_serializable("mtl_tf")
class PadToLeast(keras.layers.Layer):
    """Pads (B, H, W, C) with zeros, below and to the right, where it has fewer than `size` rows or columns."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, inputs):
        sides = [(0, self._lacking(side)) for side in ops.shape(inputs)[1:3]]
        return ops.pad(inputs, [(0, 0), *sides, (0, 0)])

    def _lacking(self, side):
        return max(self.size - side, 0) if isinstance(side, int) else ops.maximum(self.size - side, 0)

    def compute_output_shape(self, input_shape):
        sides = (side and max(side, self.size) for side in input_shape[1:3])
        return (input_shape[0], *sides, input_shape[3])

    def get_config(self):
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable("mtl_tf")
class MapAttention(keras.layers.Layer):
    """Attention of every position of a map to every one of another.

    Args:
        heads: among which the channels are shared out.
    """

    def __init__(self, heads, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def call(self, query, key, value):
        """From queries (B, H, W, C) and keys and values (B, h, w, C) to (B, H, W, C)."""
        shape, head = ops.shape(query), query.shape[-1] // self.heads
        flat = (ops.reshape(each, (shape[0], -1, self.heads, head)) for each in (query, key, value))
        return ops.reshape(attend(*flat), shape)

    def compute_output_shape(self, query_shape, key_shape, value_shape):
        return query_shape

    def multiply_adds(self, query_shape, key_shape, value_shape):
        """Of the products between queries, keys and values."""
        return 2 * math.prod(query_shape) * math.prod(key_shape[1:3])

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}
