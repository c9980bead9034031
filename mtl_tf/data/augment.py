"""Training augmentation of a sample: one perspective crop for all modalities, then colour. A pure function of a seed.

A quad of the picture, the crop's rectangle jittered at its corners, scaled, rotated and moved, is mapped onto the crop.
Coordinates are in pixels, x to the right, y down, (0, 0) the top left corner of the picture; pixel centres stand at
halves. So a crop that is only moved by whole pixels, or mirrored, copies pixels exactly; `window` is where it lies.
"""

from collections.abc import Mapping

import tensorflow as tf

from mtl_tf.config import AugmentConfig
from mtl_tf.data import colour, turning
from mtl_tf.data.geometry import planes
from mtl_tf.storage import windows
from mtl_tf.tasks import Labels, Move

# The uniform numbers of a sample: scale, tilt, 8 corner shifts, 2 offsets, flip; then those of the colours.
_GEOMETRY = 13


def draw(seed):
    """The uniform numbers, float64, that decide how a sample changes; the same for the same seed, int (2,)."""
    count = _GEOMETRY + colour.DRAWS
    return tf.random.stateless_uniform([count], tf.cast(seed, tf.int64), dtype=tf.float64, alg="philox")


def augment(
    sample,
    seed,
    config: AugmentConfig,
    crop_size: tuple[int, ...],
    tasks: Mapping[str, Labels],
    cropped: bool = False,
):
    """One sample, augmented; returned as it is where nothing is asked for.

    Args:
        sample: "image" (H, W, 3) in 0..255, and label maps (H, W) of tasks.
        seed: int (2,); the same seed gives the same result.
        config: what may change, and by how much.
        crop_size: (height, width) of the result, pixels; empty = the size of the sample.
        tasks: task name -> its labels: what fills in outside of the picture, and how their values move.
        cropped: whether only the `window` of the sample was read; it is not cropped again.

    Returns:
        The same keys, with a float32 image.
    """
    draws = draw(seed)
    result = sample | {"image": tf.cast(sample["image"], tf.float32)}
    if cropped and config.reflect:
        result = _with_values_moved(result, Move(1.0, mirrored(draws, config)), config, tasks)
    if not cropped and (crop_size or bends(config) or config.reflect):
        crop = _crop if bends(config) else _move
        result = crop(result, draws[:_GEOMETRY], config, crop_size, tasks)
    if colour.changes_colour(config):
        result["image"] = colour.jitter_colour(result["image"], draws[_GEOMETRY:], config)
    return result


def bends(config: AugmentConfig) -> bool:
    """Whether a crop is more than moved and mirrored."""
    return (config.scale_min, config.scale_max) != (1.0, 1.0) or config.tilt > 0 or config.wiggle > 0


def window(draws, size, config: AugmentConfig, crop_size=()) -> windows.Window:
    """The part of a picture that its crop copies, where nothing `bends`: what `augment` would take.

    Args:
        draws: of `draw`, as an array.
        size: height and width of the picture, pixels.
        config, crop_size: as for `augment`.
    """
    return windows.choose(draws[10:_GEOMETRY], size, crop_size, config.reflect)


def _move(sample, draws, config, crop_size, tasks):
    """A crop that copies a window; a perspective map would give the same, but slowly."""
    size = tf.shape(sample["image"])[:2]
    crop = tf.constant(crop_size, tf.int32) if crop_size else size
    first = tf.cast(whole_offset(draws[10:12], tf.cast((size - crop)[::-1], tf.float64))[::-1], tf.int32)
    start, end = tf.maximum(first, 0), tf.minimum(first + crop, size)
    beyond = tf.stack([start - first, first + crop - end], axis=1)
    result = {}
    for name, value in sample.items():
        part = tf.convert_to_tensor(value)[start[0] : end[0], start[1] : end[1]]
        pads = tf.concat([beyond, tf.zeros([len(value.shape) - 2, 2], tf.int32)], axis=0)
        part = tf.pad(part, pads, constant_values=tf.cast(tasks[name].blank if name in tasks else 0, value.dtype))
        if config.reflect:
            part = tf.cond(draws[12] < 0.5, lambda part=part: part[:, ::-1], lambda part=part: part)
        part.set_shape((*(crop_size or value.shape[:2]), *value.shape[2:]))
        result[name] = part
    return _with_values_moved(result, Move(1.0, mirrored(draws, config)), config, tasks)


def _crop(sample, draws, config, crop_size, tasks):
    size = tf.shape(sample["image"])[:2]
    crop = tf.constant(crop_size, tf.int32) if crop_size else size
    scale, quad = source_quad(draws, config, crop, size)
    coefficients = projective(quad, crop)
    result = dict(sample)
    result["image"] = warp_rgb(sample["image"], coefficients, crop)
    for name, labels in tasks.items():
        if name in sample:
            warped = warp(planes(sample[name]), coefficients, crop, "NEAREST", float(labels.blank))
            result[name] = warped if labels.shape else warped[..., 0]
    move = Move(scale, mirrored(draws, config))
    turned = {}
    for name, labels in tasks.items():
        if name in sample and labels.turns:
            turned[name] = move._replace(turn=_turn(quad, move, crop, size, labels, config))
    result = _with_values_moved(result, move, config, tasks, turned)
    static = crop_size or sample["image"].shape[:2]
    for value in result.values():
        value.set_shape((*static, *value.shape[2:]))
    return result


