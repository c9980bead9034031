"""The few layers that Keras lacks or has slower, and the convolution block that every part is made of."""

import contextlib

import keras
from keras import ops

from mtl_tf import kernels

IMAGENET = dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))  # options of `Whiten`
BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.9


@keras.saving.register_keras_serializable("mtl_tf")
class BatchNorm(keras.layers.Layer):
    """Batch normalisation over (B, H, W), with statistics of the global batch on any number of replicas.

    As in PyTorch, the running variance is the unbiased one (n / (n - 1)).

    A batch with a single value a channel (ASPP's pooled feature of a single image) has no spread: divided by it, any
    value would become beta, and the running variance would fall to zero and blow up in inference. Such a batch is
    normalised by the running statistics, which stay as they are; a new layer begins with a mean of 0 and a variance
    of 1, so that it only scales and shifts.

    Args:
        momentum: weight of the old running statistics at each step.
        epsilon: added to the variance.
        gamma_initializer: of the factors; "zeros" for a branch that adds nothing in the beginning.
    """

    def __init__(self, momentum=BATCH_NORM_MOMENTUM, epsilon=BATCH_NORM_EPSILON, gamma_initializer="ones", **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon
        self.gamma_initializer = gamma_initializer

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

        self.gamma = self.add_weight(name="gamma", shape=shape, initializer=self.gamma_initializer, autocast=False)
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros", autocast=False)
        self.moving_mean = running("moving_mean", "zeros")
        self.moving_variance = running("moving_variance", "ones")

    def call(self, inputs, training=False):
        """Normalises (B, H, W, C)."""
        running = self.moving_mean, self.moving_variance
        if not training or not self.trainable:  # frozen, it keeps its statistics, as in Keras
            return kernels.normalise(inputs, self.gamma, self.beta, *running, self.epsilon)
        outputs, *found = kernels.normalise_by_batch(inputs, self.gamma, self.beta, running, self.epsilon)
        if kernels.repeating():
            return outputs  # this batch has moved the running statistics before
        keep = self.momentum
        for variable, new in zip(running, found, strict=True):
            old = ops.convert_to_tensor(variable)
            moved = old * keep + ops.stop_gradient(new) * (1.0 - keep)
            # A single value has no statistics (NaN). A batch that is not finite stops training; what was learnt before
            # it stays usable.
            variable.assign(ops.where(ops.isfinite(moved), moved, old))
        return outputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {"momentum": self.momentum, "epsilon": self.epsilon, "gamma_initializer": self.gamma_initializer}
        return {**super().get_config(), **own}


def ceil_of(side, size: int):
    """side / size, rounded up, of a number or a tensor; None, for a side that is not known yet, stays None."""
    return None if side is None else -(-side // size)


@keras.saving.register_keras_serializable("mtl_tf")
class Conv2D(keras.layers.Conv2D):
    """Keras' convolution, by the machine's own kernels for dilation and for groups where it has them.

    A strided 1x1 convolution of fewer than 16 channels takes every so many pixels first, which is the same: oneDNN
    writes past the end of the gradient of its kernel, and the process crashes.
    """

    def build(self, input_shape):
        super().build(input_shape)
        strides, self._every = self.strides, (1, 1)
        if self.kernel_size == (1, 1) and input_shape[-1] < 16:
            strides, self._every = self._every, strides
        sampling = strides, self.padding, self.dilation_rate, self.groups
        self._convolve = kernels.convolution(input_shape[-1], self.filters, *sampling, self.compute_dtype)

    def convolution_op(self, inputs, kernel):
        """Convolves (B, H, W, C)."""
        down, across = self._every
        return self._convolve(inputs if self._every == (1, 1) else inputs[:, ::down, ::across], kernel)


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
        self.draws = kernels.new_draws()

    def noise_shape(self, inputs):
        """Of the random numbers: one for each image."""
        return (ops.shape(inputs)[0], *(1 for _ in inputs.shape[1:]))

    def call(self, inputs, training=False):
        """Scales every image of (B, ...), or every value, by 0 or 1 / (1 - rate)."""
        if not training or not self.rate:
            return inputs
        kept = kernels.draw(self.draws, self.noise_shape(inputs)) >= self.rate
        return inputs * ops.cast(ops.cast(kept, "float32") / (1 - self.rate), inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable("mtl_tf")
class Dropout(DropPath):
    """Leaves out single values while training, and scales up those it keeps (Srivastava et al., JMLR 2014).

    Which follows from a seed and the number of calls, as with `DropPath`.
    """

    def noise_shape(self, inputs):
        return ops.shape(inputs)


@keras.saving.register_keras_serializable("mtl_tf")
class SpatialDropout(DropPath):
    """Leaves out whole channels while training, and scales up those it keeps (Tompson et al., CVPR 2015).

    Which follows from a seed and the number of calls, as with `DropPath`.
    """

    def noise_shape(self, inputs):
        return (ops.shape(inputs)[0], 1, 1, inputs.shape[-1])


@keras.saving.register_keras_serializable("mtl_tf")
class LayerScale(keras.layers.Layer):
    """A learnt factor for every channel of a residual branch: Touvron et al., CaiT, ICCV 2021.

    Args:
        initial: what all begin with.
        parameter: name of the variable.
    """

    def __init__(self, initial, parameter="gamma", **kwargs):
        super().__init__(**kwargs)
        self.initial, self.parameter = initial, parameter

    def build(self, input_shape):
        initializer = keras.initializers.Constant(self.initial)
        self.gamma = self.add_weight(name=self.parameter, shape=(input_shape[-1],), initializer=initializer)

    def call(self, inputs):
        return inputs * self.gamma

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "initial": self.initial, "parameter": self.parameter}


@keras.saving.register_keras_serializable("mtl_tf")
class ResizeLike(keras.layers.Layer):
    """Bilinear resize (half-pixel centres) of (B, h, w, C) to the height and width of a reference (B, H, W, ...)."""

    def call(self, inputs, reference):
        """Returns (B, H, W, C)."""
        return ops.cast(kernels.resize(inputs, reference), self.compute_dtype)

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
        images = ops.cast(inputs, "float32")
        if self.reverse:
            images = images[..., ::-1]
        mean, std = (ops.convert_to_tensor(values, "float32") for values in (self.mean, self.std))
        return ops.cast((images - mean) / std, self.compute_dtype)

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
    """Bias-free convolution at stride 1 (NAME_conv), batch norm and ReLU."""
    x = Conv2D(
        filters,
        kernel,
        padding="same",
        dilation_rate=dilation,
        use_bias=False,
        kernel_initializer=pytorch_uniform(),
        name=f"{name}_conv",
    )(x)
    return bn_relu(x, name)


def bn_relu(x, name: str):
    """Batch norm (NAME_bn) and ReLU (NAME_relu)."""
    return keras.layers.ReLU(name=f"{name}_relu")(BatchNorm(name=f"{name}_bn")(x))
