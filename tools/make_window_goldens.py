"""tools/make_window_goldens.py: what the public hierarchical transformers answer. Run by hand.

Needs an environment with torch, timm and transformers (not the project's). Writes to
tests/models/goldens/hierarchical.json:
  parameters   of every size, without classifier
  tensors      how many the encoder has in a checkpoint
  features     of the smallest, in small, with weights that NumPy can repeat: NAME -> HxW -> stride -> summary

Swin is timm's; at 224x224 just as it is. For other sizes timm rolls a map before it pads it, the published segmentation
code afterwards, and pads to whole patches: `padded_attention` and `whole_patches` do that. An axis that one window
covers is not shifted, as in timm. MiT is transformers' at every size.
"""

import json
import pathlib
import re
import sys

import numpy as np
import timm
import torch
from torch.nn import functional
from transformers import SegformerConfig, SegformerModel

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.models.weights import draw  # noqa: E402

FILE = ROOT / "tests" / "models" / "goldens" / "hierarchical.json"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STRIDES = (4, 8, 16, 32)
SWINS = {name: f"{name}_patch4_window7_224" for name in ("swin_tiny", "swin_small", "swin_base", "swin_large")}
SIZES = {"swin_tiny": ((224, 224), (150, 250), (5, 30)), "mit_b0": ((224, 224), (75, 203))}
WIDE = (64, 128, 320, 512)
MITS = {
    "mit_b0": ((2, 2, 2, 2), (32, 64, 160, 256)),
    "mit_b1": ((2, 2, 2, 2), WIDE),
    "mit_b2": ((3, 4, 6, 3), WIDE),
    "mit_b3": ((3, 4, 18, 3), WIDE),
    "mit_b4": ((3, 8, 27, 3), WIDE),
    "mit_b5": ((3, 6, 40, 3), WIDE),
}
# What transformers calls in a new way -> its name in the published checkpoints.
PUBLISHED = (
    (r"stages\.(\d+)\.patch_embeddings", r"patch_embeddings.\1"),
    (r"stages\.(\d+)\.blocks", r"block.\1"),
    (r"stages\.(\d+)\.layer_norm", r"layer_norm.\1"),
    (r"sequence_reduction\.sequence_reduction", "self.sr"),
    (r"sequence_reduction\.layer_norm", "self.layer_norm"),
    ("attention.q_proj", "attention.self.query"),
    ("attention.k_proj", "attention.self.key"),
    ("attention.v_proj", "attention.self.value"),
    ("attention.o_proj", "attention.output.dense"),
    (r"mlp\.fc(\d)", r"mlp.dense\1"),
    ("layernorm_before", "layer_norm_1"),
    ("layernorm_after", "layer_norm_2"),
)


def published(name: str) -> str:
    """A tensor's name in the published checkpoints of SegFormer, without "segformer.encoder."."""
    for pattern, ours in PUBLISHED:
        name = re.sub(pattern, ours, name)
    return name


