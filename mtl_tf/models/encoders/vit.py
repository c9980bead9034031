"""Plain vision transformers in timm's topology, without what classifies images: supervised, DINOv2 and DINOv3.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, with the weights of Steiner et al., "How to train your
ViT?", TMLR 2022; Oquab et al., "DINOv2", TMLR 2024; Darcet et al., "Vision Transformers Need Registers", ICLR 2024;
Simeoni et al., "DINOv3", 2025.

Layers are called as timm's modules with "_" for ".", so that weights can be mapped by name.
"""

import dataclasses

import keras

from mtl_tf.models.encoders.hierarchical import drop_rates
from mtl_tf.models.encoders.pyramid import encoder_model, refuse_dilation
from mtl_tf.models.encoders.token_layers import (
    Flatten,
    PadToPatch,
    Positions,
    Prepended,
    RotaryAttention,
    SelfAttention,
)
from mtl_tf.models.encoders.tokens import STRIDES, build_pyramid
from mtl_tf.models.layers import IMAGENET, Conv2D, DropPath, LayerScale, Whiten, scope
from mtl_tf.models.projections import dense, project

_EXPANSION = 4  # of the inner layer of a block
_FIRST_SCALE = 1e-5  # of a branch
_UNIT = dict(mean=(127.5,) * 3, std=(127.5,) * 3)  # -1..1


@dataclasses.dataclass(frozen=True)
class Design:
    """What tells one transformer from another.

    Attributes:
        width: channels of a token.
        depth: blocks, a multiple of four.
        heads: of an attention.
        patch: its side, in pixels.
        side: of the grid that positions were learnt on, in patches; 0 = none are, and attention is rotary.
        registers: tokens that belong to no patch, beside the class token.
        scale: LAYER/VARIABLE that scales a branch of a block, by the number of the branch; "" = there is none.
        bias: whether queries, keys and values have one.
        gated: whether the inner layer of a block is a SwiGLU (Shazeer, "GLU Variants Improve Transformer", 2020).
        epsilon: of layer norms.
        whitening: options of `Whiten`: what the network sees of an image.
    """

    width: int
    depth: int
    heads: int
    patch: int = 16
    side: int = 0
    registers: int = 0
    scale: str = ""
    bias: bool = True
    gated: bool = False
    epsilon: float = 1e-6
    whitening: dict = dataclasses.field(default_factory=lambda: IMAGENET)

    @property
    def others(self) -> int:
        """How many tokens belong to no patch."""
        return 1 + self.registers


