"""How a picture becomes the frame of data.image_size, and how answers come back: one rule for training and use.

`data.fit` says what happens to a picture whose aspect is another one: "stretch" it; "pad" it (scaled to fit inside,
black around it and no labels there); "crop" it (scaled to cover the frame, its middle taken).
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf


def scaled_size(size, frame: Sequence[int], fit: str):
    """Height and width of the whole picture at the scale of the frame.

    Args:
        size: int (2,), height and width of the picture, pixels.
        frame: height and width of the frame, pixels.
        fit: a value of data.fit.

    Returns:
        int32 (2,) tensor, at least 1: inside the frame for "pad", covering it for "crop", the frame itself otherwise.
    """
    whole = tf.constant(frame, tf.int32)
    if fit not in ("pad", "crop"):
        return whole
    ratios = tf.cast(whole, tf.float64) / tf.cast(size, tf.float64)
    ratio = tf.reduce_min(ratios) if fit == "pad" else tf.reduce_max(ratios)
    return tf.maximum(tf.cast(tf.round(tf.cast(size, tf.float64) * ratio), tf.int32), 1)


def resized(sample: Mapping, frame: Sequence[int], fit: str) -> dict:
    """A sample at the scale of the frame: RGB bilinear with anti-aliasing, labels the nearest; () = as it is."""
    if not frame:
        return dict(sample)
    size = scaled_size(tf.shape(sample["image"])[:2], frame, fit)
    result = {"image": tf.image.resize(sample["image"], size, antialias=True)}
    for name in sample.keys() - {"image"}:
        result[name] = tf.reshape(
            tf.image.resize(planes(sample[name]), size, method="nearest"), (*tf.unstack(size), *sample[name].shape[2:])
        )
    return result


def planes(label):
    """A label map (H, W) or (H, W, C) as (H, W, C)."""
    return label if len(label.shape) == 3 else label[..., None]


def in_frame(sample: Mapping, frame: Sequence[int], fit: str, blanks: Mapping[str, float]) -> dict:
    """A sample that `resized` gave, in the frame: black and without labels around it. As it is where it fills it.

    Args:
        sample: the sample.
        frame, fit: see `scaled_size`.
        blanks: task name -> value of a pixel without a label.
    """
    if not frame or fit not in ("pad", "crop"):
        return dict(sample)
    return {name: framed(pixels[None], frame, blanks.get(name, 0))[0] for name, pixels in sample.items()}


def framed(batch, frame: Sequence[int], fill=0):
    """A batch (B, H, W, ...) in the middle of a frame: filled up where it is smaller, cut where it is larger.

    Args:
        batch: tensor; `resized` has brought it to the scale of the frame.
        frame: height and width of the result, pixels.
        fill: the value around it.
    """
    size, whole = tf.shape(batch)[1:3], tf.constant(frame, tf.int32)
    kept, before, cut = tf.minimum(size, whole), _margins(size, whole), _margins(whole, size)
    part = batch[:, cut[0] : cut[0] + kept[0], cut[1] : cut[1] + kept[1]]
    pads = tf.stack([before, whole - kept - before], axis=1)
    pads = tf.pad(pads, [[1, len(batch.shape) - 3], [0, 0]])  # none along the other axes
    part = tf.pad(part, pads, constant_values=tf.cast(fill, batch.dtype))
    part.set_shape((batch.shape[0], *frame, *batch.shape[3:]))
    return part


def unframed(batch, size, frame: Sequence[int]):
    """The part of a batch of frames (B, H, W, C) that a picture of `size` (at most the frame) lies in; see `framed`."""
    before = _margins(size, tf.constant(frame, tf.int32))
    return batch[:, before[0] : before[0] + size[0], before[1] : before[1] + size[1]]


def _margins(size, whole):
    """Rows above and columns to the left of a part in the middle of the whole; 0 where it is larger."""
    return tf.maximum(whole - size, 0) // 2
