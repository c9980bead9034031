"""How a network's outputs are named: that of a task's answer as the task, others that are supervised NAME + label."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mtl_tf.tasks import Task


class Raw(NamedTuple):
    """A raw head that an architecture has made itself, since it needs it for what follows.

    Attributes:
        tensor: float32 (B, h, w, channels), of any size.
    """

    tensor: Any


def graph_name(name: str) -> str:
    """An output's name as one of a layer, or in the path of a variable: TensorFlow's graphs take no "@" there."""
    return name.replace("@", ".")


def outputs_of(task: Task, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Label -> output of a task, in the order of the network: "" is its answer, "_initial" or "@..." are others."""
    labels = {name: name.removeprefix(task.name) for name in outputs if name.startswith(task.name)}
    return {
        label: outputs[name] for name, label in labels.items() if label in ("", "_initial") or label.startswith("@")
    }
