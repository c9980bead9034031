"""An encoder of your own: five convolutions, for trying things out.

`main.py train --plugin=docs/examples/encoder.py --model.encoder=five ...`
"""

import keras

import mtl_tf
from mtl_tf.models.encoders.pyramid import encoder_model, stages
from mtl_tf.models.layers import IMAGENET, BatchNorm, Conv2D, Whiten, scope

WIDTHS = (16, 32, 64, 64)  # of the stages at strides 4, 8, 16, 32


def convolution(x, filters: int, name: str, stride: int = 1, dilation: int = 1):
    """3x3 convolution, batch norm and ReLU; pads alike on all sides, so that features stay where they are."""
    if stride > 1:
        x = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    x = Conv2D(
        filters,
        3,
        strides=stride,
        dilation_rate=dilation,
        padding="valid" if stride > 1 else "same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return keras.layers.ReLU(name=f"{name}_relu")(BatchNorm(name=f"{name}_bn")(x))


def five(dilation: tuple[int, ...], consistent: bool, excite: bool) -> keras.Model:
    """The encoder; see `mtl_tf.models.encoders` for what its arguments say and what it has to give."""
    if excite:
        raise mtl_tf.UsageError("model.squeeze_excitation needs residual blocks; encoder five has none: leave it out")
    image = keras.Input((None, None, 3), name="image")
    with scope("encoder"):
        x = convolution(Whiten(**IMAGENET, name="whiten")(image), 8, "stem", stride=2)
        features = [(2, x)]
        x = convolution(x, WIDTHS[0], "stage1", stride=2)
        features.append((4, x))
        reduction = 4
        for number, (width, stage) in enumerate(zip(WIDTHS[1:], stages(dilation)[1:], strict=True), 2):
            x = convolution(x, width, f"stage{number}", stage.stride, stage.first_dilation)
            reduction *= stage.stride
            features.append((reduction, x))
    return encoder_model(image, features)


mtl_tf.register(mtl_tf.Encoder("five", five))
