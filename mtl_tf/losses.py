"""The losses of pixels, which several kinds of tasks share; the mask is a part of each.

A loss is a pair (sum, count), so that batches and replicas merge exactly: the mean is sum / count, over whatever was
merged. The gradient of the sum is finite for any mask.
"""

from collections.abc import Callable

from keras import KerasTensor as Tensor
from keras import ops

SILOG_LAMBDA = 0.5  # Eigen et al. 2014, eq. 4


def cross_entropy(logits: Tensor, labels: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax cross-entropy, summed over valid pixels, and their number.

    Args:
        logits: float32 (B, H, W, C).
        labels: class ids, int (B, H, W), in range also where they are not valid.
        valid: bool (B, H, W).
    """
    weights = ops.cast(valid, "float32")
    losses = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    return ops.sum(losses * weights), ops.sum(weights)


def mean_by_image(losses: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over the valid pixels of each image, summed over the images that have any, and their number.

    Args:
        losses: of pixels, float32 (B, H, W).
        valid: bool (B, H, W).
    """
    weights = ops.cast(valid, "float32")
    pixels = ops.sum(weights, [1, 2])
    means = ops.sum(losses * weights, [1, 2]) / ops.maximum(pixels, 1.0)
    return ops.sum(means), ops.sum(ops.cast(pixels > 0, "float32"))


def scale_invariant(error: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Scale-invariant log loss, mean(d^2) - 0.5 mean(d)^2 of each image (Eigen et al. 2014, eq. 4), and the images.

    Args:
        error: d = ln z_pred - ln z, float32 (B, H, W), 0 where it is not valid.
        valid: bool (B, H, W).
    """
    pixels = ops.maximum(ops.sum(ops.cast(valid, "float32"), [1, 2]), 1.0)
    mean_square = ops.sum(ops.square(error), [1, 2]) / pixels
    mean = ops.sum(error, [1, 2]) / pixels
    images = ops.sum(ops.cast(ops.any(valid, [1, 2]), "float32"))
    return ops.sum(mean_square - SILOG_LAMBDA * ops.square(mean)), images


def _berhu(error):
    """Inverse Huber: Laina et al. 2016, eq. 1, with c = a fifth of the largest error, here of each image."""
    size = ops.abs(error)
    bend = ops.stop_gradient(0.2 * ops.max(size, [1, 2], keepdims=True))
    safe = ops.maximum(bend, 1e-6)
    return ops.where(size <= bend, size, (ops.square(error) + ops.square(bend)) / (2.0 * safe))


# Of an error (B, H, W) that is 0 where it is not valid.
PIXEL_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {"l2": ops.square, "l1": ops.abs, "berhu": _berhu}
