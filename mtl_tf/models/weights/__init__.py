"""Pretrained weights: what a user has on disk, or what is published, becomes the start of a network.

`files` reads formats, `layouts` knows the names of others, `matching` copies and reports, `hub` and `applications`
fetch. A file fits, or it is refused with one line; nothing is loaded in part without saying so.
"""

import pathlib

import keras

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models.encoders.applications import APPLICATIONS
from mtl_tf.models.weights import hub
from mtl_tf.models.weights.applications import UNCHECKED, open_imagenet
from mtl_tf.models.weights.files import FORMATS, file_of_run, open_tensors
from mtl_tf.models.weights.layouts import translate
from mtl_tf.models.weights.matching import Report, match
from mtl_tf.models.weights.tensors import UnreadableError

__all__ = ["Report", "imagenet_source", "load_encoder_weights", "load_from", "load_pretrained"]


def load_pretrained(model: keras.Model, config: ModelConfig) -> str:
    """Gives a network the start that the configuration names: `weights`, or else `encoder_weights`.

    Args:
        model: as `build_model` makes it.
        config: what it was built from.

    Returns:
        A line that says what was loaded and what was not; empty where all weights stay random.

    Raises:
        UsageError: there is no such file, or it does not fit; nothing was changed then.
    """
    if config.weights == config.encoder_weights == "none" and config.weights_key:
        raise UsageError(
            f"--model.weights_key={config.weights_key} chooses within a file; name it: --model.weights=PATH, or "
            "--model.encoder_weights=PATH"
        )
    if config.weights == "none":
        return load_encoder_weights(model.get_layer("encoder"), config)
    return str(load_from(config.weights, model, config, f"--model.weights={config.weights}"))


def load_encoder_weights(encoder: keras.Model, config: ModelConfig) -> str:
    """Loads `config.encoder_weights` into an encoder.

    Args:
        encoder: as `build_encoder` makes it.
        config: `encoder` and `encoder_weights`: "none", "imagenet" or a path.

    Returns:
        A line that says what was loaded; empty for "none".

    Raises:
        UsageError: there is no such file, or it does not fit; nothing was changed then.
    """
    source = config.encoder_weights
    if source == "none":
        return ""
    return str(load_from(source, encoder, config, f"--model.encoder_weights={source}"))


def imagenet_source(encoder: str) -> str:
    """Where the ImageNet weights of an encoder come from; empty if nobody publishes them."""
    if encoder in APPLICATIONS:
        return "" if encoder in UNCHECKED else "keras.applications"
    return f"huggingface.co/{hub.REPOSITORIES[encoder]}" if encoder in hub.REPOSITORIES else ""


def load_from(source: str, network: keras.Model, config: ModelConfig, option: str) -> Report:
    """Loads a file, or the published ImageNet weights, into an encoder or a whole network.

    Args:
        source: a path or "imagenet".
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
    path, key, said = pathlib.Path(source), config.weights_key, ""
    try:
        if source != "imagenet" and path.is_dir():
            (path, said), key = file_of_run(path, key), ""
        with _open_imagenet(config.encoder) if source == "imagenet" else open_tensors(path) as tensors:
            found = translate(tensors, ours, config.aspp_rates, key)
            found.said = found.said or said
            return match(variables, found, config, option, "ImageNet" if source == "imagenet" else source)
    except UnreadableError as error:
        raise UsageError(f"{option} {error}") from None


def _open_imagenet(encoder: str):
    try:
        if encoder in APPLICATIONS:
            return open_imagenet(encoder)
        if encoder in hub.REPOSITORIES:
            return open_tensors(hub.fetch(encoder))
    except UnreadableError as error:
        raise UnreadableError(f"{error}; give the path of the file instead: --model.encoder_weights=PATH") from None
    raise UnreadableError(f"is not published for {encoder}; give the path of a file: {FORMATS}")
