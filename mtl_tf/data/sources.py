"""The kinds of data sets, by `data.name`. A source has `len`, `ids`, `labelled`, `path(index)` and `read(index)`."""

from mtl_tf.config import Config
from mtl_tf.data.descriptors import Descriptor, describe
from mtl_tf.data.folder import FolderSource
from mtl_tf.data.synthetic_source import SyntheticSource
from mtl_tf.errors import UsageError


def _open_folder(config, split, descriptor):
    data = config.data
    if not data.root:
        raise UsageError(f"--data.name={data.name} needs --data.root=FOLDER, the folder of the data set")
    return FolderSource(data.root, split, descriptor, config.tasks, data.limit)


SOURCES = {
    "synthetic": lambda config, split, descriptor: SyntheticSource(config, split),
    "folder": _open_folder,
    "miniscapes": _open_folder,
    "nyuv2": _open_folder,
}


def open_split(config: Config, split: str, descriptor: Descriptor | None = None):
    """The samples of a split of the data set that `config.data` names.

    Args:
        config: its data and tasks.
        split: name of the split.
        descriptor: of the data set, where it is known; a run keeps the one it was trained with.

    Raises:
        UsageError: the data set or the split is not there.
    """
    return SOURCES[config.data.name](config, split, descriptor or describe(config.data))
