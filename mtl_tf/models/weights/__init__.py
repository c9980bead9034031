"""Pretrained weights: what a user has on disk, or what is published, becomes the start of a network.

`sources` tells what a name or a path stands for, `checkpoints` is the table of what is published, `hub` and
`applications` fetch; `files` reads formats, `layouts` knows the names of others, `matching` copies and reports. A file
fits, or it is refused with one line; nothing is loaded in part without saying so.
"""

import keras

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models.encoder_layers import encoder_layers, in_encoder
from mtl_tf.models.encoders import encoder_of
from mtl_tf.models.weights.layouts import translate
from mtl_tf.models.weights.matching import Report, match
from mtl_tf.models.weights.sources import find, imagenet_source
from mtl_tf.models.weights.tensors import UnreadableError
from mtl_tf.models.weights.transformer_layouts import rewhiten

__all__ = ["Report", "imagenet_source", "load_encoder_weights", "load_from", "load_pretrained", "record_of"]


def load_pretrained(model: keras.Model, config: ModelConfig) -> str:
    """Gives a network the start that the configuration names: `weights`, or else `encoder_weights`.

    Args:
        model: as `build_model` makes it.
        config: what it was built from.

    Returns:
        A line that says what was loaded and what was not; empty where all weights stay random.

    Raises:
        UsageError: there is no such file, or it does not fit; nothing was changed then. Or there are adapters of
            random weights.
    """
    if config.weights == config.encoder_weights == "none" and config.weights_key:
        raise UsageError(
            f"--model.weights_key={config.weights_key} chooses within a file; name it: --model.weights=PATH, or "
            "--model.encoder_weights=PATH"
        )
    if config.weights == config.encoder_weights == "none" and config.lora_rank:
        raise UsageError(
            f"--model.lora_rank={config.lora_rank} adapts an encoder that is trained, and this one would stay random: "
            "name its weights by --model.encoder_weights or --model.weights, or leave --model.lora_rank out"
        )
    if config.weights == "none":
        return load_into_encoders(model, config)
    return str(load_from(config.weights, model, config, f"--model.weights={config.weights}"))


def load_into_encoders(model: keras.Model, config: ModelConfig) -> str:
    """Loads `config.encoder_weights` into the encoder of a network, or into every copy of it; see below."""
    layers = encoder_layers(model)
    if [layer.name for layer in layers] == ["encoder"]:
        return load_encoder_weights(layers[0], config)
    if config.encoder_weights == "none":
        return ""
    # Copies, or stages: of an encoder of their own, which is whole.
    whole = encoder_of(config)
    said = load_encoder_weights(whole, config)
    values = {variable.path: variable for variable in whole.variables}
    copies = {variable.path: variable for layer in layers for variable in layer.variables}
    for path, variable in copies.items():
        if in_encoder(path) in values:
            variable.assign(values[in_encoder(path)])
    number = len({path.removesuffix(in_encoder(path)) for path in copies if in_encoder(path)})
    return f"{said}, in each of {number} encoders" if number > 1 else said


def load_encoder_weights(encoder: keras.Model, config: ModelConfig) -> str:
    """Loads `config.encoder_weights` into an encoder.

    Args:
        encoder: as `build_encoder` makes it.
        config: `encoder` and `encoder_weights`: "none", "imagenet", the name of a checkpoint or a path.

    Returns:
        A line that says what was loaded; empty for "none".

    Raises:
        UsageError: there is no such file, or it does not fit; nothing was changed then.
    """
    source = config.encoder_weights
    if source == "none":
        return ""
    return str(load_from(source, encoder, config, f"--model.encoder_weights={source}"))


def record_of(config: ModelConfig) -> dict[str, str | None] | None:
    """What a run notes of the weights that it starts from: where they come from, commit, SHA-256, licence.

    None where all weights are random.

    Raises:
        UsageError: they are gone.
    """
    source = config.encoder_weights if config.weights == "none" else config.weights
    if source == "none":
        return None
    try:
        return find(source, config).record()
    except (UnreadableError, OSError) as error:
        raise UsageError(f"the weights {source} cannot be read again: {error}") from None


def load_from(source: str, network: keras.Model, config: ModelConfig, option: str) -> Report:
    """Loads a file, or published weights, into an encoder or a whole network.

    Args:
        source: a path, "imagenet", or the name of a checkpoint of the encoder.
        network: what is to be filled.
        config: what it was built from; `weights_key` chooses among several sets of weights in the file.
        option: the option that named the source, for errors.

    Returns:
        What was taken, what not.

    Raises:
        UsageError: there is no such file, or it does not fit; nothing was changed then.
    """
    # Random states are variables too.
    variables = [variable for variable in network.variables if keras.backend.is_float_dtype(variable.dtype)]
    ours = {variable.path: tuple(variable.shape) for variable in variables}
    try:
        origin = find(source, config)
        with origin.open(config.encoder) as tensors:
            found = translate(tensors, ours, config.aspp_rates, origin.key)
            found.said = found.said or origin.said
            if origin.checkpoint and origin.checkpoint.mean:
                rewhiten(found, origin.checkpoint.mean, origin.checkpoint.std)
            return match(variables, found, config, option, origin.called)
    except UnreadableError as error:
        raise UsageError(f"{option} {error}") from None
