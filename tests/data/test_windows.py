"""Windows: what is read of a picture is what the crop of the whole picture would be."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mtl_tf import config as configuration
from mtl_tf.config import AugmentConfig
from mtl_tf.data import augment as augmentation
from mtl_tf.data import geometry, pipeline
from mtl_tf.data.pipeline import TrainingData
from mtl_tf.data.sets import describe, open_split
from mtl_tf.errors import UsageError
from mtl_tf.storage import windows
from mtl_tf.storage.windows import Window, cut
from mtl_tf.tasks import ClassLabels
from tests.helpers import write_dataset


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Six samples of 32x48 pixels; one has no label of classes."""
    root = write_dataset(tmp_path_factory.mktemp("windows") / "data", {"train": 6})
    (root / "train/semseg/2.png").unlink()
    return root


def config_for(root, **options):
    ours = dict(data__name="folder", data__root=str(root), train__batch_size=2, train__epochs=2)
    return configuration.replace(configuration.Config(), **(ours | options))


LABELS = {"semseg": ClassLabels(("a",), ((1, 2, 3),), ignore=-1)}


def test_cutting():
    pixels = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(cut(pixels, Window(1, 1, 2, 2)), [[5, 6], [9, 10]])
    np.testing.assert_array_equal(cut(pixels, Window(1, 1, 2, 2, mirrored=True)), [[6, 5], [10, 9]])
    np.testing.assert_array_equal(cut(pixels, Window(-1, 2, 3, 3), 7), [[7, 7, 7], [2, 3, 7], [6, 7, 7]])
    np.testing.assert_array_equal(cut(pixels, Window(2, -1, 2, 2, True), 7), [[8, 7], [7, 7]])
    assert cut(pixels, None) is pixels


@pytest.mark.parametrize(("size", "crop"), [((9, 13), (4, 5)), ((9, 13), (9, 13)), ((9, 13), (12, 3)), ((4, 4), ())])
def test_a_window_is_where_the_crop_lies(size, crop):
    positions = {"semseg": tf.reshape(tf.range(size[0] * size[1]), size), "image": tf.zeros((*size, 3), tf.uint8)}
    config = AugmentConfig(reflect=True)
    seen = set()
    for number in range(60):
        window = augmentation.window(augmentation.draw((3, number)).numpy(), size, config, crop)
        found = augmentation.augment(positions, (3, number), config, crop, LABELS)["semseg"]
        np.testing.assert_array_equal(cut(positions["semseg"].numpy(), window, -1), found)
        seen.add(window)
    assert {window.mirrored for window in seen} == {False, True}
    assert all(window[2:4] == (crop or size) for window in seen)
    # Where the crop is the larger one it stands in the middle; elsewhere every place occurs.
    places = [max(side - part, 0) + 1 for side, part in zip(size, crop or size, strict=True)]
    assert len({window.top for window in seen}) == places[0] and len({window.left for window in seen}) == places[1]


@pytest.mark.parametrize(
    "options",
    [
        dict(data__crop_size=(16, 24), augment__reflect=True),
        dict(data__crop_size=(40, 24), augment__reflect=True, augment__brightness=0.3, augment__zoom_depth=True),
        dict(augment__reflect=True),
        dict(data__crop_size=(16, 24), augment__reflect=True, data__cache=True),
        dict(data__crop_size=(16, 24), tasks=("depth",)),
        dict(data__crop_size=(16, 24), data__image_size=(20, 30), augment__reflect=True),
    ],
)
def test_batches_are_the_crops_of_whole_samples(root, options):
    config = config_for(root, **options)
    descriptor = describe(config.data)
    source = open_split(config, "train")
    for step, batch in enumerate(TrainingData(source, config, descriptor).dataset().as_numpy_iterator()):
        for position, index in enumerate(batch["index"]):
            expected = augmentation.augment(
                geometry.resized(source.read(index), config.data.image_size, "stretch"),
                pipeline.fold(config.seed, 1, step // 3, index),
                config.augment,
                config.data.crop_size,
                descriptor.labels,
            )
            assert {*expected, "index"} == set(batch)
            for name, value in expected.items():
                np.testing.assert_array_equal(batch[name][position], value, err_msg=name)


def test_a_reader_that_knows_no_windows(root):
    config = config_for(root)
    plain, own = open_split(config, "train"), open_split(config, "train")
    own.readers["semseg"] = lambda path, labels: labels.read(path)
    for window in (Window(3, 4, 10, 12, True), Window(-3, 40, 10, 12)):
        for name, value in plain.read(0, lambda size, window=window: window).items():
            np.testing.assert_array_equal(own.read(0, lambda size, window=window: window)[name], value)


def test_what_lies_outside_the_window_is_checked(tmp_path):
    root = write_dataset(tmp_path / "data", {"train": 2})
    labels = np.zeros((32, 48), np.uint8)
    labels[31, 47] = 77
    Image.fromarray(labels).save(root / "train/semseg/0.png")
    Image.new("I;16", (48, 33)).save(root / "train/depth/1.png")
    source = open_split(config_for(root), "train")
    with pytest.raises(UsageError, match=r"0\.png: label value 77 \(1 pixels, "):
        source.read(0, lambda size: windows.Window(0, 0, 8, 8))
    with pytest.raises(UsageError, match=r"1\.png: 48x33 pixels, but its image 1\.png is 48x32"):
        source.read(1, lambda size: windows.Window(0, 0, 8, 8))
