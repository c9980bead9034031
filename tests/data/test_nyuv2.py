"""The real NYUv2 pictures, where they are."""

import numpy as np
import pytest

from mtl_tf import config as configuration
from mtl_tf.data.pipeline import EvaluationData, TrainingData
from mtl_tf.data.sets import describe, open_split
from mtl_tf.data.sets.nyuv2 import NYUV2


@pytest.fixture
def config(shared):
    root = shared / "data" / "nyuv2"
    if not root.is_dir():
        pytest.skip(f"no NYUv2 in {shared}")
    options = dict(data__name="nyuv2", data__root=str(root), data__image_size=(96, 128), train__batch_size=4)
    return configuration.replace(configuration.Config(), **options)


def test_both_splits_are_complete(config):
    for split, count in (("train", 700), ("val", 95)):
        source = open_split(config, split)
        assert source.ids == [str(index) for index in range(int(source.ids[0]), int(source.ids[0]) + count)]
        assert source.labelled == {"semseg": count, "depth": count}
        sample = source.read(count - 1)
        assert sample["image"].shape == (480, 640, 3)
        assert set(np.unique(sample["semseg"])) <= {*range(13), 255}


def test_statistics_of_the_descriptor(config):
    source = open_split(config, "train")
    depth = np.concatenate([source.read(index)["depth"][::8, ::8].ravel() for index in range(0, 700, 10)])
    assert (depth > 0).all()
    # one sample in ten: the mean of 70 rooms is known to about a tenth of a metre
    assert abs(depth.mean() - NYUV2["depth"].mean) < 0.25
    assert abs(np.log(depth).std() - NYUV2["depth"].log_std) < 0.05


def test_batches(config):
    descriptor = describe(config.data)
    data = TrainingData(open_split(config, "train"), config, descriptor)
    assert data.steps_per_epoch == 175
    with data.naming_errors():
        batch = next(data.dataset(1234).as_numpy_iterator())
    assert batch["image"].shape == (4, 96, 128, 3) and batch["image"].std() > 10
    assert ((batch["depth"] >= 0.1) & (batch["depth"] <= 10)).all()
    validation = EvaluationData(open_split(config, "val"), config, descriptor)
    last = list(validation.dataset(32).as_numpy_iterator())[-1]
    assert last["index"].tolist() == [*range(64, 95), -1]
