"""The heads that published families share, up to the last 1x1 convolution, which `build_model` adds.

DeepLab's and HRNet's as in Vandenhende et al., "Multi-Task Learning for Dense Prediction Tasks: A Survey", TPAMI 2021;
FCN's as in Bruggemann et al., "Exploring Relational Context for Multi-Task Dense Prediction", ICCV 2021.
"""

from collections.abc import Mapping, Sequence

import keras

from mtl_tf.models.aspp import CHANNELS, build_aspp
from mtl_tf.models.encoders.resnet import EXPANSION, bottleneck_block
from mtl_tf.models.layers import BatchNorm, Conv2D, Dropout, ResizeLike, conv_bn_relu, pytorch_uniform, scope
from mtl_tf.options import Section
from mtl_tf.tasks import Task

_RATES = (12, 24, 36)  # of DeepLab's pooling


def build_family_head(
    kind: str, features: Mapping[str, keras.KerasTensor], path: str, dropout: float = 0.0
) -> keras.KerasTensor:
    """What a head makes of an encoder's features.

    Args:
        kind: one of `family_options.HEADS`.
        features: of one encoder, {"stride4": ..., "last": ...}; DeepLab's takes the last one.
        path: where its variables stand, e.g. "semseg/deeplab".
        dropout: share of the values that DeepLab's leaves out before its 3x3 convolution, while training.

    Returns:
        (B, h, w, channels): DeepLab 256 at the stride of the last feature, HRNet the sum of all features' channels at
        the stride of the first, FCN a quarter of that.
    """
    if kind == "deeplab":
        return _deeplab(features["last"].shape[-1], path, dropout)(features["last"])
    tensors = [features[name] for name in pyramid_names(features)]
    return _fused([tensor.shape[-1] for tensor in tensors], kind, path)(tensors)


def build_task_head(task: Task, features: Mapping[str, keras.KerasTensor], options: Section) -> keras.KerasTensor:
    """What the head of a task makes of its features, see `build_family_head`, by a family's `head` and `dropout`."""
    return build_family_head(options.head, features, f"{task.name}/{options.head}", options.dropout)


def pyramid_names(features: Mapping[str, keras.KerasTensor]) -> list[str]:
    """The features from stride 4 on, from the finest to the coarsest; "last" where it is none of them."""
    strides = sorted(int(name.removeprefix("stride")) for name in features if name != "last")
    names = [f"stride{stride}" for stride in strides if stride >= 4]
    return names if not names or features[names[-1]] is features["last"] else [*names, "last"]


def build_bottlenecks(in_channels: int, path: str) -> keras.Model:
    """PAD-Net's blocks before a prediction, two Bottlenecks of 64 channels in their middle.

    Args:
        in_channels: C of the feature.
        path: where its variables stand, e.g. "semseg/blocks".

    Returns:
        A model (B, h, w, C) -> (B, h, w, 256).
    """
    feature = x = keras.Input((None, None, in_channels), name="feature")
    with scope(path):
        for number in (1, 2):
            x = bottleneck_block(x, CHANNELS // EXPANSION, f"block{number}")
    return keras.Model(feature, x, name=path.replace("/", "_"))


def side_by_side(features: Sequence[keras.KerasTensor]) -> keras.KerasTensor:
    """All features (B, h, w, channels) in one, at the height and width of the first."""
    same = [features[0]]
    same += [ResizeLike(name=f"resize{n}")(each, features[0]) for n, each in enumerate(features[1:], 1)]
    return keras.layers.Concatenate(name="concat")(same) if len(same) > 1 else same[0]


def build_fuse(in_channels: int, filters: int, kernel: int, path: str) -> keras.Model:
    """A convolution with batch norm and ReLU: FCN's head of features side by side, where several tasks share them.

    Args:
        in_channels: of the features.
        filters: of the convolution.
        kernel: its height and width.
        path: where its variables stand, e.g. "semseg/fcn".

    Returns:
        A model (B, h, w, in_channels) -> (B, h, w, filters).
    """
    feature = keras.Input((None, None, in_channels), name="feature")
    with scope(path):
        x = conv_bn_relu(feature, filters, kernel, "fuse")
    return keras.Model(feature, x, name=path.replace("/", "_"))


def _deeplab(width: int, path: str, dropout: float) -> keras.Model:
    """Atrous pooling, then a 3x3 convolution: (B, h, w, width) -> (B, h, w, 256)."""
    feature = keras.Input((None, None, width), name="feature")
    x = build_aspp(width, _RATES, True, f"{path}/aspp")(feature)
    with scope(path):
        if dropout:
            x = Dropout(dropout, name="dropout")(x)
        x = conv_bn_relu(x, CHANNELS, 3, "fuse")
    return keras.Model(feature, x, name=path.replace("/", "_"))


def _fused(widths: Sequence[int], kind: str, path: str) -> keras.Model:
    """All features at the size of the first, side by side, and one convolution."""
    features = [keras.Input((None, None, width), name=f"feature{number}") for number, width in enumerate(widths)]
    with scope(path):
        x = side_by_side(features)
        if kind == "fcn":
            x = conv_bn_relu(x, sum(widths) // 4, 3, "fuse")
        else:
            x = Conv2D(sum(widths), 1, kernel_initializer=pytorch_uniform(), name="fuse_conv")(x)
            x = keras.layers.ReLU(name="fuse_relu")(BatchNorm(name="fuse_bn")(x))
    return keras.Model(features, x, name=path.replace("/", "_"))
