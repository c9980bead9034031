"""ResNet50 in the topology of keras.applications, to take its ImageNet weights.

It differs from torchvision's: the stride of a Bottleneck stands in its first 1x1 convolution (He et al., CVPR 2016, as
published), convolutions have biases, images are BGR with the mean subtracted, batch norm's epsilon is 1.001e-5.
Layers are called as in keras.applications.
"""

import functools

import keras

from mtl_tf.models.encoders.pyramid import Stage, encoder_model, stages
from mtl_tf.models.encoders.squeeze_excitation import squeeze_excitation
from mtl_tf.models.layers import BatchNorm, Conv2D, Whiten, scope

BGR_MEAN = (103.939, 116.779, 123.68)
WIDTHS = (64, 128, 256, 512)
EXPANSION = 4
EPSILON = 1.001e-5


def _conv_bn(x, filters: int, kernel: int, name: str, stride: int = 1, dilation: int = 1, padding: str = "same"):
    x = Conv2D(
        filters,
        kernel,
        strides=stride,
        padding=padding,
        dilation_rate=dilation,
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        name=f"{name}_conv",
    )(x)
    return BatchNorm(epsilon=EPSILON, name=f"{name}_bn")(x)


def _bottleneck(x, width: int, name: str, stage: Stage, first: bool, excite: bool):
    stride = stage.stride if first else 1
    shortcut = _conv_bn(x, width * EXPANSION, 1, f"{name}_0", stride) if first else x
    y = keras.layers.ReLU(name=f"{name}_1_relu")(_conv_bn(x, width, 1, f"{name}_1", stride))
    # The 3x3 comes after the stride, so that it takes the running dilation in every block.
    y = keras.layers.ReLU(name=f"{name}_2_relu")(_conv_bn(y, width, 3, f"{name}_2", dilation=stage.dilation))
    y = _conv_bn(y, width * EXPANSION, 1, f"{name}_3")
    if excite:
        y = squeeze_excitation(y, name)
    return keras.layers.ReLU(name=f"{name}_out")(keras.layers.Add(name=f"{name}_add")([shortcut, y]))


def resnet_keras(
    depths: tuple[int, ...], dilation: tuple[int, ...], consistent: bool, excite: bool = False
) -> keras.Model:
    """The encoder; its convolutions always keep the strided network's features: `consistent` changes nothing."""
    del consistent
    image = keras.Input((None, None, 3), name="image")
    with scope("encoder"):
        x = Whiten(BGR_MEAN, reverse=True, name="whiten")(image)
        x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(x)
        x = keras.layers.ReLU(name="conv1_relu")(_conv_bn(x, 64, 7, "conv1", 2, padding="valid"))
        features, reduction = [(2, x)], 4
        x = keras.layers.MaxPooling2D(3, 2, name="pool1_pool")(keras.layers.ZeroPadding2D(1, name="pool1_pad")(x))
        for number, (width, depth, stage) in enumerate(zip(WIDTHS, depths, stages(dilation), strict=True), 2):
            for index in range(depth):
                x = _bottleneck(x, width, f"conv{number}_block{index + 1}", stage, index == 0, excite)
            reduction *= stage.stride
            features.append((reduction, x))
    return encoder_model(image, features)


ENCODERS = {"resnet50_keras": functools.partial(resnet_keras, (3, 4, 6, 3))}
