"""A network in two: what all tasks share up to some features, and what each task makes of these on its own."""

from collections.abc import Sequence
from typing import NamedTuple

import keras

from mtl_tf.errors import UsageError
from mtl_tf.models.reach import heads, node_of, reach, variables_below
from mtl_tf.tasks import Task


class Cut(NamedTuple):
    """The two parts, with the layers of the whole network.

    Attributes:
        trunk: from the image to a list of features, through which alone the shared variables act.
        head: from [image, *features] to the outputs of the network.
        names: of the features.
    """

    trunk: keras.Model
    head: keras.Model
    names: tuple[str, ...]


def cut(model: keras.Model, tasks: Sequence[Task]) -> Cut:
    """Cuts a network where several tasks' ways part.

    Args:
        model: as `build_model` makes it.
        tasks: its tasks.

    Raises:
        UsageError: the tasks exchange features that each of them has made, or pass them through the same layers, so
            that there is no such place.
    """
    needed_by: dict[int, set[int]] = {}  # id of a tensor -> numbers of the tasks whose heads are made of it
    for number, task in enumerate(tasks):
        waiting = heads(model, task)
        while waiting:
            tensor = waiting.pop()
            if number not in needed_by.setdefault(id(tensor), set()):
                needed_by[id(tensor)].add(number)
                waiting += node_of(tensor).input_tensors
    found, seen, waiting = [], set(), [tensor for task in tasks for tensor in heads(model, task)]
    while waiting:
        tensor = waiting.pop(0)
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        for source in node_of(tensor).input_tensors:
            parts = len(needed_by[id(tensor)]) == 1 < len(needed_by[id(source)])
            # The image, and what is made of it without variables, is no feature.
            if parts and variables_below([source]) and all(source is not other for other in found):
                found.append(source)
            elif not parts:
                waiting.append(source)
    _demand_shared(found, tasks)
    trunk = keras.Model(model.input, found, name="trunk")
    _demand_inside(trunk, model, tasks)
    head = keras.Model([model.input, *found], model.output, name="head")
    return Cut(trunk, head, tuple(map(_name, found)))


def _name(tensor):
    """That of the layer, and of its answers which it is."""
    history = tensor._keras_history
    paths = [path for path, _ in keras.tree.flatten_with_path(history.operation.output)]
    return "/".join(map(str, (history.operation.name, *paths[history.tensor_index])))


def _demand_shared(features, tasks):
    names = {task.name for task in tasks}
    for feature in features:
        layer = feature._keras_history.operation
        own = {variable.path.split("/")[0] for variable in getattr(layer, "variables", ())} & names
        if own:
            raise UsageError(
                f"balance.source=features needs features that all tasks share, but this network's tasks exchange what "
                f"each has made, as {layer.name} of {min(own)}; use balance.source=parameters, or another architecture"
            )


def _demand_inside(trunk, model, tasks):
    inside = {variable.path for variable in trunk.trainable_variables}
    for path, reached in reach(model, tasks).items():
        if sum(reached) > 1 and path not in inside:
            raise UsageError(
                f"balance.source=features needs features through which alone shared variables act, but {path} is "
                "shared by what each task makes of them; use balance.source=parameters, or another architecture"
            )
