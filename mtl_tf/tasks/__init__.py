"""What is predicted: each kind of task is an object with behaviour, in one file."""

from mtl_tf.tasks._task import MISSING, Metric, Task
from mtl_tf.tasks.cityscapes import CITYSCAPES_CLASSES, cityscapes_tasks
from mtl_tf.tasks.classes import Segmentation
from mtl_tf.tasks.depth import DEPTH_UNITS, Depth

__all__ = [
    "CITYSCAPES_CLASSES",
    "DEPTH_UNITS",
    "KINDS",
    "MISSING",
    "Depth",
    "Metric",
    "Segmentation",
    "Task",
    "answers",
    "cityscapes_tasks",
]

KINDS: dict[str, type[Task]] = {kind.kind: kind for kind in (Segmentation, Depth)}


def answers(tasks, raws) -> dict:
    """What raw heads (B, H, W, channels) by the task's name say: of all tasks (`Task.answers`), (B, H, W)."""
    return {name: answer for task in tasks for name, answer in task.answers(raws[task.name]).items()}
