"""Layouts of transformers: our layers are called as the modules of the published checkpoints, with "_" for ".".

"blocks.0.attn.qkv.weight" is encoder/blocks_0_attn_qkv/kernel. A parameter that belongs to no layer of its own there is
here that of the layer of its module (encoder/layers_0_blocks_0_attn/relative_position_bias_table), or the only one of a
layer of its own (encoder/cls_token/cls_token). Shapes turn too: PyTorch keeps dense layers as (out, in), convolutions
as (out, in, height, width).
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable

import numpy as np

from mtl_tf.models.layers import IMAGENET
from mtl_tf.models.weights.sets import WeightSet, choose
from mtl_tf.models.weights.tensors import Tensor, UnreadableError
from mtl_tf.models.weights.translation import Translation

Shapes = dict[str, tuple[int, ...]]
Named = Iterable[tuple[str, Tensor]]
# What a module keeps that is not learnt: batches seen, indices and masks of windows, periods of rotary positions.
_CONSTANTS = re.compile(
    r"(.*\.)?(num_batches_tracked|n_averaged|relative_position_index|attn_mask|periods|freqs|bias_mask)"
)
# DINOv2 is published in pieces of several blocks too, of which each counts on.
_PIECES = re.compile(r"(?:(?<=\.)|^)blocks\.\d+\.(\d+)\.")


@dataclasses.dataclass(frozen=True)
class _Family:
    """Networks whose checkpoints have one layout.

    Attributes:
        layout: whose names they are.
        first: a name that every checkpoint has, and none of the families behind it.
        parts: how names of the encoder begin.
        aside: how names begin of what stands beside it there: classifiers, decoders, what only pretraining uses.
        adapted: gives tensors of its files, by their names without prefix, the names and shapes of the layout.
    """

    layout: str
    first: str
    parts: tuple[str, ...]
    aside: tuple[str, ...]
    adapted: Callable[[dict[str, Tensor], Shapes], Named]

    def holds(self, name: str, alone: bool) -> bool:
        """Whether a name is of the encoder, or, where no decoder stands beside that, of what stands there."""
        return _begin(name) in self.parts or (alone and _begin(name) in self.aside)


def from_transformer(tensors: dict[str, Tensor], ours: Shapes, key: str) -> Translation | None:
    """A file of a transformer in our names; None where it is of none.

    Args:
        tensors: by the names in the file.
        ours: shape of every variable of the network, by its path.
        key: the name of a set of weights in the file; "" = the usual one.

    Raises:
        UnreadableError: there is no such set, or the file was made for another grid or window.
    """
    whole = _once((_PIECES.sub(r"blocks.\1.", name), tensor) for name, tensor in tensors.items())
    for family in _FAMILIES:
        chosen = choose(whole, family.first, family.holds, key)
        if chosen is not None:
            found = _translated(chosen, family, ours)
            _refuse_another_grid(found, ours)
            return found
    return None


def rewhiten(found: Translation, mean: tuple[float, ...], std: tuple[float, ...]):
    """Turns a patch embedding for images that were whitened by other numbers into one for ImageNet's.

    From x = (image - m) / s to x' = (image - m') / s' it is exact: kernel' = kernel s' / s, of each input channel, and
    bias' = bias + sum of kernel (m' - m) / s. Zeros that fill up the last patches mean another colour then.

    Args:
        found: a file in our names.
        mean, std: of R, G, B, 0..255, that the file's network whitens by.
    """
    kernel, bias = (found.tensors.get(f"encoder/patch_embed_proj/{leaf}") for leaf in ("kernel", "bias"))
    if kernel is None or bias is None or kernel.shape[2:] != (3, *bias.shape):
        return  # refused as of another network
    scale = np.divide(IMAGENET["std"], std)[:, None]
    offset = (np.subtract(IMAGENET["mean"], mean) / std)[:, None]
    found.tensors["encoder/patch_embed_proj/kernel"] = Tensor(kernel.shape, lambda: _wide(kernel) * scale)
    found.tensors["encoder/patch_embed_proj/bias"] = Tensor(
        bias.shape, lambda: _wide(bias) + (_wide(kernel) * offset).sum((0, 1, 2))
    )
    found.notes.append("its patch embedding is turned to images whitened as ImageNet's")


def _begin(name: str) -> str:
    return name.partition(".")[0]


def _wide(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.read(), np.float64)


def _translated(chosen: WeightSet, family: _Family, ours: Shapes) -> Translation:
    found, inside = Translation(family.layout, {}, said=chosen.said), {}
    beside = list(chosen.beside)
    for name, tensor in chosen.tensors.items():
        inner = name.removeprefix(chosen.encoder)
        if not name.startswith(chosen.encoder) or _begin(inner) in family.aside:
            beside.append(inner)
        elif not _CONSTANTS.fullmatch(inner):
            inside[inner] = tensor
    for name in beside:
        if not _CONSTANTS.fullmatch(name):
            found.leave(_begin(name) if _begin(name) in family.aside else ".".join(name.split(".")[:2]))
    inside = _once(family.adapted(inside, ours))
    for name, tensor in inside.items():
        path = _path(name, inside, ours)
        if _begin(name) == "norm" and path not in ours:  # only classifiers have it in some networks
            found.leave("norm")
        else:
            found.put(path, _turned(path, tensor, ours))
    return found


def _once(named: Named) -> dict[str, Tensor]:
    """Tensors by names that are all different."""
    found: dict[str, Tensor] = {}
    for name, tensor in named:
        if found.setdefault(name, tensor) is not tensor:
            raise UnreadableError(f"holds {name} twice, by names of two layouts; keep one of the two")
    return found


def _path(name: str, inside: dict[str, Tensor], ours: Shapes) -> str:
    """Ours, of a name in the encoder."""
    module, _, leaf = name.rpartition(".")
    layer, own = (f"encoder/{text.replace('.', '_')}" for text in (module, name))
    weight = inside.get(f"{module}.weight")
    if leaf in ("weight", "bias") and weight is not None:
        of_norm, of_layer = {"weight": ("gamma", "kernel"), "bias": ("beta", "bias")}[leaf]
        return f"{layer}/{of_norm if len(weight.shape) == 1 else of_layer}"
    return f"{own}/{leaf}" if not module or f"{own}/{leaf}" in ours else f"{layer}/{leaf}"


def _turned(path: str, tensor: Tensor, ours: Shapes) -> Tensor:
    """The tensor with its axes as ours has them."""
    if not path.endswith("/kernel"):
        return tensor
    if len(tensor.shape) == 2:
        return tensor.permuted((1, 0))
    if len(tensor.shape) != 4:
        return tensor
    # Keras keeps a convolution of each channel by itself as (height, width, channels, 1).
    each = tensor.permuted((2, 3, 0, 1))
    return each if tensor.shape[1] == 1 and ours.get(path) == each.shape else tensor.permuted((2, 3, 1, 0))


# What is learnt for each cell of a square: end of the path, axis of the cells, from their root to a side, in words.
_SQUARES = (
    ("encoder/pos_embed/pos_embed", 1, lambda root: root, "positions of {}x{} patches"),  # the class token's may be one
    ("/relative_position_bias_table", 0, lambda root: (root + 1) // 2, "position tables of windows of {}x{}"),
)


def _refuse_another_grid(found: Translation, ours: Shapes):
    """Raises where nothing differs but what depends on the size of images or windows in training."""
    held = {path: tensor.shape for path, tensor in found.tensors.items()}
    differing = [path for path, shape in held.items() if ours.get(path) != shape]
    for end, axis, side, what in _SQUARES:
        if differing and all(path.endswith(end) and _alike(held[path], ours.get(path), axis) for path in differing):
            there, here = (side(math.isqrt(shapes[differing[0]][axis])) for shapes in (held, ours))
            if there != here:
                raise UnreadableError(
                    f"holds {what.format(there, there)}, the network those of {here}x{here}, as published; resample "
                    "them with timm, or take weights of this size (--model.encoder_weights=imagenet)"
                )


def _alike(shape: tuple[int, ...], other: tuple[int, ...] | None, axis: int) -> bool:
    """Whether two shapes differ along one axis only."""
    return other is not None and len(shape) == len(other) and (*shape[:axis], other[axis], *shape[axis + 1 :]) == other


# === What files of one network hold otherwise ===

_DINOV2 = ((r"^register_tokens$", "reg_token"),)
_DINOV3 = (
    (r"^storage_tokens$", "reg_token"),
    (r"\.ls(\d)\.gamma$", r".gamma_\1"),
    (r"\.mlp\.w1\.", ".mlp.fc1_g."),
    (r"\.mlp\.w2\.", ".mlp.fc1_x."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
)
_SEGFORMER = (
    (r"^patch_embed(\d)\.norm", r"patch_embed\1.layer_norm"),
    (r"^norm(\d)", r"layer_norm\1"),
    (r"\.norm(\d)", r".layer_norm_\1"),
    (r"\.attn\.q\.", ".attention.self.query."),
    (r"\.attn\.sr\.", ".attention.self.sr."),
    (r"\.attn\.norm\.", ".attention.self.layer_norm."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc(\d)\.", r".mlp.dense\1."),
)


def _renamed(name: str, patterns: tuple[tuple[str, str], ...]) -> str:
    for pattern, text in patterns:
        name = re.sub(pattern, text, name)
    return name


def _of_vit(inside: dict[str, Tensor], ours: Shapes) -> Named:
    """Meta's own names, of DINOv2 with registers and of DINOv3."""
    if "register_tokens" in inside:
        _take_class_position(inside)
        return ((_renamed(name, _DINOV2), tensor) for name, tensor in inside.items())
    if "storage_tokens" in inside:
        kept = {name: tensor for name, tensor in inside.items() if not _is_masked(name, tensor, ours)}
        return ((_renamed(name, _DINOV3), tensor) for name, tensor in kept.items())
    return inside.items()


