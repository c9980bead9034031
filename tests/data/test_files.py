"""Remote paths: TensorFlow's file system in memory (ram://) stands for gs://, s3:// and the like."""

import pytest
import tensorflow as tf

from mtl_tf import config as configuration
from mtl_tf.config import DATA_SETS
from mtl_tf.data.sets import describe, open_split, splits_of
from mtl_tf.data.sets.data_set import DataSet
from mtl_tf.errors import UsageError
from mtl_tf.storage import files
from tests.helpers import upload, write_dataset


@pytest.fixture
def remote(tmp_path):
    """A data set on a local disk and the same on a remote file system."""
    local, root = write_dataset(tmp_path / "data", {"train": 3, "val": 1}), f"ram://{tmp_path.name}/data"
    upload(local, root)
    return str(local), root


def config_of(root):
    return configuration.replace(configuration.Config(), data__name="folder", data__root=root)


@pytest.mark.parametrize("name", DATA_SETS)
def test_every_row_of_the_table_is_a_data_set(name):
    assert isinstance(DATA_SETS[name], DataSet)


def test_a_remote_data_set_gives_the_samples_of_the_local_one(remote):
    local, root = remote
    assert describe(config_of(root).data) == describe(config_of(local).data)
    assert splits_of(config_of(root).data) == ["train", "val"]
    mine, far = open_split(config_of(local), "train"), open_split(config_of(root), "train")
    assert far.ids == mine.ids and far.labelled == mine.labelled and far.one_size()
    for index in range(3):
        assert far.path(index).startswith("ram://")
        for name, value in mine.read(index).items():
            assert (far.read(index)[name] == value).all()


def test_errors_are_those_of_local_files(remote):
    local, root = remote
    for path in (f"{local}/none", f"{root}/none"):
        with pytest.raises(FileNotFoundError):
            files.read(path)
    assert not files.is_folder(f"{root}/none") and not files.is_file(f"{root}/none")
    assert files.is_folder(root) and files.is_file(f"{root}/dataset.json")
    with pytest.raises(UsageError, match="has no split 'test'; it has train, val"):
        open_split(config_of(root), "test")
    source = open_split(config_of(root), "train")
    tf.io.gfile.remove(source.path(0))
    with pytest.raises(UsageError, match=r"0\.png: no such file"):
        source.read(0)


def test_a_file_system_that_is_not_there():
    with pytest.raises(UsageError, match=r"nosuch://x/dataset\.json: no such file system"):
        open_split(config_of("nosuch://x"), "train")
