"""One number of the scores of all tasks: the total, and the score that the best weights are chosen by."""

import math


def total_scores(by_task: dict[str, dict]) -> dict[str, float | None]:
    """total = mIoU - SI and grader = max(mIoU - 50, 0) + max(50 - SI, 0); None where a task was not evaluated."""
    miou = by_task.get("semseg", {}).get("miou")
    si = by_task.get("depth", {}).get("si_log_rmse")
    if miou is None or si is None:
        return {"total": None, "grader": None}
    return {"total": miou - si, "grader": max(miou - 50, 0.0) + max(50 - si, 0.0)}


_LOWER_IS_BETTER = ("si_log_rmse", "rmse", "abs_rel", "loss")


def selection_score(evaluation: dict, metric: str) -> float:
    """The number, larger is better, by which the best weights are chosen; -inf where it is missing.

    `total` and `grader` fall back on their term of the one task that is evaluated. Of a task that is evaluated no term
    is left out: without one that is not finite, the sum would be better than with any value.
    """
    semseg, depth = _measured(evaluation.get("semseg")), _measured(evaluation.get("depth"))
    if metric in ("total", "grader"):
        neutral = {"total": 0.0, "grader": 50.0}[metric]  # a score that adds nothing
        by_task = {"semseg": semseg or {"miou": neutral}, "depth": depth or {"si_log_rmse": neutral}}
        found = total_scores(by_task)[metric] if semseg or depth else None
    else:
        found = next((scores[metric] for scores in (evaluation, semseg, depth) if scores.get(metric) is not None), None)
    if found is None:
        return -math.inf
    return -found if metric in _LOWER_IS_BETTER else found


def _measured(scores):
    """The scores of a task; none where it was not evaluated, so that all are None."""
    scores = scores or {}
    return scores if any(value is not None for value in scores.values() if not isinstance(value, dict)) else {}
