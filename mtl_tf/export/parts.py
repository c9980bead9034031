"""Which operations of an exported graph belong to the network, and which of these are its heads, by their names."""

import re
from collections.abc import Iterable

import keras

from mtl_tf.models.reach import node_of

_NUMBERED = "(_[0-9]+)?"  # what TensorFlow adds to the name of a layer that is called again


def network_pattern(model: keras.Model) -> str:
    """A regular expression for names of operations inside the network; others prepare pictures or answers."""
    return f"^{re.escape(model.name)}{_NUMBERED}/"


def head_pattern(model: keras.Model) -> str:
    """A regular expression for names of operations of the last layer with weights before each output."""
    return f"/({'|'.join(sorted(_last_layers(keras.tree.flatten(model.output))))})/"


def _last_layers(tensors: Iterable[keras.KerasTensor]) -> set[str]:
    """Patterns of the layers with weights that tensors come from with no other such layer in between."""
    found, waiting = set(), list(tensors)
    while waiting:
        node = node_of(waiting.pop())
        layer, name = node.operation, re.escape(node.operation.name) + _NUMBERED
        if isinstance(layer, keras.Model) and layer.weights:
            found |= {f"{name}/{inner}" for inner in _last_layers(keras.tree.flatten(layer.output))}
        elif getattr(layer, "weights", ()):
            found.add(name)
        else:
            waiting += node.input_tensors
    return found
