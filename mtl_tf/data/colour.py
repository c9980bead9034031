"""Photometric augmentation: changes the colours of a picture and nothing else. Pure functions of random numbers."""

import math

import tensorflow as tf

from mtl_tf.config import AugmentConfig

# The uniform numbers of a sample, one for each change.
DRAWS = 7


def changes_colour(config: AugmentConfig) -> bool:
    """Whether any change of colour is asked for."""
    return any(
        (config.brightness, config.contrast, config.saturation, config.hue, config.gamma, config.grey, config.blur)
    )


def jitter_colour(image, draws, config: AugmentConfig):
    """Changes brightness, contrast, saturation, hue and gamma, drops the colours, and blurs, in this order.

    Brightness, contrast, saturation and hue are those of torchvision's ColorJitter; a factor is uniform in
    1 +- strength, hue turns by up to its strength.

    Args:
        image: float32 (H, W, 3), 0..255.
        draws: float64 (7,), uniform in [0, 1).
        config: the strengths.
    """
    chances = tf.cast(draws, tf.float32)
    changes = 2.0 * chances - 1.0
    if config.brightness:
        image = _clip(image * (1.0 + changes[0] * config.brightness))
    if config.contrast:
        image = _blend(tf.reduce_mean(_luma(image)), image, 1.0 + changes[1] * config.contrast)
    if config.saturation:
        image = _blend(_luma(image), image, 1.0 + changes[2] * config.saturation)
    if config.hue:
        image = _clip(tf.image.adjust_hue(image / 255.0, changes[3] * config.hue) * 255.0)
    if config.gamma:
        image = 255.0 * (image / 255.0) ** (1.0 + changes[4] * config.gamma)
    if config.grey:
        image = tf.where(chances[5] < config.grey, tf.broadcast_to(_luma(image), tf.shape(image)), image)
    if config.blur:
        image = blur(image, chances[6] * config.blur, config.blur)
    return image


def blur(image, sigma, largest: float):
    """A Gaussian blur; at the rim the weights inside the picture are scaled to the sum 1.

    Args:
        image: float32 (H, W, 3).
        sigma: standard deviation, pixels.
        largest: the largest that sigma can be; the kernel ends at three times that.
    """
    radius = math.ceil(3.0 * largest)
    offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
    weights = tf.exp(-0.5 * tf.square(offsets / tf.maximum(sigma, 1e-3)))
    inside = tf.ones_like(image[..., :1])
    padded = tf.concat([image, inside], axis=-1)[None]
    for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
        kernel = tf.tile(tf.reshape(weights, shape), (1, 1, 4, 1))
        padded = tf.nn.depthwise_conv2d(padded, kernel, (1, 1, 1, 1), "SAME")
    return padded[0, ..., :3] / padded[0, ..., 3:]


def _luma(image):
    """(H, W, 1), ITU-R BT.601."""
    return tf.reduce_sum(image * tf.constant([0.299, 0.587, 0.114]), axis=-1, keepdims=True)


def _blend(base, image, factor):
    return _clip(base + (image - base) * factor)


def _clip(image):
    return tf.clip_by_value(image, 0.0, 255.0)
