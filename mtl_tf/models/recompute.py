"""Less memory for training: what lies inside a network's segments is computed again for the gradient, not kept.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016: about one more forward pass a step.
"""

import collections

import keras

from mtl_tf import kernels


def recomputing(model: keras.Model) -> keras.Model:
    """The same network with the same variables, in segments whose inner activations are not kept.

    A segment ends where all that follows depends on one tensor, beside the image, and branches have joined: after each
    residual block. It ends at an output of the model too, so that the weights of a segment are of one stage of an
    encoder.

    Args:
        model: a functional model.

    Returns:
        A functional model with the name, inputs and outputs of `model`.
    """
    known = {id(tensor): tensor for tensor in model.inputs}
    for number, (begin, ends) in enumerate(_segments(model)):
        segment = keras.Model(begin, ends, name=f"{model.name}_segment{number}")
        layer = Recomputed(segment, name=f"{model.name}_recomputed{number}")
        values = layer([known[id(tensor)] for tensor in begin])
        known |= {id(tensor): value for tensor, value in zip(ends, values, strict=True)}
    found = keras.tree.map_structure(lambda tensor: known[id(tensor)], model.output)
    return keras.Model(model.input, found, name=model.name)


def _segments(model):
    """What each segment is given, and what it gives.

    That is outputs of the model that are complete, and last, if it is new, the tensor that the next segment needs.
    """
    nodes = _in_order(model)
    uses = collections.Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    outputs = {id(tensor) for tensor in keras.tree.flatten(model.outputs)}
    # Which is there in any case: transformers read its size in every block.
    images = [tensor for tensor in model.inputs if tensor.name == "image"]
    kept = {id(tensor) for tensor in images}
    needed = {id(tensor): tensor for tensor in model.inputs}  # by layers that are still to come
    begin, used, complete, joined, weighted, found = list(model.inputs), set(), [], False, False, []
    for node in nodes:
        used.update(map(id, node.input_tensors))
        uses.subtract(map(id, node.input_tensors))
        needed = {key: tensor for key, tensor in needed.items() if uses[key]}
        joined |= len(node.input_tensors) > 1
        weighted |= bool(getattr(node.operation, "variables", ()))  # not all operations are layers
        for tensor in node.output_tensors:
            if uses[id(tensor)]:
                needed[id(tensor)] = tensor
            if id(tensor) in outputs:
                complete.append(tensor)
                joined |= weighted  # an output behind the last weights needs no segment of its own
        others = [tensor for key, tensor in needed.items() if key not in kept]
        if joined and len(others) == 1:
            passed = any(tensor is others[0] for tensor in begin)  # by a segment that only gives outputs
            ends = [*(tensor for tensor in complete if tensor is not others[0]), *([] if passed else others)]
            found.append(([tensor for tensor in begin if id(tensor) in used], ends))
            begin, used, complete, joined, weighted = [*images, others[0]], set(), [], False, False
    return [*found, ([tensor for tensor in begin if id(tensor) in used], complete)] if complete else found


def _in_order(model):
    """The calls of a model's layers; first those that its shallow outputs need."""
    # Not what a layer has as its input and output: a stage of an encoder calls the encoder's layers once more.
    by_depth = model._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if node.input_tensors]
    makers = {id(tensor): node for node in nodes for tensor in node.output_tensors}
    needs = sorted((_below(tensor, makers) for tensor in keras.tree.flatten(model.outputs)), key=len)
    ranks = {key: rank for rank, keys in reversed([*enumerate(needs)]) for key in keys}
    return sorted(nodes, key=lambda node: ranks[id(node)])


def _below(tensor, makers):
    """Of the calls, by the tensors that they give, those that a tensor is made by."""
    found, waiting = set(), [tensor]
    while waiting:
        node = makers.get(id(waiting.pop()))
        if node is not None and id(node) not in found:
            found.add(id(node))
            waiting += node.input_tensors
    return found


class Recomputed(keras.layers.Layer):
    """Calls a model; in training its activations are computed again when the gradient asks for them."""

    def __init__(self, segment, **kwargs):
        super().__init__(**kwargs)
        self.segment = segment

    def call(self, inputs, training=False):
        return kernels.recompute(self.segment, inputs) if training else keras.tree.flatten(self.segment(inputs))

    def compute_output_spec(self, inputs, training=False):
        return keras.tree.flatten(self.segment.compute_output_spec(inputs))
