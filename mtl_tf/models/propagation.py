"""The scales of MTI-Net: features of every task at each, and how they pass on to the next finer one.

Vandenhende et al., "MTI-Net: Multi-Scale Task Interaction Networks for Multi-Task Learning", ECCV 2020, section 3.3.
"""

from collections.abc import Mapping, Sequence

import keras
from keras import ops

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models.encoders.resnet import basic_block
from mtl_tf.models.encoders.squeeze_excitation import squeeze_excitation
from mtl_tf.models.layers import Conv2D, ResizeLike, conv_bn_relu, pytorch_uniform, scope
from mtl_tf.options import format_value


def scales_of(
    config: ModelConfig, pyramid: Mapping[str, keras.KerasTensor], widths: Mapping[int, int]
) -> dict[int, keras.KerasTensor]:
    """Stride -> feature, from fine to coarse, of the strides that the encoder has.

    Args:
        config: of the encoder.
        pyramid: its features, {"stride4": ..., "last": ...}.
        widths: stride -> the most channels; a wider feature is projected by a 1x1 convolution, batch norm and ReLU.

    Raises:
        UsageError: there is but one.
    """
    found = {stride: pyramid[f"stride{stride}"] for stride in widths if f"stride{stride}" in pyramid}
    if len(found) < 2:
        raise UsageError(
            f"model.architecture=mtinet takes features of two or more of the strides {', '.join(map(str, widths))}; "
            f"{config.encoder} has {', '.join(map(str, found)) or 'none'} at model.dilation="
            f"{format_value(config.dilation)}: dilate less, or use padnet"
        )
    for stride, feature in found.items():
        if feature.shape[-1] > widths[stride]:
            with scope("shared/project"):
                found[stride] = conv_bn_relu(feature, widths[stride], 1, f"project{stride}")
    return found


def build_scale(widths: Sequence[int], path: str) -> keras.Model:
    """The feature of a task at a scale, by two BasicBlocks.

    Args:
        widths: channels C of the encoder's feature; then those of what the next coarser scale passes on, if any.
        path: where its variables stand.

    Returns:
        A model [(B, h, w, C), (B, h', w', C')] -> (B, h, w, C), or of the first alone.
    """
    inputs = [keras.Input((None, None, width), name=f"feature{number}") for number, width in enumerate(widths)]
    x = feature = inputs[0]
    with scope(path):
        if len(inputs) > 1:
            resized = ResizeLike(name="resize")(inputs[1], feature)
            x = keras.layers.Concatenate(name="concat")([feature, resized])
        for number in (1, 2):
            x = basic_block(x, widths[0], f"block{number}")
    return keras.Model(inputs, x, name=path.replace("/", "_"))


def build_propagation(names: Sequence[str], channels: int, softmax: str, at: str) -> keras.Model:
    """The feature propagation module: what the tasks have found at a scale, for each of them at the next finer one.

    All features side by side, F, give a mask of as many channels; F times it is reduced to what all tasks share, and
    each adds that to its own feature, scaled by its squeeze-and-excitation.

    Args:
        names: of the tasks.
        channels: C of each feature.
        softmax: over what the mask sums to one: see `TaskSoftmax`.
        at: the scale, put behind names in paths, e.g. "/scale8".

    Returns:
        A model from a list of (B, h, w, C), one a task, to a list of the same.
    """
    features = [keras.Input((None, None, channels), name=f"feature_{name}") for name in names]
    width = len(names) * channels
    with scope(f"shared{at}/propagation"):
        # By name, so that the order in which tasks are given has no influence.
        in_order = [feature for _, feature in sorted(zip(names, features, strict=True), key=lambda pair: pair[0])]
        together = keras.layers.Concatenate(name="concat")(in_order)
        x = basic_block(together, width // 4, "block1")
        x = basic_block(x, width // 4, "block2")
        x = Conv2D(width, 1, kernel_initializer=pytorch_uniform(), name="mask_conv")(x)
        mask = TaskSoftmax(len(names), softmax, name="mask")(x)
        masked = keras.layers.Multiply(name="masked")([mask, together])
        shared = basic_block(masked, channels, "reduce")
    found = []
    for name, feature in zip(names, features, strict=True):
        with scope(f"{name}{at}/propagation"):
            scaled = squeeze_excitation(shared, name)
        found.append(keras.layers.Add(name=f"{name}_add")([scaled, feature]))
    return keras.Model(features, found, name=f"propagation{at}".replace("/", "_"))


@keras.saving.register_keras_serializable("mtl_tf")
class TaskSoftmax(keras.layers.Layer):
    """Softmax over groups of as many channels as there are tasks, of (B, h, w, T C), T blocks of C channels.

    Args:
        tasks: T.
        over: "channels", T neighbouring channels, which are mostly of one task: the published code's grouping; "tasks",
            the channels at one place in all blocks: the paper's.
    """

    def __init__(self, tasks, over="channels", **kwargs):
        super().__init__(**kwargs)
        self.tasks, self.over = tasks, over

    def call(self, inputs):
        shape, channels = ops.shape(inputs), inputs.shape[-1] // self.tasks
        groups, axis = ((self.tasks, channels), -2) if self.over == "tasks" else ((channels, self.tasks), -1)
        grouped = ops.reshape(inputs, (*shape[:-1], *groups))
        return ops.reshape(ops.softmax(grouped, axis=axis), shape)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "tasks": self.tasks, "over": self.over}
