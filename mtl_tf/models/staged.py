"""Encoders of all tasks side by side, stage by stage, that exchange features in between; a head for every task."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras

from mtl_tf.models.backbone import Backbone
from mtl_tf.models.branch import in_memory
from mtl_tf.models.heads import build_task_head
from mtl_tf.models.layers import ResizeLike, conv_bn_relu, scope
from mtl_tf.options import Section
from mtl_tf.tasks import Task


class Stage(NamedTuple):
    """A part of an encoder.

    Attributes:
        stride: of what it gives.
        model: from what the stage before gives; the first one from the image.
    """

    stride: int
    model: keras.Model


def build_stages(backbone: Backbone, copy: str) -> list[Stage]:
    """The stages of an encoder of its own, the stem first; see `Backbone.stages`."""
    stages = backbone.stages(copy)
    models = (in_memory(backbone.config, model) for model in stages.models())
    return [Stage(*each) for each in zip(stages.strides, models, strict=True)]


def build_staged(
    tasks: Sequence[Task],
    backbone: Backbone,
    exchange: Callable[[list, str], list],
    options: Section,
    after_stem: bool = False,
    shortcut: bool = False,
) -> dict[str, keras.KerasTensor]:
    """The feature of every task before its last convolution.

    Args:
        tasks: of the network.
        backbone: gives the encoders.
        exchange: from the tasks' features after a stage, and its name, to what goes on.
        options: `head` and `dropout`.
        after_stem: whether features are exchanged after the stem too.
        shortcut: whether heads see what was exchanged after every stage.

    Returns:
        Task name -> (B, h, w, channels).
    """
    encoders = [build_stages(backbone, task.name) for task in tasks]
    features = [backbone.image] * len(tasks)
    pyramids: list[dict] = [{} for _ in tasks]
    exchanged: list[list] = [[] for _ in tasks]
    for stage, parts in enumerate(zip(*encoders, strict=True)):
        stride, features = parts[0].stride, [part.model(x) for part, x in zip(parts, features, strict=True)]
        if stage or after_stem:
            features = exchange(features, f"stage{stage}" if stage else "stem")
            for found, feature in zip(exchanged, features, strict=True):
                found.append(feature)
        if stage:
            for pyramid, feature in zip(pyramids, features, strict=True):
                pyramid |= {f"stride{stride}": feature, "last": feature}
    found = {}
    for task, pyramid, parts in zip(tasks, pyramids, exchanged, strict=True):
        if shortcut:
            pyramid = {**pyramid, "last": _together(parts, f"{task.name}/shortcut")}
        found[task.name] = build_task_head(task, pyramid, options)
    return found


def _together(features, path):
    """All features at the size of the last, by a 1x1 convolution of its width."""
    with scope(path):
        resized = [
            ResizeLike(name=f"{path.replace('/', '_')}_resize{n}")(x, features[-1]) for n, x in enumerate(features[:-1])
        ]
        x = keras.layers.Concatenate(name=f"{path.replace('/', '_')}_concat")([*resized, features[-1]])
        return conv_bn_relu(x, features[-1].shape[-1], 1, f"{path.replace('/', '_')}")
