"""One number of the scores of all tasks: the total, and the score that the best weights are chosen by."""

import math
from collections.abc import Sequence

from mtl_tf.errors import UsageError, did_you_mean
from mtl_tf.tasks import Metric, Task

# Of all tasks together; grader is that of the study, of these two scores.
OVERALL = ("total", "grader", "loss")
_GRADED = {"semseg": ("miou", 50.0), "depth": ("si_log_rmse", 50.0)}


def total_scores(tasks: Sequence[Task], by_task: dict[str, dict]) -> dict[str, float | None]:
    """total: the sum over the tasks of the score that stands for each, negative where lower is better.

    For semseg and depth that is mIoU - SI, and there is grader = max(mIoU - 50, 0) + max(50 - SI, 0). Both are None
    where a task was not evaluated, or is the only one.
    """
    if len(tasks) < 2:
        return {"total": None, "grader": None}
    graded = _graded(tasks)
    return {
        "total": _sum([_term(task, by_task) for task in tasks]),
        "grader": _sum([_grade(task, by_task) for task in tasks]) if graded else None,
    }


def _graded(tasks):
    return sorted(task.name for task in tasks) == sorted(_GRADED)


def _term(task, by_task):
    metric = task.metrics[0]
    value = by_task.get(task.name, {}).get(metric.name)
    return None if value is None else metric.gain(value)


def _grade(task, by_task):
    name, pivot = _GRADED[task.name]
    value = by_task.get(task.name, {}).get(name)
    return None if value is None else max(task.metrics[0].gain(value - pivot), 0.0)


def _sum(terms):
    return None if None in terms else sum(terms)


def found_by(name: str, tasks: Sequence[Task]) -> tuple[Task, Metric] | None:
    """The metric that the option `train.best_metric` names, TASK.METRIC or METRIC where one task alone has it.

    Returns:
        Task and metric; None for a score of all tasks together (`OVERALL`).

    Raises:
        UsageError: no task has it, or several have.
    """
    if name in OVERALL:
        return None
    every = [(task, metric) for task in tasks for metric in task.metrics]
    found = [(task, metric) for task, metric in every if name in (metric.name, f"{task.name}.{metric.name}")]
    if len(found) == 1:
        return found[0]
    names = [f"{task.name}.{metric.name}" for task, metric in found or every]
    if found:
        raise UsageError(f"train.best_metric={name} is a score of several tasks; choose one of {', '.join(names)}")
    mains = [f"{task.name}.{metric.name}" for task, metric in every if metric.main]
    choose = f"choose total, loss or a score of a task, for example {', '.join(mains)}"
    hint = did_you_mean(name, [*OVERALL, *names], choose)
    raise UsageError(f"train.best_metric={name} is no score of tasks={','.join(task.name for task in tasks)}; {hint}")


def selection_score(tasks: Sequence[Task], evaluation: dict, metric: str) -> float:
    """The number, larger is better, by which the best weights are chosen; -inf where it is missing.

    `total` and `grader` are of the tasks that are evaluated. Of a task that is evaluated no term is left out: without
    one that is not finite, the sum would be better than with any value.

    Args:
        tasks: the network's.
        evaluation: its scores by task, and its "loss".
        metric: value of `train.best_metric`.

    Raises:
        UsageError: there is no such metric.
    """
    chosen = found_by(metric, tasks)
    measured = {task.name: _measured(evaluation.get(task.name)) for task in tasks}
    if chosen:
        value = measured[chosen[0].name].get(chosen[1].name)
        return -math.inf if value is None else chosen[1].gain(value)
    if metric == "loss":
        loss = evaluation.get("loss")
        return -math.inf if loss is None else -loss
    there = [task for task in tasks if measured[task.name]]
    term = _term if metric == "total" else _grade
    found = _sum([term(task, measured) for task in there if metric == "total" or task.name in _GRADED])
    return -math.inf if found is None or not there else found


def _measured(scores):
    """The scores of a task; none where it was not evaluated, so that all are None."""
    scores = scores or {}
    return scores if any(value is not None for value in scores.values() if not isinstance(value, dict)) else {}
