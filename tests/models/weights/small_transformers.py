"""Small encoders with layers called as the modules of published transformers; what PyTorch answers, in NumPy.

They have the kinds of tensors that the published ones have, and no attention: a parameter of its own moves all features
by one number that depends on each of its values and on their order.
"""

import keras
import numpy as np
from keras import ops

import mtl_tf
from mtl_tf.models.encoders.pyramid import encoder_model
from mtl_tf.models.layers import IMAGENET, Whiten, scope

WIDTH, GRID, WINDOW, HEADS, EPSILON = 8, 3, 2, 2, 1e-6


class Parameter(keras.layers.Layer):
    """Adds one number, made of all values of its variable, to everything."""

    def __init__(self, variable, shape, **kwargs):
        super().__init__(**kwargs)
        self._variable, self._shape = variable, shape

    def build(self, input_shape):
        self.value = self.add_weight(name=self._variable, shape=self._shape, initializer="random_normal")

    def call(self, inputs):
        return inputs + ops.sum(self.value * ramp(self._shape))


def ramp(shape) -> np.ndarray:
    """-1..1 over all values."""
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def _norm(name):
    return keras.layers.LayerNormalization(epsilon=EPSILON, name=name)


def plain(dilation=(), consistent=False, excite=False, registers=0, scale="ls1/gamma"):
    """As timm's vision transformers; with registers the class token has no position."""
    image = keras.Input((None, None, 3), name="image")
    with scope("encoder"):
        x = keras.layers.Conv2D(WIDTH, 4, 4, name="patch_embed_proj")(Whiten(**IMAGENET, name="whiten")(image))
        x = Parameter("cls_token", (1, 1, WIDTH), name="cls_token")(x)
        if registers:
            x = Parameter("reg_token", (1, registers, WIDTH), name="reg_token")(x)
        x = Parameter("pos_embed", (1, GRID**2 + (not registers), WIDTH), name="pos_embed")(x)
        for index in range(2):
            y = keras.layers.Dense(3 * WIDTH, name=f"blocks_{index}_attn_qkv")(_norm(f"blocks_{index}_norm1")(x))
            y = keras.layers.Dense(WIDTH, name=f"blocks_{index}_attn_proj")(y)
            layer, variable = scale.split("/")
            y = Parameter(variable, (WIDTH,), name=f"blocks_{index}_{layer}")(y)
            x = keras.layers.Add(name=f"blocks_{index}_add")([x, y])
        x = _norm("norm")(x)
        y = keras.layers.Conv2D(WIDTH, 2, 2, padding="same", name="pyramid_stride8_down")(x)
    return encoder_model(image, [(4, x), (8, y)])


def swin(dilation=(), consistent=False, excite=False):
    """As timm's Swin, with a norm for every feature."""
    image = keras.Input((None, None, 3), name="image")
    with scope("encoder"):
        x = keras.layers.Conv2D(WIDTH, 4, 4, name="patch_embed_proj")(Whiten(**IMAGENET, name="whiten")(image))
        x = _norm("patch_embed_norm")(x)
        table = "relative_position_bias_table"
        x = Parameter(table, ((2 * WINDOW - 1) ** 2, HEADS), name="layers_0_blocks_0_attn")(x)
        x = keras.layers.Dense(WIDTH, name="layers_0_blocks_0_mlp_fc1")(_norm("layers_0_blocks_0_norm1")(x))
        feature = _norm("norm0")(x)
        x = keras.layers.Dense(2 * WIDTH, use_bias=False, name="layers_1_downsample_reduction")(x)
        x = _norm("norm")(x)
    return encoder_model(image, [(4, feature), (8, x)])


def mit(dilation=(), consistent=False, excite=False):
    """As transformers' SegFormer."""
    image = keras.Input((None, None, 3), name="image")
    with scope("encoder"):
        x = Whiten(**IMAGENET, name="whiten")(image)
        x = keras.layers.Conv2D(WIDTH, 3, 2, name="patch_embeddings_0_proj")(x)
        x = _norm("block_0_0_layer_norm_1")(_norm("patch_embeddings_0_layer_norm")(x))
        x = keras.layers.Add(name="sum")(
            [
                keras.layers.Dense(WIDTH, name=f"block_0_0_attention_self_{part}")(x)
                for part in ("query", "key", "value")
            ]
        )
        x = keras.layers.Dense(WIDTH, name="block_0_0_attention_output_dense")(x)
        x = keras.layers.DepthwiseConv2D(3, name="block_0_0_mlp_dwconv_dwconv")(x)
        x = _norm("layer_norm_0")(x)
    return encoder_model(image, [(2, x)])


BUILDERS = {"small_plain": plain, "small_swin": swin, "small_mit": mit}
for _name, _build in BUILDERS.items():
    mtl_tf.register(mtl_tf.Encoder(_name, _build))


# === Their checkpoints ===

