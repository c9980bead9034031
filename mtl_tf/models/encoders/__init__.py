"""Encoders: an image in, a feature pyramid by stride out. Their names are options, so that Keras is imported late.

The contract: a builder takes (dilation, consistent, excite) and returns a functional `keras.Model` named "encoder"
from an image (B, H, W, 3), RGB 0..255, to a dict {"stride2": ..., "stride4": ..., "last": ...}. A feature "strideR"
has the size ceil(H / R); where dilation gives two stages the same stride, the later one stands. "last" is the deepest
feature. Whitening is inside.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from mtl_tf.errors import UsageError
from mtl_tf.registry import Lazy, Registry

if TYPE_CHECKING:
    import keras


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

ENCODERS: "Registry" = Registry(
    "encoder",
    _RESNETS | {name: Lazy("models.encoders.applications:build", dict(name=name)) for name in APPLICATIONS},
)


def build_encoder(
    name: str, dilation: tuple[int, ...] = (0, 0, 0), consistent: bool = False, excite: bool = False
) -> "keras.Model":
    """Builds an encoder by name.

    Args:
        name: a key of `ENCODERS`.
        dilation: for layers 2, 3, 4, whether the stride of the layer is traded for dilation.
        consistent: whether BasicBlocks dilate so that the features of a strided network are kept.
        excite: whether every residual block has squeeze-and-excitation.

    Raises:
        UsageError: one from outside gives something else.
    """
    encoder = ENCODERS[name](dilation=dilation, consistent=consistent, excite=excite)
    if getattr(encoder, "name", "") != "encoder" or "last" not in getattr(encoder, "output", ()):
        raise UsageError(
            f"encoder {name} should give a keras.Model named encoder from an image to a dict with stride4, ..., last "
            f"(mtl_tf.models.encoders); got {encoder!r:.80}"
        )
    return encoder
