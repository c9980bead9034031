"""The network: encoder, what its architecture makes of the features, and heads, as one functional model."""

from collections.abc import Sequence

import keras

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.models.branch import in_memory
from mtl_tf.models.decoder import build_head
from mtl_tf.models.encoders import build_encoder
from mtl_tf.models.layers import ResizeLike
from mtl_tf.tasks import Task


def build_model(config: ModelConfig, tasks: Sequence[Task]) -> keras.Model:
    """Builds a multi-task network with the Keras functional API.

    Weights are drawn from Keras' global random state (`keras.utils.set_random_seed`); pretrained encoders are loaded
    by `models.weights`. Arithmetic follows Keras' global dtype policy.

    Args:
        config: the model part of the configuration.
        tasks: what is predicted; see `mtl_tf.cityscapes_tasks`.

    Returns:
        A model from `image`, float32 (B, H, W, 3) RGB 0..255, any H and W, to a dict with the raw head of every task,
        float32 (B, H, W, channels), by the task's name. The distilled architecture adds its first predictions as
        NAME_initial.

    Raises:
        UsageError: the distilled architecture has nothing to exchange with a single task, or the encoder has no
            feature of a stride in `skip_strides` at this dilation.
    """
    # === Encoder ===
    image = keras.Input((None, None, 3), name="image", dtype="float32")
    encoder = build_encoder(config.encoder, config.dilation, config.consistent_dilation, config.squeeze_excitation)
    pyramid = in_memory(config, encoder)(image)

    # === Features at the stride of the last skip, and raw heads ===
    features = ARCHITECTURES[config.architecture](config, tasks, pyramid)
    names = {task.name for task in tasks}
    if not isinstance(features, dict) or "" not in features or any(set(found) != names for found in features.values()):
        raise UsageError(
            f"architecture {config.architecture} should give a dict {{suffix: {{task: feature}}}} with the suffix '', "
            f"each of all tasks, {', '.join(sorted(names))} (mtl_tf.models.architectures); got {features!r:.80}"
        )
    outputs = {}
    for suffix, by_task in features.items():
        for task in tasks:
            # A head per task before the resize: the same numbers as slicing one wide answer, and cheaper.
            feature = by_task[task.name]
            raw = build_head(task.channels, f"{task.name}/head{suffix}", feature.shape[-1])(feature)
            name = f"{task.name}{suffix}"
            outputs[name] = ResizeLike(dtype="float32", name=name)(raw, image)

    # === Functional model ===
    return keras.Model(image, outputs, name=config.architecture)
