"""Attention-guided distillation: Xu et al., "PAD-Net", CVPR 2018, eq. 4-5 (message passing with gates)."""

import keras

from mtl_tf.models.aspp import CHANNELS
from mtl_tf.models.layers import pytorch_uniform, scope


def build_attention(path: str, gate_init: str = "zeros", channels: int = CHANNELS) -> keras.Model:
    """SA(x) = conv3x3(x) * sigmoid(conv3x3'(x)): what one task passes to another.

    A gate that starts at zero is half open everywhere: every message starts as half its value.

    Args:
        path: where its variables stand, e.g. "semseg/attention/depth" for what depth passes to segmentation.
        gate_init: "zeros", or "default" for PyTorch's random initialisation.
        channels: C of the feature.

    Returns:
        A model (B, h, w, C) -> (B, h, w, C).
    """
    feature = keras.Input((None, None, channels), name="feature")
    with scope(path):
        gate = _gate(feature, gate_init)
        message = keras.layers.Multiply(name="message")([_value(feature), gate])
    return keras.Model(feature, message, name=path.replace("/", "_"))


def build_gate(path: str, gate_init: str, channels: int) -> keras.Model:
    """sigmoid(conv3x3'(x)) alone; see `build_attention`."""
    feature = keras.Input((None, None, channels), name="feature")
    with scope(path):
        return keras.Model(feature, _gate(feature, gate_init), name=path.replace("/", "_"))


def build_value(path: str, channels: int) -> keras.Model:
    """conv3x3(x) alone; see `build_attention`."""
    feature = keras.Input((None, None, channels), name="feature")
    with scope(path):
        return keras.Model(feature, _value(feature), name=path.replace("/", "_"))


def _gate(feature, gate_init):
    gate = _convolved(feature, "gate", "zeros" if gate_init == "zeros" else pytorch_uniform())
    return keras.layers.Activation("sigmoid", name="sigmoid")(gate)


def _value(feature):
    return _convolved(feature, "value", pytorch_uniform())


def _convolved(feature, name, initializer):
    return keras.layers.Conv2D(
        feature.shape[-1], 3, padding="same", use_bias=False, kernel_initializer=initializer, name=name
    )(feature)
