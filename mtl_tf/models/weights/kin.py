"""Tells which residual network tensors are of, by their shapes alone."""

import re

_BLOCK = re.compile(r"encoder/layer(\d)_(\d+)_conv(\d)/kernel")
_KERAS_BLOCK = re.compile(r"encoder/conv(\d)_block(\d+)_3_conv/.+")


def kin_of(shapes: dict[str, tuple[int, ...]]) -> str | None:
    """The name of the encoder, e.g. "resnet101", "wide_resnet50_2", "resnext50_32x4d"; None if it cannot be told.

    Args:
        shapes: of all tensors, by the path of our variables.
    """
    keras = {match.groups() for match in map(_KERAS_BLOCK.fullmatch, shapes) if match}
    if keras:
        # Three convolutions in a block, the first one and the classifier.
        version = "v2" if any("preact" in path for path in shapes) else "_keras"
        return f"resnet{3 * len(keras) + 2}{version}"
    blocks = {match.groups() for match in map(_BLOCK.fullmatch, shapes) if match}
    widths = shapes.get("encoder/layer1_0_conv2/kernel", ())
    if len(blocks) < 4 or len(widths) != 4:
        return None
    layers, (_, _, inputs, outputs) = len(blocks) + 2, widths
    bottleneck = "encoder/layer1_0_conv3/kernel" in shapes
    if not bottleneck or inputs == outputs == 64:
        return f"resnet{layers}"
    if inputs == outputs:
        return f"wide_resnet{layers}_{outputs // 64}"
    return f"resnext{layers}_{outputs // inputs}x{inputs}d"
