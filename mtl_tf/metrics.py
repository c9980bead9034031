"""The metrics. Per image they are additive statistics; a score is computed of a sum of statistics.

So one definition serves an image, a batch, a split and any number of replicas, exactly: `measure` gives arrays with
one row an image, whoever merges adds rows up, and `scores` reads the sum.
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from mtl_tf.tasks import Depth, Segmentation, Task

DEPTH_FLOOR = 0.01  # what every depth is raised to before its logarithm is taken, where the range lies above it

# Mean over the valid pixels of an image of ...; (name, of the mean to the score).
_PIXEL_MEANS = ("abs_rel", "sq_rel", "square", "log_square", "log", "log10", "mae", "delta1", "delta2", "delta3")


def measure(task: Task, raw: tf.Tensor, target: tf.Tensor) -> dict[str, tf.Tensor]:
    """Additive statistics of each image.

    Args:
        task: a task; `task.metrics` is a key of `METRICS`.
        raw: raw head, (B, H, W, channels).
        target: int labels or metres, (B, H, W).

    Returns:
        Name -> float64 (B, ...).
    """
    return METRICS[task.metrics][0](task, raw, target)


def scores(task: Task, statistics: dict[str, np.ndarray]) -> dict:
    """The scores of a sum of statistics over images: percentages 0..100, metres, None where nothing was counted."""
    return METRICS[task.metrics][1](task, statistics)


# === Segmentation ===


def _measure_segmentation(task: Segmentation, raw, target):
    """Confusion matrices (B, C, C): row = truth, column = answer."""
    classes = task.channels
    answers = tf.cast(task.decode(raw), tf.int32)
    batch = tf.shape(target)[0]
    image = tf.range(batch)[:, None, None]
    cell = (image * classes + tf.where(task.valid(target), target, 0)) * classes + answers
    cells = batch * classes * classes
    # Ignored pixels fall into one cell more, which is dropped.
    cell = tf.where(task.valid(target), cell, cells)
    counts = tf.math.bincount(tf.reshape(cell, [-1]), minlength=cells + 1, maxlength=cells + 1, dtype=tf.int64)
    return {"confusion": tf.cast(tf.reshape(counts[:cells], [batch, classes, classes]), tf.float64)}


def _score_segmentation(task: Segmentation, statistics):
    """IoU_c = TP / (row + column - TP): Everingham et al., "The Pascal VOC Challenge", IJCV 2010."""
    confusion = np.asarray(statistics["confusion"], np.float64)
    right = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - right
    present = union > 0
    iou = 100 * right / np.maximum(union, 1)
    total = confusion.sum()
    return {
        "miou": float(iou[present].mean()) if present.any() else None,
        # The original counts a class that neither truth nor answer holds as 0.
        "miou_all_classes": float(iou.mean()) if present.any() else None,
        "pixel_accuracy": float(100 * right.sum() / total) if total else None,
        "iou": {
            name: float(value) if here else None for name, value, here in zip(task.classes, iou, present, strict=True)
        },
    }


# === Depth ===


def _measure_depth(task: Depth, raw, target):
    """Sums over the valid pixels of each image, (B, 11), and what the per-image scores add up to, (B, 12)."""
    valid = task.valid(target)
    truth = tf.cast(tf.where(valid, target, 1.0), tf.float64)
    answer = tf.cast(tf.where(valid, task.decode(raw), 1.0), tf.float64)
    floor = min(DEPTH_FLOOR, task.minimum)
    truth, answer = tf.maximum(truth, floor), tf.maximum(answer, floor)
    error = answer - truth
    log = tf.math.log(truth) - tf.math.log(answer)
    ratio = tf.maximum(answer / truth, truth / answer)
    pixelwise = {
        "abs_rel": tf.abs(error) / truth,
        "sq_rel": tf.square(error / truth),
        "square": tf.square(error),
        "log_square": tf.square(log),
        "log": log,
        "log10": tf.abs(log) / math.log(10.0),
        "mae": tf.abs(error),
        **{f"delta{k}": tf.cast(ratio < 1.25**k, tf.float64) * 100 for k in (1, 2, 3)},
    }
    weights = tf.cast(valid, tf.float64)
    pixels = tf.reduce_sum(weights, [1, 2])
    sums = tf.stack([tf.reduce_sum(pixelwise[name] * weights, [1, 2]) for name in _PIXEL_MEANS], -1)
    means = sums / tf.maximum(pixels, 1.0)[:, None]
    column = _PIXEL_MEANS.index
    # Two passes: mean(d^2) - mean(d)^2 would cancel where the scale is wrong but the shape right.
    centred = (log - means[:, None, None, column("log")]) * weights
    variance = tf.reduce_sum(tf.square(centred), [1, 2]) / tf.maximum(pixels, 1.0)
    roots = tf.sqrt(tf.stack([variance, means[:, column("square")], means[:, column("log_square")]], -1))
    return {
        "pixels": pixels,
        "pixel_sums": sums,
        "images": tf.cast(pixels > 0, tf.float64),
        "image_means": means,
        "image_roots": roots,
    }


def _score_depth(task: Depth, statistics):
    """Per image and then averaged over images; pooled over all pixels as NAME_pixels.

    SI-logRMSE: Eigen et al. 2014; the others as in Eigen et al. and in Fu et al., CVPR 2018; sq_rel is mean((e/z)^2).
    """
    images, pixels = float(statistics["images"]), float(statistics["pixels"])
    names = ("abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "mae", "delta1", "delta2", "delta3")
    if not images:
        return {name: None for name in ("si_log_rmse", *names, *(f"{name}_pixels" for name in ("si_log_rmse", *names)))}
    means = dict(zip(_PIXEL_MEANS, np.asarray(statistics["image_means"]) / images, strict=True))
    si, rmse, rmse_log = np.asarray(statistics["image_roots"]) / images
    pooled = dict(zip(_PIXEL_MEANS, np.asarray(statistics["pixel_sums"]) / pixels, strict=True))
    by_image = means | {"rmse": rmse, "rmse_log": rmse_log}
    by_pixel = pooled | {"rmse": math.sqrt(pooled["square"]), "rmse_log": math.sqrt(pooled["log_square"])}
    si_pixels = math.sqrt(max(pooled["log_square"] - pooled["log"] ** 2, 0.0))
    return {
        "si_log_rmse": float(100 * si),
        **{name: float(by_image[name]) for name in names},
        "si_log_rmse_pixels": 100 * si_pixels,
        **{f"{name}_pixels": float(by_pixel[name]) for name in names},
    }


METRICS: dict[str, tuple[Callable, Callable]] = {
    "segmentation": (_measure_segmentation, _score_segmentation),
    "depth": (_measure_depth, _score_depth),
}


# === Both tasks ===


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
