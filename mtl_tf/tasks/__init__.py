"""What is predicted: each kind of task is an object with behaviour, in one file."""

from mtl_tf.registry import Registry
from mtl_tf.tasks._binary import BinaryLabels, BinaryMap
from mtl_tf.tasks._labels import Adapted, Labels, Move, blanks_of
from mtl_tf.tasks._numbers import NumberLabels, NumberMap
from mtl_tf.tasks._regions import Cost, Regions
from mtl_tf.tasks._task import MISSING, Metric, Task
from mtl_tf.tasks._vectors import VectorLabels, VectorMap
from mtl_tf.tasks.cityscapes import CITYSCAPES_CLASSES, CITYSCAPES_THINGS, cityscapes_tasks
from mtl_tf.tasks.classes import ClassLabels, Segmentation
from mtl_tf.tasks.depth import DEPTH_UNITS, Depth, DepthLabels
from mtl_tf.tasks.disparity import Disparity, DisparityLabels
from mtl_tf.tasks.edges import EdgeLabels, Edges
from mtl_tf.tasks.instances import InstanceLabels, Instances
from mtl_tf.tasks.normals import NormalLabels, Normals
from mtl_tf.tasks.regression import Regression, RegressionLabels
from mtl_tf.tasks.saliency import Saliency, SaliencyLabels

__all__ = [
    "CITYSCAPES_CLASSES",
    "CITYSCAPES_THINGS",
    "DEPTH_UNITS",
    "KINDS",
    "MISSING",
    "Adapted",
    "BinaryLabels",
    "BinaryMap",
    "ClassLabels",
    "Cost",
    "Depth",
    "DepthLabels",
    "Disparity",
    "DisparityLabels",
    "EdgeLabels",
    "Edges",
    "InstanceLabels",
    "Instances",
    "Labels",
    "Metric",
    "Move",
    "NormalLabels",
    "Normals",
    "NumberLabels",
    "NumberMap",
    "Regions",
    "Regression",
    "RegressionLabels",
    "Saliency",
    "SaliencyLabels",
    "Segmentation",
    "Task",
    "VectorLabels",
    "VectorMap",
    "answers",
    "blanks_of",
    "cityscapes_tasks",
    "loss_weight",
    "usual",
]

# A kind of task is known by its labels.
_BUILT_IN = (ClassLabels, DepthLabels, NormalLabels, EdgeLabels, SaliencyLabels, RegressionLabels, DisparityLabels)
_BUILT_IN += (InstanceLabels,)
KINDS: Registry = Registry("kind of task", {kind.kind: kind for kind in _BUILT_IN})


def usual() -> tuple[str, ...]:
    """The tasks that are trained where nobody names any."""
    return tuple(kind.name for kind in KINDS.values() if kind.usual)


def loss_weight(config, task: Task) -> float:
    """The weight of a task in the total loss."""
    return dict(config.loss.weights).get(task.name, task.standard_weight)


def answers(tasks, raws, size=None) -> dict:
    """What raw heads (B, h, w, channels) by the task's name say: of all tasks (`Task.answers`), (B, H, W)."""
    return {name: answer for task in tasks for name, answer in task.answers(raws, size).items()}
