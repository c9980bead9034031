"""Masks by which tasks choose from shared features: Liu et al., "End-to-End Multi-Task Learning with Attention", 2019.

The refinement of ResNet's form as in Vandenhende et al., "Multi-Task Learning for Dense Prediction Tasks: A Survey",
TPAMI 2021.
"""

from collections.abc import Callable, Sequence

import keras

from mtl_tf.models.encoders.resnet import EXPANSION, bottleneck_block
from mtl_tf.models.layers import BatchNorm, Conv2D, bn_relu, pytorch_uniform, scope


def build_mask(
    widths: Sequence[int], inner: int, channels: int, path: str, initializer: Callable = pytorch_uniform
) -> keras.Model:
    """Numbers in 0..1 for every value of a feature: two 1x1 convolutions with bias and batch norm, ReLU and sigmoid.

    Args:
        widths: channels of the features that it is made of, side by side.
        inner: channels between the two convolutions.
        channels: of the feature that it masks.
        path: where its variables stand, e.g. "semseg/mask/stage1".
        initializer: makes the one of a kernel.

    Returns:
        A model from a list of (B, h, w, width) to (B, h, w, channels).
    """
    features = [keras.Input((None, None, width), name=f"feature{number}") for number, width in enumerate(widths)]
    with scope(path):
        x = keras.layers.Concatenate(name="concat")(features) if len(features) > 1 else features[0]
        x = bn_relu(Conv2D(inner, 1, kernel_initializer=initializer(), name="inner_conv")(x), "inner")
        x = BatchNorm(name="bn")(Conv2D(channels, 1, kernel_initializer=initializer(), name="conv")(x))
        x = keras.layers.Activation("sigmoid", name="sigmoid")(x)
    return keras.Model(features, x, name=path.replace("/", "_"))


def build_refinement(width: int, channels: int, path: str) -> keras.Model:
    """What a masked feature passes on its way to the next stage, a Bottleneck: (B, h, w, width) -> (B, h, w, channels).

    Args:
        width: channels of the stage.
        channels: of the next one.
        path: where its variables stand, e.g. "shared/refinement/stage1".
    """
    feature = keras.Input((None, None, width), name="feature")
    with scope(path):
        x = bottleneck_block(feature, channels // EXPANSION, "block")
    return keras.Model(feature, x, name=path.replace("/", "_"))
