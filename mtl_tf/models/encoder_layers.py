"""Where the encoders are in a network: one for all tasks, or copies, each whole or in stages."""

import re
from collections.abc import Iterator, Sequence

import keras

from mtl_tf.models.encoders.squeeze_excitation import PART as EXCITATION
from mtl_tf.models.projections import ADAPTER
from mtl_tf.models.recompute import Recomputed

EXCHANGE = "exchange"  # what the paths of variables of units between encoders begin with
_NAME = re.compile(r"(?:.+_)?encoder(?:_stage\d+(?:_last)?)?")
_PATH = re.compile(r"(?:[^/]+/)?(encoder/.+)")
_STAGE = re.compile(r"_stage(\d+)")
EXCITATION_NAME, ADAPTER_NAME = "squeeze-and-excitation", "low-rank adapters"
# What an encoder has beside what is published, by the paths of its variables; without weights it starts anew.
OWN = {
    EXCITATION_NAME: re.compile(EXCITATION),
    "norms of features": re.compile(r"^encoder/norm\d/"),  # of Swin's stages but the last
    "feature pyramid": re.compile(r"^encoder/pyramid_"),  # of plain transformers
    ADAPTER_NAME: re.compile(rf"^encoder/\w+{ADAPTER}/"),
}


def encoder_layers(model: keras.Model) -> list[keras.Model]:
    """The encoders of a network, or their stages, as layers of it."""
    return [layer for layer in model.layers if isinstance(layer, keras.Model) and _NAME.fullmatch(layer.name)]


def in_encoder(path: str) -> str:
    """The path of a variable within its encoder, encoder/...; "" if it is in none."""
    found = _PATH.fullmatch(path)
    return found[1] if found else ""


def own_part(path: str) -> str:
    """Which part of `OWN` a variable belongs to, by its path within an encoder; "" if it is published, or in none."""
    return next((part for part, pattern in OWN.items() if pattern.search(path)), "")


def pretrained_layers(encoder: keras.Model) -> Iterator[keras.Layer]:
    """The layers of an encoder, or of a stage of one, whose weights are published; what it has of its own is not."""
    for layer in _inner_layers(encoder):
        if any(not own_part(in_encoder(variable.path)) for variable in layer.variables):
            yield layer


def _inner_layers(encoder):
    """All layers, those in models inside it too, but not these models."""
    within = [layer for layer in encoder._flatten_layers(include_self=False) if not _is_container(layer)]
    return {id(layer): layer for layer in within}.values()


def _is_container(layer):
    return isinstance(layer, (keras.Model, Recomputed))


def encoder_stages(model: keras.Model) -> dict[str, int]:
    """Variable path -> stage: the number of the encoder's features that are complete before it, and that it builds on.

    Of an encoder whose blocks are numbered, that is its block; what it has beside what is published comes last. One
    whose features build on none of the others (HRNet's) is one stage.

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


def number_blocks(encoder: keras.Model, ends: Sequence[keras.KerasTensor]):
    """Notes for every layer how many of these tensors it builds on, as its attribute `block`; see `encoder_stages`.

    Args:
        encoder: functional.
        ends: of its blocks, one after another.
    """
    blocks, known = {id(tensor) for tensor in ends}, {id(tensor): 0 for tensor in encoder.inputs}
    by_depth = encoder._nodes_by_depth if blocks else {}
    for call in (node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]):
        number = max((known[id(tensor)] for tensor in call.input_tensors), default=0)
        call.operation.block = max(number, getattr(call.operation, "block", 0))
        known |= {id(tensor): number + (id(tensor) in blocks) for tensor in call.output_tensors}


def _of_whole(encoder):
    numbered = [layer for layer in _inner_layers(encoder) if hasattr(layer, "block")]
    if numbered:
        last = max(layer.block for layer in numbered)
        return {
            variable.path: last if own_part(in_encoder(variable.path)) else layer.block
            for layer in numbered
            for variable in layer.trainable_variables
        }
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
