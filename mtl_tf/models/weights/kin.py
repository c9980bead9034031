"""Tells which network tensors are of, by their shapes alone."""

import re

_BLOCK = re.compile(r"encoder/layer(\d)_(\d+)_conv(\d)/kernel")
_KERAS_BLOCK = re.compile(r"encoder/conv(\d)_block(\d+)_3_conv/.+")


# Of transformers: their sizes by the channels of a token, or of the first stage, and their blocks.
_PLAIN = {(192, 12): "tiny", (384, 12): "small", (768, 12): "base", (1024, 24): "large"}
_PLAIN |= {(1280, 32): "huge", (1408, 40): "giant", (1536, 40): "giant", (4096, 40): "7b"}
_SWINS = {(96, (2, 2, 6, 2)): "tiny", (96, (2, 2, 18, 2)): "small"}
_SWINS |= {(128, (2, 2, 18, 2)): "base", (192, (2, 2, 18, 2)): "large"}
_MITS = {(32, (2, 2, 2, 2)): 0, (64, (2, 2, 2, 2)): 1, (64, (3, 4, 6, 3)): 2, (64, (3, 4, 18, 3)): 3}
_MITS |= {(64, (3, 8, 27, 3)): 4, (64, (3, 6, 40, 3)): 5}


def kin_of(shapes: dict[str, tuple[int, ...]]) -> str | None:
    """The name of the encoder, e.g. "resnet101", "hrnet_w18", "dinov2_base"; None if it cannot be told.

    Args:
        shapes: of all tensors, by the path of our variables.
    """
    keras = {match.groups() for match in map(_KERAS_BLOCK.fullmatch, shapes) if match}
    if keras:
        # Three convolutions in a block, the first one and the classifier.
        version = "v2" if any("preact" in path for path in shapes) else "_keras"
        return f"resnet{3 * len(keras) + 2}{version}"
    fused = shapes.get("encoder/stage4_0_fuse0_1/kernel", ())
    if len(fused) == 4:
        small = {16: "hrnet_w18_small", 18: "hrnet_w18_small_v2"}
        deep = "encoder/stage4_0_branch0_3_conv1/kernel" in shapes
        return f"hrnet_w{fused[-1]}" if deep else small.get(fused[-1])
    transformer = _plain(shapes) or _swin(shapes) or _mit(shapes)
    if transformer:
        return transformer
    blocks = {match.groups() for match in map(_BLOCK.fullmatch, shapes) if match}
    widths = shapes.get("encoder/layer1_0_conv2/kernel", ())
    if len(blocks) < 4 or len(widths) != 4:
        return None
    layers, (_, _, inputs, outputs) = len(blocks) + 2, widths
    bottleneck = "encoder/layer1_0_conv3/kernel" in shapes
    if not bottleneck or inputs == outputs == 64:
        return f"resnet{layers}"
    if inputs == outputs:
        return f"wide_resnet{layers}_{outputs // 64}"
    return f"resnext{layers}_{outputs // inputs}x{inputs}d"


def _plain(shapes):
    """A vision transformer of one stage."""
    embedding = shapes.get("encoder/patch_embed_proj/kernel", ())
    depth = _count(shapes, r"encoder/blocks_(\d+)_norm1/gamma")
    size = _PLAIN.get((*embedding[3:], depth))
    if size is None:
        return None
    registers = "encoder/reg_token/reg_token" in shapes
    if registers and "encoder/pos_embed/pos_embed" not in shapes:
        return f"dinov3_{size}{'_plus' if 'encoder/blocks_0_mlp_fc1_g/kernel' in shapes else ''}"
    if embedding[0] == 14 and "encoder/blocks_0_ls1/gamma" in shapes:
        return f"dinov2_{size}{'_reg' if registers else ''}"
    return f"vit_{size}" if embedding[0] == 16 else f"vit_{size} with patches of {embedding[0]} pixels"


def _swin(shapes):
    width = shapes.get("encoder/patch_embed_proj/kernel", ())[3:]
    depths = tuple(_count(shapes, rf"encoder/layers_{stage}_blocks_(\d+)_norm1/gamma") for stage in range(4))
    size = _SWINS.get((*width, depths))
    return f"swin_{size}" if size else None


def _mit(shapes):
    width = shapes.get("encoder/patch_embeddings_0_proj/kernel", ())[3:]
    depths = tuple(_count(shapes, rf"encoder/block_{stage}_(\d+)_layer_norm_1/gamma") for stage in range(4))
    number = _MITS.get((*width, depths))
    return None if number is None else f"mit_b{number}"


def _count(shapes, pattern: str) -> int:
    return sum(re.fullmatch(pattern, path) is not None for path in shapes)
