"""Atrous spatial pyramid pooling.

Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017.
"""

import keras

from mtl_tf.models.layers import ResizeLike, conv_bn_relu, scope

CHANNELS = 256


def build_aspp(in_channels: int, rates: tuple[int, ...], enabled: bool, path: str) -> keras.Model:
    """The block between encoder and decoder.

    Args:
        in_channels: channels of the encoder's last feature.
        rates: dilations of the 3x3 branches, in pixels of that feature.
        enabled: False leaves one 1x1 convolution.
        path: where its variables stand, e.g. "semseg/aspp".

    Returns:
        A model (B, h, w, in_channels) -> (B, h, w, 256).
    """
    inputs = x = keras.Input((None, None, in_channels), name="feature")
    with scope(path):
        if enabled:
            branches = [conv_bn_relu(x, CHANNELS, 1, "point")]
            branches += [conv_bn_relu(x, CHANNELS, 3, f"atrous{rate}", rate) for rate in rates]
            pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
            pooled = conv_bn_relu(pooled, CHANNELS, 1, "pool")
            branches.append(ResizeLike(name="pool_broadcast")(pooled, x))
            x = keras.layers.Concatenate(name="concat")(branches)
        x = conv_bn_relu(x, CHANNELS, 1, "project")
    return keras.Model(inputs, x, name=path.replace("/", "_"))
