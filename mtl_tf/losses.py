"""The losses. Masks are part of them: a loss is a pair (sum, count), so that batches and replicas merge exactly.

Every loss takes the raw head and the target of its task and returns the sum over what it counts, and the count:
pixels for segmentation, images for depth. The mean is sum / count, over whatever was merged.
"""

from collections.abc import Callable, Sequence

from keras import KerasTensor as Tensor
from keras import ops

from mtl_tf.config import Config
from mtl_tf.tasks import Depth, Segmentation, Task

SILOG_LAMBDA = 0.5  # Eigen et al. 2014, eq. 4


def loss_weight(config: Config, task: Task) -> float:
    """The weight of a task in the total loss."""
    return getattr(config.loss, task.weight)


def total_loss(config: Config, tasks: Sequence[Task], losses: dict[str, float | None]) -> float | None:
    """What is minimised: the weighted sum of the losses of the tasks, by the task's name; None where one is missing."""
    if None in losses.values():
        return None
    return sum(loss_weight(config, task) * losses[task.name] for task in tasks)


def raws_of(task: Task, outputs: dict[str, Tensor]) -> list[Tensor]:
    """The raw heads that the loss of a task is the mean over: the first, where a network has such, and the last."""
    return [outputs[name] for name in (f"{task.name}_initial", task.name) if name in outputs]


def mean_losses(
    tasks: Sequence[Task], outputs: dict[str, Tensor], labels: dict[str, Tensor], counts: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The loss of every task, float32 scalars: of what the network answers, and of its first answers where it has any.

    Args:
        tasks: what is predicted.
        outputs: the network's.
        labels: targets (B, H, W) by the task's name.
        counts: what each task's sum is divided by: `count` of these labels, or of all of which they are a share.
    """
    losses = {}
    for task in tasks:
        sums = [loss_sum_and_count(task, raw, labels[task.name])[0] for raw in raws_of(task, outputs)]
        losses[task.name] = sum(sums) / len(sums) / ops.maximum(counts[task.name], 1.0)
    return losses


def count(task: Task, target: Tensor) -> Tensor:
    """What the loss of a task counts, of its targets alone (the loss of a raw head of zeros is never computed)."""
    return loss_sum_and_count(task, ops.zeros((*ops.shape(target), task.channels)), target)[1]


def loss_sum_and_count(task: Task, raw: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The loss that the task names.

    Args:
        task: a task; `task.loss` is a key of `LOSSES`.
        raw: raw head, (B, H, W, channels).
        target: int labels or metres, (B, H, W).

    Returns:
        Sum and count, float32 scalars. The gradient of the sum is finite for any mask and target.
    """
    return LOSSES[task.loss](task, ops.cast(raw, "float32"), target)


def _cross_entropy(task: Segmentation, raw, target):
    """Softmax cross-entropy over the pixels that are not ignored."""
    valid = task.valid(target)
    labels = ops.where(valid, target, 0)
    losses = ops.sparse_categorical_crossentropy(labels, raw, from_logits=True)
    weights = ops.cast(valid, "float32")
    return ops.sum(losses * weights), ops.sum(weights)


def _per_image(pixel_loss: Callable) -> Callable:
    """A depth loss: per image the mean over valid pixels, summed over the images that have any.

    `pixel_loss(error, mask)` gives the loss per pixel, (B, H, W), of the error in whitened units.
    """

    def loss(task: Depth, raw, target):
        valid = task.valid(target)
        # Invalid pixels are replaced before anything is computed of them: masking afterwards would leave NaN
        # gradients (0 * inf).
        error = ops.where(valid, raw[..., 0] - task.encode(ops.where(valid, target, task.mean)), 0.0)
        return _mean_over_valid(pixel_loss(error), valid)

    return loss


def _mean_over_valid(losses, valid):
    weights = ops.cast(valid, "float32")
    pixels = ops.sum(weights, [1, 2])
    means = ops.sum(losses * weights, [1, 2]) / ops.maximum(pixels, 1.0)
    return ops.sum(means), ops.sum(ops.cast(pixels > 0, "float32"))


def _berhu(error):
    """Inverse Huber: Laina et al. 2016, eq. 1, with c = a fifth of the largest error, here of each image."""
    size = ops.abs(error)
    bend = ops.stop_gradient(0.2 * ops.max(size, [1, 2], keepdims=True))
    safe = ops.maximum(bend, 1e-6)
    return ops.where(size <= bend, size, (ops.square(error) + ops.square(bend)) / (2.0 * safe))


def _silog(task: Depth, raw, target):
    """Scale-invariant log loss: Eigen et al. 2014, eq. 4: mean(d^2) - 0.5 mean(d)^2 of d = ln z_pred - ln z."""
    valid = task.valid(target)
    log_target = ops.log(ops.where(valid, target, task.mean))
    if task.space == "log":
        log_prediction = raw[..., 0] * task.log_std + task.log_mean
    else:
        metres = raw[..., 0] * task.std + task.mean
        # Below the floor the logarithm goes on as its tangent, so that negative depths keep a useful gradient.
        floor = 0.5 * task.minimum
        log_prediction = ops.where(
            metres > floor, ops.log(ops.maximum(metres, floor)), ops.log(floor) + (metres - floor) / floor
        )
    difference = ops.where(valid, log_prediction - log_target, 0.0)
    pixels = ops.maximum(ops.sum(ops.cast(valid, "float32"), [1, 2]), 1.0)
    mean_square = ops.sum(ops.square(difference), [1, 2]) / pixels
    mean = ops.sum(difference, [1, 2]) / pixels
    images = ops.sum(ops.cast(ops.any(valid, [1, 2]), "float32"))
    return ops.sum(mean_square - SILOG_LAMBDA * ops.square(mean)), images


LOSSES: dict[str, Callable] = {
    "cross_entropy": _cross_entropy,
    "l2": _per_image(ops.square),
    "l1": _per_image(ops.abs),
    "berhu": _per_image(_berhu),
    "silog": _silog,
}
