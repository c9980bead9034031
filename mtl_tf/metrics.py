"""The statistics that scores are made of, which several kinds of tasks share.

Per image they are additive; a score is computed of a sum of them. So one definition serves an image, a batch, a split
and any number of replicas, exactly.
"""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

DEPTH_FLOOR = 0.01  # what every depth is raised to before its logarithm is taken, where the range lies above it

# Mean over the valid pixels of an image of ...; (name, of the mean to the score).
_PIXEL_MEANS = ("abs_rel", "sq_rel", "square", "log_square", "log", "log10", "mae", "delta1", "delta2", "delta3")


# === Classes ===


def confusion(answers: tf.Tensor, target: tf.Tensor, valid: tf.Tensor, classes: int) -> tf.Tensor:
    """Confusion matrices, float64 (B, C, C): row = truth, column = answer.

    Args:
        answers, target: class ids, int (B, H, W).
        valid: bool (B, H, W).
        classes: C.
    """
    batch = tf.shape(target)[0]
    image = tf.range(batch)[:, None, None]
    cell = (image * classes + tf.where(valid, target, 0)) * classes + tf.cast(answers, tf.int32)
    cells = batch * classes * classes
    # Ignored pixels fall into one cell more, which is dropped.
    cell = tf.where(valid, cell, cells)
    counts = tf.math.bincount(tf.reshape(cell, [-1]), minlength=cells + 1, maxlength=cells + 1, dtype=tf.int64)
    return tf.cast(tf.reshape(counts[:cells], [batch, classes, classes]), tf.float64)


def overlaps(confusion: np.ndarray, classes: Sequence[str]) -> dict:
    """IoU_c = TP / (row + column - TP), percent (Everingham et al., "The Pascal VOC Challenge", IJCV 2010), and means.

    Args:
        confusion: a sum of confusion matrices, (C, C).
        classes: their names.
    """
    confusion = np.asarray(confusion, np.float64)
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
        "iou": {name: float(value) if here else None for name, value, here in zip(classes, iou, present, strict=True)},
    }


# === Distances ===


def distances(answer: tf.Tensor, target: tf.Tensor, valid: tf.Tensor, minimum: float) -> dict[str, tf.Tensor]:
    """Sums over the valid pixels of each image, (B, 10), and what the per-image scores add up to, (B, 10) and (B, 3).

    Args:
        answer, target: metres (B, H, W).
        valid: bool (B, H, W).
        minimum: the smallest valid distance, metres.
    """
    truth = tf.cast(tf.where(valid, target, 1.0), tf.float64)
    answer = tf.cast(tf.where(valid, answer, 1.0), tf.float64)
    floor = min(DEPTH_FLOOR, minimum)
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


def distance_scores(statistics: dict[str, np.ndarray]) -> dict:
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
