"""The few layers that Keras lacks or has slower, and the convolution block that every part is made of."""

import contextlib
import functools

import keras
import tensorflow as tf

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


@keras.saving.register_keras_serializable("mtl_tf")
class Conv2D(keras.layers.Conv2D):
    """Keras' convolution, with the machine's own kernel for dilation where there is one.

    Keras splits the input of a dilated convolution into dilation^2 interleaved images, which costs padding, copies
    and many tiny convolutions: at rate 9 on 16x16 features it takes four times as long.
    """

    def build(self, input_shape):
        super().build(input_shape)
        self._native = max(self.dilation_rate) > 1 and has_dilated_kernels(self.compute_dtype)

    def convolution_op(self, inputs, kernel):
        """Convolves (B, H, W, C)."""
        if not self._native:
            return super().convolution_op(inputs, kernel)
        return tf.nn.conv2d(inputs, kernel, self.strides, self.padding.upper(), dilations=self.dilation_rate)


@functools.cache
def has_dilated_kernels(dtype: str) -> bool:
    """Whether TensorFlow can differentiate a dilated convolution here: on GPUs, and on CPUs that oneDNN knows."""

    @tf.function
    def gradients(image, kernel):
        return tf.gradients(tf.nn.conv2d(image, kernel, 1, "SAME", dilations=2), [image, kernel])

    with tf.init_scope():
        try:
            gradients(tf.ones((1, 8, 8, 8), dtype), tf.ones((3, 3, 8, 8), dtype))
        except (tf.errors.OpError, ValueError):
            return False
    return True


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
