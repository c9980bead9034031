"""The losses of classes: what a pixel costs, which pixels count, and how well regions overlap.

What a pixel costs is summed up by `losses.over_pixels`; what an image costs, which says how well regions overlap or
what its hardest pixels cost, by `losses.over_images`. Gradients are finite for any mask.
"""

from collections.abc import Callable

from keras import KerasTensor as Tensor
from keras import ops

# === Of pixels ===


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Softmax cross-entropy, -sum of q_c ln p_c.

    Args:
        logits: float32 (B, H, W, C).
        labels: class ids, int (B, H, W), in range.
        smoothing: q is 1 - smoothing of the label and smoothing / C of every class (Szegedy et al., CVPR 2016, sec. 7).

    Returns:
        Float32 (B, H, W).
    """
    costs = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    if not smoothing:
        return costs
    return (1.0 - smoothing) * costs - smoothing * ops.mean(ops.log_softmax(logits, -1), -1)


def focal(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """Focal loss, -(1 - p)^gamma ln p of the label's probability p (Lin et al., ICCV 2017, eq. 4), here of a softmax.

    Args:
        logits: float32 (B, H, W, C).
        labels: class ids, int (B, H, W), in range.
        gamma: 0 and more; 0 is cross-entropy.

    Returns:
        Float32 (B, H, W).
    """
    costs = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    # Not less, since the slope of a power below 1 has no bounds at 0.
    doubt = ops.maximum(-ops.expm1(-costs), 1e-6)
    return ops.power(doubt, gamma) * costs


# === Of images ===


def hardest_mean(costs: Tensor, weights: Tensor, share: float) -> Tensor:
    """The weighted mean over those pixels of each image that cost most, with their weight.

    Wu et al., "Bridging category-level and instance-level semantic image segmentation", 2016; Cheng et al., CVPR 2020
    (Panoptic-DeepLab), have a share of 0.2. Pixels that cost the same at the edge of the share count in part.

    Args:
        costs: of pixels, float32 (B, H, W).
        weights: of pixels, 0 where one does not count, float32 (B, H, W).
        share: of the pixels that count, 0..1; rounded, and at least one pixel.

    Returns:
        Float32 (B,); 0 where no pixel counts.
    """
    costs, weights = (ops.reshape(each, (ops.shape(each)[0], -1)) for each in (costs * weights, weights))
    fixed = ops.stop_gradient(ops.where(weights > 0, costs, -1.0))
    pixels = ops.sum(ops.cast(weights > 0, "float32"), -1, keepdims=True)
    kept = ops.maximum(ops.round(share * pixels), 1.0)
    place = ops.shape(fixed)[1] - ops.cast(kept, "int32")
    least = ops.take_along_axis(ops.sort(fixed, -1), place, -1)
    above, level = (ops.cast(each, "float32") for each in (fixed > least, fixed == least))
    rest = kept - ops.sum(above, -1, keepdims=True)
    counted = above + level * rest / ops.maximum(ops.sum(level, -1, keepdims=True), 1.0)
    total = ops.sum(weights * counted, -1)
    return ops.sum(costs * counted, -1) / ops.where(total > 0, total, 1.0)


def dice(logits: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
    """Soft Dice loss: the mean of 1 - 2 sum(p g) / (sum(p^2) + sum(g^2)) over the classes in the labels of an image.

    Milletari et al., 3DV 2016, for several classes: p is the softmax, g is 1 where the label is the class.

    Args:
        logits: float32 (B, H, W, C).
        labels: class ids, int (B, H, W), in range also where they are not valid.
        valid: bool (B, H, W).

    Returns:
        Float32 (B,), 0..1; 0 where no pixel is valid.
    """
    valid = ops.cast(valid, "float32")[..., None]
    truth = ops.one_hot(labels, ops.shape(logits)[-1], dtype="float32") * valid
    answer = ops.softmax(logits, -1) * valid
    pixels = ops.sum(truth, [1, 2])
    overlap = 2.0 * ops.sum(answer * truth, [1, 2]) / ops.maximum(ops.sum(ops.square(answer), [1, 2]) + pixels, 1.0)
    return _over_present(1.0 - overlap, pixels)


def lovasz(logits: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
    """Lovász-softmax: the Lovász extension of 1 - IoU of each image, mean over the classes in its labels.

    Berman et al., CVPR 2018, algorithm 1; in their code: classes "present", "per image".

    Args:
        logits: float32 (B, H, W, C).
        labels: class ids, int (B, H, W), in range also where they are not valid.
        valid: bool (B, H, W).

    Returns:
        Float32 (B,), 0..1; 0 where no pixel is valid.
    """
    truth = ops.one_hot(labels, ops.shape(logits)[-1], dtype="float32") * ops.cast(valid, "float32")[..., None]
    errors = ops.where(valid[..., None], ops.abs(truth - ops.softmax(logits, -1)), 0.0)
    truth, errors = (_by_class(each) for each in (truth, errors))
    pixels = ops.sum(truth, -1)
    # By falling error, and what is not valid last: there it changes nothing.
    ranked = ops.where(_by_class(valid[..., None]), -errors, 1.0)
    order = ops.argsort(ops.stop_gradient(ranked), -1)
    slopes = _slopes(ops.take_along_axis(truth, order, -1), pixels[..., None])
    return _over_present(ops.sum(errors * ops.take_along_axis(slopes, ops.argsort(order, -1), -1), -1), pixels)


def _slopes(truth, pixels):
    """By how much 1 - IoU grows with each pixel of a class, (B, C, N), that is taken for wrong, one after another.

    It is the difference of two neighbours of 1 - (P - F) / (P + M), after F pixels of the class (of P) and M others, in
    a form that does not cancel out.
    """
    union = pixels + ops.cumsum(1.0 - truth, -1)
    left = pixels - ops.cumsum(truth, -1)
    other = left / (ops.maximum(union, 1.0) * ops.maximum(union - 1.0, 1.0))
    return ops.where(truth > 0, 1.0 / ops.maximum(union, 1.0), other)


def _by_class(values):
    """(B, H, W, C) as (B, C, N)."""
    return ops.transpose(ops.reshape(values, (ops.shape(values)[0], -1, ops.shape(values)[-1])), (0, 2, 1))


def _over_present(values, pixels):
    """The mean over the classes that have pixels, (B, C) -> (B,)."""
    present = ops.cast(pixels > 0, "float32")
    return ops.sum(values * present, -1) / ops.maximum(ops.sum(present, -1), 1.0)


REGION_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"dice": dice, "lovasz": lovasz}
