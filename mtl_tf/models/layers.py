"""The few layers that Keras lacks or has slower, and the convolution block that every part is made of."""

import contextlib
import functools
import threading

import keras
import numpy as np
import tensorflow as tf

_state = threading.local()  # each replica is traced in a thread of its own

IMAGENET = dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))  # options of `Whiten`
BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.9


@keras.saving.register_keras_serializable("mtl_tf")
class BatchNorm(keras.layers.Layer):
    """Batch normalisation over (B, H, W), with statistics of the global batch on any number of replicas.

    On one replica it is TensorFlow's fused kernel, which Keras' own layer does not use. On several the replicas'
    means and variances are merged exactly (Chan et al., "Updating formulae and a pairwise algorithm for computing
    sample variances", 1979, eq. 2.1), also where they hold different numbers of images. As in PyTorch, the running
    variance is the unbiased one (n / (n - 1)).

    Args:
        momentum: weight of the old running statistics at each step.
        epsilon: added to the variance.
    """

    def __init__(self, momentum=BATCH_NORM_MOMENTUM, epsilon=BATCH_NORM_EPSILON, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape):
        shape = (input_shape[-1],)

        def running(name, initializer):
            # Every replica computes the same statistics, so that the first one's are everybody's.
            return self.add_weight(
                name=name,
                shape=shape,
                initializer=initializer,
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",
            )

        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones", autocast=False)
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros", autocast=False)
        self.moving_mean = running("moving_mean", "zeros")
        self.moving_variance = running("moving_variance", "ones")

    def call(self, inputs, training=False):
        """Normalises (B, H, W, C)."""
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        if not training or not self.trainable:  # frozen, it keeps its statistics, as in Keras
            return tf.raw_ops.FusedBatchNormV3(
                x=inputs,
                scale=gamma,
                offset=beta,
                mean=tf.convert_to_tensor(self.moving_mean),
                variance=tf.convert_to_tensor(self.moving_variance),
                epsilon=self.epsilon,
                is_training=False,
            ).y
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            nothing = tf.constant([], tf.float32)
            fused = tf.raw_ops.FusedBatchNormV3(
                x=inputs,
                scale=gamma,
                offset=beta,
                mean=nothing,
                variance=nothing,
                epsilon=self.epsilon,
                is_training=True,
            )
            outputs, mean, variance = fused.y, fused.batch_mean, fused.batch_variance
        else:
            outputs, mean, variance = self._synchronised(tf.cast(inputs, tf.float32), gamma, beta, context)
            outputs = tf.cast(outputs, inputs.dtype)
        if _computing_again():
            return outputs  # this batch has moved the running statistics before
        keep = self.momentum
        for running, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moved = running * keep + tf.stop_gradient(new) * (1.0 - keep)
            # A batch that is not finite stops training; what was learnt before it stays usable.
            running.assign(tf.where(tf.math.is_finite(moved), moved, running))
        return outputs

    def _synchronised(self, inputs, gamma, beta, context):
        count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
        mean = tf.math.divide_no_nan(tf.reduce_sum(inputs, [0, 1, 2]), count)
        deviation = tf.reduce_sum(tf.math.squared_difference(inputs, mean), [0, 1, 2])
        mine = tf.concat([tf.stack([count]), mean, deviation], 0)
        # A sum over replicas of matrices with one row filled gathers all of them, differentiably.
        replica = tf.one_hot(context.replica_id_in_sync_group, context.num_replicas_in_sync)
        everyone = context.all_reduce(tf.distribute.ReduceOp.SUM, replica[:, None] * mine[None, :])
        counts, means, deviations = tf.split(everyone, [1, mean.shape[0], mean.shape[0]], axis=1)
        total = tf.reduce_sum(counts)
        merged_mean = tf.reduce_sum(counts * means, 0) / total
        merged = tf.reduce_sum(deviations + counts * tf.math.squared_difference(means, merged_mean), 0)
        scale = gamma * tf.math.rsqrt(merged / total + self.epsilon)
        outputs = inputs * scale + (beta - merged_mean * scale)
        return outputs, merged_mean, merged / tf.maximum(total - 1.0, 1.0)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


@contextlib.contextmanager
def computing_again():
    """Inside, a training pass repeats the one before: state stays as it is, random layers draw what they drew."""
    _state.again = True
    try:
        yield
    finally:
        _state.again = False


def _computing_again():
    return getattr(_state, "again", False)


