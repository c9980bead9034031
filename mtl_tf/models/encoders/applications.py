"""The networks of keras.applications that have a feature pyramid, under our names.

An encoder is the network without its top, replayed (`replay.py`). Its layers are called as in keras.applications, so
that weights can be mapped by name: `encoder/LAYER/VARIABLE`.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import applications

from mtl_tf.errors import UsageError
from mtl_tf.models.encoders.pyramid import encoder_model
from mtl_tf.models.encoders.replay import replay
from mtl_tf.models.encoders.squeeze_excitation import squeeze_excitation
from mtl_tf.models.layers import IMAGENET, Whiten, scope

# What the networks see of an image, as options of `Whiten`.
_BGR = dict(mean=(103.939, 116.779, 123.68), reverse=True)
_UNIT = dict(mean=(127.5,) * 3, std=(127.5,) * 3)  # -1..1
_V2 = dict(mean=(128.0,) * 3, std=(128.0,) * 3)


@dataclasses.dataclass(frozen=True)
class Application:
    """A row of the table.

    Attributes:
        network: builder in keras.applications.
        whitening: options of `Whiten`: what the network sees of an image.
        branch_end: how the name of the last layer of a residual branch ends, which squeeze-and-excitation follows;
            empty where that is not defined.
    """

    network: Callable[..., keras.Model]
    whitening: dict[str, Any]
    branch_end: str = ""

    def without_top(self, **options) -> keras.Model:
        """The network as keras.applications builds it, for images of any size."""
        return self.network(include_top=False, weights=None, input_shape=(None, None, 3), **options)


APPLICATIONS: dict[str, Application] = {
    # He et al., CVPR 2016, as published: the stride of a Bottleneck stands in its first 1x1 convolution.
    "resnet50_keras": Application(applications.ResNet50, _BGR, "_3_bn"),
    "resnet101_keras": Application(applications.ResNet101, _BGR, "_3_bn"),
    "resnet152_keras": Application(applications.ResNet152, _BGR, "_3_bn"),
    # He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016.
    "resnet50v2": Application(applications.ResNet50V2, _UNIT),
    "resnet101v2": Application(applications.ResNet101V2, _UNIT),
    "resnet152v2": Application(applications.ResNet152V2, _UNIT),
    # Huang et al., "Densely Connected Convolutional Networks", CVPR 2017.
    "densenet121": Application(applications.DenseNet121, IMAGENET),
    "densenet169": Application(applications.DenseNet169, IMAGENET),
    "densenet201": Application(applications.DenseNet201, IMAGENET),
    # Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.
    "mobilenetv2": Application(applications.MobileNetV2, _UNIT),
    # Howard et al., "Searching for MobileNetV3", ICCV 2019.
    "mobilenetv3_small": Application(applications.MobileNetV3Small, _UNIT),
    "mobilenetv3_large": Application(applications.MobileNetV3Large, _UNIT),
    # Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019.
    "efficientnet_b0": Application(applications.EfficientNetB0, IMAGENET),
    "efficientnet_b1": Application(applications.EfficientNetB1, IMAGENET),
    "efficientnet_b2": Application(applications.EfficientNetB2, IMAGENET),
    "efficientnet_b3": Application(applications.EfficientNetB3, IMAGENET),
    "efficientnet_b4": Application(applications.EfficientNetB4, IMAGENET),
    "efficientnet_b5": Application(applications.EfficientNetB5, IMAGENET),
    "efficientnet_b6": Application(applications.EfficientNetB6, IMAGENET),
    "efficientnet_b7": Application(applications.EfficientNetB7, IMAGENET),
    # Tan and Le, "EfficientNetV2: Smaller Models and Faster Training", ICML 2021.
    "efficientnetv2_b0": Application(applications.EfficientNetV2B0, IMAGENET),
    "efficientnetv2_b1": Application(applications.EfficientNetV2B1, IMAGENET),
    "efficientnetv2_b2": Application(applications.EfficientNetV2B2, IMAGENET),
    "efficientnetv2_b3": Application(applications.EfficientNetV2B3, IMAGENET),
    "efficientnetv2_s": Application(applications.EfficientNetV2S, _V2),
    "efficientnetv2_m": Application(applications.EfficientNetV2M, _V2),
    "efficientnetv2_l": Application(applications.EfficientNetV2L, _V2),
    # Liu et al., "A ConvNet for the 2020s", CVPR 2022; has no feature of stride 2.
    "convnext_tiny": Application(applications.ConvNeXtTiny, IMAGENET),
    "convnext_small": Application(applications.ConvNeXtSmall, IMAGENET),
    "convnext_base": Application(applications.ConvNeXtBase, IMAGENET),
    "convnext_large": Application(applications.ConvNeXtLarge, IMAGENET),
    "convnext_xlarge": Application(applications.ConvNeXtXLarge, IMAGENET),
}


def build(name: str, dilation: tuple[int, ...], consistent: bool, excite: bool = False) -> keras.Model:
    """An encoder of the table; it always keeps the strided network's features, so that `consistent` changes nothing.

    Raises:
        UsageError: `excite` is asked of a network for which it is not defined.
    """
    del consistent
    row = APPLICATIONS[name]
    if excite and not row.branch_end:
        there = ", ".join(known for known, other in APPLICATIONS.items() if other.branch_end)
        raise UsageError(
            f"model.squeeze_excitation is not defined for model.encoder={name}, only for torchvision's networks and "
            f"{there}; turn it off, or use one of these"
        )

    def after(layer, feature):
        if not excite or not layer.endswith(row.branch_end):
            return feature
        return squeeze_excitation(feature, layer.removesuffix(row.branch_end))

    with keras.StatelessScope(initialize_variables=False):  # its layers are copied: its own weights would fill memory
        network = row.without_top()
    image = keras.Input((None, None, 3), name="image")
    traded = {stride for flag, stride in zip(dilation, (8, 16, 32), strict=True) if flag}
    with scope("encoder"):
        whitened = Whiten(**row.whitening, name="whiten")(image)
        features = replay(network, image, whitened, traded, after)
    return encoder_model(image, features)


ENCODERS = {name: functools.partial(build, name) for name in APPLICATIONS}
