"""Units through which the encoders of several tasks exchange features."""

import keras
from keras import ops

from mtl_tf.models.encoder_layers import EXCHANGE
from mtl_tf.models.layers import BatchNorm, Conv2D, scope


@keras.saving.register_keras_serializable("mtl_tf")
class Stitch(keras.layers.Layer):
    """y_i = sum_j a_ij x_j over the tasks' features, a_ij a number for each channel, or one for all.

    Misra et al., "Cross-Stitch Networks for Multi-Task Learning", CVPR 2016.

    Args:
        own: a_ii in the beginning.
        other: a_ij in the beginning, j != i.
        by_channel: whether each channel has its own.
    """

    def __init__(self, own, other, by_channel=True, **kwargs):
        super().__init__(**kwargs)
        self.own, self.other, self.by_channel = own, other, by_channel

    def build(self, input_shape):
        count, channels = len(input_shape), input_shape[0][-1] if self.by_channel else 1

        def first(shape, dtype=None):
            matrix = ops.eye(count) * (self.own - self.other) + self.other
            return ops.cast(ops.broadcast_to(matrix[..., None], shape), dtype or "float32")

        self.weight = self.add_weight(name="weight", shape=(count, count, channels), initializer=first)

    def call(self, inputs):
        """From a list of (B, h, w, C), one a task, to a list of the same."""
        return [sum(self.weight[i, j] * feature for j, feature in enumerate(inputs)) for i in range(len(inputs))]

    def compute_output_shape(self, input_shape):
        return list(input_shape)

    def get_config(self):
        own = {"own": self.own, "other": self.other, "by_channel": self.by_channel}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("mtl_tf")
class Diagonal(keras.initializers.Initializer):
    """A 1x1 kernel (1, 1, T C, C) that passes on `own` of a task's feature and `other` of each of the others."""

    def __init__(self, task, own, other):
        self.task, self.own, self.other = task, own, other

    def __call__(self, shape, dtype=None):
        channels = shape[-1]
        blocks = [self.own if task == self.task else self.other for task in range(shape[-2] // channels)]
        kernel = ops.concatenate([ops.eye(channels) * factor for factor in blocks])
        return ops.cast(kernel[None, None], dtype or "float32")

    def get_config(self):
        return {"task": self.task, "own": self.own, "other": self.other}


def build_stitch(features: list, own: float, other: float, by_channel: bool, stage: str) -> list:
    """The tasks' features after a cross-stitch unit; `stage` says where it stands."""
    with scope(EXCHANGE):
        return Stitch(own, other, by_channel, name=f"stitch_{stage}")(features)


def build_nddr(features: list, names: list[str], own: float, other: float, stage: str) -> list:
    """The tasks' features after neural discriminative dimensionality reduction: Gao et al., "NDDR-CNN", CVPR 2019.

    Each task has a 1x1 convolution of all features side by side, batch norm and ReLU.

    Args:
        features: (B, h, w, C) of each task.
        names: of the tasks.
        own, other: shares of a task's own feature, and of each of the others, in the beginning.
        stage: where it stands.
    """
    channels, found = features[0].shape[-1], []
    with scope(EXCHANGE):
        together = keras.layers.Concatenate(name=f"nddr_{stage}")(features)
        for number, name in enumerate(names):
            first = Diagonal(number, own, other)
            prefix = f"nddr_{stage}_{name}"
            x = Conv2D(channels, 1, use_bias=False, kernel_initializer=first, name=f"{prefix}_conv")(together)
            x = BatchNorm(momentum=0.95, name=f"{prefix}_bn")(x)
            found.append(keras.layers.ReLU(name=f"{prefix}_relu")(x))
    return found
