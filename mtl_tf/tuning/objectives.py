"""The scores that a search can be directed by, and which way is better."""

from collections.abc import Iterable, Sequence

from mtl_tf.config import leaf_of
from mtl_tf.errors import UsageError, did_you_mean
from mtl_tf.options import format_value
from mtl_tf.report.scores import Board
from mtl_tf.selection import total_scores
from mtl_tf.tasks import Task

_LOSSES = ("val_loss", "val_loss_unweighted")


def direction(objective: str, tasks: Sequence[Task]) -> str:
    """Which way is better, "max" or "min", of an objective of these tasks."""
    return "max" if objective not in _LOSSES and Board(tasks).metrics[objective].higher else "min"


def objectives(tasks: Sequence[Task]) -> list[str]:
    """What the evaluation of a network with these tasks yields, and is better one way."""
    measured = {task.name: {metric.name: 1.0 for metric in task.metrics} for task in tasks}
    found = [name for name, value in total_scores(tasks, measured).items() if value is not None]
    found += [f"{task.name}.{metric.name}" for task in tasks for metric in task.metrics if metric.higher is not None]
    return [*found, *_LOSSES]


def check_one_scale(objective: str, searched: Iterable[str]):
    """Raises a UsageError where the objective is a loss that means something else in each trial.

    Args:
        objective: its name.
        searched: the options that differ among the trials.
    """
    if objective not in _LOSSES:
        return
    for name in searched:
        leaf, _ = leaf_of(name)
        weight = leaf == "loss.weights"
        if leaf == "tasks" or leaf.startswith("task.") or (weight and objective == "val_loss"):
            other = "val_loss_unweighted or a score" if weight else "a score"
            raise UsageError(
                f"--objective={objective} cannot rank trials that differ in {name}, which changes what is summed up; "
                f"choose {other}, such as total"
            )


def check_objective(objective: str, tasks: Sequence[Task], task_sets: Iterable[tuple[str, ...]]):
    """Raises a UsageError unless every trial will have this score.

    Args:
        objective: its name.
        tasks: all that trials may have.
        task_sets: the tasks of a trial, by name, that there may be.
    """
    for names in task_sets:
        known = objectives([task for task in tasks if task.name in names])
        if objective in known:
            continue
        main = Board(tasks).main
        shown = ", ".join(name for name in known if "." not in name or name in main)
        there = f"there are {shown} and the other scores of an evaluation, as TASK.METRIC"
        raise UsageError(
            f"--objective={objective} is no validation metric of tasks={format_value(names)}; "
            f"{did_you_mean(objective, known, there)}"
        )
