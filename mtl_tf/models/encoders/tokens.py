"""From the tokens of a plain transformer, which all have one stride, to a feature pyramid."""

import keras
from keras import ops

from mtl_tf.models.encoders.token_layers import PatchMap, grid_of, linear_weights, resampled
from mtl_tf.models.layers import Conv2D, ceil_of, pytorch_uniform

STRIDES = (4, 8, 16, 32)
STRIDE = 16  # of the maps that a pyramid is made of


def build_pyramid(kind: str, taps: list, image, patch: int, others: int) -> list[tuple[int, keras.KerasTensor]]:
    """The features of an encoder of tokens; see `encoder_model`.

    Args:
        kind: "simple" or "dpt".
        taps: tokens (B, N, C) at four depths, from shallow to deep, one for each of `STRIDES`.
        image: (B, H, W, 3).
        patch: its side, in pixels.
        others: how many tokens come before those of patches.
    """
    maps = []
    for stride, tokens in zip(STRIDES, taps, strict=True):
        x = PatchMap(patch, others, name=f"pyramid_stride{stride}_map")(tokens, image)
        if patch != STRIDE:
            x = Restrided(patch, STRIDE, name=f"pyramid_stride{stride}_restrided")(x, image)
        maps.append(x)
    features = []
    for stride, x in zip(STRIDES, _KINDS[kind](maps), strict=True):
        if stride < STRIDE:  # of which an enlarged map may have more
            x = Cropped(stride, name=f"pyramid_stride{stride}_cropped")(x, image)
        features.append((stride, x))
    return features


def _simple(maps):
    """Transposed convolutions and pooling.

    Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022, without the convolutions
    at its end, which decoders have. There every feature is made of the last map; here of a map of its own, as in Bao et
    al., "BEiT", ICLR 2022.
    """
    width = maps[-1].shape[-1]
    finest = _enlarged(maps[0], width // 2, 2, "pyramid_stride4_up1")
    finest = keras.layers.LayerNormalization(epsilon=1e-6, name="pyramid_stride4_norm")(finest)
    finest = keras.layers.Activation("gelu", name="pyramid_stride4_gelu")(finest)
    return [
        _enlarged(finest, width // 4, 2, "pyramid_stride4_up2"),
        _enlarged(maps[1], width // 2, 2, "pyramid_stride8_up"),
        maps[2],
        keras.layers.MaxPooling2D(2, padding="same", name="pyramid_stride32_pool")(maps[3]),
    ]


def _dpt(maps):
    """Reassembly: Ranftl et al., "Vision Transformers for Dense Prediction", ICCV 2021, without the class token.

    The widths of the features are to that of the tokens as in its base network.
    """
    width = maps[-1].shape[-1]
    projected = [
        Conv2D(width // part, 1, kernel_initializer=pytorch_uniform(), name=f"pyramid_stride{stride}_project")(x)
        for stride, part, x in zip(STRIDES, (8, 4, 2, 1), maps, strict=True)
    ]
    coarsest = keras.layers.ZeroPadding2D(1, name="pyramid_stride32_pad")(projected[3])
    coarsest = Conv2D(width, 3, 2, kernel_initializer=pytorch_uniform(), name="pyramid_stride32_down")(coarsest)
    return [
        _enlarged(projected[0], width // 8, 4, "pyramid_stride4_up"),
        _enlarged(projected[1], width // 4, 2, "pyramid_stride8_up"),
        projected[2],
        coarsest,
    ]


_KINDS = {"simple": _simple, "dpt": _dpt}


def _enlarged(x, filters, factor, name):
    return keras.layers.Conv2DTranspose(filters, factor, factor, kernel_initializer=pytorch_uniform(), name=name)(x)


@keras.saving.register_keras_serializable("mtl_tf")
class Restrided(keras.layers.Layer):
    """Bilinear resize of the map (B, h, w, C) of an image to another stride; pixels stay where they lie in the image.

    Args:
        before, after: the strides, in pixels.
    """

    def __init__(self, before, after, **kwargs):
        super().__init__(**kwargs)
        self.before, self.after = before, after
        self.autocast = False  # of a whole image, of which the size is read

    def call(self, inputs, image):
        """Returns (B, ceil(H / after), ceil(W / after), C)."""
        grids = zip(ops.shape(inputs)[1:3], grid_of(image, self.after), strict=True)
        weights = (linear_weights(*cells, self.after / self.before) for cells in grids)
        return ops.cast(resampled(inputs, *weights), inputs.dtype)

    def compute_output_shape(self, inputs_shape, image_shape):
        return (inputs_shape[0], *_sides(image_shape, self.after), inputs_shape[3])

    def get_config(self):
        return {**super().get_config(), "before": self.before, "after": self.after}


@keras.saving.register_keras_serializable("mtl_tf")
class Cropped(keras.layers.Layer):
    """The part of a map (B, h, w, C) that an image has at a stride.

    Args:
        stride: in pixels.
    """

    def __init__(self, stride, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride
        self.autocast = False  # of a whole image, of which the size is read

    def call(self, inputs, image):
        """Returns (B, ceil(H / stride), ceil(W / stride), C)."""
        height, width = grid_of(image, self.stride)
        return inputs[:, :height, :width]

    def compute_output_shape(self, inputs_shape, image_shape):
        return (inputs_shape[0], *_sides(image_shape, self.stride), inputs_shape[3])

    def get_config(self):
        return {**super().get_config(), "stride": self.stride}


def _sides(image_shape, stride):
    return tuple(ceil_of(side, stride) for side in image_shape[1:3])