@keras.saving.register_keras_serializable("mtl_tf")
class Conv2D(keras.layers.Conv2D):
    """Keras' convolution, with the machine's own kernels for dilation and for groups where it has them.

    Keras splits the input of a dilated convolution into dilation^2 interleaved images, which costs padding, copies
    and many tiny convolutions: at rate 9 on 16x16 features it takes four times as long. A convolution in groups it
    compiles with XLA, anew for every size of the image.
    """

    def build(self, input_shape):
        super().build(input_shape)
        dtype, dilated, grouped = self.compute_dtype, max(self.dilation_rate) > 1, self.groups > 1
        self._depthwise = grouped and self.groups == self.filters == input_shape[-1]
        self._dense = grouped and not has_grouped_kernels(dtype)
        # With groups and dilation in sixteen bits, oneDNN's gradient of the kernel is garbage, NaN in places.
        sound = not grouped or self._dense or dtype == "float32"
        self._native = not dilated or (sound and has_dilated_kernels(dtype))

    def convolution_op(self, inputs, kernel):
        """Convolves (B, H, W, C)."""
        padding, dilations = self.padding.upper(), self.dilation_rate
        if self._depthwise:
            kernel = tf.transpose(kernel, (0, 1, 3, 2))  # (h, w, C, 1)
            return tf.nn.depthwise_conv2d(inputs, kernel, (1, *self.strides, 1), padding, dilations=dilations)
        if self._dense:
            kernel = block_diagonal(kernel, self.groups)
        convolve = tf.nn.conv2d if self._native else tf.nn.convolution
        return convolve(inputs, kernel, self.strides, padding, dilations=dilations)


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


@keras.saving.register_keras_serializable("mtl_tf")
class DropPath(keras.layers.Layer):
    """Stochastic depth: while training, leaves a residual branch out, image by image, and scales up those it keeps.

    Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016. What is left out is a function of a seed and of the
    number of calls, which checkpoints hold, so that a run that was stopped goes on as if it had not been; replicas draw
    apart. Neither is a weight.

    Args:
        rate: the share of images left out.
    """

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate

    def build(self, input_shape):
        first = tf.constant([np.random.randint(2**31), 0], tf.int64)  # as Keras' own seeds, after set_random_seed
        once = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self.draws = tf.Variable(first, trainable=False, aggregation=once, name="draws")

    def call(self, inputs, training=False):
        """Scales every image of (B, ...) by 0 or 1 / (1 - rate)."""
        if not training or not self.rate:
            return inputs
        context = tf.distribute.get_replica_context()
        replica = context.replica_id_in_sync_group if context else 0
        again = _computing_again()
        seed = tf.identity(self.draws) + tf.stack([tf.cast(replica, tf.int64), -1 if again else 0])
        if not again:
            self.draws.assign_add(tf.constant([0, 1], tf.int64))  # replicas take no list
        shape = (tf.shape(inputs)[0], *(1 for _ in inputs.shape[1:]))
        kept = tf.random.stateless_uniform(shape, seed) >= self.rate
        return inputs * tf.cast(tf.cast(kept, tf.float32) / (1 - self.rate), inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable("mtl_tf")
class LayerScale(keras.layers.Layer):
    """A learnt factor for every channel of a residual branch: Touvron et al., CaiT, ICCV 2021."""

    def __init__(self, initial, **kwargs):
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, input_shape):
        initializer = keras.initializers.Constant(self.initial)
        self.gamma = self.add_weight(name="gamma", shape=(input_shape[-1],), initializer=initializer)

    def call(self, inputs):
        return inputs * self.gamma

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "initial": self.initial}


@keras.saving.register_keras_serializable("mtl_tf")
class ResizeLike(keras.layers.Layer):
    """Bilinear resize (half-pixel centres) of (B, h, w, C) to the height and width of a reference (B, H, W, ...).

    `keras.ops.image.resize` fails where the size is only known at run time.
    """

    def call(self, inputs, reference):
        """Returns (B, H, W, C)."""
        resized = tf.image.resize(inputs, tf.shape(reference)[1:3])
        return tf.cast(resized, self.compute_dtype)

    def compute_output_shape(self, inputs_shape, reference_shape):
        return (inputs_shape[0], *reference_shape[1:3], inputs_shape[3])


@keras.saving.register_keras_serializable("mtl_tf")
class Whiten(keras.layers.Layer):
    """(x - mean) / std per channel, of images 0..255; `reverse` first turns RGB into BGR."""

    def __init__(self, mean, std=(1.0, 1.0, 1.0), reverse=False, **kwargs):
        super().__init__(**kwargs)
        self.mean, self.std, self.reverse = tuple(mean), tuple(std), reverse
        # Sixteen-bit arithmetic would round the image before the network sees it.
        self.autocast = False

    def call(self, inputs):
        images = tf.cast(inputs, tf.float32)
        if self.reverse:
            images = images[..., ::-1]
        return tf.cast((images - self.mean) / self.std, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "mean": self.mean, "std": self.std, "reverse": self.reverse}


@contextlib.contextmanager
def scope(path: str):
    """Puts the variables made inside under `path`, e.g. "semseg/aspp" (a Keras layer name may not hold a slash)."""
    with contextlib.ExitStack() as stack:
        for part in path.split("/"):
            stack.enter_context(keras.name_scope(part))
        yield


def pytorch_uniform() -> keras.initializers.Initializer:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): PyTorch's default for convolutions (Kaiming uniform with a = sqrt(5))."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def conv_bn_relu(x, filters: int, kernel: int, name: str, dilation: int = 1):
    """Bias-free convolution, batch norm and ReLU at stride 1; the layers are NAME_conv, NAME_bn and NAME_relu."""
    x = Conv2D(
        filters,
        kernel,
        padding="same",
        dilation_rate=dilation,
        use_bias=False,
        kernel_initializer=pytorch_uniform(),
        name=f"{name}_conv",
    )(x)
    return keras.layers.ReLU(name=f"{name}_relu")(BatchNorm(name=f"{name}_bn")(x))
