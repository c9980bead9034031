"""The decoder with a skip connection, and the head after it.

Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", ECCV 2018.
"""

import keras

from mtl_tf.models.aspp import CHANNELS
from mtl_tf.models.layers import ResizeLike, conv_bn_relu, pytorch_uniform, scope

SKIP_CHANNELS = 48


def build_decoder(skip_channels: int, enabled: bool, path: str) -> keras.Model:
    """From the ASPP output and the encoder's stride-4 feature to the feature before the head.

    Args:
        skip_channels: channels of the stride-4 feature.
        enabled: False only resizes; the stride-4 feature then gives nothing but the size.
        path: where its variables stand, e.g. "semseg/decoder".

    Returns:
        A model [(B, h, w, 256), (B, H/4, W/4, skip_channels)] -> (B, H/4, W/4, 256).
    """
    feature = keras.Input((None, None, CHANNELS), name="feature")
    low_level = keras.Input((None, None, skip_channels), name="low_level")
    with scope(path):
        x = ResizeLike(name="upsample")(feature, low_level)
        if enabled:
            skip = conv_bn_relu(low_level, SKIP_CHANNELS, 1, "skip")
            x = keras.layers.Concatenate(name="concat")([x, skip])
            x = conv_bn_relu(x, CHANNELS, 3, "fuse1")
            x = conv_bn_relu(x, CHANNELS, 3, "fuse2")
    return keras.Model([feature, low_level], x, name=path.replace("/", "_"))


def build_head(channels: int, path: str) -> keras.Model:
    """The 1x1 convolution with bias that answers: (B, h, w, 256) -> (B, h, w, channels).

    It computes in float32 whatever the policy: 16 bits would quantise depth to tens of centimetres.
    """
    feature = keras.Input((None, None, CHANNELS), name="feature")
    bound = CHANNELS**-0.5
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