def _take_class_position(inside: dict[str, Tensor]):
    """Adds the position of the class token to that token: with registers, timm keeps those of patches only."""
    token, positions = inside.get("cls_token"), inside.get("pos_embed")
    if token is None or positions is None or len(positions.shape) != 3 or positions.shape[1] < 2:
        return  # refused for its shapes
    batch, count, width = positions.shape
    if (batch, token.shape) == (1, (1, 1, width)):
        inside["cls_token"] = Tensor(token.shape, lambda: _wide(token) + _wide(positions)[:, :1])
        inside["pos_embed"] = Tensor((1, count - 1, width), lambda: positions.read()[:, 1:])


def _is_masked(name: str, bias: Tensor, ours: Shapes) -> bool:
    """Whether it is a bias of queries, keys and values that is zero, as DINOv3 has it; that of keys it masks."""
    layer = f"encoder/{name.removesuffix('.bias').replace('.', '_')}"
    expected = ours.get(f"{layer}/kernel", ())[1:]
    if not name.endswith(".attn.qkv.bias") or f"{layer}/bias" in ours or not expected or bias.shape != expected:
        return False
    queries, _, values = np.split(_wide(bias), 3)
    return not (queries.any() or values.any())


def _of_swin(inside: dict[str, Tensor], ours: Shapes) -> Named:
    """Microsoft's own names: a stage ends with the merging of patches, in timm the next begins with it; their networks
    for segmentation have a norm for each stage."""
    ends = "layers.0.downsample.reduction.weight" in inside
    apart = "norm.weight" not in inside
    for name, tensor in inside.items():
        if ends:
            name = re.sub(r"^layers\.(\d)\.downsample", lambda found: f"layers.{int(found[1]) + 1}.downsample", name)
        yield re.sub(r"^norm3\.", "norm.", name) if apart else name, tensor


