"""Where the encoders are in a network: one for all tasks, or copies, each whole or in stages."""

import re

import keras

EXCHANGE = "exchange"  # what the paths of variables of units between encoders begin with
_NAME = re.compile(r"(?:.+_)?encoder(?:_stage\d+(?:_last)?)?")
_PATH = re.compile(r"(?:[^/]+/)?(encoder/.+)")
_STAGE = re.compile(r"_stage(\d+)")


def encoder_layers(model: keras.Model) -> list[keras.Model]:
    """The encoders of a network, or their stages, as layers of it."""
    return [layer for layer in model.layers if isinstance(layer, keras.Model) and _NAME.fullmatch(layer.name)]


def in_encoder(path: str) -> str:
    """The path of a variable within its encoder, encoder/...; "" if it is in none."""
    found = _PATH.fullmatch(path)
    return found[1] if found else ""


def encoder_stages(model: keras.Model) -> dict[str, int]:
    """Variable path -> stage: the number of the encoder's features that are complete before it, and that it builds on.

    An encoder whose features build on none of the others (HRNet's) is one stage.

    Args:
        model: a network; or an encoder.
    """
    found = {}
    for encoder in encoder_layers(model) or [model]:
        number = _STAGE.search(encoder.name)
        if number:
            found |= {variable.path: int(number[1]) for variable in encoder.trainable_variables}
        else:
            found |= _of_whole(encoder)
    return found


def _of_whole(encoder):
    uses = {id(tensor) for layer in encoder.operations for tensor in inputs_of(layer)}
    ends = {id(output) for output in keras.tree.flatten(encoder.outputs)}
    found, stage = {}, 0
    for layer in encoder.layers:
        found |= {variable.path: stage for variable in layer.trainable_variables}
        given = {id(output) for output in keras.tree.flatten(layer.output)}
        if given & ends and given & uses:  # something goes on from here: the feature, or what passes beside it
            stage += 1
    return found


def inputs_of(layer: keras.Operation) -> list[keras.KerasTensor]:
    """What a layer of a functional model is called with."""
    return [] if isinstance(layer, keras.layers.InputLayer) else keras.tree.flatten(layer.input)
