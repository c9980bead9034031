"""CutMix and ClassMix: samples of a batch get pixels of one another, in picture and labels alike.

Every pixel of a result comes whole, with its colour, class and depth, from one of two samples; what has no label there
has none here. So a sample that lacks a label gains the true one of what was pasted into it, and no other.
"""

from collections.abc import Mapping

import tensorflow as tf

from mtl_tf.config import AugmentConfig
from mtl_tf.tasks import Labels

# The uniform numbers of a sample: which kind of pasting, and area, shape, top and left of a rectangle.
_DRAWS = 5
_CODES = 256  # class ids and the ignore value


def paste(batch, seed, config: AugmentConfig, tasks: Mapping[str, Labels]):
    """A batch in which some samples have got pixels of another one, their partner; a pure function of the seed.

    The partner stands a random distance further on in the batch, the same for all, so that each sample is the partner
    of one other. CutMix: Yun et al., ICCV 2019; for dense labels French et al., BMVC 2020. ClassMix: Olsson et al.,
    WACV 2021, here with true labels.

    Args:
        batch: "image" float32 (B, H, W, 3), and label maps (B, H, W) of tasks; other values, such as "index", stay. B
            is at least 2.
        seed: int (2,).
        config: cutmix, cutmix_area and classmix are used; classmix goes by the first task that has classes.
        tasks: task name -> its labels.
    """
    count, height, width = tf.unstack(tf.shape(batch["image"])[:3])
    draws = tf.random.stateless_uniform([1 + count * (_DRAWS + _CODES)], seed, dtype=tf.float32, alg="philox")
    distance = 1 + tf.cast(draws[0] * tf.cast(count - 1, tf.float32), tf.int32)
    kinds = tf.reshape(draws[1 : 1 + count * _DRAWS], (count, _DRAWS))
    partner = {name: tf.roll(batch[name], -distance, axis=0) for name in ("image", *tasks) if name in batch}
    mask = (kinds[:, :1] < config.cutmix)[..., None] & rectangles(kinds[:, 1:], height, width, config.cutmix_area)
    if config.classmix:
        chosen = (kinds[:, :1] >= config.cutmix) & (kinds[:, :1] < config.cutmix + config.classmix)
        ranks = tf.reshape(draws[1 + count * _DRAWS :], (count, _CODES))
        name, labels = next((name, labels) for name, labels in tasks.items() if labels.class_names)
        mask |= chosen[..., None] & half_of_the_classes(partner[name], ranks, labels.ignore)
    result = dict(batch)
    for name, value in partner.items():
        value = tasks[name].pasted(value) if name in tasks else value
        where = tf.reshape(mask, (*tf.unstack(tf.shape(mask)), *[1] * (value.shape.rank - 3)))
        result[name] = tf.where(where, value, batch[name])
        result[name].set_shape(batch[name].shape)
    return result


def rectangles(draws, height, width, area):
    """A rectangle of each sample, anywhere inside the picture.

    Its height is the share a^u of the picture's and its width a^(1 - u), so that it covers the area share a whatever
    its shape, as in French et al. 2020.

    Args:
        draws: float32 (B, 4), uniform in [0, 1): of a, u, top and left.
        height, width: of the picture, pixels.
        area: smallest and largest a.

    Returns:
        bool (B, H, W), true inside.
    """
    share = area[0] + draws[:, 0] * (area[1] - area[0])
    tops, heights = _span(draws[:, 2], share ** draws[:, 1], height)
    lefts, widths = _span(draws[:, 3], share ** (1.0 - draws[:, 1]), width)
    rows, columns = tf.range(height), tf.range(width)
    in_rows = (rows >= tops[:, None]) & (rows < (tops + heights)[:, None])
    in_columns = (columns >= lefts[:, None]) & (columns < (lefts + widths)[:, None])
    return in_rows[:, :, None] & in_columns[:, None, :]


def _span(draws, share, side):
    """First pixel and number of pixels, int32 (B,), of a part of a side."""
    length = tf.cast(tf.round(share * tf.cast(side, tf.float32)), tf.int32)
    choices = side - length + 1
    first = tf.cast(draws * tf.cast(choices, tf.float32), tf.int32)
    return tf.minimum(first, choices - 1), length


def half_of_the_classes(labels, draws, ignore: int):
    """The pixels of half of the classes that a sample shows, an odd number rounded up, as in Olsson et al. 2021.

    Args:
        labels: int32 (B, H, W); pixels without a class are never chosen.
        draws: float32 (B, 256), uniform in [0, 1): the classes with the lowest are chosen.
        ignore: the value of pixels without a class.

    Returns:
        bool (B, H, W).
    """
    count = tf.shape(labels)[0]
    flat = tf.reshape(labels, (count, -1))
    shown = tf.math.bincount(flat, minlength=_CODES, maxlength=_CODES, axis=-1, binary_output=True) > 0
    shown &= tf.range(_CODES) != ignore
    order = tf.argsort(tf.where(shown, draws, 2.0), axis=-1)
    rank = tf.argsort(order, axis=-1)
    half = (tf.reduce_sum(tf.cast(shown, tf.int32), axis=-1, keepdims=True) + 1) // 2
    chosen = shown & (rank < half)
    return tf.reshape(tf.gather(chosen, flat, batch_dims=1), tf.shape(labels))
