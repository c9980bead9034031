"""Layouts: the names that others give the tensors of networks that are built here, turned into ours by rule.

Those of transformers have a file of their own, `transformer_layouts`.

Shapes turn too: PyTorch keeps convolutions as (out, in, height, width), we as (height, width, in, out).
"""

import re

import numpy as np

from mtl_tf.models.weights.sets import WeightSet, choose
from mtl_tf.models.weights.tensors import Tensor, UnreadableError
from mtl_tf.models.weights.transformer_layouts import from_transformer
from mtl_tf.models.weights.translation import Translation

SHARED = "shared"  # the branch of networks with one decoder, which any branch of ours can start from
# What classifies images in PyTorch's encoders; HRNet has the last three before its classifier.
HEADS = ("fc", "head", "classifier", "last_linear", "incre_modules", "downsamp_modules", "final_layer")
# What keras.applications has before and after the encoder: whitening, which is ours, and the classifier.
KERAS_ASIDE = re.compile(r"normalization(_\d+)?|predictions|logits|conv_2|.*_head_(dense|layernorm)", re.IGNORECASE)
RATES = (12, 24, 36)  # of the ASPP of torchvision and segmentation_models.pytorch
_FIRST = "layer1.0.conv1.weight"  # every ResNet and HRNet of PyTorch has it
_ENCODER = re.compile(r"(conv|bn)[12]|(layer|stage)\d+\.\d+\..+|transition\d+\..+")
_COUNTERS = ("num_batches_tracked", "n_averaged")  # of batches seen, of states averaged
_LEAVES = {"running_mean": "moving_mean", "running_var": "moving_variance"}
_PARTS = {"downsample.0": "downsample", "downsample.1": "downsample_bn", "se.fc1": "se_reduce", "se.fc2": "se_expand"}
# Of HRNet, one after another: convolution and batch norm are numbers 0 and 1 of a sequence, or of each of its steps.
_BRANCHED = (
    (r"\.branches\.(\d+)", r".branch\1"),
    (r"\.fuse_layers\.(\d+)\.(\d+)\.(\d+)(?=\.\d+$)", r".fuse\1.\2.down\3"),
    (r"\.fuse_layers\.", ".fuse"),
    (r"^(transition\d+\.\d+)\.\d+(?=\.\d+$)", r"\1"),
    (r"^(transition.*|.*\.fuse.*)\.1$", r"\1_bn"),
    (r"^(transition.*|.*\.fuse.*)\.0$", r"\1"),
)


def translate(
    tensors: dict[str, Tensor], ours: dict[str, tuple[int, ...]], rates: tuple[int, ...], key: str = ""
) -> Translation:
    """Finds out whose names a file has, and turns them into ours.

    Args:
        tensors: by the names in the file.
        ours: shape of every variable of the network, by its path, in the network's order.
        rates: the dilations of its ASPP.
        key: the name of a set of weights in the file; "" = the usual one.

    Raises:
        UnreadableError: nobody's, or there is no such set.
    """
    chosen = choose(tensors, _FIRST, _in_encoder, key)
    if chosen is not None:
        return _from_torch(chosen, ours, rates)
    transformer = from_transformer(tensors, ours, key)
    if transformer is not None:
        return transformer
    if key:
        raise UnreadableError(f"holds no weights that are told by a name; leave --model.weights_key={key} out")
    if any(name.startswith("encoder/") for name in tensors):
        return Translation("a run", dict(tensors))
    if all(name.count("/") == 1 for name in tensors):
        return _from_keras(tensors, ours)
    shown = ", ".join(list(tensors)[:3])
    raise UnreadableError(f"holds no encoder in a layout that is known here (its first tensors: {shown[:160]})")


def _from_keras(tensors, ours):
    """LAYER/VARIABLE or LAYER/NUMBER; our encoders of this kind call layers and variables as Keras does."""
    layers: dict[str, list[str]] = {}
    for path in ours:
        layers.setdefault(path.rpartition("/")[0], []).append(path)
    found = Translation("keras.applications", {})
    for name, tensor in tensors.items():
        layer, _, variable = name.partition("/")
        layer = re.sub(r"^(layer_normalization)_\d+$", r"\1", layer)  # Keras counts all that a process ever built
        paths = layers.get(f"encoder/{layer}", [])
        if not paths and KERAS_ASIDE.fullmatch(layer):
            found.leave(layer)
        elif variable.isdecimal() and int(variable) < len(paths):
            found.put(paths[int(variable)], tensor)
        elif re.fullmatch(r"variable(_\d+)?", variable, re.IGNORECASE) and len(paths) == 1:
            found.put(paths[0], tensor)  # the factors of ConvNeXt's channels, which Keras leaves unnamed
        else:
            found.put(f"encoder/{layer}/{variable}", tensor)
    return found


# === PyTorch ===


def _in_encoder(name: str, alone: bool) -> bool:
    """Whether a name is of the encoder, or, where nothing stands beside that, of the head that classifies images."""
    module = name.rpartition(".")[0]
    return bool(_ENCODER.fullmatch(module)) or (alone and module.partition(".")[0] in HEADS)


