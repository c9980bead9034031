"""The kernels of TensorFlow that Keras lacks or has slower; replicas are TensorFlow's too."""

import contextlib
import functools
import math
import threading
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

_state = threading.local()  # each replica is traced in a thread of its own


# === Batch normalisation ===


def normalise(inputs, gamma, beta, mean, variance, epsilon: float):
    """Batch normalisation of (B, H, W, C) by given statistics (C,), in one kernel."""
    return tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=tf.convert_to_tensor(gamma),
        offset=tf.convert_to_tensor(beta),
        mean=tf.convert_to_tensor(mean),
        variance=tf.convert_to_tensor(variance),
        epsilon=epsilon,
        is_training=False,
    ).y


def normalise_by_batch(inputs, gamma, beta, running, epsilon: float):
    """Batch normalisation by the statistics of the global batch, on any number of replicas.

    On one replica it is TensorFlow's fused kernel. On several the mean is that of all images, however many each replica
    holds, and the variance that of the deviations from it (in two passes, since the mean of squares less the square of
    the mean would cancel): as many numbers as channels, and one, go between the replicas, whatever their number.

    A single value a channel, as behind the global pooling of a single image, has no spread to be divided by: it is
    normalised by the running statistics.

    Args:
        inputs: (B, H, W, C).
        gamma, beta: (C,).
        running: mean (C,) and variance (C,) for a single value a channel.
        epsilon: added to the variance.

    Returns:
        (B, H, W, C); mean (C,); unbiased variance (C,): both NaN for a single value a channel, which has none.
    """
    gamma, beta = tf.convert_to_tensor(gamma), tf.convert_to_tensor(beta)
    sizes = inputs.shape[:3].as_list()
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        # Not by the images of this replica: a replica that has one of a ragged batch would be traced into another graph
        # than the others, with its exchanges in another order.
        several = math.prod(size for size in sizes[1:] if size is not None) > 1
        running = None if several else tuple(map(tf.convert_to_tensor, running))
        outputs, mean, variance = _synchronised(tf.cast(inputs, tf.float32), gamma, beta, running, epsilon, context)
        return tf.cast(outputs, inputs.dtype), mean, variance

    def by_batch():
        nothing = tf.constant([], tf.float32)
        fused = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=gamma, offset=beta, mean=nothing, variance=nothing, epsilon=epsilon, is_training=True
        )
        return fused.y, fused.batch_mean, fused.batch_variance

    if math.prod(size for size in sizes if size is not None) > 1:  # values a channel, before there is a batch
        return by_batch()
    mean, variance = map(tf.convert_to_tensor, running)

    def by_running():
        none = tf.fill([inputs.shape[-1]], math.nan)
        return normalise(inputs, gamma, beta, mean, variance, epsilon), none, none

    if None not in sizes:
        return by_running()
    return tf.cond(tf.size(inputs) > inputs.shape[-1], by_batch, by_running)