_SIZES = {"small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}
_DINOV2 = dict(patch=14, side=37, scale="ls{}/gamma")
KINDS = {
    "vit": dict(side=14, whitening=_UNIT),
    "dinov2": _DINOV2,
    "dinov2_reg": dict(**_DINOV2, registers=4),
    "dinov3": dict(scale="gamma_{0}/gamma_{0}", registers=4, bias=False, epsilon=1e-5),
}
DESIGNS = {
    **{f"dinov2_{size}": Design(*_SIZES[size], **KINDS["dinov2"]) for size in _SIZES},
    **{f"dinov2_{size}_reg": Design(*_SIZES[size], **KINDS["dinov2_reg"]) for size in _SIZES},
    **{f"dinov3_{size}": Design(*_SIZES[size], **KINDS["dinov3"]) for size in _SIZES},
    "dinov3_small_plus": Design(*_SIZES["small"], **KINDS["dinov3"], gated=True),
    **{f"vit_{size}": Design(*_SIZES[size], **KINDS["vit"]) for size in ("base", "large")},
}


def vit(
    name: str,
    dilation: tuple[int, ...],
    consistent: bool,
    excite: bool = False,
    pyramid: str = "simple",
    drop_path: float = 0.0,
    lora_rank: int = 0,
    design: Design | None = None,
) -> keras.Model:
    """A vision transformer with a feature pyramid.

    Images of any size are padded by zeros, at the lower and right border, to whole patches, as timm does: an image
    smaller than a patch is one. Taps after a quarter, a half, three quarters and all of the blocks, each behind the
    final norm, become the features of stride 4, 8, 16 and 32 (`tokens.pyramid`).

    Args:
        name: of the encoder.
        dilation: none; there are no strides between its blocks.
        consistent: changes nothing.
        excite: not defined.
        pyramid: "simple" or "dpt".
        drop_path: share of the images in a batch for which a branch of the last block is left out while training; it
            rises from 0 over the blocks.
        lora_rank: of the adapters of the attention; 0 = there are none.
        design: None = that of the name.

    Raises:
        UsageError: dilation or squeeze-and-excitation is asked for.
    """
    del consistent
    refuse_dilation(name, dilation, excite, "has one stride in all its blocks")
    design = design or DESIGNS[name]
    image = keras.Input((None, None, 3), name="image")
    with scope("encoder"):
        x = Whiten(**design.whitening, name="whiten")(image)
        x = _embedded(x, image, design)
        norm = keras.layers.LayerNormalization(epsilon=design.epsilon, name="norm")
        taps, blocks = [], [x]
        for index, rate in enumerate(*drop_rates(drop_path, (design.depth,))):
            x = _block(x, image, design, f"blocks_{index}", rate, lora_rank)
            blocks.append(x)
            if (index + 1) % (design.depth // len(STRIDES)) == 0:
                taps.append(norm(x))
        features = build_pyramid(pyramid, taps, image, design.patch, design.others)
    return encoder_model(image, features, blocks)


def _embedded(x, image, design):
    """Tokens (B, N, C) with their positions: the class token, registers, then the patches."""
    first = keras.initializers.TruncatedNormal(stddev=0.02)
    x = PadToPatch(design.patch, name="patch_embed_pad")(x)
    x = Conv2D(design.width, design.patch, design.patch, kernel_initializer=first, name="patch_embed_proj")(x)
    x = Flatten(name="patch_embed_flatten")(x)
    if not design.registers:
        x = Prepended(name="cls_token")(x)
        return Positions(design.side, design.patch, 1, name="pos_embed")(x, image) if design.side else x
    # With registers the other tokens have no positions.
    if design.side:
        x = Positions(design.side, design.patch, name="pos_embed")(x, image)
    return Prepended(name="cls_token")(Prepended(design.registers, name="reg_token")(x))


def _block(x, image, design, name, rate, rank):
    """Attention and two dense layers, each on normalised tokens, with a shortcut."""
    y = _norm(x, design, f"{name}_norm1")
    y = project(y, 3 * design.width, f"{name}_attn_qkv", rank, use_bias=design.bias)
    if design.side:
        y = SelfAttention(design.heads, name=f"{name}_attn")(y)
    else:
        y = RotaryAttention(design.heads, design.patch, design.others, name=f"{name}_attn")(y, image)
    x = _joined(x, project(y, design.width, f"{name}_attn_proj", rank), design, name, 1, rate)
    y, inner = _norm(x, design, f"{name}_norm2"), _EXPANSION * design.width
    if design.gated:
        gate = dense(inner, f"{name}_mlp_fc1_g", activation="silu")(y)
        y = keras.layers.Multiply(name=f"{name}_mlp_gated")([gate, dense(inner, f"{name}_mlp_fc1_x")(y)])
    else:
        y = dense(inner, f"{name}_mlp_fc1", activation="gelu")(y)
    return _joined(x, dense(design.width, f"{name}_mlp_fc2")(y), design, name, 2, rate)


def _joined(x, y, design, name, number, rate):
    """A branch, scaled and at times left out, and its shortcut."""
    if design.scale:
        layer, parameter = design.scale.format(number).split("/")
        y = LayerScale(_FIRST_SCALE, parameter, name=f"{name}_{layer}")(y)
    if rate:
        y = DropPath(rate, name=f"{name}_drop_path{number}")(y)
    return keras.layers.Add(name=f"{name}_add{number}")([x, y])


def _norm(x, design, name):
    return keras.layers.LayerNormalization(epsilon=design.epsilon, name=name)(x)
