"""Experts: copies of the encoder, whose features are mixed for every task."""

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
from keras import ops

from mtl_tf.errors import UsageError
from mtl_tf.models.backbone import Backbone
from mtl_tf.models.heads import build_task_head
from mtl_tf.tasks import Task


@keras.saving.register_keras_serializable("mtl_tf")
class Mixture(keras.layers.Layer):
    """The sum of features (B, h, w, C), each times a number of its own for every image."""

    def call(self, weights, features):
        """Of weights (B, E) and a list of E features; returns (B, h, w, C)."""
        weights = ops.reshape(weights, (-1, len(features), 1, 1, 1))
        return sum(weights[:, number] * feature for number, feature in enumerate(features))

    def compute_output_shape(self, weights_shape, features_shape):
        return features_shape[0]

    def multiply_adds(self, weights_shape, *features_shapes):
        """One for every value of the features."""
        return sum(int(np.prod(shape)) for shape in features_shapes)


def mixed(
    weights: keras.KerasTensor, pyramids: Sequence[Mapping[str, keras.KerasTensor]], prefix: str
) -> dict[str, keras.KerasTensor]:
    """The features of several encoders, all of a pyramid mixed by the same weights.

    Args:
        weights: (B, E).
        pyramids: of E encoders, {"stride4": ..., "last": ...}.
        prefix: of the names of layers.
    """
    found: dict[int, keras.KerasTensor] = {}
    for name, tensor in pyramids[0].items():
        if id(tensor) not in found:  # "last" may be one of the others
            features = [pyramid[name] for pyramid in pyramids]
            found[id(tensor)] = Mixture(name=f"{prefix}_{name}")(weights, features)
    return {name: found[id(tensor)] for name, tensor in pyramids[0].items()}


def build_mixtures(
    tasks: Sequence[Task],
    backbone: Backbone,
    weigh: Callable[[Task, int], keras.KerasTensor],
    shared: int,
    own: int = 0,
) -> dict[str, keras.KerasTensor]:
    """The feature of every task before its last convolution: a head on a mixture of whole encoders.

    Args:
        tasks: of the network.
        backbone: gives the encoders; its options have `head` and `dropout`.
        weigh: from a task and the number of its experts to their weights (B, E), the shared ones first.
        shared: encoders that all tasks mix.
        own: encoders of each task alone.

    Returns:
        Task name -> (B, h, w, channels).
    """
    options, found = backbone.options, {}
    common = [backbone.whole(name) for name in shared_names(shared)]
    for task in tasks:
        experts = [*common, *(backbone.whole(name) for name in own_names(task, own))]
        features = mixed(weigh(task, len(experts)), experts, f"{task.name}_mixture")
        found[task.name] = build_task_head(task, features, options)
    return found


def shared_names(count: int) -> list[str]:
    """Names of experts that all tasks share."""
    return [f"expert_{number}" for number in range(count)]


def own_names(task: Task, count: int) -> list[str]:
    """Names of the experts of a task."""
    return [f"{task.name}_expert_{number}" for number in range(count)]


def number_of_experts(asked: int, tasks: Sequence[Task], option: str) -> int:
    """How many encoders tasks share that have none of their own: 0 = as many as tasks, at least two.

    Raises:
        UsageError: there is a single one.
    """
    if asked == 1:
        raise UsageError(
            f"--{option}=1: a single expert leaves nothing to mix; use at least 2, or --model.architecture=hps"
        )
    return asked or max(len(tasks), 2)
