"""An encoder in stages: models one after another, cut where all that follows depends on one tensor."""

import collections
import itertools

import keras

from mtl_tf.errors import UsageError
from mtl_tf.models.encoder_layers import inputs_of

_SIDE = 128  # of the image by which strides are measured


class Stages:
    """The stages of an encoder.

    Args:
        name: of the encoder, for messages.
        encoder: as `build_encoder` makes it.

    Attributes:
        widths: channels of what each stage gives, the stem first.
        strides: of the same; where dilation takes the place of a stride, it stays.

    Raises:
        UsageError: there is no place to cut between two stages.
    """

    def __init__(self, name: str, encoder: keras.Model):
        self._name, self._encoder = name, encoder
        self._joints = joints(encoder)
        spec = keras.Model(encoder.input, self._joints).compute_output_spec(keras.KerasTensor((1, _SIDE, _SIDE, 3)))
        self._strides = [_SIDE // tensor.shape[1] for tensor in keras.tree.flatten(spec)]
        self._ends = self._find_ends()
        self.widths = tuple(self._joints[end].shape[-1] for end in self._ends)
        self.strides = tuple(self._strides[end] for end in self._ends)

    def models(self) -> list[keras.Model]:
        """From the image to the stem (stride 4), and from what each stage gives to what the next one does."""
        tensors = [self._encoder.inputs[0], *(self._joints[end] for end in self._ends)]
        return [
            keras.Model(begin, end, name=f"{self._encoder.name}_stage{number}")
            for number, (begin, end) in enumerate(itertools.pairwise(tensors))
        ]

    def parted_models(self) -> list[tuple[keras.Model, keras.Model]]:
        """Of the stages after the stem: all but the last block of each, and that block, which keeps the shape.

        Raises:
            UsageError: the last block of a stage changes the shape, or is no block with a shortcut.
        """
        found = []
        for number, (begin, end) in enumerate(itertools.pairwise(self._ends), 1):
            inside = [at for at in range(begin + 1, end) if self._forks(at) and self._same_shape(at, end)]
            if not inside:
                raise UsageError(
                    f"model.encoder={self._name} has no residual block that ends its stage {number} at the width that "
                    "it began with, which this architecture needs; use a ResNet, or another architecture"
                )
            tensors = [self._joints[at] for at in (begin, inside[-1], end)]
            name = f"{self._encoder.name}_stage{number}"
            found.append((keras.Model(*tensors[:2], name=name), keras.Model(*tensors[1:], name=f"{name}_last")))
        return found

    def _find_ends(self):
        """Positions among the joints: the first at stride 4, and of each feature from there on it, or the next one."""
        order = {id(tensor): place for place, tensor in enumerate(_tensors(self._encoder))}
        places = [order[id(tensor)] for tensor in self._joints]
        tensors = stage_features(self._encoder)
        features = [order[id(tensor)] for tensor in tensors]
        used = {id(tensor) for layer in self._encoder.operations for tensor in inputs_of(layer)}
        aside = any(id(tensor) not in used for tensor in tensors[:-1])  # from what leads to the next stage
        stem = next((at for at, stride in enumerate(self._strides) if stride == 4), None)
        ends = [] if stem is None else [stem]
        for feature, following in itertools.pairwise([*features, len(order)]):
            # Where a feature lies inside of a block, the block's end.
            at = next((at for at, place in enumerate(places) if place >= feature), None)
            if aside or not ends or at is None or at <= ends[-1] or places[at] >= following:
                raise UsageError(
                    f"model.encoder={self._name} cannot be cut between its stages, which this architecture needs: no "
                    "single tensor is a stage's feature and all that the next one needs; use a ResNet, or another "
                    "architecture"
                )
            ends.append(at)
        return ends

    def _forks(self, at):
        uses = sum(tensor is self._joints[at] for layer in self._encoder.operations for tensor in inputs_of(layer))
        return uses > 1

    def _same_shape(self, at, other):
        same_width = self._joints[at].shape[-1] == self._joints[other].shape[-1]
        return same_width and self._strides[at] == self._strides[other]


def stage_features(encoder: keras.Model) -> list[keras.KerasTensor]:
    """What an encoder gives at the end of each of its stages from stride 4 on, also where dilation keeps the stride."""
    known = getattr(encoder, "features", None)
    if known is None:  # of a plugin, that makes its model on its own
        known = [(int(name.removeprefix("stride")), each) for name, each in encoder.output.items() if name != "last"]
    return [tensor for stride, tensor in known if stride >= 4]


def joints(model: keras.Model) -> list[keras.KerasTensor]:
    """The tensors of a functional model that all that comes after them depends on alone, from shallow to deep."""
    layers = [layer for layer in model.operations if not isinstance(layer, keras.layers.InputLayer)]
    uses = collections.Counter(id(tensor) for layer in layers for tensor in inputs_of(layer))
    needed, found = {id(tensor) for tensor in model.inputs}, []
    for layer in layers:
        for tensor in inputs_of(layer):
            uses[id(tensor)] -= 1
            if not uses[id(tensor)]:
                needed.discard(id(tensor))
        for tensor in keras.tree.flatten(layer.output):
            if uses[id(tensor)]:
                needed.add(id(tensor))
            if needed <= {id(tensor)}:
                found.append(tensor)
    return found


def _tensors(model):
    return [tensor for layer in model.operations for tensor in keras.tree.flatten(layer.output)]
