"""The table of published checkpoints: which repository of the Hugging Face hub holds weights of which encoder.

A further checkpoint of an encoder is a row here; a further encoder is one here and one in `encoders.ENCODERS`.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Licence:
    """What the publisher gives the weights under.

    Attributes:
        name: its name.
        binds: what it forbids or demands, with the address of its text; empty where it lets use and change freely.
    """

    name: str
    binds: str = ""


BSD = Licence("BSD-3-Clause")
MIT = Licence("MIT")
APACHE = Licence("Apache-2.0")
DINOV3 = Licence(
    "DINOv3 License",
    "it restricts some uses, and goes along with weights and with what is made from them, "
    "https://ai.meta.com/resources/models-and-libraries/dinov3-license",
)
NVIDIA = Licence(
    "NVIDIA Source Code License",
    "research and evaluation only, no commercial use, https://github.com/NVlabs/SegFormer/blob/master/LICENSE",
)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A file of weights on the hub.

    Attributes:
        repository: OWNER/NAME on the hub.
        licence: of the weights.
        mean: of each of R, G, B, 0..255, by which the images of its training were whitened; empty = as in the encoder.
        std: the same.
    """

    repository: str
    licence: Licence
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """What --model.encoder_weights calls it: the end of the repository's name, e.g. "ms_in22k", "mit-b0"."""
        return self.repository.rpartition("/")[2].rpartition(".")[2]


_SATELLITE = dict(mean=(109.65, 104.805, 75.48), std=(54.315, 39.78, 36.465))