def _from_torch(chosen: WeightSet, ours, rates):
    """An encoder of torchvision or timm, alone or within a network of torchvision or segmentation_models.pytorch."""
    whole = {"": "torchvision and timm", "backbone.": "torchvision's segmentation networks"}
    found = Translation(whole.get(chosen.encoder, "segmentation_models.pytorch"), {}, said=chosen.said)
    prefix, tensors = chosen.encoder, chosen.tensors
    rest: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        if leaf in _COUNTERS:
            continue
        inner = module.removeprefix(prefix)
        if not name.startswith(prefix):
            rest[name] = tensor
        elif _ENCODER.fullmatch(inner):
            _put(found, f"encoder/{_encoder_name(inner)}", tensors, name)
        elif inner.partition(".")[0] in HEADS:
            found.leave(inner.partition(".")[0])
        else:
            found.put(name, tensor)
    _pyramid(found, rest, ours, rates)
    for name in (*rest, *chosen.beside):
        found.leave(".".join(name.split(".")[:2]))
    return found


def _encoder_name(module: str) -> str:
    """layer1.0.downsample.0 -> layer1_0_downsample; stage3.1.fuse_layers.2.0.1.0 -> stage3_1_fuse2_0_down1."""
    block = re.fullmatch(r"layer(\d+)\.(\d+)\.(.+)", module)
    if block is None:
        for pattern, ours in _BRANCHED:
            module = re.sub(pattern, ours, module)
        return module.replace(".", "_")
    stage, index, part = block.groups()
    return f"layer{stage}_{index}_{_PARTS.get(part, part.replace('.', '_'))}"


def _put(found: Translation, layer: str, tensors: dict[str, Tensor], name: str):
    """Files a tensor of a convolution or a batch norm, whose weights have one axis, under our name."""
    module, _, leaf = name.rpartition(".")
    weight, tensor = tensors.get(f"{module}.weight"), tensors[name]
    norm = weight is not None and len(weight.shape) == 1
    leaf = {"weight": "gamma" if norm else "kernel", "bias": "beta" if norm else "bias"}.get(leaf, leaf)
    if leaf == "kernel" and len(tensor.shape) == 4:
        tensor = tensor.permuted((2, 3, 1, 0))
    found.put(f"{layer}/{_LEAVES.get(leaf, leaf)}", tensor)


def _pyramid(found: Translation, rest: dict[str, Tensor], ours, rates):
    """Takes the ASPP, and the projection of the skip beside it, out of what stands beside the encoder."""
    aspp = next((name.removesuffix("project.0.weight") for name in rest if name.endswith("project.0.weight")), None)
    if aspp is None or not any("/aspp/point_conv/" in path for path in ours):
        return
    numbered = (re.match(re.escape(aspp) + r"convs\.(\d{1,2})\.", name) for name in rest)
    last = max((int(match[1]) for match in numbered if match), default=0)
    if last - 1 != len(rates):
        raise UnreadableError(
            f"has an ASPP of {last - 1} dilated branches, --model.aspp_rates names {len(rates)}; name as many"
        )
    layers = {
        "convs.0.0": "point_conv",
        "convs.0.1": "point_bn",
        "project.0": "project_conv",
        "project.1": "project_bn",
    }
    layers |= {f"convs.{last}.1": "pool_conv", f"convs.{last}.2": "pool_bn"}
    for number, rate in enumerate(rates, 1):
        layers |= {f"convs.{number}.0": f"atrous{rate}_conv", f"convs.{number}.1": f"atrous{rate}_bn"}
        _join_separable(rest, f"{aspp}convs.{number}.0")
    paths = {aspp + module: f"{SHARED}/aspp/{layer}" for module, layer in layers.items()}
    paths |= {"decoder.block1.0": f"{SHARED}/decoder/skip_conv", "decoder.block1.1": f"{SHARED}/decoder/skip_bn"}
    taken = [name for name in rest if name.rpartition(".")[0] in paths]
    for name in taken:
        _put(found, paths[name.rpartition(".")[0]], rest, name)
    for name in taken:
        del rest[name]
    if tuple(rates) != RATES:
        here, theirs = (",".join(map(str, values)) for values in (rates, RATES))
        found.notes.append(f"its ASPP is dilated by {theirs} unless it was built otherwise, here by {here}")


def _join_separable(rest: dict[str, Tensor], module: str):
    """A convolution of each channel by itself and a 1x1 one right after it are one convolution; makes it."""
    depth, point = rest.pop(f"{module}.0.weight", None), rest.pop(f"{module}.1.weight", None)
    if depth is None or point is None:
        return
    if (
        len(depth.shape) != 4
        or len(point.shape) != 4
        or point.shape[1:] != (depth.shape[0], 1, 1)
        or depth.shape[1] != 1
    ):
        raise UnreadableError(f"holds shapes in {module} that do not go together: {depth.shape} and {point.shape}")
    (channels, _, *size), outputs = depth.shape, point.shape[0]

    def read() -> np.ndarray:
        return np.asarray(point.read(), np.float32)[:, :, 0, 0, None, None] * np.asarray(depth.read(), np.float32)[:, 0]

    rest[f"{module}.weight"] = Tensor((outputs, channels, *size), read)
