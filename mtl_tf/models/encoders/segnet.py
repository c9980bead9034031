"""SegNet's encoder, VGG's convolutions with batch norm: Badrinarayanan et al., "SegNet", TPAMI 2017.

Each of its five levels ends in a pooling of 2x2 pixels. The features are what the levels give before they are pooled,
and, last, what the fifth pooling gives. Biases and Xavier's initial weights as in Liu et al., "End-to-End Multi-Task
Learning with Attention", CVPR 2019.
"""

import keras

from mtl_tf.errors import UsageError
from mtl_tf.models.encoders.pyramid import PLAIN, Stage, encoder_model, stages
from mtl_tf.models.layers import IMAGENET, Conv2D, Whiten, bn_relu, scope

WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = (2, 2, 3, 3, 3)  # convolutions of each level


def xavier() -> keras.initializers.Initializer:
    """N(0, 2 / (fan_in + fan_out)): Glorot and Bengio, AISTATS 2010."""
    return keras.initializers.VarianceScaling(1.0, "fan_avg", "untruncated_normal")


def convolved(x, filters: int, name: str, dilation: int = 1):
    """3x3 convolution with bias (NAME_conv), batch norm and ReLU."""
    x = Conv2D(filters, 3, padding="same", dilation_rate=dilation, kernel_initializer=xavier(), name=f"{name}_conv")(x)
    return bn_relu(x, name)


def segnet(dilation: tuple[int, ...], consistent: bool, excite: bool = False) -> keras.Model:
    """The encoder; it always keeps the strided network's features, so that `consistent` changes nothing.

    Args:
        dilation: for the poolings after levels 3, 4 and 5, whether their stride is traded for dilation.
        consistent: see above.
        excite: must be False.

    Raises:
        UsageError: `excite`, which stands in residual blocks.
    """
    del consistent
    if excite:
        raise UsageError(
            "model.squeeze_excitation is not defined for model.encoder=segnet, which has no residual blocks; turn it "
            "off, or use a ResNet"
        )
    image = keras.Input((None, None, 3), name="image")
    *levels, last = PLAIN, Stage(stride=2), Stage(stride=2), *stages(dilation)[1:]
    with scope("encoder"):
        x = Whiten(**IMAGENET, name="whiten")(image)
        features, reduction = [], 1
        for number, (width, depth, stage) in enumerate(zip(WIDTHS, DEPTHS, levels, strict=True), 1):
            if number > 1:
                x = _pooled(x, stage, f"pool{number - 1}")
            for index in range(depth):
                x = convolved(x, width, f"level{number}_{index}", stage.dilation)
            reduction *= stage.stride
            features.append((reduction, x))
        features.append((reduction * last.stride, _pooled(x, last, f"pool{len(WIDTHS)}")))
    return encoder_model(image, features[1:])


def _pooled(x, stage: Stage, name: str):
    """The largest of 2x2 pixels, as far apart as the stage's input is dilated, or of what the border leaves of them."""
    apart, size = stage.first_dilation, 2
    if apart > 1:  # Keras has no such pooling; zeros are never larger, since the feature is not negative
        for axis, (before, after) in {"rows": ((apart, 0), (0, 0)), "columns": ((0, 0), (apart, 0))}.items():
            shifted = keras.layers.Cropping2D((before, after), name=f"{name}_{axis}_crop")(
                keras.layers.ZeroPadding2D((before[::-1], after[::-1]), name=f"{name}_{axis}_pad")(x)
            )
            x = keras.layers.Maximum(name=f"{name}_{axis}")([x, shifted])
        size = 1
    return keras.layers.MaxPooling2D(size, stage.stride, padding="same", name=name)(x)
