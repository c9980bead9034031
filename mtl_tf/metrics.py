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

ANGLES = {"within_11_25": 11.25, "within_22_5": 22.5, "within_30": 30.0}  # degrees
_BINS_A_DEGREE = 100

SALIENCY = {  # the thresholds of a probability, of each score
    "maxF_pooled": np.linspace(0.05, 0.95, 19),
    "maxF_second_sigmoid": np.array([0.0, *(math.log(t / (1 - t)) for t in (0.55, 0.6, 0.65, 0.7))]),
    "sal_miou": np.linspace(0.2, 0.9, 15),
}


# === Classes ===


def confusion(answers: tf.Tensor, target: tf.Tensor, valid: tf.Tensor, classes: int) -> tf.Tensor:
    """Confusion matrices, float64 (B, C, C): row = truth, column = answer.

    Args:
        answers, target: class ids, int (B, H, W).
        valid: bool (B, H, W).
        classes: C.
    """
    cell = tf.where(valid, tf.cast(target, tf.int32), 0) * classes + tf.cast(answers, tf.int32)
    return tf.reshape(histogram(cell, valid, classes * classes), [-1, classes, classes])


def histogram(bins: tf.Tensor, valid: tf.Tensor, count: int) -> tf.Tensor:
    """How many valid pixels of each image fall into each bin: float64 (B, count) of int32 (B, H, W), 0..count - 1.

    Other bins count nowhere: an answer that is not finite falls into one.
    """
    batch = tf.shape(bins)[0]
    valid &= (bins >= 0) & (bins < count)
    # Pixels that do not count fall into one bin more, which is dropped.
    every = batch * count
    place = tf.where(valid, tf.range(batch)[:, None, None] * count + bins, every)
    counts = tf.math.bincount(tf.reshape(place, [-1]), minlength=every + 1, maxlength=every + 1, dtype=tf.int64)
    return tf.cast(tf.reshape(counts[:every], [batch, count]), tf.float64)


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


# === Directions ===


def angles(answer: tf.Tensor, target: tf.Tensor, valid: tf.Tensor) -> dict[str, tf.Tensor]:
    """Of the angle between two vectors at each pixel: sums over each image, (B,) and (B, 5), and how often it is which.

    Args:
        answer, target: vectors of any length, (B, H, W, 3).
        valid: bool (B, H, W).
    """
    found, truth = (tf.math.l2_normalize(tf.cast(each, tf.float64), -1, 1e-30) for each in (answer, target))
    # An arc cosine has few digits of small angles: W. Kahan, How futile are mindless assessments of roundoff, 2006.
    angle = 2.0 * tf.atan2(tf.norm(found - truth, axis=-1), tf.norm(found + truth, axis=-1)) * (180.0 / math.pi)
    angle = tf.where(valid, angle, 0.0)
    weights = tf.cast(valid, tf.float64)
    pixelwise = [angle, tf.square(angle), *(tf.cast(angle < limit, tf.float64) * 100 for limit in ANGLES.values())]
    return {
        "pixels": tf.reduce_sum(weights, [1, 2]),
        "pixel_sums": tf.stack([tf.reduce_sum(each * weights, [1, 2]) for each in pixelwise], -1),
        "histogram": histogram(tf.cast(tf.round(angle * _BINS_A_DEGREE), tf.int32), valid, 180 * _BINS_A_DEGREE + 1),
    }


