"""Layers of plain vision transformers: an image in patches, tokens, their positions, and attention among them.

The tokens are (B, N, C): some that belong to no patch, then the patches of a grid row by row. The grid has
ceil(H / patch) x ceil(W / patch) cells, which layers read off the image: the tokens alone do not tell its two sides.
"""

import math

import keras
from keras import ops

from mtl_tf.models.layers import ceil_of

_FIRST = dict(mean=0.0, stddev=0.02)  # of the initial values that are learnt: a truncated normal distribution


def grid_of(image, cell: int) -> tuple:
    """The cells, of so many pixels a side, that cover an image (B, H, W, ...): how many in height and in width."""
    return tuple(ceil_of(side, cell) for side in ops.shape(image)[1:3])


def linear_weights(inputs, outputs, step):
    """The matrix (outputs, inputs) that interpolates a line of values linearly, beyond its ends the last ones.

    Args:
        inputs, outputs: how many values there are, and shall be.
        step: of an output, in inputs.
    """
    places = ops.clip(_places(outputs, step), 0.0, ops.cast(inputs, "float32") - 1.0)
    return ops.relu(1.0 - _distances(places, inputs))


def cubic_weights(inputs, outputs):
    """The matrix (outputs, inputs) that resizes a line of values by cubic interpolation: Keys, IEEE TASSP 1981.

    Its a is -1/2. Where the line is shortened the kernel is widened, so that no input is passed over; beyond the ends
    there is nothing. For as many outputs as inputs it is the identity.
    """
    step = ops.cast(inputs, "float32") / ops.cast(outputs, "float32")
    x = _distances(_places(outputs, step), inputs) / ops.maximum(step, 1.0)
    near = (1.5 * x - 2.5) * x**2 + 1.0
    far = ((2.5 - 0.5 * x) * x - 4.0) * x + 2.0
    weights = ops.where(x < 1.0, near, ops.where(x < 2.0, far, 0.0))
    return weights / ops.sum(weights, axis=1, keepdims=True)


def _places(outputs, step):
    """Where the centres of outputs lie among those of inputs; both begin at the same border."""
    return (ops.cast(ops.arange(outputs), "float32") + 0.5) * step - 0.5


def _distances(places, inputs):
    return ops.abs(places[:, None] - ops.cast(ops.arange(inputs), "float32"))


def resampled(maps, rows, columns):
    """Maps (B, h, w, C) by a matrix (H, h) and one (W, w): (B, H, W, C), in float32."""
    maps = ops.einsum("oi,bixc->boxc", rows, ops.cast(maps, "float32"))
    return ops.einsum("oi,byic->byoc", columns, maps)


# === From an image to tokens, and back to maps ===


@keras.saving.register_keras_serializable("mtl_tf")
class PadToPatch(keras.layers.Layer):
    """Zeros at the lower and right border of (B, H, W, C), up to whole patches; at least one.

    Args:
        patch: its side, in pixels.
    """

    def __init__(self, patch, **kwargs):
        super().__init__(**kwargs)
        self.patch = patch

    def call(self, inputs):
        """Returns (B, ceil(H / patch) * patch, ceil(W / patch) * patch, C)."""
        height, width = ((0, cells * self.patch - side) for cells, side in self._sides(inputs))
        return ops.pad(inputs, ((0, 0), height, width, (0, 0)))

    def _sides(self, inputs):
        return zip(grid_of(inputs, self.patch), ops.shape(inputs)[1:3], strict=True)

    def compute_output_shape(self, input_shape):
        height, width = (_times(ceil_of(side, self.patch), self.patch) for side in input_shape[1:3])
        return (input_shape[0], height, width, input_shape[3])

    def get_config(self):
        return {**super().get_config(), "patch": self.patch}


@keras.saving.register_keras_serializable("mtl_tf")
class Flatten(keras.layers.Layer):
    """From maps (B, h, w, C) to tokens (B, h w, C), row by row."""

    def call(self, inputs):
        batch, height, width = ops.shape(inputs)[:3]
        return ops.reshape(inputs, (batch, height * width, inputs.shape[-1]))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], _product(input_shape[1:3]), input_shape[3])


