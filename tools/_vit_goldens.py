"""The part of make_parity_goldens.py about plain transformers: tokens of small ones, counts of the published ones.

Needs torch and timm only; `python tools/_vit_goldens.py FILE` makes them alone.
"""

import json
import pathlib
import sys

import numpy as np
import timm
import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tests.models.weights import draw

_SMALL = dict(embed_dim=32, depth=4, num_heads=2, num_classes=0, dynamic_img_size=True, dynamic_img_pad=True)
_DINOV2 = dict(patch_size=14, img_size=70, init_values=1e-5)
_DINOV3 = dict(
    patch_size=16,
    img_size=80,
    init_values=1e-5,
    qkv_bias=False,
    rope_type="dinov3",
    rope_temperature=100,
    rope_rotate_half=True,
    use_rot_pos_emb=True,
    use_abs_pos_emb=False,
    num_reg_tokens=4,
    use_fc_norm=False,
    norm_layer=lambda width, **more: torch.nn.LayerNorm(width, eps=1e-5, **more),
)
NETWORKS = {
    "vit": lambda: VisionTransformer(patch_size=16, img_size=80, **_SMALL),
    "dinov2": lambda: VisionTransformer(**_DINOV2, **_SMALL),
    "dinov2_reg": lambda: VisionTransformer(**_DINOV2, reg_tokens=4, no_embed_class=True, **_SMALL),
    "dinov3": lambda: Eva(**_DINOV3, **_SMALL),
    "dinov3_plus": lambda: Eva(**_DINOV3, swiglu_mlp=True, swiglu_align_to=8, **_SMALL),
}
MEANS = {"vit": ((0.5,) * 3, (0.5,) * 3)}
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PUBLISHED = {
    **{f"dinov2_{size}": f"vit_{size}_patch14_dinov2" for size in ("small", "base", "large")},
    **{f"dinov2_{size}_reg": f"vit_{size}_patch14_reg4_dinov2" for size in ("small", "base", "large")},
    **{f"dinov3_{size}": f"vit_{size}_patch16_dinov3" for size in ("small", "small_plus", "base", "large")},
    **{f"vit_{size}": f"vit_{size}_patch16_224" for size in ("base", "large")},
}


def sizes(name: str) -> list[tuple[int, int]]:
    """Of the images: that of the positions, and one that is no multiple of a patch, of which one side is larger."""
    side = 70 if name.startswith("dinov2") else 80
    return [(side, side), (45, 118)]


def tokens(name: str) -> dict:
    """What a small network has in its taps, with numbers that NumPy can repeat, and its tensors."""
    network = NETWORKS[name]().eval()
    state = network.state_dict()
    filled = {key: torch.from_numpy(draw.weight(key, tuple(value.shape))) for key, value in state.items()}
    network.load_state_dict(filled)
    mean, std = (torch.tensor(values)[:, None, None] for values in MEANS.get(name, IMAGENET))
    found = {"tensors": {key: list(value.shape) for key, value in state.items()}}
    for height, width in sizes(name):
        image = torch.from_numpy(draw.image(height, width)).permute(0, 3, 1, 2) / 255
        taps = network.forward_intermediates((image - mean) / std, [0, 1, 2, 3], norm=True, intermediates_only=True)
        for number, tap in enumerate(taps):
            key = f"{name} {height}x{width} tap{number}"
            found[f"{height}x{width} tap{number}"] = draw.summary(key, np.asarray(tap.permute(0, 2, 3, 1)))
    return found


def parameters(name: str) -> int:
    """Of a published network without its classifier."""
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=0)
    return sum(value.numel() for value in network.parameters())


def make(path: pathlib.Path):
    """Writes the file."""
    with torch.no_grad():
        found = {name: tokens(name) for name in NETWORKS}
    found["parameters"] = {ours: parameters(name) for ours, name in PUBLISHED.items()}
    path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    make(pathlib.Path(sys.argv[1]))