# The first row of an encoder is what --model.encoder_weights=imagenet takes, whatever it was trained on.
_ROWS = (
    # torchvision's own (IMAGENET1K_V1), as timm publishes them.
    ("resnet18", Checkpoint("timm/resnet18.tv_in1k", BSD)),
    ("resnet34", Checkpoint("timm/resnet34.tv_in1k", BSD)),
    ("resnet50", Checkpoint("timm/resnet50.tv_in1k", BSD)),
    ("resnet101", Checkpoint("timm/resnet101.tv_in1k", BSD)),
    ("resnet152", Checkpoint("timm/resnet152.tv_in1k", BSD)),
    ("wide_resnet50_2", Checkpoint("timm/wide_resnet50_2.tv_in1k", BSD)),
    ("wide_resnet101_2", Checkpoint("timm/wide_resnet101_2.tv_in1k", BSD)),
    ("resnext50_32x4d", Checkpoint("timm/resnext50_32x4d.tv_in1k", BSD)),
    ("resnext101_32x8d", Checkpoint("timm/resnext101_32x8d.tv_in1k", BSD)),
    ("resnext101_64x4d", Checkpoint("timm/resnext101_64x4d.tv_in1k", BSD)),
    # Those of HRNet's authors, as timm publishes them.
    ("hrnet_w18", Checkpoint("timm/hrnet_w18.ms_in1k", MIT)),
    ("hrnet_w48", Checkpoint("timm/hrnet_w48.ms_in1k", MIT)),
    ("hrnet_w18_small_v2", Checkpoint("timm/hrnet_w18_small_v2.ms_in1k", MIT)),
    # Meta's, as timm publishes them.
    ("dinov2_small", Checkpoint("timm/vit_small_patch14_dinov2.lvd142m", APACHE)),
    ("dinov2_base", Checkpoint("timm/vit_base_patch14_dinov2.lvd142m", APACHE)),
    ("dinov2_large", Checkpoint("timm/vit_large_patch14_dinov2.lvd142m", APACHE)),
    ("dinov2_small_reg", Checkpoint("timm/vit_small_patch14_reg4_dinov2.lvd142m", APACHE)),
    ("dinov2_base_reg", Checkpoint("timm/vit_base_patch14_reg4_dinov2.lvd142m", APACHE)),
    ("dinov2_large_reg", Checkpoint("timm/vit_large_patch14_reg4_dinov2.lvd142m", APACHE)),
    ("dinov3_small", Checkpoint("timm/vit_small_patch16_dinov3.lvd1689m", DINOV3)),
    ("dinov3_small_plus", Checkpoint("timm/vit_small_plus_patch16_dinov3.lvd1689m", DINOV3)),
    ("dinov3_base", Checkpoint("timm/vit_base_patch16_dinov3.lvd1689m", DINOV3)),
    ("dinov3_large", Checkpoint("timm/vit_large_patch16_dinov3.lvd1689m", DINOV3)),
    ("dinov3_large", Checkpoint("timm/vit_large_patch16_dinov3.sat493m", DINOV3, **_SATELLITE)),
    # Google's "How to train your ViT?", as timm publishes them.
    ("vit_base", Checkpoint("timm/vit_base_patch16_224.augreg_in21k", APACHE)),
    ("vit_base", Checkpoint("timm/vit_base_patch16_224.augreg_in21k_ft_in1k", APACHE)),
    ("vit_large", Checkpoint("timm/vit_large_patch16_224.augreg_in21k", APACHE)),
    ("vit_large", Checkpoint("timm/vit_large_patch16_224.augreg_in21k_ft_in1k", APACHE)),
    # Microsoft's, as timm publishes them.
    ("swin_tiny", Checkpoint("timm/swin_tiny_patch4_window7_224.ms_in1k", MIT)),
    ("swin_tiny", Checkpoint("timm/swin_tiny_patch4_window7_224.ms_in22k", MIT)),
    ("swin_small", Checkpoint("timm/swin_small_patch4_window7_224.ms_in1k", MIT)),
    ("swin_small", Checkpoint("timm/swin_small_patch4_window7_224.ms_in22k", MIT)),
    ("swin_base", Checkpoint("timm/swin_base_patch4_window7_224.ms_in1k", MIT)),
    ("swin_base", Checkpoint("timm/swin_base_patch4_window7_224.ms_in22k", MIT)),
    ("swin_large", Checkpoint("timm/swin_large_patch4_window7_224.ms_in22k", MIT)),
    ("swin_large", Checkpoint("timm/swin_large_patch4_window7_224.ms_in22k_ft_in1k", MIT)),
    # Those of SegFormer's authors, trained on ImageNet-1k.
    ("mit_b0", Checkpoint("nvidia/mit-b0", NVIDIA)),
    ("mit_b1", Checkpoint("nvidia/mit-b1", NVIDIA)),
    ("mit_b2", Checkpoint("nvidia/mit-b2", NVIDIA)),
    ("mit_b3", Checkpoint("nvidia/mit-b3", NVIDIA)),
    ("mit_b4", Checkpoint("nvidia/mit-b4", NVIDIA)),
    ("mit_b5", Checkpoint("nvidia/mit-b5", NVIDIA)),
)

CHECKPOINTS: dict[str, tuple[Checkpoint, ...]] = {
    encoder: tuple(row for name, row in _ROWS if name == encoder)
    for encoder in dict.fromkeys(name for name, _ in _ROWS)
}


def published(encoder: str, source: str) -> Checkpoint | None:
    """The row of an encoder that `source` names: "imagenet" the first, or the name of one; None for anything else."""
    rows = CHECKPOINTS.get(encoder, ())
    return next((row for row in rows if source in ("imagenet", row.name)), None)


def markdown() -> str:
    """The table for people."""
    head = ("encoder", "`--model.encoder_weights`", "repository", "licence")
    lines = [head, ["---"] * len(head)]
    for encoder, rows in CHECKPOINTS.items():
        for row in rows:
            names = f"`imagenet`, `{row.name}`" if row is rows[0] else f"`{row.name}`"
            licence = f"{row.licence.name}: {row.licence.binds}" if row.licence.binds else row.licence.name
            lines.append((f"`{encoder}`", names, row.repository, licence))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
