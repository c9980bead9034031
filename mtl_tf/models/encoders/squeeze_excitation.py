"""Squeeze-and-excitation: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, eq. 2-4."""

import keras

REDUCTION = 16
PART = "_se_"  # in the name of every layer; weight files of plain encoders have no tensors of these


def squeeze_excitation(x, name: str):
    """Scales every channel by a gate in 0..1 that depends on the global mean of all channels.

    The mean is that of the whole feature and does not see dilation. But where a stage's stride is traded for dilation
    it runs over more pixels than in the strided network, so that the same weights give other gates: with
    squeeze-and-excitation no rule of dilation keeps the strided network's features exactly.

    Args:
        x: feature (B, h, w, C).
        name: of the residual block.

    Returns:
        (B, h, w, C).
    """
    channels = x.shape[-1]
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}{PART}pool")(x)  # (B, 1, 1, C)
    gate = _dense(gate, max(1, channels // REDUCTION), "relu", f"{name}{PART}reduce")
    gate = _dense(gate, channels, "sigmoid", f"{name}{PART}expand")
    return keras.layers.Multiply(name=f"{name}{PART}scale")([x, gate])


def _dense(x, channels, activation, name):
    initializer = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    return keras.layers.Conv2D(channels, 1, activation=activation, kernel_initializer=initializer, name=name)(x)