@keras.saving.register_keras_serializable("mtl_tf")
class PatchMap(keras.layers.Layer):
    """From tokens (B, N, C) and the image that they are of to the map (B, h, w, C) of its patches.

    Args:
        patch: its side, in pixels.
        others: how many tokens come before those of patches; they are left out.
    """

    def __init__(self, patch, others=0, **kwargs):
        super().__init__(**kwargs)
        self.patch, self.others = patch, others
        self.autocast = False  # of a whole image, of which the size is read

    def call(self, inputs, image):
        """Returns the map."""
        return ops.reshape(inputs[:, self.others :], (-1, *grid_of(image, self.patch), inputs.shape[-1]))

    def compute_output_shape(self, inputs_shape, image_shape):
        return (inputs_shape[0], *(ceil_of(side, self.patch) for side in image_shape[1:3]), inputs_shape[2])

    def get_config(self):
        return {**super().get_config(), "patch": self.patch, "others": self.others}


# === What is learnt of tokens ===


@keras.saving.register_keras_serializable("mtl_tf")
class Prepended(keras.layers.Layer):
    """Learnt tokens before those of (B, N, C); their variable is called as the layer.

    Args:
        count: of these tokens.
    """

    def __init__(self, count=1, **kwargs):
        super().__init__(**kwargs)
        self.count = count

    def build(self, input_shape):
        first = keras.initializers.TruncatedNormal(**_FIRST)
        self.tokens = self.add_weight(name=self.name, shape=(1, self.count, input_shape[-1]), initializer=first)

    def call(self, inputs):
        """Returns (B, count + N, C)."""
        tokens = ops.convert_to_tensor(self.tokens)
        tokens = ops.broadcast_to(tokens, (ops.shape(inputs)[0], *tokens.shape[1:]))
        return ops.concatenate([tokens, inputs], axis=1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], None if input_shape[1] is None else self.count + input_shape[1], input_shape[2])

    def get_config(self):
        return {**super().get_config(), "count": self.count}


@keras.saving.register_keras_serializable("mtl_tf")
class Positions(keras.layers.Layer):
    """Adds a learnt value of each position to tokens (B, N, C) of an image; their variable is called as the layer.

    For a grid of another size, values are resampled as in timm: bicubic, without aliasing, at the border by what is
    there. At the size that they were learnt at they are as they are.

    Args:
        side: of the grid that they were learnt on, in patches.
        patch: its side, in pixels.
        others: how many tokens come before those of patches, and have a value of their own each.
    """

    def __init__(self, side, patch, others=0, **kwargs):
        super().__init__(**kwargs)
        self.side, self.patch, self.others = side, patch, others
        self.autocast = False  # of a whole image; and values are resampled in float32

    def build(self, inputs_shape, image_shape):
        shape = (1, self.others + self.side**2, inputs_shape[-1])
        first = keras.initializers.TruncatedNormal(**_FIRST)
        self.values = self.add_weight(name=self.name, shape=shape, initializer=first, autocast=False)

    def call(self, inputs, image):
        """Returns (B, N, C)."""
        values = ops.convert_to_tensor(self.values)
        maps = ops.reshape(values[:, self.others :], (1, self.side, self.side, -1))
        weights = (cubic_weights(self.side, cells) for cells in grid_of(image, self.patch))
        maps = ops.reshape(resampled(maps, *weights), (1, -1, values.shape[-1]))
        return inputs + ops.cast(ops.concatenate([values[:, : self.others], maps], axis=1), inputs.dtype)

    def compute_output_shape(self, inputs_shape, image_shape):
        return inputs_shape

    def get_config(self):
        return {**super().get_config(), "side": self.side, "patch": self.patch, "others": self.others}


# === Attention ===


