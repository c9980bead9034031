"""HRNet in timm's topology, without what classifies images: up to four branches of strides 4 to 32, side by side.

Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", TPAMI 2020.
"""

import keras
from keras import ops

from mtl_tf.models.encoders.pyramid import encoder_model, refuse_dilation
from mtl_tf.models.encoders.resnet import basic_block, bottleneck_block, conv_bn
from mtl_tf.models.layers import IMAGENET, Whiten, scope

STEM = 64  # channels of its convolutions, and the inner ones of the blocks that follow


@keras.saving.register_keras_serializable("mtl_tf")
class RepeatLike(keras.layers.Layer):
    """Repeats every pixel of (B, h, w, C) in a square, cut to the height and width of a reference (B, H, W, ...).

    Where a factor divides H and W this is the resize to the nearest pixel. Where not, pixels of both maps stay where
    they lie in the image: pixel i of a map of stride 2 R is pixel 2 i of that of stride R.

    Args:
        factor: side of the square, in pixels.
    """

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs, reference):
        """Returns (B, H, W, C)."""
        height, width = ops.shape(reference)[1:3]
        return ops.repeat(ops.repeat(inputs, self.factor, 1), self.factor, 2)[:, :height, :width]

    def compute_output_shape(self, inputs_shape, reference_shape):
        return (inputs_shape[0], *reference_shape[1:3], inputs_shape[3])

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def _conv_bn_relu(x, width, kernel, name, stride=1):
    return keras.layers.ReLU(name=f"{name}_relu")(conv_bn(x, width, kernel, name, stride))


def _fused(branches, target: int, name: str):
    """The sum of all branches on the grid of one of them: finer ones strided to it, coarser ones repeated."""
    reference, terms = branches[target], []
    for number, x in enumerate(branches):
        step = f"{name}_{number}"
        if number > target:
            x = conv_bn(x, reference.shape[-1], 1, step)
            x = RepeatLike(2 ** (number - target), name=f"{step}_repeat")(x, reference)
        elif number < target:
            for index in range(target - number - 1):
                x = _conv_bn_relu(x, x.shape[-1], 3, f"{step}_down{index}", 2)
            x = conv_bn(x, reference.shape[-1], 3, f"{step}_down{target - number - 1}", 2)
        terms.append(x)
    return keras.layers.ReLU(name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")(terms))


def _module(branches, depth: int, name: str):
    """Residual blocks in every branch, then what each branch is given by all."""
    deep = []
    for number, x in enumerate(branches):
        for index in range(depth):
            x = basic_block(x, x.shape[-1], f"{name}_branch{number}_{index}")
        deep.append(x)
    return [_fused(deep, target, f"{name}_fuse{target}") for target in range(len(deep))]


def hrnet(
    name: str,
    width: int,
    dilation: tuple[int, ...],
    consistent: bool,
    excite: bool = False,
    depth: int = 4,
    modules: tuple[int, ...] = (1, 4, 3),
) -> keras.Model:
    """An HRNet with the features of its four branches, of width, 2 width, 4 width and 8 width channels.

    All four come out of the last fusion at once, and each depends on all branches before: it has no single tensor
    between two stages.

    Args:
        name: of the encoder, for messages.
        width: channels of the branch of stride 4.
        dilation: none; the coarse branches have their strides beside the fine ones.
        consistent: changes nothing.
        excite: not defined.
        depth: blocks of the first stage, and of every branch in a module.
        modules: how many of them stages 2, 3 and 4 have, of two, three and four branches.

    Raises:
        UsageError: dilation or squeeze-and-excitation is asked for.
    """
    del consistent
    refuse_dilation(name, dilation, excite, "has a branch of stride 4 all through")
    image = keras.Input((None, None, 3), name="image")
    with scope("encoder"):
        x = Whiten(**IMAGENET, name="whiten")(image)
        for number in (1, 2):
            x = keras.layers.ReLU(name=f"relu{number}")(conv_bn(x, STEM, 3, f"conv{number}", 2))
        for index in range(depth):
            x = bottleneck_block(x, STEM, f"layer1_{index}")
        branches = [_conv_bn_relu(x, width, 3, "transition1_0")]
        for stage, count in enumerate(modules, 2):
            deepest = x if stage == 2 else branches[-1]
            added = _conv_bn_relu(deepest, width * 2 ** (stage - 1), 3, f"transition{stage - 1}_{stage - 1}", 2)
            branches.append(added)
            for number in range(count):
                branches = _module(branches, depth, f"stage{stage}_{number}")
    return encoder_model(image, [(4 * 2**number, feature) for number, feature in enumerate(branches)])
