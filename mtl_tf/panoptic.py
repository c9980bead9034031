"""Instances by their centres, and panoptic maps: targets, grouping, and panoptic quality.

Cheng et al., Panoptic-DeepLab, CVPR 2020, sections 3.1 to 3.3; Kirillov et al., Panoptic segmentation, CVPR 2019.

An id map is int32 (B, H, W): an instance 1..`MOST`, 0 = none. A panoptic map is int32 (B, H, W):
class * `BASE` + number of the instance, the number 0 for a class that has none (stuff); `VOID` = undecided.
"""

import math

import numpy as np
from keras import KerasTensor as Tensor
from keras import ops

from mtl_tf.storage.codecs import CLASS_STEP, MOST_IDS

BASE = CLASS_STEP
VOID = 255 * BASE
MOST = 2 * MOST_IDS + 1  # of an id map, which may hold those of two pictures that were pasted together
CENTRES = 200  # of an answer, the best ones
THRESHOLD = 0.1  # of the heat of a centre


# === Targets ===


def targets(ids: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """What a network learns of an id map.

    Args:
        ids: int32 (B, H, W).
        sigma: of the Gaussians, pixels.

    Returns:
        heat, float32 (B, H, W): the largest over the instances of exp(-d^2 / (2 sigma^2)), d the distance in pixels to
        the centre, the rounded mean position; 0 outside of a square of 6 sigma + 3 pixels around it. Offsets, float32
        (B, H, W, 2): from a pixel of an instance down and to the right to its centre; 0 elsewhere.
    """
    batch, height, width = ops.shape(ids)
    segments = _segments(ids)
    rows, columns, count = _centres(segments)
    ways = [ops.take(each, segments) - own for each, own in zip((rows, columns), _grid(height, width), strict=True)]
    offsets = ops.cast(ops.where(ids[..., None] > 0, ops.stack(ways, -1), 0), "float32")
    pixels = batch * height * width
    image = ops.arange(batch * (MOST + 1)) // (MOST + 1)
    number = ops.arange(batch * (MOST + 1)) % (MOST + 1)
    pixel = (image * height + rows) * width + columns
    pixel = ops.where((count > 0) & (number > 0), pixel, pixels)
    marked = ops.segment_max(ops.ones_like(pixel), pixel, num_segments=pixels + 1)[:pixels] > 0
    return _heat(ops.reshape(marked, (batch, height, width)), sigma), offsets


def _grid(height, width):
    """The rows (H, 1) and the columns (1, W) of pixels, int32."""
    return ops.arange(height, dtype="int32")[:, None], ops.arange(width, dtype="int32")[None, :]


def _segments(ids):
    """A number for each instance of each image, (B, H, W); that of no instance is a multiple of MOST + 1."""
    first = ops.arange(ops.shape(ids)[0], dtype="int32") * (MOST + 1)
    return first[:, None, None] + ids


def _centres(segments):
    """Rounded mean row and column, and number of pixels of all segments, int32 (B * (MOST + 1),)."""
    batch, height, width = ops.shape(segments)
    segments = ops.reshape(segments, (-1,))

    def total(values):
        values = ops.reshape(ops.broadcast_to(values, (batch, height, width)), (-1,))
        return ops.segment_sum(values, segments, num_segments=batch * (MOST + 1))

    count = total(ops.ones((1, 1, 1), "int32"))
    several = ops.maximum(count, 1)

    def mean(place):
        # In whole numbers, which are exact whatever the order of the sum; in two parts, so that none overflows.
        high, low = total(place[None] // 64), total(place[None] % 64)
        rest = 64 * (high % several) + low
        twice, steps = 2 * rest + several, 2 * several
        rounded = twice // steps
        halfway = (twice % steps == 0) & (rounded % 2 == 1)  # to the even one, as NumPy rounds
        return 64 * (high // several) + rounded - ops.cast(halfway, "int32")

    rows, columns = _grid(height, width)
    return mean(rows), mean(columns), count


def _heat(marked, sigma):
    """The largest Gaussian around the marked pixels: rows and columns one after the other, since exponents add up."""
    radius = int(3 * sigma + 1)
    nothing = -1e9
    exponent = ops.where(marked, 0.0, nothing)
    for axis in (1, 2):
        pads = [[radius, radius] if axis == each else [0, 0] for each in range(3)]
        padded = ops.pad(exponent, pads, constant_values=nothing)
        size = ops.shape(exponent)[axis]
        found = None
        for shift in range(-radius, radius + 1):
            part = padded[:, radius + shift :][:, :size] if axis == 1 else padded[:, :, radius + shift :][:, :, :size]
            part = part - shift * shift / (2 * sigma * sigma)
            found = part if found is None else ops.maximum(found, part)
        exponent = found
    return ops.exp(exponent)


# === Answers ===


def peaks(heat: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """The best centres of a heat map: where it is at least `THRESHOLD` and the largest around.

    "Around" is a square of 1.5 sigma + 1 pixels, 13 at the sigma of 8 of the paper.

    Args:
        heat: float32 (B, H, W).
        sigma: of the Gaussians that it was learnt from, pixels.

    Returns:
        Row and column, int32 (B, CENTRES, 2), the hottest first; whether there is one, bool (B, CENTRES).
    """
    batch, height, width = ops.shape(heat)
    size = 2 * max(round(0.75 * sigma), 1) + 1
    kept = (heat >= THRESHOLD) & (heat == _largest_around(heat, size))
    # Of neighbours that are equally hot the first is a centre.
    order = ops.cast(height * width - ops.reshape(ops.arange(height * width), (1, height, width)), "float32")
    order = ops.where(kept, order, 0.0)
    kept = kept & (order == _largest_around(order, 3))
    found = ops.reshape(ops.where(kept, heat, 0.0), (batch, height * width))
    best, place = ops.top_k(ops.pad(found, [[0, 0], [0, CENTRES]]), CENTRES)
    return ops.stack([place // width, place % width], -1), best > 0


def _largest_around(values, size):
    return ops.max_pool(values[..., None], size, 1, "same")[..., 0]


def group(offsets: Tensor, centres: Tensor, there: Tensor, things: Tensor) -> Tensor:
    """An id map: each pixel of a thing belongs to the centre nearest to where its offset points.

    Args:
        offsets: float32 (B, H, W, 2), pixels down and to the right.
        centres: float32 (B, K, 2), row and column.
        there: bool (B, K), those that there are, first.
        things: bool (B, H, W).

    Returns:
        int32 (B, H, W): the position of the centre, from 1; 0 = no thing, or there is no centre.
    """
    rows, columns = (ops.cast(each, "float32") for each in _grid(*ops.shape(offsets)[1:3]))
    down, right = offsets[..., 0] + rows, offsets[..., 1] + columns
    count = ops.max(ops.sum(ops.cast(there, "int32"), -1))

    def nearer(number, nearest, ids):
        centre = ops.take(centres, number, axis=1)[:, None, None]
        distance = ops.square(down - centre[..., 0]) + ops.square(right - centre[..., 1])
        closer = ops.take(there, number, axis=1)[:, None, None] & (distance < nearest)
        return number + 1, ops.where(closer, distance, nearest), ops.where(closer, number + 1, ids)

    # One centre after another: all distances at once would not fit into memory.
    start = (ops.zeros((), "int32"), ops.full_like(down, math.inf), ops.zeros_like(down, dtype="int32"))
    _, _, ids = ops.while_loop(lambda number, *_: number < count, nearer, start)
    return ops.where(things, ids, 0)


def merged(semantic: Tensor, ids: Tensor, is_thing: np.ndarray, smallest_stuff: float) -> Tensor:
    """The panoptic map of classes and instances: an instance has the class of most of its pixels.

    Args:
        semantic: class ids, int32 (B, H, W).
        ids: int32 (B, H, W), 0..CENTRES, of pixels whose class is a thing's.
        is_thing: bool (C,), the classes that have instances.
        smallest_stuff: share of the picture; stuff that covers less is void, as are things without an instance.
    """
    classes, batch = len(is_thing), ops.shape(ids)[0]
    image = ops.reshape(ops.arange(batch, dtype="int32"), (batch, 1, 1))
    thing = ops.take(ops.convert_to_tensor(is_thing), semantic)

    def counted(keys, weights, count):
        keys, weights = (ops.reshape(each, (-1,)) for each in (image * count + keys, ops.cast(weights, "int32")))
        return ops.reshape(ops.segment_sum(weights, keys, num_segments=batch * count), (batch, count))

    votes = counted(ids * classes + semantic, thing & (ids > 0), (CENTRES + 1) * classes)
    elected = ops.cast(ops.argmax(ops.reshape(votes, (batch, CENTRES + 1, classes)), -1), "int32")
    of_pixel = ops.take(ops.reshape(elected, (-1,)), image * (CENTRES + 1) + ids)
    stuff = counted(semantic, ~thing, classes)
    least = smallest_stuff * ops.cast(ops.prod(ops.shape(ids)[1:]), "float32")
    shown = ops.cast(stuff, "float32") >= least
    of_stuff = ops.where(ops.take(ops.reshape(shown, (-1,)), image * classes + semantic), semantic * BASE, VOID)
    return ops.where(thing, ops.where(ids > 0, of_pixel * BASE + ids, VOID), of_stuff)


# === Quality ===


def matches(truth, answer, classes: int):
    """What panoptic quality is made of: float64 (B, classes, 4), the sum of the IoU, hits, false and missed segments.

    A segment is all pixels of one code. Two of one class match if their IoU is more than a half, their union without
    the pixels of the answer that are void in the truth; an answer more than half of which is void there is not false.

    Args:
        truth, answer: code = class * 2^16 + number, int32 (B, H, W); negative = void.
        classes: how many there are.
    """
    import tensorflow as tf

    def one(pair):
        (codes, truths), (found, answers) = (_numbered(each) for each in pair)
        joint = tf.math.bincount(truths * (tf.size(found) + 1) + answers, dtype=tf.int64)
        every = (tf.size(codes) + 1) * (tf.size(found) + 1)
        joint = tf.reshape(tf.pad(joint, [[0, every - tf.size(joint)]]), (tf.size(codes) + 1, tf.size(found) + 1))
        joint = tf.cast(joint, tf.float64)
        areas, other_areas, void = tf.reduce_sum(joint, 1)[1:], tf.reduce_sum(joint, 0)[1:], joint[0, 1:]
        shared = joint[1:, 1:]
        iou = shared / (areas[:, None] + other_areas[None] - shared - void[None])
        of_truth, of_answer = codes // 2**16, found // 2**16
        hit = (iou > 0.5) & (of_truth[:, None] == of_answer[None])
        missed = ~tf.reduce_any(hit, 1)
        false = ~tf.reduce_any(hit, 0) & (void <= 0.5 * other_areas)

        def by_class(values, of):
            return tf.math.unsorted_segment_sum(tf.cast(values, tf.float64), of, classes)

        overlap = tf.reduce_sum(tf.where(hit, iou, 0.0), 1)
        total, hits, misses = (by_class(values, of_truth) for values in (overlap, ~missed, missed))
        return tf.stack([total, hits, by_class(false, of_answer), misses], -1)

    return tf.map_fn(one, (truth, answer), fn_output_signature=tf.TensorSpec((classes, 4), tf.float64))


def _numbered(codes):
    """The codes of a map that are not negative, and their positions from 1 by pixel, (H * W,); 0 = negative."""
    import tensorflow as tf

    every, position = tf.unique(tf.concat([[-1], tf.reshape(tf.maximum(codes, -1), [-1])], 0))
    return every[1:], position[1:]


def quality(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """PQ, SQ and RQ in percent, and whether there is anything of it, (C,) each, of sums of `matches` (C, 4)."""
    iou, hits, false, missed = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    weight = hits + 0.5 * (false + missed)
    there = weight > 0
    recognition = 100 * hits / np.where(there, weight, 1)
    return 100 * iou / np.where(there, weight, 1), 100 * iou / np.maximum(hits, 1), recognition, there