def drawn(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The numbers that belong to a tensor, by its module in one word and its own name."""
    module, _, leaf = name.rpartition(".")
    return torch.from_numpy(draw.weight(f"{module.replace('.', '_')}.{leaf}", shape))


def fill(module: torch.nn.Module, rename=str) -> torch.nn.Module:
    """Gives every parameter its numbers."""
    with torch.no_grad():
        for name, value in module.named_parameters():
            value.copy_(drawn(rename(name), tuple(value.shape)))
    return module.eval()


def whitened(image: np.ndarray) -> torch.Tensor:
    """0..255 (1, H, W, 3) -> (1, 3, H, W)."""
    return torch.from_numpy(((image / 255 - MEAN) / STD).astype(np.float32)).permute(0, 3, 1, 2)


# === Swin ===


def whole_patches(image: torch.Tensor) -> torch.Tensor:
    """Pads whole patches, below and to the right."""
    return functional.pad(image, (0, -image.shape[3] % 4, 0, -image.shape[2] % 4))


def padded_attention(block, x: torch.Tensor) -> torch.Tensor:
    """The attention of a block of timm in the order of the published segmentation code: pad, roll, mask.

    Args:
        block: of timm.
        x: (1, H, W, C).
    """
    _, height, width, channels = x.shape
    side = 7
    x = functional.pad(x, (0, 0, 0, -width % side, 0, -height % side))
    _, rows, columns, _ = x.shape
    wanted = any(block.target_shift_size)
    shift = [side // 2 if wanted and length > side else 0 for length in (rows, columns)]
    region = torch.zeros(rows, columns)
    for axis, (length, by) in enumerate(zip((rows, columns), shift, strict=True)):
        if by:
            numbers = torch.zeros(length)
            numbers[-side:] = 1
            numbers[-by:] = 2
            region = region + (numbers[:, None] if axis == 0 else 3 * numbers[None])
    x = torch.roll(x, (-shift[0], -shift[1]), (1, 2))
    windows, regions = [], []
    for top in range(0, rows, side):
        for left in range(0, columns, side):
            windows.append(x[:, top : top + side, left : left + side].reshape(1, side * side, channels))
            regions.append(region[top : top + side, left : left + side].reshape(-1))
    apart = torch.stack([(one[:, None] != one[None]) * -100.0 for one in regions])
    found = block.attn(torch.cat(windows), mask=apart if any(shift) else None)
    result, number = torch.zeros_like(x), 0
    for top in range(0, rows, side):
        for left in range(0, columns, side):
            result[:, top : top + side, left : left + side] = found[number].reshape(side, side, channels)
            number += 1
    return torch.roll(result, shift, (1, 2))[:, :height, :width]


def swin_features(name: str, image: np.ndarray) -> list[torch.Tensor]:
    """The normalised features of all stages, (1, h, w, C)."""
    native = image.shape[1:3] == (224, 224)
    network = fill(swin_network(name, strict_img_size=native))
    if not native:
        for stage in network.layers:
            for block in stage.blocks:
                block._attn = padded_attention.__get__(block)
    x = whole_patches(whitened(image))
    found = network.forward_intermediates(x, intermediates_only=True)
    normed = []
    for number, feature in enumerate(found):
        name = "norm" if number == len(found) - 1 else f"norm{number}"
        weight, bias = (drawn(f"{name}.{leaf}", (feature.shape[1],)) for leaf in ("weight", "bias"))
        feature = functional.layer_norm(feature.permute(0, 2, 3, 1), weight.shape, weight, bias)
        normed.append(feature)
    return normed


def swin_network(name: str, **options):
    return timm.create_model(SWINS[name], num_classes=0, **options)


# === MiT ===


def mit_network(name: str) -> SegformerModel:
    depths, widths = MITS[name]
    return SegformerModel(SegformerConfig(depths=depths, hidden_sizes=widths))


def mit_features(name: str, image: np.ndarray) -> list[torch.Tensor]:
    """The features of all stages, (1, h, w, C)."""
    network = fill(mit_network(name), published)
    found = network(whitened(image), output_hidden_states=True).hidden_states
    return [feature.permute(0, 2, 3, 1) for feature in found]


# === All ===


def summaries(name: str, size: str, features: list[torch.Tensor]) -> dict:
    pairs = {f"stride{stride}": feature for stride, feature in zip(STRIDES, features, strict=True)}
    return {key: draw.summary(f"{name} {size} {key}", feature.numpy()) for key, feature in pairs.items()}


def counts(network) -> tuple[int, int]:
    parameters = [value.numel() for value in network.parameters()]
    return sum(parameters), len(parameters)


def main():
    """Writes everything."""
    goldens = {"parameters": {}, "tensors": {}, "features": {}}
    with torch.device("meta"):
        for name, build in {**dict.fromkeys(SWINS, swin_network), **dict.fromkeys(MITS, mit_network)}.items():
            goldens["parameters"][name], goldens["tensors"][name] = counts(build(name))
    with torch.no_grad():
        for name, sizes in SIZES.items():
            found = goldens["features"][name] = {}
            for height, width in sizes:
                features = swin_features if name in SWINS else mit_features
                size, image = f"{height}x{width}", draw.image(height, width)
                found[size] = summaries(name, size, features(name, image))
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(goldens, indent=1) + "\n")


if __name__ == "__main__":
    main()
