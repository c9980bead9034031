"""The decoder of InvPT: Ye and Xu, "Inverted Pyramid Multi-task Transformer for Dense Scene Understanding", ECCV 2022.

The features of all tasks stand beside each other as (B, h, w, tasks, channels): layers of the last axis treat each
position of each task alike, and what resizes or pools takes all tasks at once. The published code has weights that
nothing depends on; here they are left out.
"""

import math
from collections.abc import Mapping, Sequence

import keras
from keras import ops

from mtl_tf.models.backbone import Backbone
from mtl_tf.models.branch import in_memory
from mtl_tf.models.decoder import build_raw
from mtl_tf.models.layers import BatchNorm, Conv2D, ResizeLike, bn_relu, ceil_of, conv_bn_relu, pytorch_uniform, scope
from mtl_tf.models.outputs import Raw
from mtl_tf.models.projections import dense
from mtl_tf.tasks import Task

STRIDES = (32, 16, 8)  # of the stages
_FINAL_STRIDE = 4
_HEADS = 2
_EXPANSION = 4  # of the inner layer of a block
_DILATION = 2  # of the convolutions before a block
_EPSILON = 1e-5


def build_invpt(
    tasks: Sequence[Task], backbone: Backbone, embed: int, extra: int, project: Sequence[int] = ()
) -> tuple[dict, dict]:
    """The tasks' features before their last convolution, and their preliminary predictions.

    Args:
        tasks: of the network.
        backbone: gives the image, and an encoder's features.
        embed: channels of the preliminary features.
        extra: channels of the first stage beyond those; the next ones have a half and a quarter of the sum.
        project: channels that the features at strides 8, 16 and 32 are brought to by 1x1 convolutions; () = none.

    Returns:
        Task name -> (B, H/4, W/4, embed + extra); and task name -> the preliminary prediction, a `Raw` at stride 32.
    """
    names, width = [task.name for task in tasks], embed + extra
    grids = {stride: Grid(stride, name=f"grid{stride}")(backbone.image) for stride in (*STRIDES, _FINAL_STRIDE)}
    features = _features(backbone, project)

    def call(model, inputs):
        return in_memory(backbone.config, model)(inputs)

    # === Preliminary predictions ===
    last = ResizeLike(name="last_at_stride32")(features[STRIDES[0]], grids[STRIDES[0]])
    first, preliminary = [], {}
    for task in tasks:
        feature = call(_preliminary(last.shape[-1], embed, task.name), last)
        raw = build_raw(task, feature, "@preliminary")
        preliminary[task.name] = Raw(raw)
        with scope(f"{task.name}/mix"):
            mixed = keras.layers.Concatenate(name=f"{task.name}_mix_concat")([feature, raw])
            first.append(_conv1(width, f"{task.name}_mix_conv")(mixed))

    # === Stages ===
    x, scores = call(_first_stage(names, width), first)
    found = [x]
    for number in (1, 2):
        grid, feature = grids[STRIDES[number]], features[STRIDES[number]]
        stage = _stage(names, number, x.shape[-1], feature.shape[-1], last=number == 2)
        x, *rest = call(stage, [x, scores, feature, grid])
        scores = rest[0] if rest else None
        found.append(x)

    # === What the stages give each task ===
    parts = [_parted(x, number) for number, x in enumerate(found)]
    final = {
        name: call(_final([x.shape[-1] for x in found], name), [*of_task, grids[_FINAL_STRIDE]])
        for name, *of_task in zip(names, *parts, strict=True)
    }
    return final, preliminary


# === Parts ===


def _features(backbone: Mapping, project: Sequence[int]) -> dict:
    """The encoder's last feature, for stride 32, and those of stride 16 and 8, or of the nearest that there is."""
    strides = sorted(int(name.removeprefix("stride")) for name in backbone if name != "last")
    found = {STRIDES[0]: backbone["last"]}
    for stride in STRIDES[1:]:
        nearest = min(strides, key=lambda each: abs(math.log2(each / stride)))
        found[stride] = backbone[f"stride{nearest}"]
    if project:
        with scope("shared/project"):
            for stride, width in zip(sorted(STRIDES), project, strict=True):
                found[stride] = conv_bn_relu(found[stride], width, 1, f"project{stride}")
    return found


