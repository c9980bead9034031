"""The decoder with skip connections, and the head after it.

Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", ECCV 2018.
"""

from collections.abc import Sequence

import keras

from mtl_tf.models.aspp import CHANNELS
from mtl_tf.models.layers import ResizeLike, bn_relu, conv_bn_relu, pytorch_uniform, scope
from mtl_tf.models.outputs import graph_name
from mtl_tf.models.upsampled import UpsampledConv2D
from mtl_tf.tasks import Task

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


def build_head(channels: int, path: str, in_channels: int = CHANNELS, deviation: float | None = None) -> keras.Model:
    """The 1x1 convolution with bias that answers: (B, h, w, in_channels) -> (B, h, w, channels).

    It computes in float32 whatever the policy: 16 bits would quantise depth to tens of centimetres. It starts as
    PyTorch's, or normal with a standard deviation of `deviation` and no bias.
    """
    feature = keras.Input((None, None, in_channels), name="feature")
    bound = in_channels**-0.5
    first = pytorch_uniform(), keras.initializers.RandomUniform(-bound, bound)
    if deviation is not None:
        first = keras.initializers.RandomNormal(stddev=deviation), "zeros"
    with scope(path):
        answer = keras.layers.Conv2D(
            channels, 1, kernel_initializer=first[0], bias_initializer=first[1], dtype="float32", name="conv"
        )(feature)
    return keras.Model(feature, answer, name=path.replace("/", "_"))


def build_raw(
    task: Task,
    feature: keras.KerasTensor,
    label: str = "",
    channels: int | None = None,
    deviation: float | None = None,
) -> keras.KerasTensor:
    """The raw head of a task (B, h, w, channels) of a feature (B, h, w, C).

    Args:
        task: whose it is.
        feature: of the task.
        label: of the output, see `mtl_tf.models.architectures`.
        channels: None = those of the task's answer.
        deviation: of its kernel in the beginning, see `build_head`.
    """
    path = graph_name(f"{task.name}/head{label}")
    return build_head(channels or task.channels, path, feature.shape[-1], deviation)(feature)
