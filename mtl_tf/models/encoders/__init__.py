"""Encoders: an image in, a feature pyramid by stride out. Their names are options, so that Keras is imported late.

The contract: a builder takes (dilation, consistent, excite) and returns a functional `keras.Model` named "encoder"
from an image (B, H, W, 3), RGB 0..255, to a dict {"stride2": ..., "stride4": ..., "last": ...}. A feature "strideR"
has the size ceil(H / R); where dilation gives two stages the same stride, the later one stands. "last" is the deepest
feature. Whitening is inside. A builder may have further arguments, which are options of the network by their names
(`_OF_SOME`); where it has not, these are refused.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from mtl_tf.errors import UsageError
from mtl_tf.options import format_value
from mtl_tf.registry import Lazy, Registry

if TYPE_CHECKING:
    import keras

    from mtl_tf.config import ModelConfig


@dataclasses.dataclass(frozen=True)
class Encoder:
    """An encoder from outside, for `mtl_tf.register`.

    Attributes:
        name: of the encoder, a value of model.encoder.
        build: see the contract above; takes its arguments by name.
    """

    name: str
    build: "Callable[..., keras.Model]"


def _resnet(*depths: int, **options):
    return Lazy("models.encoders.resnet:resnet", dict(depths=depths, **options))


_RESNETS = {
    "resnet18": _resnet(2, 2, 2, 2, bottleneck=False),
    "resnet34": _resnet(3, 4, 6, 3, bottleneck=False),
    "resnet50": _resnet(3, 4, 6, 3),
    "resnet101": _resnet(3, 4, 23, 3),
    "resnet152": _resnet(3, 8, 36, 3),
    "wide_resnet50_2": _resnet(3, 4, 6, 3, base_width=128),
    "wide_resnet101_2": _resnet(3, 4, 23, 3, base_width=128),
    "resnext50_32x4d": _resnet(3, 4, 6, 3, base_width=4, groups=32),
    "resnext101_32x8d": _resnet(3, 4, 23, 3, base_width=8, groups=32),
    "resnext101_64x4d": _resnet(3, 4, 23, 3, base_width=4, groups=64),
}

_HRNETS = {
    "hrnet_w18": Lazy("models.encoders.hrnet:hrnet", dict(name="hrnet_w18", width=18)),
    "hrnet_w48": Lazy("models.encoders.hrnet:hrnet", dict(name="hrnet_w48", width=48)),
    "hrnet_w18_small_v2": Lazy(
        "models.encoders.hrnet:hrnet", dict(name="hrnet_w18_small_v2", width=18, depth=2, modules=(1, 3, 2))
    ),
}


def _swin(name: str, width: int, *depths: int):
    return {name: Lazy("models.encoders.swin:swin", dict(name=name, width=width, depths=depths))}


_SWINS = {
    **_swin("swin_tiny", 96, 2, 2, 6, 2),
    **_swin("swin_small", 96, 2, 2, 18, 2),
    **_swin("swin_base", 128, 2, 2, 18, 2),
    **_swin("swin_large", 192, 2, 2, 18, 2),
}


def _mit(name: str, *depths: int, widths: tuple[int, ...] = (64, 128, 320, 512)):
    return {name: Lazy("models.encoders.mit:mit", dict(name=name, widths=widths, depths=depths))}


_MITS = {
    **_mit("mit_b0", 2, 2, 2, 2, widths=(32, 64, 160, 256)),
    **_mit("mit_b1", 2, 2, 2, 2),
    **_mit("mit_b2", 3, 4, 6, 3),
    **_mit("mit_b3", 3, 4, 18, 3),
    **_mit("mit_b4", 3, 8, 27, 3),
    **_mit("mit_b5", 3, 6, 40, 3),
}

# Name in keras.applications; what the network sees of an image (`applications._SEES`); how the name of the last layer
# of a residual branch ends, which squeeze-and-excitation follows, where that is defined.
APPLICATIONS: dict[str, tuple[str, ...]] = {
    # He et al., CVPR 2016, as published: the stride of a Bottleneck stands in its first 1x1 convolution.
    "resnet50_keras": ("ResNet50", "bgr", "_3_bn"),
    "resnet101_keras": ("ResNet101", "bgr", "_3_bn"),
    "resnet152_keras": ("ResNet152", "bgr", "_3_bn"),
    # He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016.
    "resnet50v2": ("ResNet50V2", "unit"),
    "resnet101v2": ("ResNet101V2", "unit"),
    "resnet152v2": ("ResNet152V2", "unit"),
    # Huang et al., "Densely Connected Convolutional Networks", CVPR 2017.
    "densenet121": ("DenseNet121", "imagenet"),
    "densenet169": ("DenseNet169", "imagenet"),
    "densenet201": ("DenseNet201", "imagenet"),
    # Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.
    "mobilenetv2": ("MobileNetV2", "unit"),
    # Howard et al., "Searching for MobileNetV3", ICCV 2019.
    "mobilenetv3_small": ("MobileNetV3Small", "unit"),
    "mobilenetv3_large": ("MobileNetV3Large", "unit"),
    # Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019.
    "efficientnet_b0": ("EfficientNetB0", "imagenet"),
    "efficientnet_b1": ("EfficientNetB1", "imagenet"),
    "efficientnet_b2": ("EfficientNetB2", "imagenet"),
    "efficientnet_b3": ("EfficientNetB3", "imagenet"),
    "efficientnet_b4": ("EfficientNetB4", "imagenet"),
    "efficientnet_b5": ("EfficientNetB5", "imagenet"),
    "efficientnet_b6": ("EfficientNetB6", "imagenet"),
    "efficientnet_b7": ("EfficientNetB7", "imagenet"),
    # Tan and Le, "EfficientNetV2: Smaller Models and Faster Training", ICML 2021.
    "efficientnetv2_b0": ("EfficientNetV2B0", "imagenet"),
    "efficientnetv2_b1": ("EfficientNetV2B1", "imagenet"),
    "efficientnetv2_b2": ("EfficientNetV2B2", "imagenet"),
    "efficientnetv2_b3": ("EfficientNetV2B3", "imagenet"),
    "efficientnetv2_s": ("EfficientNetV2S", "v2"),
    "efficientnetv2_m": ("EfficientNetV2M", "v2"),
    "efficientnetv2_l": ("EfficientNetV2L", "v2"),
    # Liu et al., "A ConvNet for the 2020s", CVPR 2022; has no feature of stride 2.
    "convnext_tiny": ("ConvNeXtTiny", "imagenet"),
    "convnext_small": ("ConvNeXtSmall", "imagenet"),
    "convnext_base": ("ConvNeXtBase", "imagenet"),
    "convnext_large": ("ConvNeXtLarge", "imagenet"),
    "convnext_xlarge": ("ConvNeXtXLarge", "imagenet"),
}

# Plain vision transformers.
VITS = (
    *("dinov2_small", "dinov2_base", "dinov2_large"),
    *("dinov2_small_reg", "dinov2_base_reg", "dinov2_large_reg"),
    *("dinov3_small", "dinov3_small_plus", "dinov3_base", "dinov3_large"),
    *("vit_base", "vit_large"),
)
PYRAMIDS = ("simple", "dpt")  # ways from their tokens to features

ENCODERS: "Registry" = Registry(
    "encoder",
    _RESNETS
    | {name: Lazy("models.encoders.applications:build", dict(name=name)) for name in APPLICATIONS}
    | _HRNETS
    | _SWINS
    | _MITS
    | {"segnet": Lazy("models.encoders.segnet:segnet")}
    | {name: Lazy("models.encoders.vit:vit", dict(name=name)) for name in VITS},
)

# Options that some encoders alone have, with what they are for all others.
_OF_SOME = {"pyramid": "simple", "drop_path": 0.0, "lora_rank": 0}


def build_encoder(
    name: str,
    dilation: tuple[int, ...] = (0, 0, 0),
    consistent: bool = False,
    excite: bool = False,
    **of_some: str | float,
) -> "keras.Model":
    """Builds an encoder by name.

    Args:
        name: a key of `ENCODERS`.
        dilation: for layers 2, 3, 4, whether the stride of the layer is traded for dilation.
        consistent: whether BasicBlocks dilate so that the features of a strided network are kept.
        excite: whether every residual block has squeeze-and-excitation.
        of_some: arguments that a builder may have besides, by the names of `_OF_SOME`.

    Raises:
        UsageError: one from outside gives something else, or the builder does not have an argument that is not the
            default.
    """
    build = ENCODERS[name]
    taken = inspect.signature(build).parameters
    for option, value in of_some.items():
        if option not in taken and value != _OF_SOME[option]:
            raise UsageError(
                f"model.{option}={format_value(value)} is not defined for model.encoder={name}; leave it out, or use "
                "an encoder that has it"
            )
    given = {option: value for option, value in of_some.items() if option in taken}
    encoder = build(dilation=dilation, consistent=consistent, excite=excite, **given)
    if getattr(encoder, "name", "") != "encoder" or "last" not in getattr(encoder, "output", ()):
        raise UsageError(
            f"encoder {name} should give a keras.Model named encoder from an image to a dict with stride4, ..., last "
            f"(mtl_tf.models.encoders); got {encoder!r:.80}"
        )
    return encoder


def encoder_of(config: "ModelConfig") -> "keras.Model":
    """Builds the encoder that a configuration names; see `build_encoder`.

    With adapters, what is pretrained of it is not trainable.
    """
    encoder = build_encoder(
        config.encoder,
        config.dilation,
        config.consistent_dilation,
        config.squeeze_excitation,
        **{option: getattr(config, option) for option in _OF_SOME},
    )
    if config.lora_rank:
        from mtl_tf.models.encoder_layers import pretrained_layers  # imports Keras

        for layer in pretrained_layers(encoder):
            layer.trainable = False
    return encoder
