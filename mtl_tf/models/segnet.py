"""MTAN on SegNet, as published: masks for every task on each level of an encoder and of a decoder that mirrors it.

Liu et al., "End-to-End Multi-Task Learning with Attention", CVPR 2019. Features are enlarged with half-pixel centres,
to the size that the level has, where the published code doubles them with aligned corners.
"""

from collections.abc import Iterator, Sequence

import keras

from mtl_tf.models.backbone import Backbone
from mtl_tf.models.branch import in_memory
from mtl_tf.models.encoders.segnet import DEPTHS, WIDTHS, convolved, xavier
from mtl_tf.models.layers import Conv2D, ResizeLike, scope
from mtl_tf.models.masks import build_mask
from mtl_tf.models.outputs import Raw
from mtl_tf.models.unpooling import Unpool
from mtl_tf.tasks import Task

_UP = (WIDTHS[0], *WIDTHS[:-1])  # channels that each level of the decoder gives
_LEVELS = range(len(WIDTHS))


def build_segnet(tasks: Sequence[Task], backbone: Backbone) -> dict[str, Raw]:
    """The raw heads, at the size of the image.

    Args:
        tasks: of the network.
        backbone: gives the encoder, segnet without dilation.

    Returns:
        Task name -> (B, H, W, channels).
    """

    def kept(part):
        return in_memory(backbone.config, part)

    # === What all tasks share ===
    x, down, up = backbone.image, [], {}
    for first, rest in _levels(backbone.encoder()):
        begun = kept(first)(x)
        x = kept(rest)(begun)
        down.append((begun, x))
    x = keras.layers.MaxPooling2D(2, padding="same", name="pool")(x)
    for level in reversed(_LEVELS):
        begun = Unpool(name=f"unpool{level + 1}")(x, down[level][1])
        x = kept(_convolutions(WIDTHS[level], _UP[level], DEPTHS[level], f"shared/decoder/level{level + 1}"))(begun)
        up[level] = begun, x
    following = (*WIDTHS[1:], WIDTHS[-1])
    shared_down = [kept(_convolutions(WIDTHS[i], following[i], 1, f"shared/refinement/down{i + 1}")) for i in _LEVELS]
    shared_up = [kept(_convolutions(WIDTHS[i], _UP[i], 1, f"shared/refinement/up{i + 1}")) for i in _LEVELS]

    # === What each has on its own ===
    def masked(task, features, of, side):
        path = f"{task.name}/mask/{side}"
        channels = of.shape[-1]
        mask = kept(build_mask([each.shape[-1] for each in features], channels, channels, path, xavier))
        return keras.layers.Multiply(name=f"{task.name}_{side}_masked")([mask(features), of])

    found = {}
    for task in tasks:
        passed = []
        for level, (begun, end) in enumerate(down):
            x = shared_down[level](masked(task, [begun, *passed], end, f"down{level + 1}"))
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"{task.name}_pool{level + 1}")(x)
            passed = [x]
        for level, (begun, end) in up.items():
            resized = ResizeLike(name=f"{task.name}_resize{level + 1}")(x, begun)
            x = masked(task, [begun, shared_up[level](resized)], end, f"up{level + 1}")
        found[task.name] = Raw(_build_head(task)(x))
    return found


def _levels(encoder) -> Iterator[tuple[keras.Model, keras.Model]]:
    """Of each level of the encoder, the model up to its first convolution and the one from there to its end."""
    begin = encoder.inputs[0]
    for number, depth in enumerate(DEPTHS):
        first, end = (encoder.get_layer(f"level{number + 1}_{index}_relu").output for index in (0, depth - 1))
        name = f"{encoder.name}_stage{number}"
        yield keras.Model(begin, first, name=name), keras.Model(first, end, name=f"{name}_last")
        begin = end


def _convolutions(width, channels, depth, path):
    """3x3 convolutions with bias, batch norm and ReLU: (B, h, w, width) -> (B, h, w, channels)."""
    feature = x = keras.Input((None, None, width), name="feature")
    with scope(path):
        for index in range(depth):
            x = convolved(x, channels, str(index))
    return keras.Model(feature, x, name=path.replace("/", "_"))


def _build_head(task):
    """A 3x3 and a 1x1 convolution, the latter in float32 as in `mtl_tf.models.decoder.build_head`."""
    feature = keras.Input((None, None, _UP[0]), name="feature")
    with scope(f"{task.name}/head"):
        x = Conv2D(_UP[0], 3, padding="same", kernel_initializer=xavier(), name="fuse")(feature)
        x = keras.layers.Conv2D(task.channels, 1, kernel_initializer=xavier(), dtype="float32", name="conv")(x)
    return keras.Model(feature, x, name=f"{task.name}_head")