def _with_values_moved(sample, move, config, tasks, turned=None):
    """What the crop does to the values of labels, whose pixels stand where they belong."""
    turned, there = turned or {}, {name: labels for name, labels in tasks.items() if name in sample}
    return sample | {name: labels.moved(sample[name], turned.get(name, move), config) for name, labels in there.items()}


def mirrored(draws, config: AugmentConfig):
    """Whether a crop has left and right exchanged, bool scalar, of the uniform numbers of its geometry."""
    return draws[12] < 0.5 if config.reflect else tf.constant(False)


def _turn(quad, move, crop, size, labels, config):
    """The rotation between the camera axes of a picture and of its crop."""
    if not config.wiggle:
        return turning.turn_of(quad, move.mirrored)
    plain = turning.unmirrored(quad, move.mirrored)
    coefficients = tf.cast(projective(plain, crop), tf.float64)
    matrix = tf.reshape(tf.concat([coefficients, [1.0]], 0), (3, 3))
    return turning.perspective_turn(matrix, size, move.scale, labels.camera)


# === Geometry ===


def source_quad(draws, config: AugmentConfig, crop, size):
    """The part of the picture that becomes the crop.

    Args:
        draws: float64 (13,), uniform in [0, 1).
        config: the ranges.
        crop, size: int (2,), height and width of the crop and of the picture, pixels.

    Returns:
        The scale, float64, and the corners, float64 (4, 2) of (x, y), in the order of the crop's top left, top right,
        bottom right, bottom left; a mirrored crop has left and right exchanged.
    """
    half = tf.cast(crop[::-1], tf.float64) / 2.0  # (x, y)
    corners = half * tf.constant([[-1, -1], [1, -1], [1, 1], [-1, 1]], tf.float64)
    scale = config.scale_min + draws[0] * (config.scale_max - config.scale_min)
    if config.wiggle > 0:
        corners += (2.0 * tf.reshape(draws[2:10], (4, 2)) - 1.0) * config.wiggle * half
    corners *= scale
    if config.tilt > 0:
        angle = (2.0 * draws[1] - 1.0) * config.tilt * (3.141592653589793 / 180.0)
        cos, sin = tf.cos(angle), tf.sin(angle)
        x, y = corners[:, 0], corners[:, 1]
        corners = tf.stack([cos * x - sin * y, sin * x + cos * y], axis=1)
    low, high = tf.reduce_min(corners, axis=0), tf.reduce_max(corners, axis=0)
    quad = corners - low + whole_offset(draws[10:12], tf.cast(size[::-1], tf.float64) - (high - low))
    if config.reflect:
        quad = turning.unmirrored(quad, mirrored(draws, config))  # which mirrors as well
    return scale, quad


def whole_offset(draws, room):
    """A uniform whole-pixel offset in 0..floor(room); half of it where there is none (room < 0: the crop is larger)."""
    # Whole pixels, so that a crop that is only moved does not blur.
    choices = tf.floor(room) + 1.0
    return tf.where(room >= 0, tf.minimum(tf.floor(draws * choices), choices - 1.0), tf.floor(room / 2.0))


def projective(quad, crop):
    """The coefficients, float32 (8,), by which a pixel (column, row) of the crop finds its source in the picture.

    The perspective map of a rectangle onto a quad in closed form: P. Heckbert, Fundamentals of Texture Mapping and
    Image Warping, 1989, section 2.2.3.

    Args:
        quad: float64 (4, 2), corners (x, y) in the order top left, top right, bottom right, bottom left of the crop.
        crop: int (2,), height and width of the crop.
    """
    p0, p1, p2, p3 = tf.unstack(quad)
    bend, right, below = p0 - p1 + p2 - p3, p1 - p2, p3 - p2
    area = _cross(right, below)
    g, h = _cross(bend, below) / area, _cross(right, bend) / area
    # Rows of [x, y, 1] from the unit square; then from the crop's pixels, whose centres are at halves.
    column_u = tf.concat([p1 - p0 + g * p1, [g]], axis=0)
    column_v = tf.concat([p3 - p0 + h * p3, [h]], axis=0)
    height, width = tf.unstack(tf.cast(crop, tf.float64))
    column_u, column_v = column_u / width, column_v / height
    origin = tf.concat([p0, [1.0]], axis=0) + 0.5 * column_u + 0.5 * column_v
    matrix = tf.stack([column_u, column_v, origin], axis=1)
    # The picture's pixel i covers i..i+1: subtract half a pixel from x and y.
    matrix -= tf.constant([[0.5], [0.5], [0.0]], tf.float64) * matrix[2]
    matrix = tf.reshape(matrix, [9])
    return tf.cast(matrix[:8] / matrix[8], tf.float32)


def _cross(a, b):
    return a[0] * b[1] - a[1] * b[0]


def warp_rgb(image, coefficients, crop):
    """A picture (H, W, 3) seen through `projective` coefficients, bilinear; black where the labels have no value."""
    inside = warp(tf.ones_like(image[..., :1]), coefficients, crop, "NEAREST", 0.0)
    # Beyond its outermost pixel centres the picture goes on as it ends, so that its rim is not mixed with black.
    return warp(image, coefficients, crop, "BILINEAR", 0.0, beyond="NEAREST") * inside


def warp(image, coefficients, crop, interpolation, fill, beyond="CONSTANT"):
    """An image (H, W, C) seen through `projective` coefficients: (h, w, C) of the crop; `fill` outside the picture."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=coefficients[None],
        output_shape=crop,
        fill_value=fill,
        interpolation=interpolation,
        fill_mode=beyond,
    )[0]