def angle_scores(statistics: dict[str, np.ndarray]) -> dict:
    """Pooled over all pixels: mean, median and root of the mean square, degrees; percent of the angles below a limit.

    As Fouhey et al., Data-driven 3D primitives for single image understanding, ICCV 2013. The median is that of angles
    rounded to a hundredth of a degree.
    """
    pixels = float(statistics["pixels"])
    names = ("mean", "median", "rmse", *ANGLES)
    if not pixels:
        return dict.fromkeys(names)
    mean, square, *shares = (float(value) for value in np.asarray(statistics["pixel_sums"]) / pixels)
    below = np.cumsum(statistics["histogram"])
    middle = np.searchsorted(below, [(pixels - 1) // 2, pixels // 2], "right")
    return dict(zip(names, (mean, float(middle.mean()) / _BINS_A_DEGREE, math.sqrt(square), *shares), strict=True))


# === Numbers ===


def numbers(answer: tf.Tensor, target: tf.Tensor, valid: tf.Tensor) -> dict[str, tf.Tensor]:
    """Sums over the valid pixels of each image, (B,) and (B, 2): of |error| and error^2, means over channels.

    Args:
        answer, target: (B, H, W, channels).
        valid: bool (B, H, W).
    """
    error = tf.cast(answer, tf.float64) - tf.cast(target, tf.float64)
    weights = tf.cast(valid, tf.float64)
    pixelwise = [tf.where(valid, tf.reduce_mean(each, -1), 0.0) for each in (tf.abs(error), tf.square(error))]
    return {
        "pixels": tf.reduce_sum(weights, [1, 2]),
        "pixel_sums": tf.stack([tf.reduce_sum(each, [1, 2]) for each in pixelwise], -1),
    }


def number_scores(statistics: dict[str, np.ndarray]) -> dict:
    """Mean of the absolute error and root of the mean square, pooled over pixels and channels."""
    pixels = float(statistics["pixels"])
    if not pixels:
        return {"mae": None, "rmse": None}
    mae, square = (float(value) for value in np.asarray(statistics["pixel_sums"]) / pixels)
    return {"mae": mae, "rmse": math.sqrt(square)}


def bad_disparities(answer: tf.Tensor, target: tf.Tensor, valid: tf.Tensor) -> dict[str, tf.Tensor]:
    """How many valid pixels of each image, (B,), are off by more than 3 pixels and more than 5 % of the truth.

    Args:
        answer, target: disparity in pixels, float (B, H, W).
        valid: bool (B, H, W).
    """
    error = tf.abs(tf.cast(answer, tf.float64) - tf.cast(target, tf.float64))
    bad = valid & (error > 3.0) & (error > 0.05 * tf.cast(target, tf.float64))
    return {"bad": tf.reduce_sum(tf.cast(bad, tf.float64), [1, 2])}


# === Edges ===


def near_edges(answer: tf.Tensor, target: tf.Tensor, valid: tf.Tensor, tolerance: float) -> dict[str, tf.Tensor]:
    """Pixels of edges in each image, (B,): how many are answered and true, and how many of each are near the other.

    Args:
        answer, target, valid: bool (B, H, W).
        tolerance: how far near reaches, as a share of the diagonal of the picture.
    """
    answer, target = answer & valid, target & valid
    height, width = tf.unstack(tf.cast(tf.shape(target)[1:], tf.float64))
    square = tolerance**2 * (tf.square(height) + tf.square(width))
    kinds = {"answered": answer, "true": target}
    kinds |= {"right": answer & _spread(target, square), "found": target & _spread(answer, square)}
    return {
        name: tf.reduce_sum(tf.cast(each, tf.float64), [1, 2]) for name, each in (kinds | {"pixels": valid}).items()
    }


def _spread(pixels, square):
    """Whether any of the pixels, bool (B, H, W), lies at such a squared distance or nearer."""
    reach = tf.cast(tf.floor(tf.sqrt(square)), tf.int32)
    height, width = tf.unstack(tf.shape(pixels)[1:])
    # A disk is a stack of rows: there is a pixel in a row of it where a running count differs at its two ends.
    before = tf.cumsum(tf.pad(tf.cast(pixels, tf.int32), [[0, 0], [reach, reach], [reach + 1, reach]]), 2)

    def further(down, near):
        half = tf.cast(tf.floor(tf.sqrt(square - tf.square(tf.cast(down, tf.float64)))), tf.int32)
        first, last = reach - half, reach + half + 1
        row = before[:, :, last : last + width] != before[:, :, first : first + width]
        near = near | row[:, reach - down :][:, :height] | row[:, reach + down :][:, :height]
        return down + 1, tf.ensure_shape(near, pixels.shape)

    return tf.while_loop(lambda down, near: down <= reach, further, (0, tf.zeros_like(pixels)))[1]


def near_edge_scores(statistics: dict[str, np.ndarray]) -> dict:
    """Precision, recall and F, percent, of edges that are right where one of the other lies near, pooled over images.

    Unlike the benchmark of Martin et al., TPAMI 2004, several pixels may be near the same one, and lines are not
    thinned: the numbers are larger than its F. P = 1 where nothing is answered, R = 1 where nothing is true.
    """
    answered, true, right, found = (float(statistics[name]) for name in ("answered", "true", "right", "found"))
    if not float(statistics["pixels"]):
        return dict.fromkeys(("f_distance", "precision_distance", "recall_distance"))
    precision = right / answered if answered else 1.0
    recall = found / true if true else 1.0
    f = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"f_distance": 100 * f, "precision_distance": 100 * precision, "recall_distance": 100 * recall}


# === Saliency ===


def saliency(answer: tf.Tensor, target: tf.Tensor, valid: tf.Tensor) -> dict[str, tf.Tensor]:
    """What is found at each threshold of `SALIENCY`: pixels of each image, and its overlap, precision and recall.

    Args:
        answer: probabilities, float (B, H, W).
        target, valid: bool (B, H, W).
    """
    target &= valid
    true = tf.reduce_sum(tf.cast(target, tf.float64), [1, 2])
    levels = np.sort(np.concatenate(list(SALIENCY.values()))).astype(np.float32)
    reached = tf.reshape(tf.searchsorted(levels, tf.reshape(answer, [-1]), "right"), tf.shape(answer))
    # How many pixels reach each level: those that reach it last, and all that get further.
    at_least = [
        tf.cumsum(histogram(reached, each, len(levels) + 1)[:, 1:], 1, reverse=True) for each in (valid, target)
    ]

    def found(name):
        """Answered, and answered rightly, (B, thresholds)."""
        places = np.searchsorted(levels, SALIENCY[name].astype(np.float32))
        return [tf.gather(counts, places, axis=1) for counts in at_least]

    pooled = {name: found(name) for name in ("maxF_pooled", "maxF_second_sigmoid")}
    answered, right = found("sal_miou")
    union = answered + true[:, None] - right
    counted = tf.reduce_any(valid, [1, 2])[:, None]
    by_image = {
        # Nothing there and nothing answered is right.
        "overlap": tf.where(union > 0, right / tf.maximum(union, 1.0), 1.0),
        "precision": right / tf.maximum(answered, 1.0),
        "recall": right / tf.maximum(true, 1.0)[:, None],
    }
    return {
        **{f"{name}_answered": both[0] for name, both in pooled.items()},
        **{f"{name}_right": both[1] for name, both in pooled.items()},
        "true": true,
        "images": tf.cast(counted[:, 0], tf.float64),
        **{name: tf.where(counted, each, 0.0) for name, each in by_image.items()},
    }


def saliency_scores(statistics: dict[str, np.ndarray]) -> dict:
    """The four numbers that papers call maxF or mIoU of saliency, percent; each is the largest over its thresholds.

    maxF_pooled: F with beta^2 = 0.3 of precision and recall over all pixels (Achanta et al., CVPR 2009).
    maxF_second_sigmoid: the same of sigmoid(probability), as the public code of InvPT scores: five of its thresholds
    change anything. sal_miou: mean IoU over images. maxF_images: F with beta^2 = 1 of the precision and the recall
    averaged over images; both as in Maninis et al., CVPR 2019.
    """
    images, true = float(statistics["images"]), float(statistics["true"])
    names = ("maxF_pooled", "maxF_second_sigmoid", "sal_miou", "maxF_images")
    if not images:
        return dict.fromkeys(names)

    def largest_f(right, answered, true, beta_square):
        """Of P = right / answered, R = right / true: (1 + b) P R / (b P + R) = (1 + b) right / (b true + answered)."""
        return float(np.max((1 + beta_square) * right / np.maximum(beta_square * true + answered, 1e-12)))

    pooled = [
        largest_f(statistics[f"{name}_right"], statistics[f"{name}_answered"], true, 0.3)
        for name in ("maxF_pooled", "maxF_second_sigmoid")
    ]
    precision, recall = (np.asarray(statistics[name]) / images for name in ("precision", "recall"))
    by_image = float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))
    found = (*pooled, float(np.max(statistics["overlap"])) / images, by_image)
    return {name: 100 * value for name, value in zip(names, found, strict=True)}
