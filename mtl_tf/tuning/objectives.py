"""The scores that a search can be directed by, and which way is better."""

import difflib
from collections.abc import Iterable

from mtl_tf.config import TASKS, Config
from mtl_tf.data.sets import describe
from mtl_tf.errors import UsageError
from mtl_tf.options import format_value

_SEMSEG = ("miou", "miou_all_classes", "pixel_accuracy")
_DEPTH = ("si_log_rmse", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "mae", "delta1", "delta2", "delta3")
_WEIGHTS, _KINDS = ("loss.semseg_weight", "loss.depth_weight"), ("loss.depth", "loss.depth_space", "tasks")
_LARGER_IS_BETTER = ("total", "grader", "delta1", "delta2", "delta3")  # and all of semseg


def direction(objective: str) -> str:
    """Which way is better, "max" or "min"."""
    name = objective.removesuffix("_pixels").rpartition(".")[2]
    return "max" if objective.startswith("semseg.") or name in _LARGER_IS_BETTER else "min"


def objectives(tasks: Iterable[str], classes: Iterable[str] = ()) -> list[str]:
    """What the evaluation of a network with these tasks yields."""
    tasks = tuple(tasks)
    found = ["total", "grader"] if set(tasks) == set(TASKS) else []
    if "semseg" in tasks:
        found += [f"semseg.{name}" for name in _SEMSEG] + [f"semseg.iou.{name}" for name in classes]
    if "depth" in tasks:
        found += [f"depth.{name}" for name in _DEPTH] + [f"depth.{name}_pixels" for name in _DEPTH]
    return [*found, "val_loss", "val_loss_unweighted"]


def check_one_scale(objective: str, searched: Iterable[str]):
    """Raises a UsageError where the objective is a loss that means something else in each trial.

    Args:
        objective: its name.
        searched: the options that differ among the trials.
    """
    changes = {"val_loss": _WEIGHTS + _KINDS, "val_loss_unweighted": _KINDS}.get(objective, ())
    for name in searched:
        if name in changes:
            other = "val_loss_unweighted or a score" if name in _WEIGHTS else "a score"
            raise UsageError(
                f"--objective={objective} cannot rank trials that differ in {name}, which changes what is summed up; "
                f"choose {other}, such as total"
            )


def check_objective(objective: str, config: Config, task_sets: Iterable[tuple[str, ...]]):
    """Raises a UsageError unless every trial will have this score.

    Args:
        objective: its name.
        config: what trials start from; its data set gives the classes.
        task_sets: the tasks that trials may have.
    """
    classes = next((task.classes for task in describe(config.data).tasks(config) if task.name == "semseg"), ())
    for tasks in task_sets:
        known = objectives(tasks, classes)
        if objective in known:
            continue
        close = [name for name in known if name.rpartition(".")[2] == objective]
        close = close or difflib.get_close_matches(objective, known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        shown = ", ".join(name for name in known if not name.startswith("semseg.iou.") and "_pixels" not in name)
        raise UsageError(
            f"--objective={objective} is no validation metric of tasks={format_value(tasks)}; {hint}there are {shown}, "
            "depth's as NAME_pixels and semseg.iou.CLASS"
        )