def _synchronised(inputs, gamma, beta, running, epsilon, context):
    """Of float32 inputs; `running` is None where there are several values a channel for certain."""

    def total(values):
        return context.all_reduce(tf.distribute.ReduceOp.SUM, values)  # differentiable

    channels = inputs.shape[-1]
    own = tf.cast(tf.size(inputs) // channels, tf.float32)
    sums = total(tf.concat([tf.reduce_sum(inputs, [0, 1, 2]), own[None]], 0))
    count, mean = sums[channels], sums[:channels] / sums[channels]
    deviations = total(tf.reduce_sum(tf.math.squared_difference(inputs, mean), [0, 1, 2]))
    center, variance = mean, deviations / count
    if running is not None:
        single = count < 2.0
        center, variance = (tf.where(single, a, b) for a, b in zip(running, (mean, variance), strict=True))
        mean = tf.where(single, math.nan, mean)
    scale = gamma * tf.math.rsqrt(variance + epsilon)
    outputs = inputs * scale + (beta - center * scale)
    return outputs, mean, deviations / (count - 1.0)


# === Convolution ===


def convolution(channels: int, filters: int, strides, padding: str, dilations, groups: int, dtype: str) -> Callable:
    """A function (inputs (B, H, W, channels), kernel (h, w, channels / groups, filters)) -> (B, H', W', filters).

    The machine's own kernels for dilation and for groups, where it has them: Keras splits the input of a dilated
    convolution into dilation^2 interleaved images, which costs padding, copies and many tiny convolutions: at rate 9
    on 16x16 features it takes four times as long. A convolution in groups it compiles with XLA, anew for every size of
    the image.
    """
    padding, dilated, grouped = padding.upper(), max(dilations) > 1, groups > 1
    dense = grouped and not has_grouped_kernels(dtype)
    # With groups and dilation in sixteen bits, oneDNN's gradient of the kernel is garbage, NaN in places.
    sound = not grouped or dense or dtype == "float32"
    native = not dilated or (sound and has_dilated_kernels(dtype))
    plain = padding == "SAME" and max(strides) == 1 and (dense or not grouped)

    def depthwise(inputs, kernel):
        kernel = tf.transpose(kernel, (0, 1, 3, 2))  # (h, w, C, 1)
        return tf.nn.depthwise_conv2d(inputs, kernel, (1, *strides, 1), padding, dilations=dilations)

    def convolve(inputs, kernel):
        if dense:
            kernel = block_diagonal(kernel, groups)
        if native:
            return tf.nn.conv2d(inputs, kernel, strides, padding, dilations=dilations)
        if plain and all(size % 2 for size in kernel.shape[:2]):
            return _dilated(inputs, kernel, dilations)
        return tf.nn.convolution(inputs, kernel, strides, padding, dilations=dilations)

    return depthwise if grouped and groups == filters == channels else convolve


def _dilated(inputs, kernel, dilations):
    """A dilated convolution (stride 1, zeros outside) where TensorFlow has the kernel of the answer alone.

    The gradient of the inputs is the convolution of the upstream one by the turned kernel. That of each of the kernel's
    places is a product of matrices, over the pixels whose neighbour at this place is inside the image.
    """
    tall, wide = kernel.shape[:2]
    (down, across), dtype = dilations, kernel.dtype

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def gradient(upstream):
            turned = tf.transpose(kernel[::-1, ::-1], (0, 1, 3, 2))
            size = tf.shape(inputs)[1:3]

            def at(row, column):
                shift = tf.stack([(row - tall // 2) * down, (column - wide // 2) * across])
                count = tf.maximum(size - tf.abs(shift), 0)
                seen, seeing = tf.maximum(shift, 0), tf.maximum(-shift, 0)
                ends = seen + count, seeing + count
                pixels = inputs[:, seen[0] : ends[0][0], seen[1] : ends[0][1]]
                pull = upstream[:, seeing[0] : ends[1][0], seeing[1] : ends[1][1]]
                return tf.tensordot(pixels, pull, [[0, 1, 2], [0, 1, 2]])

            of_kernel = tf.stack([tf.stack([at(row, column) for column in range(wide)]) for row in range(tall)])
            return tf.nn.conv2d(upstream, turned, 1, "SAME", dilations=dilations), tf.cast(of_kernel, dtype)

        return tf.nn.conv2d(inputs, kernel, 1, "SAME", dilations=dilations), gradient

    return convolve(inputs, tf.convert_to_tensor(kernel))


def block_diagonal(kernel, groups: int):
    """The kernel (h, w, C, F) that convolves all channels as (h, w, C / groups, F) does in groups; zeros elsewhere."""
    height, width, channels, filters = kernel.shape
    blocks = tf.reshape(kernel, (height, width, 1, channels, groups, filters // groups))
    own = tf.eye(groups, dtype=kernel.dtype)[:, None, :, None]
    return tf.reshape(blocks * own, (height, width, groups * channels, filters))


@functools.cache
def has_dilated_kernels(dtype: str) -> bool:
    """Whether TensorFlow can differentiate a dilated convolution here: on GPUs, and on CPUs that oneDNN knows."""
    return _has_gradients(dtype, dilations=2)


@functools.cache
def has_grouped_kernels(dtype: str) -> bool:
    """Whether TensorFlow can differentiate a convolution in groups here: on GPUs, and on CPUs that oneDNN knows."""
    return _has_gradients(dtype, groups=2)


def _has_gradients(dtype, dilations=1, groups=1):
    @tf.function
    def gradients(image, kernel):
        return tf.gradients(tf.nn.conv2d(image, kernel, 1, "SAME", dilations=dilations), [image, kernel])

    with tf.init_scope():
        try:
            gradients(tf.ones((1, 8, 8, 8), dtype), tf.ones((3, 3, 8 // groups, 8), dtype))
        except (tf.errors.OpError, ValueError):
            return False
    return True


@functools.cache
def sums_in_float32(dtype: str) -> bool:
    """Whether gradients in this type are summed in a wider one here: on GPUs, and on CPUs that oneDNN knows.

    Elsewhere TensorFlow sums bfloat16 in bfloat16: 256 + 1 is 256 there, so that a bias, whose gradient is the sum over
    all pixels, hardly learns.
    """

    @tf.function
    def gradient(image, kernel, bias):
        outputs = tf.nn.bias_add(tf.nn.conv2d(image, kernel, 1, "SAME"), bias)  # fused where there is such a kernel
        return tf.gradients(outputs, [kernel, bias])

    with tf.init_scope():
        shapes = (1, 32, 32, 8), (1, 1, 8, 8), (8,)
        sums = gradient(*(tf.ones(shape, dtype) for shape in shapes))
        return all(float(tf.reduce_min(each)) == 1024 for each in sums)  # of as many pixels


# === Resizing, and the largest channel ===


def resize(inputs, reference):
    """Bilinear resize (half-pixel centres) of (B, h, w, C) to float32 (B, H, W, C) of a reference (B, H, W, ...).

    `keras.ops.image.resize` fails where the size is only known at run time.
    """
    return tf.image.resize(inputs, tf.shape(reference)[1:3])


def argmax(inputs):
    """The largest channel of (B, H, W, C), int32 (B, H, W). Keras' own first goes over the channels for -0.0."""
    return tf.argmax(inputs, axis=-1, output_type=tf.int32)


# === Random numbers ===


def new_draws() -> tf.Variable:
    """The state of a layer's random numbers: a seed, and how often it has drawn. It is no weight; checkpoints hold it.

    The seed comes from NumPy's global generator, as Keras' own do, which `keras.utils.set_random_seed` sets.
    """
    first = tf.constant([np.random.randint(2**31), 0], tf.int64)
    once = tf.VariableAggregation.ONLY_FIRST_REPLICA
    return tf.Variable(first, trainable=False, aggregation=once, name="draws")


def draw(draws: tf.Variable, shape):
    """Uniform float32 numbers in 0..1: apart at every draw and on every replica, repeated inside `repeated`."""
    context = tf.distribute.get_replica_context()
    replica = context.replica_id_in_sync_group if context else 0
    seed = _start(draws) + tf.stack([tf.cast(replica, tf.int64), 0])
    if not repeating():
        draws.assign_add(tf.constant([0, 1], tf.int64))  # replicas take no list
    return tf.random.stateless_uniform(shape, seed)


def _start(draws):
    """The state that a pass draws from."""
    known = getattr(_state, "starts", {})
    return known[id(draws)] if id(draws) in known else tf.identity(draws) - tf.constant([0, _ago() or 0], tf.int64)


@contextlib.contextmanager
def _starting(starts):
    before, _state.starts = getattr(_state, "starts", {}), starts
    try:
        yield
    finally:
        _state.starts = before


# === Computing again ===


def recompute(model: keras.Model, inputs: list) -> list:
    """A training pass of a model whose activations are not kept, but computed again for the gradient.

    Returns:
        Its outputs, flat.
    """
    # When it is computed again, others may have called it since.
    starts = {id(layer.draws): _start(layer.draws) for layer in model._flatten_layers() if hasattr(layer, "draws")}
    calls = 0

    def run(*tensors):
        nonlocal calls
        calls += 1
        with _starting(starts), repeated(0) if calls > 1 and not repeating() else contextlib.nullcontext():
            return keras.tree.flatten(model(list(tensors), training=True))

    return tf.recompute_grad(run)(*inputs)


@contextlib.contextmanager
def repeated(ago: int):
    """Inside, a training pass repeats another: running statistics stay, and random layers draw what they draw there.

    Args:
        ago: how many passes ago the other was; 0 = it is the next one, -1 the one after that.
    """
    before, _state.ago = _ago(), ago
    try:
        yield
    finally:
        _state.ago = before


def repeating() -> bool:
    """Whether this pass repeats another."""
    return _ago() is not None


def _ago():
    return getattr(_state, "ago", None)


# === Updates ===


def move_with_momentum(variable, velocity, gradient, rate, momentum: float):
    """velocity = momentum * velocity + gradient; variable = variable - rate * velocity: in place, one kernel."""
    tf.raw_ops.ResourceApplyMomentum(
        var=variable.handle,
        accum=velocity.value.handle,
        lr=tf.cast(rate, variable.dtype),
        grad=tf.cast(gradient, variable.dtype),
        momentum=tf.cast(momentum, variable.dtype),
    )
