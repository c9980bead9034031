"""Which variables of a network which task's answers depend on, read from its graph."""

from collections.abc import Iterable, Sequence

import keras

from mtl_tf.models.outputs import outputs_of
from mtl_tf.tasks import Task


def reach(model: keras.Model, tasks: Sequence[Task]) -> dict[str, tuple[bool, ...]]:
    """Which tasks reach each trainable variable: all raw heads of a task count, the first ones too.

    Args:
        model: as `build_model` makes it.
        tasks: its tasks.

    Returns:
        Path of the variable -> one truth value a task, in the order of the model's variables.
    """
    by_task = [variables_below(heads(model, task)) for task in tasks]
    return {variable.path: tuple(variable.path in found for found in by_task) for variable in model.trainable_variables}


def heads(model: keras.Model, task: Task) -> list[keras.KerasTensor]:
    """The raw heads of a task: its answer, and others that are supervised."""
    return list(outputs_of(task, model.output).values())


def variables_below(tensors: Iterable[keras.KerasTensor]) -> set[str]:
    """The paths of the trainable variables that tensors of a functional model are computed with."""
    return _below(tensors)[0]


def node_of(tensor: keras.KerasTensor):
    """The call of a layer, with its `input_tensors`, that a tensor comes from."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def calls_of(model: keras.Model) -> list:
    """The calls of layers that a functional model consists of; see `node_of`."""
    found, waiting = {}, list(keras.tree.flatten(model.output))
    while waiting:
        node = node_of(waiting.pop())
        if id(node) not in found:
            found[id(node)] = node
            waiting += node.input_tensors
    return list(found.values())


def _below(tensors):
    """The paths of variables, and the inputs of the innermost model, that tensors are computed from."""
    paths, inputs, seen, waiting = set(), [], set(), list(tensors)
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        history, node = tensor._keras_history, node_of(tensor)
        operation = history.operation
        if isinstance(operation, keras.layers.InputLayer):
            inputs.append(tensor)
        elif isinstance(operation, keras.Model):
            # Another output of the same model may need other parts of it.
            inner = keras.tree.flatten(operation.output)[history.tensor_index]
            found, used = _below([inner])
            paths |= found
            positions = {id(each): position for position, each in enumerate(operation.inputs)}
            waiting += [node.input_tensors[positions[id(each)]] for each in used]
        else:
            paths |= {variable.path for variable in getattr(operation, "trainable_variables", ())}
            waiting += node.input_tensors
    return paths, inputs
