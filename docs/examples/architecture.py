"""An architecture of your own: every task looks at the shared feature through a mask that it learns.

The mask is that of MTAN (Liu, Johns and Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019), here
once, on the decoder's feature, and not on every stage of the encoder.
`main.py train --plugin=docs/examples/architecture.py --model.architecture=masked ...`
"""

import keras

import mtl_tf
from mtl_tf.models.branch import build_branch, in_memory
from mtl_tf.models.layers import conv_bn_relu, scope


def build_mask(channels: int, path: str) -> keras.Model:
    """From the shared feature (B, h, w, channels) to the part of it that a task sees, of the same shape."""
    feature = keras.Input((None, None, channels), name="feature")
    with scope(path):
        x = conv_bn_relu(feature, channels // 4, 1, "inner")
        mask = keras.layers.Conv2D(channels, 1, activation="sigmoid", name="mask")(x)
        seen = keras.layers.Multiply(name="seen")([feature, mask])
    return keras.Model(feature, seen, name=path.replace("/", "_"))


def masked(config, tasks, backbone) -> dict:
    """One ASPP and decoder for all tasks, and a mask for each; see `mtl_tf.models.architectures`."""
    shared = build_branch(config, backbone, "shared")
    masks = {task.name: build_mask(shared.shape[-1], f"{task.name}/mask") for task in tasks}
    return {"": {name: in_memory(config, mask)(shared) for name, mask in masks.items()}}


mtl_tf.register(mtl_tf.Architecture("masked", masked))