PLAIN = {
    "cls_token": (1, 1, WIDTH),
    "pos_embed": (1, GRID**2 + 1, WIDTH),
    "patch_embed.proj.weight": (WIDTH, 3, 4, 4),
    "patch_embed.proj.bias": (WIDTH,),
    "norm.weight": (WIDTH,),
    "norm.bias": (WIDTH,),
}
for _index in range(2):
    PLAIN |= {f"blocks.{_index}.norm1.{leaf}": (WIDTH,) for leaf in ("weight", "bias")}
    PLAIN |= {f"blocks.{_index}.attn.qkv.weight": (3 * WIDTH, WIDTH), f"blocks.{_index}.attn.qkv.bias": (3 * WIDTH,)}
    PLAIN |= {f"blocks.{_index}.attn.proj.weight": (WIDTH, 3 * WIDTH), f"blocks.{_index}.attn.proj.bias": (WIDTH,)}
    PLAIN |= {f"blocks.{_index}.ls1.gamma": (WIDTH,)}
SWIN = {
    "patch_embed.proj.weight": (WIDTH, 3, 4, 4),
    "patch_embed.proj.bias": (WIDTH,),
    "patch_embed.norm.weight": (WIDTH,),
    "patch_embed.norm.bias": (WIDTH,),
    "layers.0.blocks.0.norm1.weight": (WIDTH,),
    "layers.0.blocks.0.norm1.bias": (WIDTH,),
    "layers.0.blocks.0.attn.relative_position_bias_table": ((2 * WINDOW - 1) ** 2, HEADS),
    "layers.0.blocks.0.mlp.fc1.weight": (WIDTH, WIDTH),
    "layers.0.blocks.0.mlp.fc1.bias": (WIDTH,),
    "layers.1.downsample.reduction.weight": (2 * WIDTH, WIDTH),
    "norm.weight": (2 * WIDTH,),
    "norm.bias": (2 * WIDTH,),
}
MIT = {
    "patch_embeddings.0.proj.weight": (WIDTH, 3, 3, 3),
    "patch_embeddings.0.proj.bias": (WIDTH,),
    "block.0.0.mlp.dwconv.dwconv.weight": (WIDTH, 1, 3, 3),
    "block.0.0.mlp.dwconv.dwconv.bias": (WIDTH,),
}
for _name in ("patch_embeddings.0.layer_norm", "block.0.0.layer_norm_1", "layer_norm.0"):
    MIT |= {f"{_name}.{leaf}": (WIDTH,) for leaf in ("weight", "bias")}
for _name in ("self.query", "self.key", "self.value", "output.dense"):
    MIT |= {f"block.0.0.attention.{_name}.weight": (WIDTH, WIDTH), f"block.0.0.attention.{_name}.bias": (WIDTH,)}


# === What PyTorch answers, on images that are whitened already ===


def plain_features(tensors, images) -> np.ndarray:
    """The feature of stride 4."""
    x = _conv(images, tensors, "patch_embed.proj", 4)
    x = x + sum(_number(tensors[name]) for name in ("cls_token", "reg_token", "pos_embed") if name in tensors)
    for index in range(2):
        y = _dense(_normed(x, tensors, f"blocks.{index}.norm1"), tensors, f"blocks.{index}.attn.qkv")
        y = _dense(y, tensors, f"blocks.{index}.attn.proj")
        x = x + y + _number(tensors[f"blocks.{index}.ls1.gamma"])
    return _normed(x, tensors, "norm")


def swin_features(tensors, images) -> np.ndarray:
    """The feature of stride 8; that of 4 has a norm which checkpoints lack."""
    x = _normed(_conv(images, tensors, "patch_embed.proj", 4), tensors, "patch_embed.norm")
    x = x + _number(tensors["layers.0.blocks.0.attn.relative_position_bias_table"])
    x = _dense(_normed(x, tensors, "layers.0.blocks.0.norm1"), tensors, "layers.0.blocks.0.mlp.fc1")
    return _normed(_dense(x, tensors, "layers.1.downsample.reduction"), tensors, "norm")


def mit_features(tensors, images) -> np.ndarray:
    """The feature of stride 2."""
    x = _normed(_conv(images, tensors, "patch_embeddings.0.proj", 2), tensors, "patch_embeddings.0.layer_norm")
    x = _normed(x, tensors, "block.0.0.layer_norm_1")
    x = sum(_dense(x, tensors, f"block.0.0.attention.self.{part}") for part in ("query", "key", "value"))
    x = _dense(x, tensors, "block.0.0.attention.output.dense")
    return _normed(_conv(x, tensors, "block.0.0.mlp.dwconv.dwconv", 1), tensors, "layer_norm.0")


def _number(value):
    return np.sum(np.float64(value) * ramp(value.shape))


def _dense(x, tensors, name):
    return np.einsum("...i,oi->...o", x, np.float64(tensors[f"{name}.weight"])) + tensors.get(f"{name}.bias", 0)


def _normed(x, tensors, name):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + EPSILON)
    return x * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def _conv(x, tensors, name, stride):
    """Without padding; each channel by itself where the kernel has one input."""
    weight = np.float64(tensors[f"{name}.weight"])
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    sums = "bhwcij,ocij->bhwo" if weight.shape[1] > 1 else "bhwoij,ocij->bhwo"
    return np.einsum(sums, windows, weight) + tensors[f"{name}.bias"]
