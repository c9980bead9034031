"""The data sets, by `data.name`: one file each, its descriptor and how its files are found and read."""

from mtl_tf.config import Config, DataConfig
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.sets import folder, miniscapes, nyuv2, synthetic
from mtl_tf.data.sets.data_set import DataSet

DATA_SETS: dict[str, DataSet] = {
    "synthetic": synthetic.DATA_SET,
    "folder": folder.DATA_SET,
    "miniscapes": miniscapes.DATA_SET,
    "nyuv2": nyuv2.DATA_SET,
}


def describe(data: DataConfig) -> Descriptor:
    """The descriptor of the data set that the options name.

    Raises:
        UsageError: it stands in a file of the data set, which is missing or wrong.
    """
    return DATA_SETS[data.name].describe(data)


def splits_of(data: DataConfig) -> list[str]:
    """The names of the splits that are there."""
    return DATA_SETS[data.name].splits(data)


def open_split(config: Config, split: str, descriptor: Descriptor | None = None):
    """The samples of a split of the data set that `config.data` names.

    Args:
        config: its data and tasks.
        split: name of the split.
        descriptor: of the data set, where it is known; a run keeps the one it was trained with.

    Raises:
        UsageError: the data set or the split is not there.
    """
    return DATA_SETS[config.data.name].open(config, split, descriptor or describe(config.data))
