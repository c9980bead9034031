"""Which of a network's variables several losses reach, and how they are grouped."""

from collections.abc import Sequence

import keras

from mtl_tf.models.reach import reach
from mtl_tf.tasks import Task


class Sharing:
    """The variables of a network by the losses that reach them.

    Args:
        model: the network.
        tasks: its tasks.
        by_layer: whether each layer is a group of its own; else all are one.

    Attributes:
        shared: path -> number, of the variables that at least two losses reach, in the order of the network.
        shapes: of these.
        groups: numbers of the groups of these.
        group_count: how many there are.
        last_kernel: the path of the last shared variable that is no vector; "" = there is none.
    """

    def __init__(self, model: keras.Model, tasks: Sequence[Task], by_layer: bool):
        self._reached = reach(model, tasks)
        shared = [variable for variable in model.trainable_variables if sum(self._reached[variable.path]) > 1]
        self.shared = {variable.path: number for number, variable in enumerate(shared)}
        self.shapes = [tuple(variable.shape) for variable in shared]
        layers = [path.rpartition("/")[0] if by_layer else "" for path in self.shared]
        known = list(dict.fromkeys(layers))
        self.groups, self.group_count = [known.index(layer) for layer in layers], len(known)
        self.last_kernel = next((v.path for v in reversed(shared) if len(v.shape) > 1), "")

    def any_of(self, variables: Sequence[keras.Variable]) -> bool:
        """Whether any of them is shared."""
        return any(variable.path in self.shared for variable in variables)

    def parted(self, variables: Sequence[keras.Variable]) -> tuple[list, list]:
        """Those that are shared, and those that one loss alone reaches."""
        shared = [variable for variable in variables if variable.path in self.shared]
        return shared, [variable for variable in variables if variable.path not in self.shared]

    def reached_by(self, task: int, variables: Sequence[keras.Variable]) -> list:
        """Those that the loss of a task, by its number, reaches."""
        return [variable for variable in variables if self._reached[variable.path][task]]