def _of_segformer(inside: dict[str, Tensor], ours: Shapes) -> Named:
    """The authors' own names, which count stages from 1 and keep keys and values together."""
    for name, tensor in inside.items():
        name = _renamed(name, _SEGFORMER)
        name = re.sub(r"^(patch_embed|block|layer_norm)(\d)", lambda found: f"{found[1]}.{int(found[2]) - 1}", name)
        name = name.replace("patch_embed.", "patch_embeddings.")
        if ".attn.kv." in name and tensor.shape and tensor.shape[0] % 2 == 0:
            for number, part in enumerate(("key", "value")):
                yield name.replace(".attn.kv.", f".attention.self.{part}."), _half(tensor, number)
        else:
            yield name, tensor


def _half(tensor: Tensor, number: int) -> Tensor:
    count = tensor.shape[0] // 2
    return Tensor((count, *tensor.shape[1:]), lambda: tensor.read()[number * count : (number + 1) * count])


_HEADS = ("head", "head_dist", "fc_norm", "pre_logits", "attn_pool", "mask_token", "dino_head", "ibot_head")
_FAMILIES = (
    _Family(
        "transformers' SegFormer",
        "block.0.0.layer_norm_1.weight",
        ("patch_embeddings", "block", "layer_norm"),
        ("classifier", "decode_head"),
        lambda inside, ours: inside.items(),
    ),
    _Family(
        "SegFormer's authors",
        "block1.0.norm1.weight",
        tuple(f"{part}{stage}" for part in ("patch_embed", "block", "norm") for stage in (1, 2, 3, 4)),
        ("head", "decode_head"),
        _of_segformer,
    ),
    _Family(
        "timm's Swin",
        "layers.0.blocks.0.attn.relative_position_bias_table",
        ("patch_embed", "layers", "norm", "norm0", "norm1", "norm2", "norm3"),
        _HEADS,
        _of_swin,
    ),
    _Family(
        "timm's vision transformers",
        "blocks.0.norm1.weight",
        ("patch_embed", "pos_embed", "cls_token", "reg_token", "register_tokens", "storage_tokens", "blocks", "norm"),
        (*_HEADS, "local_cls_norm"),
        _of_vit,
    ),
)