def _preliminary(channels, embed, task):
    """Two 3x3 convolutions: (B, h, w, channels) -> (B, h, w, embed)."""
    feature = keras.Input((None, None, channels), name="feature")
    with scope(f"{task}/preliminary"):
        x = conv_bn_relu(feature, channels, 3, "conv1")
        x = conv_bn_relu(x, embed, 3, "conv2")
    return keras.Model(feature, x, name=f"{task}_preliminary")


def _first_stage(names, width):
    """[(B, h, w, width) of each task] -> [(B, h, w, tasks, width), scores of its attention]."""
    features = [keras.Input((None, None, width), name=f"{name}_feature") for name in names]
    return keras.Model(features, _block(Stack(name="stack")(features), names, 0), name="stage0")


def _stage(names, number, width, encoder_width, last):
    """A stage of half the width that it is given, at the size of its grid.

    [(B, h, w, tasks, width), scores of the stage before, encoder's feature, (B, H, W, 1)] ->
    [(B, H, W, tasks, width/2), scores unless it is the last one].
    """
    before = keras.Input((None, None, len(names), width), name="feature")
    scores = keras.Input((None, None, len(names), _HEADS, None), name="scores")
    encoded = keras.Input((None, None, encoder_width), name="encoded")
    grid = keras.Input((None, None, 1), name="grid")
    with scope(f"shared/stage{number}"):
        encoder_part = _conv(width // 2, "encoded_conv", use_bias=True)(encoded)
        encoder_part = ResizeLike(name="encoded_resize")(encoder_part, grid)
    features = []
    for name, x in zip(names, Unstack(name="unstack")(ResizeStacked(name="upsample")(before, grid)), strict=True):
        with scope(f"{name}/stage{number}"):
            x = conv_bn_relu(x, width // 2, 3, f"{name}_conv1", dilation=_DILATION)
            x = conv_bn_relu(x, width // 2, 3, f"{name}_conv2", dilation=_DILATION)
        features.append(keras.layers.Add(name=f"{name}_add")([x, encoder_part]))
    x, scores_now = _block(Stack(name="stack")(features), names, number, scores)
    return keras.Model([before, scores, encoded, grid], [x] if last else [x, scores_now], name=f"stage{number}")


def _block(x, names, number, scores=None):
    """A block of a transformer on (B, h, w, tasks, width), and the scores of its attention.

    Queries at twice the stride of x, keys and values at stride 64 in every stage, so that scores can be passed on.
    """
    width = x.shape[-1]
    with scope(f"shared/stage{number}"):
        normed = keras.layers.LayerNormalization(epsilon=_EPSILON, name="attention_norm")(x)
    queries = []
    for name, query in zip(names, Unstack(name="queries")(normed), strict=True):
        with scope(f"{name}/stage{number}"):
            query = keras.layers.ZeroPadding2D(1, name=f"{name}_query_pad")(query)
            query = keras.layers.DepthwiseConv2D(
                3,
                strides=2,
                use_bias=False,
                depthwise_initializer=keras.initializers.RandomUniform(-1 / 3, 1 / 3),  # PyTorch's for 9 values
                name=f"{name}_query_conv",
            )(query)
            queries.append(BatchNorm(name=f"{name}_query_bn")(query))
    with scope(f"shared/stage{number}"):
        query = dense(width, "query")(Stack(name="stack_queries")(queries))
        pooled = PoolStacked(2 ** (number + 1), name="pool")(normed)
        key, value = dense(width, "key")(pooled), dense(width, "value")(pooled)
        given = [query, key, value]
        if scores is not None:
            given.append(ResizeStacked(name="resize_scores")(scores, query))
        attended, scores = TaskAttention(_HEADS, name="attention")(given)
        attended = ResizeStacked(name="attention_resize")(dense(width, "attended")(attended), x)
        x = keras.layers.Add(name="attention_add")([x, attended])
        inner = keras.layers.LayerNormalization(epsilon=_EPSILON, name="mlp_norm")(x)
        inner = dense(_EXPANSION * width, "mlp1", activation="gelu")(inner)
        x = keras.layers.Add(name="mlp_add")([x, dense(width, "mlp2")(inner)])
    return x, scores


def _parted(x, number):
    """The features of each task, normalised over the channels of all of them: a list of (B, h, w, width)."""
    with scope(f"shared/stage{number}"):
        x = keras.layers.LayerNormalization(axis=(3, 4), epsilon=_EPSILON, name=f"joint_norm{number}")(x)
    return Unstack(name=f"parts{number}")(x)


def _final(widths, task):
    """[(B, h, w, width) of each stage, (B, H, W, 1)] -> (B, H, W, width of the first stage)."""
    features = [keras.Input((None, None, width), name=f"feature{n}") for n, width in enumerate(widths)]
    grid = keras.Input((None, None, 1), name="grid")
    with scope(f"{task}/final"):
        same = [features[0], *(_conv1(widths[0], f"widen{n}")(x) for n, x in enumerate(features[1:], 1))]
        same = [ResizeLike(name=f"upsample{n}")(x, grid) for n, x in enumerate(same)]
        x = keras.layers.Add(name="add")(same)
        x = bn_relu(_conv(widths[0], "fuse_conv", use_bias=True)(x), "fuse")
    return keras.Model([*features, grid], x, name=f"{task}_final")


def _conv(filters, name, **options):
    return Conv2D(filters, 3, padding="same", kernel_initializer=pytorch_uniform(), name=name, **options)


def _conv1(filters, name):
    return Conv2D(filters, 1, kernel_initializer=pytorch_uniform(), name=name)


# === Layers ===


@keras.saving.register_keras_serializable("mtl_tf")
class Grid(keras.layers.Layer):
    """The sizes of the maps at a stride, ceil(H / stride) and ceil(W / stride), as a map of one channel.

    The grids come from the image, since encoders round in ways of their own.

    Args:
        stride: in pixels.
    """

    def __init__(self, stride, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride
        self.autocast = False  # of a whole image, of which few pixels are taken

    def call(self, image):
        """From (B, H, W, C) to (B, ceil(H / stride), ceil(W / stride), 1)."""
        return image[:, :: self.stride, :: self.stride, :1]

    def compute_output_shape(self, image_shape):
        return (image_shape[0], *(ceil_of(side, self.stride) for side in image_shape[1:3]), 1)

    def get_config(self):
        return {**super().get_config(), "stride": self.stride}


@keras.saving.register_keras_serializable("mtl_tf")
class Stack(keras.layers.Layer):
    """From a list of (B, h, w, C), one a task, to (B, h, w, tasks, C)."""

    def call(self, inputs):
        return ops.stack(inputs, axis=3)

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:3], len(input_shape), input_shape[0][3])


@keras.saving.register_keras_serializable("mtl_tf")
class Unstack(keras.layers.Layer):
    """From (B, h, w, tasks, C) to a list of (B, h, w, C)."""

    def call(self, inputs):
        return ops.unstack(inputs, axis=3)

    def compute_output_shape(self, input_shape):
        return [(*input_shape[:3], input_shape[4])] * input_shape[3]


@keras.saving.register_keras_serializable("mtl_tf")
class ResizeStacked(ResizeLike):
    """Bilinear resize of (B, h, w, ...), any axes, to the height and width of a reference (B, H, W, ...)."""

    def call(self, inputs, reference):
        """Returns (B, H, W, ...)."""
        return _of_maps(lambda maps: super(ResizeStacked, self).call(maps, reference), inputs)

    def compute_output_shape(self, inputs_shape, reference_shape):
        return (inputs_shape[0], *reference_shape[1:3], *inputs_shape[3:])


@keras.saving.register_keras_serializable("mtl_tf")
class PoolStacked(keras.layers.Layer):
    """The means of squares of (B, h, w, ...); those at the lower and right edge are of what is there.

    Args:
        size: of a square.
    """

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, inputs):
        """Returns (B, ceil(h / size), ceil(w / size), ...)."""
        share = self._mean(ops.ones_like(inputs[:1, ..., :1, :1], "float32")[..., 0])
        return _of_maps(self._mean, inputs) / ops.cast(share, inputs.dtype)[..., None]

    def _mean(self, maps):
        """With zeros where there is nothing."""
        beyond = (0, self.size - 1)  # of which pooling leaves out what fills no square
        padded = ops.pad(maps, ((0, 0), beyond, beyond, (0, 0)))
        return ops.average_pool(padded, self.size, self.size, "valid", "channels_last")

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *(ceil_of(side, self.size) for side in input_shape[1:3]), *input_shape[3:])

    def get_config(self):
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable("mtl_tf")
class TaskAttention(keras.layers.Layer):
    """Attention of every position of every task to every one of all tasks.

    Scores are q.k C^-0.5, C being the channels of all heads together. Given those of an earlier stage, each head takes
    a learnt sum of all heads' scores, its own and the earlier ones, and a number. Scores and their softmax are float32.
    What they take grows with the square of the image's area, and of the number of tasks.

    Args:
        heads: among which the channels are shared out.
    """

    def __init__(self, heads, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def build(self, input_shape):
        if len(input_shape) == 4:
            shape, first = (2 * self.heads, self.heads), pytorch_uniform()
            self.kernel = self.add_weight(name="kernel", shape=shape, initializer=first, autocast=False)
            self.bias = self.add_weight(name="bias", shape=shape[1:], initializer="zeros", autocast=False)

    def call(self, inputs):
        """Attends.

        Args:
            inputs: queries (B, h, w, tasks, C); keys and values (B, k, l, tasks, C); and scores of an earlier stage at
                the size of the queries, if there are any.

        Returns:
            (B, h, w, tasks, C), and the scores (B, h, w, tasks, heads, all keys) before the softmax.
        """
        queries, keys, values, *earlier = inputs
        channels = queries.shape[-1]
        parts = (-1, self.heads, channels // self.heads)
        batch, height, width, tasks = ops.shape(queries)[:4]
        q, k, v = (ops.reshape(each, (batch, *parts)) for each in (queries * channels**-0.5, keys, values))
        scores = ops.cast(ops.einsum("bqhc,bkhc->bqhk", q, k), "float32")
        if earlier:
            before = ops.cast(ops.reshape(earlier[0], ops.shape(scores)), "float32")
            together = ops.concatenate([scores, before], axis=2)
            scores = ops.einsum("bqik,ij->bqjk", together, self.kernel) + ops.reshape(self.bias, (-1, 1))
        attended = ops.einsum("bqhk,bkhc->bqhc", ops.cast(ops.softmax(scores), v.dtype), v)
        grid = (batch, height, width, tasks)
        attended = ops.reshape(attended, (*grid, channels))
        return attended, ops.reshape(scores, (*grid, self.heads, ops.shape(scores)[-1]))

    def compute_output_shape(self, input_shape):
        queries, keys = input_shape[:2]
        return queries, (*queries[:4], self.heads, _product(keys[1:4]))

    def compute_output_spec(self, inputs):
        attended, scores = self.compute_output_shape([each.shape for each in inputs])
        return keras.KerasTensor(attended, self.compute_dtype), keras.KerasTensor(scores, "float32")

    def multiply_adds(self, queries, keys, values, earlier=None):
        """Of the products between queries, keys and values, and of the sums of scores.

        Args:
            queries, keys, values, earlier: shapes of the inputs; None = there are no earlier scores.
        """
        pairs = _product(queries[:4]) * _product(keys[1:4])
        return pairs * (2 * queries[4] + (2 * self.heads**2 if earlier else 0))

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}


def _of_maps(function, inputs):
    """Applies a function of maps (B, h, w, C) to (B, h, w, ...)."""
    shape = ops.shape(inputs)
    maps = function(ops.reshape(inputs, (*shape[:3], -1)))
    return ops.reshape(maps, (*ops.shape(maps)[:3], *shape[3:]))


def _product(sides):
    return None if None in sides else math.prod(sides)
