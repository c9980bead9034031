"""The losses. Masks are part of them: a loss is a pair (sum, count), so that batches and replicas merge exactly.

Every loss takes the raw head and the target of its task and returns the sum over what it counts, and the count:
pixels for segmentation, images for depth. The mean is sum / count, over whatever was merged.
"""

from collections.abc import Callable

import tensorflow as tf

from mtl_tf.tasks import Depth, Segmentation, Task

SILOG_LAMBDA = 0.5  # Eigen et al. 2014, eq. 4


def loss_sum_and_count(task: Task, raw: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss that the task names.

    Args:
        task: a task; `task.loss` is a key of `LOSSES`.
        raw: raw head, (B, H, W, channels).
        target: int labels or metres, (B, H, W).

    Returns:
        Sum and count, float32 scalars. The gradient of the sum is finite for any mask and target.
    """
    return LOSSES[task.loss](task, tf.cast(raw, tf.float32), target)


def _cross_entropy(task: Segmentation, raw, target):
    """Softmax cross-entropy over the pixels that are not ignored."""
    valid = task.valid(target)
    labels = tf.where(valid, target, 0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, raw)
    weights = tf.cast(valid, tf.float32)
    return tf.reduce_sum(losses * weights), tf.reduce_sum(weights)


def _per_image(pixel_loss: Callable) -> Callable:
    """A depth loss: per image the mean over valid pixels, summed over the images that have any.

    `pixel_loss(error, mask)` gives the loss per pixel, (B, H, W), of the error in whitened units.
    """

    def loss(task: Depth, raw, target):
        valid = task.valid(target)
        # Invalid pixels are replaced before anything is computed of them: masking afterwards would leave NaN
        # gradients (0 * inf).
        error = tf.where(valid, raw[..., 0] - task.encode(tf.where(valid, target, task.mean)), 0.0)
        return _mean_over_valid(pixel_loss(error), valid)

    return loss


def _mean_over_valid(losses, valid):
    weights = tf.cast(valid, tf.float32)
    pixels = tf.reduce_sum(weights, [1, 2])
    means = tf.reduce_sum(losses * weights, [1, 2]) / tf.maximum(pixels, 1.0)
    return tf.reduce_sum(means), tf.reduce_sum(tf.cast(pixels > 0, tf.float32))


def _berhu(error):
    """Inverse Huber: Laina et al. 2016, eq. 1, with c = a fifth of the largest error, here of each image."""
    size = tf.abs(error)
    bend = tf.stop_gradient(0.2 * tf.reduce_max(size, [1, 2], keepdims=True))
    safe = tf.maximum(bend, 1e-6)
    return tf.where(size <= bend, size, (tf.square(error) + tf.square(bend)) / (2.0 * safe))


def _silog(task: Depth, raw, target):
    """Scale-invariant log loss: Eigen et al. 2014, eq. 4: mean(d^2) - 0.5 mean(d)^2 of d = ln z_pred - ln z."""
    valid = task.valid(target)
    log_target = tf.math.log(tf.where(valid, target, task.mean))
    if task.space == "log":
        log_prediction = raw[..., 0] * task.log_std + task.log_mean
    else:
        metres = raw[..., 0] * task.std + task.mean
        # Below the floor the logarithm goes on as its tangent, so that negative depths keep a useful gradient.
        floor = 0.5 * task.minimum
        log_prediction = tf.where(
            metres > floor, tf.math.log(tf.maximum(metres, floor)), tf.math.log(floor) + (metres - floor) / floor
        )
    difference = tf.where(valid, log_prediction - log_target, 0.0)
    pixels = tf.maximum(tf.reduce_sum(tf.cast(valid, tf.float32), [1, 2]), 1.0)
    mean_square = tf.reduce_sum(tf.square(difference), [1, 2]) / pixels
    mean = tf.reduce_sum(difference, [1, 2]) / pixels
    images = tf.reduce_sum(tf.cast(tf.reduce_any(valid, [1, 2]), tf.float32))
    return tf.reduce_sum(mean_square - SILOG_LAMBDA * tf.square(mean)), images


LOSSES: dict[str, Callable] = {
    "cross_entropy": _cross_entropy,
    "l2": _per_image(tf.square),
    "l1": _per_image(tf.abs),
    "berhu": _per_image(_berhu),
    "silog": _silog,
}
