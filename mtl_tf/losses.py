"""The losses of pixels, which several kinds of tasks share; the mask is a part of each.

A loss is a pair (sum, count), so that batches and replicas merge exactly: the mean is sum / count, over whatever was
merged. The gradient of the sum is finite for any mask.
"""

from collections.abc import Callable

from keras import KerasTensor as Tensor
from keras import ops

SILOG_LAMBDA = 0.5  # Eigen et al. 2014, eq. 4
GRADIENT_STEPS = (1, 2, 4, 8)  # pixels, the four scales of Ranftl et al. 2022


def over_pixels(losses: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """The sum over the valid pixels, and their number.

    Args:
        losses: of pixels, finite, float32 (B, H, W).
        valid: bool (B, H, W); or weights, float32, 0 where a pixel does not count: then the weighted sum, and theirs.
    """
    weights = ops.cast(valid, "float32")
    return ops.sum(losses * weights), ops.sum(weights)


def mean_by_image(losses: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over the valid pixels of each image, summed over the images that have any, and their number.

    Args:
        losses: of pixels, float32 (B, H, W).
        valid: bool (B, H, W).
    """
    weights = ops.cast(valid, "float32")
    means = ops.sum(losses * weights, [1, 2]) / ops.maximum(ops.sum(weights, [1, 2]), 1.0)
    return over_images(means, valid)


# What a mean is over: the valid pixels of all images together, or of each image and then the images.
REDUCTIONS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "pixels": over_pixels,
    "images": mean_by_image,
}


def over_images(means: Tensor, valid: Tensor, reduction: str = "images") -> tuple[Tensor, Tensor]:
    """The sum over the images that have a valid pixel, and their number; by "pixels" each counts as often as it has.

    Args:
        means: of each image, 0 where it has no valid pixel, float32 (B,).
        valid: bool (B, H, W).
        reduction: a key of `REDUCTIONS`.
    """
    pixels = ops.sum(ops.cast(valid, "float32"), [1, 2])
    if reduction == "pixels":
        return ops.sum(means * pixels), ops.sum(pixels)
    return ops.sum(means), ops.sum(ops.cast(pixels > 0, "float32"))


def scale_invariant(error: Tensor, valid: Tensor, reduction: str = "images") -> tuple[Tensor, Tensor]:
    """Scale-invariant log loss: mean(d^2) - 0.5 mean(d)^2 of each image (Eigen et al. 2014, eq. 4), then `over_images`.

    Args:
        error: d = ln z_pred - ln z, float32 (B, H, W), 0 where it is not valid.
        valid: bool (B, H, W).
        reduction: a key of `REDUCTIONS`.
    """
    pixels = ops.maximum(ops.sum(ops.cast(valid, "float32"), [1, 2]), 1.0)
    mean_square = ops.sum(ops.square(error), [1, 2]) / pixels
    mean = ops.sum(error, [1, 2]) / pixels
    return over_images(mean_square - SILOG_LAMBDA * ops.square(mean), valid, reduction)


def gradient_matching(error: Tensor, valid: Tensor, reduction: str = "images") -> tuple[Tensor, Tensor]:
    """How far the gradients of an answer are from those of the truth, at several scales.

    Li and Snavely, CVPR 2018 (MegaDepth), as the code of Ranftl et al., TPAMI 2022 (MiDaS), divides it: for each image
    the sum over the scales s = 1, 2, 4, 8 of sum(|R(y + s, x) - R(y, x)| + |R(y, x + s) - R(y, x)|) / M_s over every
    s-th row and column, where R is the error and M_s the number of valid pixels among those. Then `over_images`. A
    difference counts only where all pixels from one end to the other are valid: none crosses what has no label.

    Args:
        error: answer minus truth, float32 (B, H, W), finite where it is not valid.
        valid: bool (B, H, W).
        reduction: a key of `REDUCTIONS`.
    """
    total = 0.0
    across, down = valid, valid  # whether all pixels are valid from one end of a difference to the other
    for step, shift in zip(GRADIENT_STEPS, (1, *GRADIENT_STEPS), strict=False):
        across = across[:, :, :-shift] & across[:, :, shift:]
        down = down[:, :-shift] & down[:, shift:]
        rises = ops.where(across, ops.abs(error[:, :, step:] - error[:, :, :-step]), 0.0)
        falls = ops.where(down, ops.abs(error[:, step:] - error[:, :-step]), 0.0)
        sums = (ops.sum(each[:, ::step, ::step], [1, 2]) for each in (rises, falls))
        pixels = ops.sum(ops.cast(valid[:, ::step, ::step], "float32"), [1, 2])
        total += sum(sums) / ops.maximum(pixels, 1.0)
    return over_images(total, valid, reduction)


def balanced_cross_entropy(logits: Tensor, positive: Tensor, valid: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy times `weight` where positive and times 1 - weight elsewhere, summed over valid pixels.

    Xie and Tu, Holistically-nested edge detection, ICCV 2015, eq. 2, but over the number of valid pixels.

    Args:
        logits: float32 (B, H, W).
        positive, valid: bool (B, H, W).
        weight: see `balanced_weights`.

    Returns:
        The sum, and the number of valid pixels.
    """
    weights = balanced_weights(positive, valid, weight)
    losses = weights * ops.softplus(ops.where(positive, -logits, logits))
    return ops.sum(losses), ops.sum(ops.cast(valid, "float32"))


def balanced_weights(positive: Tensor, valid: Tensor, weight: float) -> Tensor:
    """What each pixel weighs, float32 (B, H, W): `weight` where positive, 1 - weight elsewhere, 0 where not valid.

    Args:
        positive, valid: bool (B, H, W).
        weight: 0..1; negative = the share of negatives in the valid pixels of each image. Xie and Tu too have that of
            an image; of a batch it would not let parts of a batch merge.
    """
    if weight < 0:
        pixels = ops.sum(ops.cast(valid, "float32"), [1, 2], keepdims=True)
        negatives = ops.sum(ops.cast(valid & ~positive, "float32"), [1, 2], keepdims=True)
        weight = negatives / ops.maximum(pixels, 1.0)
    return ops.where(positive, weight, 1.0 - weight) * ops.cast(valid, "float32")


def unit(vectors: Tensor, shortest: float = 1e-12) -> Tensor:
    """Vectors (..., C) over their length, or over `shortest` where they are shorter: v / max(|v|, shortest).

    Neither very long nor very short ones leave the range of float32, and the gradient is at most 1 / shortest.
    """
    # Held constant, since it cancels.
    largest = ops.stop_gradient(ops.maximum(ops.max(ops.abs(vectors), -1, keepdims=True), shortest))
    scaled = vectors / largest
    square = ops.sum(ops.square(scaled), -1, keepdims=True)
    return scaled / ops.sqrt(ops.maximum(square, ops.square(shortest / largest)))


def _berhu(error):
    """Inverse Huber: Laina et al. 2016, eq. 1, with c = a fifth of the largest error, here of each image."""
    size = ops.abs(error)
    bend = ops.stop_gradient(0.2 * ops.max(size, [1, 2], keepdims=True))
    safe = ops.maximum(bend, 1e-6)
    return ops.where(size <= bend, size, (ops.square(error) + ops.square(bend)) / (2.0 * safe))


# Of an error (B, H, W) that is 0 where it is not valid.
PIXEL_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {"l2": ops.square, "l1": ops.abs, "berhu": _berhu}

# Of unit vectors (B, H, W, C), the answer and the truth: a number a pixel. l1_pixels is C times l1_elements; the papers
# have the same weight for both.
VECTOR_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": lambda answer, truth: 1.0 - ops.sum(answer * truth, -1),
    "l1_pixels": lambda answer, truth: ops.sum(ops.abs(answer - truth), -1),
    "l1_elements": lambda answer, truth: ops.mean(ops.abs(answer - truth), -1),
}