@keras.saving.register_keras_serializable("mtl_tf")
class SelfAttention(keras.layers.Layer):
    """softmax(q . k / sqrt d) v among all tokens, in several heads: Vaswani et al., NeurIPS 2017.

    Scores and their softmax are float32. Their memory grows with the square of the number of tokens.

    Args:
        heads: among which the channels are shared out.
    """

    def __init__(self, heads, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def call(self, inputs):
        """From queries, keys and values side by side, (B, N, 3 C), to (B, N, C)."""
        return self._attend(*self._parts(inputs))

    def _parts(self, inputs):
        """Queries over sqrt d, keys and values: (B, heads, N, d) each."""
        batch, count = ops.shape(inputs)[:2]
        size = inputs.shape[-1] // 3 // self.heads
        parts = ops.transpose(ops.reshape(inputs, (batch, count, 3, self.heads, size)), (2, 0, 3, 1, 4))
        return parts[0] * size**-0.5, parts[1], parts[2]

    def _attend(self, query, key, value):
        scores = ops.matmul(query, ops.swapaxes(key, -1, -2))
        weights = ops.cast(ops.softmax(ops.cast(scores, "float32")), value.dtype)
        attended = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
        batch, count = ops.shape(attended)[:2]
        return ops.reshape(attended, (batch, count, self.heads * value.shape[-1]))

    def compute_output_shape(self, input_shape, *others):
        return (*input_shape[:2], input_shape[2] // 3)

    def multiply_adds(self, input_shape, *others):
        """Of the products between queries, keys and values."""
        batch, count, width = input_shape
        return 2 * batch * count**2 * (width // 3)

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}


@keras.saving.register_keras_serializable("mtl_tf")
class RotaryAttention(SelfAttention):
    """Attention that sees where tokens of patches lie to each other: queries and keys are turned by their positions.

    Simeoni et al., "DINOv3", 2025, after Su et al., "RoFormer", 2021: a patch lies in -1..1 along both axes of the
    image, whatever its size. Of every head a half of the pairs of channels turns with the row, the other half with the
    column, by 2 pi / period each, with periods from 1 to below the longest.

    Args:
        heads: see above; of a multiple of four channels.
        patch: its side, in pixels.
        others: how many tokens come before those of patches, and are not turned.
        longest: which the periods approach, in units of half an image.
    """

    def __init__(self, heads, patch, others=0, longest=100.0, **kwargs):
        super().__init__(heads, **kwargs)
        self.patch, self.others, self.longest = patch, others, longest
        self.autocast = False  # of a whole image

    def call(self, inputs, image):
        """See above; the tokens are of this image, (B, H, W, 3)."""
        query, key, value = self._parts(inputs)
        cosines, sines = self._turns(*grid_of(image, self.patch), value.shape[-1])
        return self._attend(*(_turned(each, cosines, sines) for each in (query, key)), value)

    def _turns(self, height, width, size):
        """Cosine and sine of every token's angles: (N, size / 2)."""
        count = size // 4
        speeds = [2 * math.pi * self.longest ** (-number / count) for number in range(count)]
        by_row, by_column = (
            ((2.0 * ops.cast(ops.arange(cells), "float32") + 1.0) / ops.cast(cells, "float32") - 1.0)[:, None]
            * ops.convert_to_tensor(speeds, "float32")
            for cells in (height, width)
        )
        by_row = ops.broadcast_to(by_row[:, None], (height, width, count))
        by_column = ops.broadcast_to(by_column[None], (height, width, count))
        angles = ops.reshape(ops.concatenate([by_row, by_column], axis=-1), (-1, 2 * count))
        angles = ops.pad(angles, ((self.others, 0), (0, 0)))
        return ops.cos(angles), ops.sin(angles)

    def get_config(self):
        return {**super().get_config(), "patch": self.patch, "others": self.others, "longest": self.longest}


def _turned(values, cosines, sines):
    """Turns pairs of channels of (B, heads, N, d): each of the first half with its like of the second, in float32."""
    first, second = ops.split(ops.cast(values, "float32"), 2, axis=-1)
    turned = ops.concatenate([first * cosines - second * sines, second * cosines + first * sines], axis=-1)
    return ops.cast(turned, values.dtype)


def _times(count, factor):
    return None if count is None else count * factor


def _product(sides):
    return None if None in sides else math.prod(sides)
