"""Attention-guided distillation: Xu et al., "PAD-Net", CVPR 2018, eq. 4-5 (message passing with gates)."""

import keras

from mtl_tf.models.aspp import CHANNELS
from mtl_tf.models.layers import pytorch_uniform, scope


def build_attention(path: str, gate_init: str = "zeros") -> keras.Model:
    """SA(x) = conv3x3(x) * sigmoid(conv3x3'(x)): what one task passes to another.

    A gate that starts at zero is half open everywhere: every message starts as half its value.

    Args:
        path: where its variables stand, e.g. "semseg/attention/depth" for what depth passes to segmentation.
        gate_init: "zeros", or "default" for PyTorch's random initialisation.

    Returns:
        A model (B, h, w, 256) -> (B, h, w, 256).
    """
    inputs = keras.Input((None, None, CHANNELS), name="feature")

    def conv(name, initializer):
        return keras.layers.Conv2D(
            CHANNELS, 3, padding="same", use_bias=False, kernel_initializer=initializer, name=name
        )(inputs)

    with scope(path):
        gate = keras.layers.Activation("sigmoid", name="sigmoid")(
            conv("gate", "zeros" if gate_init == "zeros" else pytorch_uniform())
        )
        message = keras.layers.Multiply(name="message")([conv("value", pytorch_uniform()), gate])
    return keras.Model(inputs, message, name=path.replace("/", "_"))
