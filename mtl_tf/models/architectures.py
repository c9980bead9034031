"""The architectures: how encoder, ASPP, decoder and heads are joined into one functional model."""

from collections.abc import Sequence

import keras

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models.aspp import build_aspp
from mtl_tf.models.attention import build_attention
from mtl_tf.models.decoder import build_decoder, build_head
from mtl_tf.models.encoders import build_encoder
from mtl_tf.models.layers import ResizeLike
from mtl_tf.models.recompute import recomputing
from mtl_tf.options import format_value
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
    pyramid = _in_memory(config, encoder)(image)

    # === Features at the stride of the last skip, and raw heads ===
    features = ARCHITECTURES[config.architecture](config, tasks, pyramid)
    outputs = {}
    for suffix, by_task in features.items():
        for task in tasks:
            # A head per task before the resize: the same numbers as slicing one wide answer, and cheaper.
            raw = build_head(task.channels, f"{task.name}/head{suffix}")(by_task[task.name])
            name = f"{task.name}{suffix}"
            outputs[name] = ResizeLike(dtype="float32", name=name)(raw, image)

    # === Functional model ===
    return keras.Model(image, outputs, name=config.architecture)


def _branch(config, pyramid, path):
    """Encoder features -> ASPP -> decoder feature (B, H/s, W/s, 256), s the last of the skips' strides."""
    aspp = build_aspp(pyramid["last"].shape[-1], config.aspp_rates, config.aspp, f"{path}/aspp")
    skips = [_skip(config, pyramid, stride) for stride in config.skip_strides]
    decoder = build_decoder([skip.shape[-1] for skip in skips], config.skip, f"{path}/decoder")
    aspp, decoder = _in_memory(config, aspp), _in_memory(config, decoder)
    return decoder([aspp(pyramid["last"]), *skips])


def _in_memory(config, part):
    """A part of the network, as it is or in segments that are computed again for the gradient."""
    return recomputing(part) if config.recompute else part


def _skip(config, pyramid, stride):
    """The encoder feature of a stride; where every stage is dilated there is none of stride 8."""
    if f"stride{stride}" not in pyramid:
        there = ", ".join(name.removeprefix("stride") for name in pyramid if name != "last")
        raise UsageError(
            f"model.skip_strides={format_value(config.skip_strides)}: {config.encoder} has no feature of stride "
            f"{stride} at model.dilation={format_value(config.dilation)}, only of {there}; leave it out, or dilate less"
        )
    return pyramid[f"stride{stride}"]


def _joint(config, tasks, pyramid):
    """One ASPP and decoder for all tasks."""
    feature = _branch(config, pyramid, "shared")
    return {"": {task.name: feature for task in tasks}}


def _branched(config, tasks, pyramid):
    """An ASPP and a decoder for every task."""
    return {"": {task.name: _branch(config, pyramid, task.name) for task in tasks}}


def _distilled(config, tasks, pyramid):
    """Branched; then every task adds what each other task passes it to its own feature."""
    if len(tasks) < 2:
        raise UsageError("model.architecture=distilled exchanges features between tasks and needs at least two")
    initial = _branched(config, tasks, pyramid)[""]
    final = {}
    for task in tasks:
        messages = [
            build_attention(f"{task.name}/attention/{other.name}", config.gate_init)(initial[other.name])
            for other in tasks
            if other.name != task.name
        ]
        final[task.name] = keras.layers.Add(name=f"{task.name}_distilled")([initial[task.name], *messages])
    return {"_initial": initial, "": final}


ARCHITECTURES = {"joint": _joint, "branched": _branched, "distilled": _distilled}
