"""The decoder with skip connections, and the head after it.

Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", ECCV 2018.
"""

from collections.abc import Sequence

import keras

from mtl_tf.models.aspp import CHANNELS
from mtl_tf.models.layers import ResizeLike, bn_relu, conv_bn_relu, pytorch_uniform, scope
from mtl_tf.models.upsampled import UpsampledConv2D

SKIP_CHANNELS = 48


def build_decoder(skip_channels: Sequence[int], enabled: bool, path: str) -> keras.Model:
    """From the ASPP output and encoder features of falling stride to the feature before the head.

    With one skip two 3x3 convolutions follow it, as published; with several, one follows each.

    Args:
        skip_channels: channels of each encoder feature, from the largest stride to the smallest.
        enabled: False only resizes; the encoder feature then gives nothing but the size.
        path: where its variables stand, e.g. "semseg/decoder".

    Returns:
        A model [(B, h, w, 256), (B, H/s, W/s, channels) of each stride s] -> (B, H/s, W/s, 256) of the last s.
    """
    feature = x = keras.Input((None, None, CHANNELS), name="feature")
    skips = [keras.Input((None, None, channels), name=f"skip_{i}") for i, channels in enumerate(skip_channels, 1)]
    with scope(path):
        if not enabled:
            x = ResizeLike(name="upsample")(x, skips[-1])
        elif len(skips) == 1:
            skip = conv_bn_relu(skips[0], SKIP_CHANNELS, 1, "skip")
            fused = UpsampledConv2D(CHANNELS, kernel_initializer=pytorch_uniform(), name="fuse1_conv")([x, skip])
            x = conv_bn_relu(bn_relu(fused, "fuse1"), CHANNELS, 3, "fuse2")
        else:
            for number, skip in enumerate(skips, 1):
                # The maps here are but half as large before, where UpsampledConv2D gains little or nothing.
                x = ResizeLike(name=f"upsample{number}")(x, skip)
                skip = conv_bn_relu(skip, SKIP_CHANNELS, 1, f"skip{number}")
                x = keras.layers.Concatenate(name=f"concat{number}")([x, skip])
                x = conv_bn_relu(x, CHANNELS, 3, f"fuse{number}")
    return keras.Model([feature, *skips], x, name=path.replace("/", "_"))


def build_head(channels: int, path: str, in_channels: int = CHANNELS) -> keras.Model:
    """The 1x1 convolution with bias that answers: (B, h, w, in_channels) -> (B, h, w, channels).

    It computes in float32 whatever the policy: 16 bits would quantise depth to tens of centimetres.
    """
    feature = keras.Input((None, None, in_channels), name="feature")
    bound = in_channels**-0.5
    with scope(path):
        answer = keras.layers.Conv2D(
            channels,
            1,
            kernel_initializer=pytorch_uniform(),
            bias_initializer=keras.initializers.RandomUniform(-bound, bound),
            dtype="float32",
            name="conv",
        )(feature)
    return keras.Model(feature, answer, name=path.replace("/", "_"))
