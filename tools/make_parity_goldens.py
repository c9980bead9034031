"""tools/make_parity_goldens.py: what PyTorch's networks answer, for the tests of pretrained weights. Run by hand.

Needs an environment with torch, torchvision, timm, segmentation_models_pytorch and safetensors (not the project's).
Writes to tests/models/weights/goldens:
  features.json   features of encoders at every stride and of ASPPs, in small, with weights that NumPy can repeat
  NAME.txt        name and shape of every tensor of whole networks
  vit.json        tokens of small plain transformers (tools/_vit_goldens.py)
  torch_*.pth     small files in each of the formats of torch.save, and torch.json with what they hold
"""

import json
import pathlib
import sys

import _vit_goldens
import numpy as np
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.models.weights import draw  # noqa: E402

FOLDER = ROOT / "tests" / "models" / "weights" / "goldens"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ENCODERS = {
    "resnet18": "torchvision",
    "resnet34": "timm",
    "resnet50": "torchvision",
    "seresnet50": "timm",
    "resnet101": "timm",
    "wide_resnet50_2": "torchvision",
    "resnext50_32x4d": "timm",
}
# HRNet fuses maps of whole multiples only: the sizes of its images are divisible by 32.
BRANCHED = ("hrnet_w18_small_v2", "hrnet_w18", "hrnet_w48")
NETWORKS = {
    "timm_hrnet_w18_small_v2": lambda: timm.create_model("hrnet_w18_small_v2"),
    "torchvision_deeplabv3_resnet50": lambda: torchvision.models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, aux_loss=True
    ),
    "torchvision_deeplabv3_resnet101": lambda: torchvision.models.segmentation.deeplabv3_resnet101(
        weights=None, weights_backbone=None, aux_loss=True
    ),
    "smp_deeplabv3_resnet18": lambda: smp.DeepLabV3("resnet18", encoder_weights=None, classes=19),
    "smp_deeplabv3plus_resnet18": lambda: smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=19),
    "smp_deeplabv3plus_resnet50": lambda: smp.DeepLabV3Plus("resnet50", encoder_weights=None, classes=19),
}


def fill(module: torch.nn.Module) -> torch.nn.Module:
    """Gives every tensor of a network the numbers that belong to its name."""
    state = {
        name: torch.from_numpy(draw.weight(name, tuple(value.shape))) for name, value in module.state_dict().items()
    }
    module.load_state_dict(state)
    return module.eval()


