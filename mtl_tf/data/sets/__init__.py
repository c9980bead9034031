"""The data sets, by `data.name`: one file each, its descriptor and how its files are found and read."""

from mtl_tf.config import Config, DataConfig
from mtl_tf.data import files
from mtl_tf.data.descriptors import FILE_NAME, Descriptor, read, with_statistics
from mtl_tf.data.sets import camvid, cityscapes, folder, kitti, miniscapes, nyuv2, synthetic, vkitti2
from mtl_tf.data.sets.data_set import DataSet

DATA_SETS: dict[str, DataSet] = {
    "synthetic": synthetic.DATA_SET,
    "folder": folder.DATA_SET,
    "miniscapes": miniscapes.DATA_SET,
    "nyuv2": nyuv2.DATA_SET,
    **cityscapes.DATA_SETS,
    "kitti": kitti.DATA_SET,
    "vkitti2": vkitti2.DATA_SET,
    "camvid": camvid.DATA_SET,
}


def describe(data: DataConfig) -> Descriptor:
    """The descriptor of the data set that the options name.

    Its statistics are those in the file `data.statistics`; without one its own; where a known data set has none,
    those in a dataset.json that tools/dataset_statistics.py --write has put into `data.root`.

    Raises:
        UsageError: a file that it stands in is missing or wrong.
    """
    descriptor = DATA_SETS[data.name].describe(data)
    if data.statistics:
        return with_statistics(descriptor, data.statistics)
    path = files.join(data.root, FILE_NAME)
    known = data.name != "folder" and descriptor.lacks_statistics and data.root and files.is_file(path)
    if known and read(data.root).name == descriptor.name:
        return with_statistics(descriptor, path)
    return descriptor


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
