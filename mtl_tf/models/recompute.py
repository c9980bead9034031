"""Less memory for training: what lies inside a network's segments is computed again for the gradient, not kept.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016: about one more forward pass a step.
"""

import collections

import keras

from mtl_tf import kernels


def recomputing(model: keras.Model) -> keras.Model:
    """The same network with the same variables, in segments whose inner activations are not kept.

    A segment ends where branches have joined and all that follows depends on one tensor: after each residual block.

    Args:
        model: a functional model in which each layer is called once.

    Returns:
        A functional model with the name, inputs and outputs of `model`.
    """
    known = {id(tensor): tensor for tensor in model.inputs}
    begin = list(model.inputs)
    for number, ends in enumerate(_segments(model)):
        segment = keras.Model(begin, ends, name=f"{model.name}_segment{number}")
        layer = Recomputed(segment, name=f"{model.name}_recomputed{number}")
        values = layer([known[id(tensor)] for tensor in begin])
        known |= {id(tensor): value for tensor, value in zip(ends, values, strict=True)}
        begin = ends[-1:]
    found = keras.tree.map_structure(lambda tensor: known[id(tensor)], model.output)
    return keras.Model(model.input, found, name=model.name)


def _segments(model):
    """What each segment gives: outputs of the model that are complete, and last the tensor that the next one needs."""
    layers = [layer for layer in model.operations if not isinstance(layer, keras.layers.InputLayer)]
    inputs = [keras.tree.flatten(layer.input) for layer in layers]
    uses = collections.Counter(id(tensor) for tensors in inputs for tensor in tensors)
    outputs = {id(tensor) for tensor in keras.tree.flatten(model.outputs)}
    needed = {id(tensor): tensor for tensor in model.inputs}  # by layers that are still to come
    complete, joined, found = [], False, []
    for layer, tensors in zip(layers, inputs, strict=True):
        uses.subtract(map(id, tensors))
        needed = {key: tensor for key, tensor in needed.items() if uses[key]}
        joined |= len(tensors) > 1
        for tensor in keras.tree.flatten(layer.output):
            if uses[id(tensor)]:
                needed[id(tensor)] = tensor
            if id(tensor) in outputs:
                complete.append(tensor)
        if joined and len(needed) == 1:
            (last,) = needed.values()
            found.append([*(tensor for tensor in complete if tensor is not last), last])
            complete, joined = [], False
    return [*found, complete] if complete else found


class Recomputed(keras.layers.Layer):
    """Calls a model; in training its activations are computed again when the gradient asks for them."""

    def __init__(self, segment, **kwargs):
        super().__init__(**kwargs)
        self.segment = segment

    def call(self, inputs, training=False):
        return kernels.recompute(self.segment, inputs) if training else keras.tree.flatten(self.segment(inputs))

    def compute_output_spec(self, inputs, training=False):
        return keras.tree.flatten(self.segment.compute_output_spec(inputs))
