"""The kinds of data sets, by `data.name`. A source has `len`, `ids`, `labelled`, `path(index)` and `read(index)`."""

from mtl_tf.config import Config
from mtl_tf.data.descriptors import describe
from mtl_tf.data.folder import FolderSource
from mtl_tf.data.synthetic_source import SyntheticSource
from mtl_tf.errors import UsageError


def _open_folder(config, split):
    data = config.data
    if not data.root:
        raise UsageError(f"--data.name={data.name} needs --data.root=FOLDER, the folder of the data set")
    return FolderSource(data.root, split, describe(data), config.tasks, data.limit)


SOURCES = {
    "synthetic": SyntheticSource,
    "folder": _open_folder,
    "miniscapes": _open_folder,
    "nyuv2": _open_folder,
}


def open_split(config: Config, split: str):
    """The samples of a split of the data set that `config.data` names.

    Raises:
        UsageError: the data set or the split is not there.
    """
    return SOURCES[config.data.name](config, split)
