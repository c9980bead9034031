"""Runs of single tasks as the start of a network that has an encoder and a head for each task."""

import pathlib
from collections.abc import Sequence

import keras

from mtl_tf.errors import UsageError
from mtl_tf.models.encoder_layers import in_encoder
from mtl_tf.models.weights.files import file_of_run, open_tensors
from mtl_tf.models.weights.tensors import UnreadableError, numbers
from mtl_tf.tasks import Task


def load_single_runs(model: keras.Model, tasks: Sequence[Task], runs: Sequence[str], option: str) -> str:
    """Gives each task's encoder and head the best weights of a run of that task alone.

    Args:
        model: whose variables TASK/encoder/... and TASK/... are those of the runs' encoder/... and TASK/...
        tasks: of the network.
        runs: their directories, in the order of the tasks.
        option: that named them, for errors.

    Returns:
        A line that says what was loaded.

    Raises:
        UsageError: there is no such run, or it is of another task, encoder or head; nothing was changed then.
    """
    if len(runs) != len(tasks):
        names = ", ".join(task.name for task in tasks)
        raise UsageError(
            f"{option} takes {len(tasks)} runs, in the order of the tasks ({names}), or none; got {len(runs)}"
        )
    values = {}
    for task, run in zip(tasks, runs, strict=True):
        own = [variable for variable in model.variables if variable.path.startswith(f"{task.name}/")]
        own = [variable for variable in own if keras.backend.is_float_dtype(variable.dtype)]
        try:
            path, _ = file_of_run(pathlib.Path(run))
            with open_tensors(path) as tensors:
                for variable in own:
                    values[variable.path] = _value(variable, tensors, task)
        except UnreadableError as error:
            raise UsageError(f"{option}: {run} {error}") from None
    for variable in model.variables:
        if variable.path in values:
            variable.assign(values[variable.path])
    started = ", ".join(f"{task.name} from {run}" for task, run in zip(tasks, runs, strict=True))
    return f"encoders and heads start as those of single tasks: {started}"


def _value(variable, tensors, task):
    name = in_encoder(variable.path) or variable.path
    shape = tuple(variable.shape)
    if name not in tensors or tensors[name].shape != shape:
        came = f"{tensors[name].shape}" if name in tensors else "nothing"
        raise UnreadableError(
            f"is no run of {task.name} alone with this encoder and head: of {name} {shape} is expected, it has {came}; "
            f"train one with --tasks={task.name} --model.architecture=hps and the same options of the network"
        )
    return numbers(name, tensors[name])
