"""What to lower when memory does not suffice."""

import contextlib
from collections.abc import Callable

import tensorflow as tf

from mtl_tf.config import Config
from mtl_tf.errors import UsageError, is_out_of_memory
from mtl_tf.options import format_value


@contextlib.contextmanager
def naming_what_to_lower(config: Config, where: Callable[[], str]):
    """Inside, that memory does not suffice becomes one line that says which options decide how much is needed.

    Args:
        config: of the run.
        where: says how far the run is, once it has happened.
    """
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        if not is_out_of_memory(error):
            raise
        # A step may have been broken off half way, its batch norm already moved: what is in memory is not saved.
        raise UsageError(
            f"out of memory {where()}: free memory and run the same command again, or start a new run with "
            f"{', '.join(_smaller(config))}"
        ) from None


def _smaller(config):
    """The options that would need less, with their values."""
    data, train = config.data, config.train
    most = train.batch_size // max(train.devices, 1)  # parts, of one image on each device
    if train.accumulate < most:
        yield f"a larger --train.accumulate (now {train.accumulate}, at most {most})"
    if train.batch_size > 1:
        yield f"a smaller --train.batch_size (now {train.batch_size})"
    crop = "crop_size" if data.crop_size or not data.image_size else "image_size"
    now = format_value(getattr(data, crop)) or "whole pictures"
    yield f"a smaller --data.{crop} (now {now})"
    if not config.model.recompute:
        yield "--model.recompute"
    if train.precision == "float32":
        yield "--train.precision=mixed_bfloat16"
