"""tools/make_layout_goldens.py: names and shapes of the tensors in checkpoints of transformers. Run by hand.

Needs an environment with torch, timm, transformers and safetensors (not the project's). Writes NAME.txt, a tensor each
line, to tests/models/weights/goldens. Networks are built without numbers; nothing is fetched.
"""

import pathlib
import tempfile

import safetensors
import timm
from transformers import SegformerConfig, SegformerForImageClassification

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "tests" / "models" / "weights" / "goldens"
TIMM = (
    "vit_small_patch14_dinov2",
    "vit_small_patch14_reg4_dinov2",
    "vit_small_plus_patch16_dinov3",
    "vit_base_patch16_224",
    "swin_tiny_patch4_window7_224",
)


def saved(network) -> dict[str, tuple[int, ...]]:
    """What transformers calls the tensors in a file."""
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        with safetensors.safe_open(pathlib.Path(folder) / "model.safetensors", framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def main():
    """Writes everything."""
    found = {f"timm_{name}": shapes(timm.create_model(name)) for name in TIMM}
    found["transformers_mit_b0"] = saved(SegformerForImageClassification(SegformerConfig(num_labels=1000)))
    for name, tensors in found.items():
        lines = [f"{key} {','.join(map(str, shape))}\n" for key, shape in tensors.items()]
        (FOLDER / f"{name}.txt").write_text("".join(lines))


def shapes(network) -> dict[str, tuple[int, ...]]:
    """Of a network of timm."""
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


if __name__ == "__main__":
    main()