def whitened(image: np.ndarray) -> torch.Tensor:
    """As torchvision's presets do it: 0..255 (1, H, W, 3) -> (1, 3, H, W)."""
    scaled = torch.from_numpy(image).permute(0, 3, 1, 2) / 255
    return (scaled - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def channels_last(value: torch.Tensor) -> np.ndarray:
    """(B, C, H, W) -> (B, H, W, C)."""
    return value.permute(0, 2, 3, 1).numpy()


def pyramid(name: str, library: str, image: np.ndarray) -> dict[str, np.ndarray]:
    """The features of an encoder at strides 2 to 32."""
    network = fill(timm.create_model(name) if library == "timm" else getattr(torchvision.models, name)(weights=None))
    names = ["act1" if library == "timm" else "relu", "layer1", "layer2", "layer3", "layer4"]
    found = {}
    for stride, part in zip((2, 4, 8, 16, 32), names, strict=True):
        getattr(network, part).register_forward_hook(
            lambda _, __, output, stride=stride: found.update({f"stride{stride}": channels_last(output)})
        )
    network(whitened(image))
    return found


def branches(name: str, image: np.ndarray) -> dict[str, np.ndarray]:
    """The features of an HRNet at strides 4 to 32."""
    network = fill(timm.create_model(name, features_only=True, feature_location="", out_indices=(1, 2, 3, 4)))
    return {
        f"stride{stride}": channels_last(value)
        for stride, value in zip((4, 8, 16, 32), network(whitened(image)), strict=True)
    }


def features() -> dict:
    """All that features.json holds."""
    found = {}
    for name, library in ENCODERS.items():
        features = pyramid(name, library, draw.image(45, 70))
        found[name] = {stride: draw.summary(f"{name} {stride}", value) for stride, value in features.items()}
    for name in BRANCHED:
        features = branches(name, draw.image(64, 96))
        found[name] = {stride: draw.summary(f"{name} {stride}", value) for stride, value in features.items()}

    # === torchvision's DeepLabV3, from the image to the end of its ASPP, at stride 8 ===
    network = fill(NETWORKS["torchvision_deeplabv3_resnet50"]())
    answer = network.backbone(whitened(draw.image(112, 320)))["out"]
    found["torchvision_deeplabv3_resnet50"] = {
        "last": draw.summary("torchvision last", channels_last(answer)),
        "aspp": draw.summary("torchvision aspp", channels_last(network.classifier[0](answer))),
    }

    # === DeepLabV3+ of segmentation_models.pytorch: separable ASPP and skip, on given features ===
    network = fill(NETWORKS["smp_deeplabv3plus_resnet18"]())
    last, skip = draw.feature(512, 13, 40), draw.feature(64, 26, 80)
    aspp = network.decoder.aspp[0](torch.from_numpy(last).permute(0, 3, 1, 2))
    block = network.decoder.block1(torch.from_numpy(skip).permute(0, 3, 1, 2))
    found["smp_deeplabv3plus_resnet18"] = {
        "aspp": draw.summary("smp aspp", channels_last(aspp)),
        "skip": draw.summary("smp skip", channels_last(block)),
    }
    return found


def files():
    """Small files with all that PyTorch does to tensors on the way to a file."""
    base = torch.from_numpy(draw.uniform("base", -1, 1, (6, 8)))
    tensors = {
        "plain": base.clone(),
        "transposed": base.t(),
        "strided": base[1::2, ::3],
        "tail": base.reshape(-1)[40:],
        "expanded": torch.from_numpy(draw.uniform("row", -1, 1, (1, 5))).expand(3, 5),
        "half": base.half(),
        "bfloat16": base.bfloat16(),
        "double": base.double(),
        "scalar": torch.tensor(0.75),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base[:2].clone()),
        "counts": torch.arange(4),
    }
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.BatchNorm2d(3))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(torch.ones(1, 2, 4, 4)).sum().backward()
    optimizer.step()
    state = module.state_dict() | tensors
    training = {"epoch": 3, "optimizer": optimizer.state_dict(), "state_dict": state, "best": 0.5, "name": "é"}
    for name, content in {"state": state, "training": training}.items():
        torch.save(content, FOLDER / f"torch_{name}.pth")
        torch.save(content, FOLDER / f"torch_{name}_legacy.pth", _use_new_zipfile_serialization=False)
        torch.save(content, FOLDER / f"torch_{name}_protocol4.pth", pickle_protocol=4)
    torch.save(module, FOLDER / "torch_module.pth")
    torch.jit.save(torch.jit.script(module), FOLDER / "torch_script.pt")
    held = {
        name: {"shape": list(value.shape), "values": value.detach().double().reshape(-1).tolist()}
        for name, value in state.items()
    }
    write(FOLDER / "torch.json", held)


def write(path: pathlib.Path, content):
    """Writes JSON."""
    path.write_text(json.dumps(content, indent=1) + "\n")


def main():
    """Writes everything."""
    torch.manual_seed(0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, build in NETWORKS.items():
        lines = [f"{key} {','.join(map(str, value.shape))}\n" for key, value in build().state_dict().items()]
        (FOLDER / f"{name}.txt").write_text("".join(lines))
    files()
    with torch.no_grad():
        write(FOLDER / "features.json", features())
    _vit_goldens.make(FOLDER / "vit.json")


if __name__ == "__main__":
    main()
