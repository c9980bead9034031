"""What a kind of data set gives: its descriptor, its splits, and the samples of a split."""

import dataclasses
from collections.abc import Callable

from mtl_tf.config import Config, DataConfig
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.source import Source


@dataclasses.dataclass(frozen=True)
class DataSet:
    """One value of `data.name`.

    Attributes:
        describe: (data options) -> descriptor; raises a UsageError where it is not to be had.
        splits: (data options) -> names of the splits that are there.
        open: (configuration, split, descriptor) -> the samples of a split. Raises a UsageError that says what was
            expected where.
        name: of one from outside (`mtl_tf.register`); those of the project are named in their table.
        to_order: whether samples are made at data.image_size and have every label, so that none need be looked at.
    """

    describe: Callable[[DataConfig], Descriptor]
    splits: Callable[[DataConfig], list[str]]
    open: Callable[[Config, str, Descriptor], Source]
    to_order: bool = False
    name: str = ""
