"""The network: encoder, what its architecture makes of the features, and heads, as one functional model."""

from collections.abc import Sequence

import keras

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.models.backbone import Backbone
from mtl_tf.models.decoder import build_raw
from mtl_tf.models.layers import ResizeLike
from mtl_tf.models.outputs import Raw, graph_name
from mtl_tf.options import Section
from mtl_tf.tasks import Task


def build_model(config: ModelConfig, tasks: Sequence[Task], options: Section | None = None) -> keras.Model:
    """Builds a multi-task network with the Keras functional API.

    Weights are drawn from Keras' global random state (`keras.utils.set_random_seed`); pretrained encoders are loaded
    by `models.weights`. Arithmetic follows Keras' global dtype policy.

    Args:
        config: the model part of the configuration.
        tasks: what is predicted; see `mtl_tf.cityscapes_tasks`.
        options: of the architecture, `Config.arch_options`; None = their defaults.

    Returns:
        A model from `image`, float32 (B, H, W, 3) RGB 0..255, any H and W, to a dict with the raw head of every task,
        float32 (B, H, W, channels), by the task's name. Architectures may add outputs that are supervised too, by NAME
        + label, such as NAME_initial. Its attribute `label_weights` is {label: weight in a task's loss}.

    Raises:
        UsageError: an architecture that exchanges features has a single task, the encoder is none for it, or has no
            feature of a stride in `skip_strides` at this dilation.
    """
    architecture = ARCHITECTURES[config.architecture]
    if architecture.exchanges and len(tasks) < 2:
        raise UsageError(
            f"model.architecture={config.architecture} exchanges features between tasks and needs at least two"
        )
    options = options or (architecture.Options() if architecture.Options else None)

    # === Encoder, and features of every task ===
    image = keras.Input((None, None, 3), name="image", dtype="float32")
    features = architecture.build(config, tasks, Backbone(config, image, options, not architecture.copies))
    names = {task.name for task in tasks}
    if not _is_complete(features, names):
        raise UsageError(
            f"architecture {config.architecture} should give a dict {{label: {{task: feature}}}} with the label '' of "
            f"all tasks, {', '.join(sorted(names))} (mtl_tf.models.architectures); got {features!r:.80}"
        )

    # === Raw heads ===
    outputs = {}
    for label, by_task in features.items():
        for task in tasks:
            if task.name in by_task:
                # A head per task before the resize: the same numbers as slicing one wide answer, and cheaper.
                name, feature = f"{task.name}{label}", by_task[task.name]
                raw = feature.tensor if isinstance(feature, Raw) else build_raw(task, feature, label)
                outputs[name] = ResizeLike(dtype="float32", name=graph_name(name))(raw, image)

    # === Functional model ===
    model = keras.Model(image, outputs, name=config.architecture)
    given = architecture.weights(options) if architecture.weights else {}
    model.label_weights = {label: given.get(label, 1.0) if given else 1.0 / len(features) for label in features}
    return model


def _is_complete(features, names):
    """Whether every task has an answer, and nothing else has anything."""
    if not isinstance(features, dict) or set(features.get("", ())) != names:
        return False
    return all(isinstance(found, dict) and set(found) <= names for found in features.values())
