"""ResNet, Wide ResNet and ResNeXt in torchvision's topology (v1.5: a Bottleneck strides in its 3x3).

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; Zagoruyko and Komodakis, "Wide Residual Networks",
BMVC 2016; Xie et al., "Aggregated Residual Transformations for Deep Neural Networks", CVPR 2017; dilation after Yu et
al., "Dilated Residual Networks", CVPR 2017.
"""

import functools

import keras

from mtl_tf.models.encoders.pyramid import PLAIN, Stage, encoder_model, stages
from mtl_tf.models.encoders.squeeze_excitation import squeeze_excitation
from mtl_tf.models.layers import IMAGENET, BatchNorm, Conv2D, Whiten, scope

WIDTHS = (64, 128, 256, 512)
EXPANSION = 4  # of a Bottleneck's output over the width of its stage


def conv_bn(x, filters: int, kernel: int, name: str, stride: int = 1, dilation: int = 1, groups: int = 1):
    """Bias-free convolution that pads symmetrically, as PyTorch does, and batch norm: NAME and its bn."""
    # Keras has no convolution with both: it then runs at stride 1 and is sub-sampled, which is the same.
    subsample = stride if dilation > 1 else 1
    stride //= subsample
    if stride > 1 and kernel > 1:
        # "same" would pad one side more than the other and shift the features by a pixel.
        x = keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    x = Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="valid" if stride > 1 else "same",
        dilation_rate=dilation,
        groups=groups,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        name=name,
    )(x)
    if subsample > 1:
        x = keras.layers.MaxPooling2D(1, subsample, name=f"{name}_subsample")(x)
    return BatchNorm(name=name.replace("conv", "bn") if "conv" in name else f"{name}_bn")(x)


def basic_block(
    x,
    width: int,
    name: str,
    stage: Stage = PLAIN,
    first: bool = False,
    consistent: bool = False,
    excite: bool = False,
):
    """Two 3x3 convolutions and a shortcut.

    Args:
        x: feature (B, h, w, C).
        width: channels that come out.
        name: of the block.
        stage: how its stage samples.
        first: whether it is the first of its stage.
        consistent, excite: see `resnet`.

    Returns:
        (B, h, w, width), sub-sampled as the stage says.
    """
    stride = stage.stride if first else 1
    if consistent:
        # conv1 sees the input's grid, conv2 the one that conv1's stride would have left.
        dilations = (stage.first_dilation if first else stage.dilation, stage.dilation)
    else:
        # The original's rule; the same weights do not give the strided network's features.
        dilations = (1, 2 if first and stage.flagged else stage.dilation)
    y = keras.layers.ReLU(name=f"{name}_relu1")(conv_bn(x, width, 3, f"{name}_conv1", stride, dilations[0]))
    y = conv_bn(y, width, 3, f"{name}_conv2", 1, dilations[1])
    return _join(x, y, width, name, stride, excite)


def bottleneck_block(
    x,
    width: int,
    name: str,
    stage: Stage = PLAIN,
    first: bool = False,
    consistent: bool = False,
    excite: bool = False,
    base_width: int = 64,
    groups: int = 1,
):
    """1x1, 3x3 and 1x1 convolutions and a shortcut: see `basic_block`; `EXPANSION * width` channels come out."""
    inner = width * base_width * groups // 64
    stride = stage.stride if first else 1
    dilation = stage.first_dilation if first else stage.dilation
    y = keras.layers.ReLU(name=f"{name}_relu1")(conv_bn(x, inner, 1, f"{name}_conv1"))
    y = conv_bn(y, inner, 3, f"{name}_conv2", stride, dilation, groups)
    y = keras.layers.ReLU(name=f"{name}_relu2")(y)
    y = conv_bn(y, width * EXPANSION, 1, f"{name}_conv3")
    return _join(x, y, width * EXPANSION, name, stride, excite)


def _join(x, y, width: int, name: str, stride: int, excite: bool):
    """Adds the shortcut, projected where the shape changes."""
    if excite:
        y = squeeze_excitation(y, name)
    if stride > 1 or x.shape[-1] != width:
        x = conv_bn(x, width, 1, f"{name}_downsample", stride)
    return keras.layers.ReLU(name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")([x, y]))


def resnet(
    depths: tuple[int, ...],
    dilation: tuple[int, ...],
    consistent: bool,
    excite: bool = False,
    bottleneck: bool = True,
    widths: tuple[int, ...] = WIDTHS,
    **options,
) -> keras.Model:
    """A torchvision ResNet without pooling and classifier.

    Args:
        depths: blocks in each of the four stages.
        dilation: for layers 2, 3, 4, whether the stride is traded for dilation.
        consistent: BasicBlock only: dilate so that the same weights keep the strided network's features.
        excite: squeeze-and-excitation in every block, after its last batch norm; its gates depend on dilation.
        bottleneck: whether its blocks are Bottlenecks, else BasicBlocks.
        widths: of the four stages; those of a Bottleneck's 3x3 convolution.
        options: base_width and groups of a Bottleneck.
    """
    block = functools.partial(bottleneck_block, **options) if bottleneck else basic_block
    image = keras.Input((None, None, 3), name="image")
    with scope("encoder"):
        x = Whiten(**IMAGENET, name="whiten")(image)
        x = keras.layers.ReLU(name="relu1")(conv_bn(x, 64, 7, "conv1", 2))
        features, reduction = [(2, x)], 4
        # Padding with zeros is padding with minus infinity here: the feature is never negative.
        x = keras.layers.MaxPooling2D(3, 2, name="pool")(keras.layers.ZeroPadding2D(1, name="pool_pad")(x))
        for number, (width, depth, stage) in enumerate(zip(widths, depths, stages(dilation), strict=True), 1):
            for index in range(depth):
                x = block(x, width, f"layer{number}_{index}", stage, index == 0, consistent, excite)
            reduction *= stage.stride
            features.append((reduction, x))
    return encoder_model(image, features)
