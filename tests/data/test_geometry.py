"""data.fit: what becomes of pictures whose aspect is not that of data.image_size, by hand and through the pipeline."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import ExifTags, Image

from mtl_tf.config import Config, replace
from mtl_tf.data import geometry
from mtl_tf.data.pipeline import EvaluationData, TrainingData
from mtl_tf.data.sets import describe, open_split
from mtl_tf.data.sets.settle import differs, settled, told_fit
from mtl_tf.errors import UsageError
from mtl_tf.storage.pixels import read_part, read_rgb, size_of
from mtl_tf.storage.windows import Window
from tests.helpers import write_dataset

SAMPLE = {
    "image": np.arange(4 * 8 * 3, dtype=np.uint8).reshape(4, 8, 3),
    "semseg": np.arange(32, dtype=np.int32).reshape(4, 8),
    "depth": np.arange(32, dtype=np.float32).reshape(4, 8),
}


def fitted(sample, frame, fit):
    made = geometry.in_frame(geometry.resized(sample, frame, fit), frame, fit, {"semseg": 255})
    return {name: np.asarray(value) for name, value in made.items()}


@pytest.mark.parametrize(
    ("size", "frame", "fit", "expected"),
    [
        ((64, 192), (64, 64), "pad", (21, 64)),
        ((64, 192), (64, 64), "crop", (64, 192)),
        ((64, 192), (64, 64), "stretch", (64, 64)),
        ((480, 640), (96, 128), "pad", (96, 128)),
        ((375, 1242), (192, 640), "pad", (192, 636)),
        ((375, 1242), (192, 640), "crop", (193, 640)),
        ((1, 5000), (32, 48), "pad", (1, 48)),
    ],
)
def test_the_size_of_a_picture_at_the_scale_of_the_frame(size, frame, fit, expected):
    assert tuple(geometry.scaled_size(tf.constant(size), frame, fit).numpy()) == expected


def test_padding_puts_the_picture_in_the_middle_without_labels_around_it():
    made = fitted(SAMPLE, (8, 8), "pad")
    np.testing.assert_array_equal(made["semseg"][2:6], SAMPLE["semseg"])
    np.testing.assert_array_equal(made["image"][2:6], SAMPLE["image"])
    np.testing.assert_array_equal(made["depth"][2:6], SAMPLE["depth"])
    for rows in (np.s_[:2], np.s_[6:]):
        assert (made["semseg"][rows] == 255).all() and not made["depth"][rows].any() and not made["image"][rows].any()


def test_cropping_takes_the_middle():
    made = fitted(SAMPLE, (4, 4), "crop")
    for name, value in made.items():
        np.testing.assert_array_equal(value, SAMPLE[name][:, 2:6])


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_a_picture_of_the_same_aspect_fills_its_frame_whatever_the_option(fit):
    found, stretched = fitted(SAMPLE, (2, 4), fit), fitted(SAMPLE, (2, 4), "stretch")
    for name, value in stretched.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("frame", [(9, 12), (8, 11), (5, 5)])
def test_what_is_put_into_a_frame_is_found_there_again(frame):
    batch = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype(np.float32)
    again = geometry.unframed(geometry.framed(tf.constant(batch), frame), tf.constant([5, 4]), frame)
    np.testing.assert_array_equal(again, batch)


# === Through the pipeline ===


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Pictures of 48x16."""
    return write_dataset(tmp_path_factory.mktemp("wide") / "data", {"train": 2, "val": 2}, size=(16, 48))


def config_for(root, **options):
    named = dict(data__name="folder", data__root=str(root), data__image_size=(32, 32), train__batch_size=2)
    return replace(Config(), **named | options)


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_training_and_evaluation_see_the_same_frames(wide, fit):
    config = config_for(wide, data__fit=fit)
    source = open_split(config, "train")
    batches = TrainingData(source, config, source.descriptor).dataset()
    trained = {int(i): {n: v[k] for n, v in b.items()} for b in batches for k, i in enumerate(b["index"])}
    for batch in EvaluationData(source, config, source.descriptor).dataset(1).as_numpy_iterator():
        expected = fitted(source.read(int(batch["index"][0])), (32, 32), fit)
        for name, value in expected.items():
            np.testing.assert_array_equal(batch[name][0], value)
            np.testing.assert_array_equal(trained[int(batch["index"][0])][name], value)


def test_the_eigen_crop_is_of_the_picture_not_of_its_frame(wide):
    config = config_for(wide, data__fit="pad", data__eigen_crop=True)
    source = open_split(config, "train")
    (batch,) = EvaluationData(source, config, source.descriptor).dataset(2).as_numpy_iterator()
    labelled = np.flatnonzero((batch["depth"] > 0).any(axis=(0, 2)))
    # 48x16 becomes 32x11 in rows 10..20; of these 11 rows the crop takes 1..9, and the last labels end before.
    assert labelled.min() == 11 and labelled.max() <= 19


# === What the data settle ===


def test_pictures_of_another_aspect_are_padded_by_themselves(wide, tiny_dataset):
    assert settled(config_for(wide)).data.fit == "pad"
    assert settled(config_for(wide, data__image_size=(16, 48))).data.fit == "stretch"
    assert settled(config_for(wide, data__image_size=())).data.fit == "auto"  # a trial of a search may have a size
    assert settled(config_for(wide, data__fit="crop")).data.fit == "crop"
    assert settled(config_for(tiny_dataset)).data.fit == "pad"  # 48x32 into 32x32
    assert settled(replace(Config(), data__image_size=(32, 48))).data.fit == "stretch"  # scenes are made so
    mixed = config_for(tiny_dataset, data__image_size=(32, 48), data__mix_names=("folder",), data__mix_roots=(wide,))
    assert settled(mixed).data.fit == "pad"


def test_what_a_run_was_made_with_stays(wide):
    before = settled(config_for(wide, data__fit="stretch", tasks=("depth",)))
    again = settled(config_for(wide), before)
    assert (again.data.fit, again.tasks) == ("stretch", ("depth",))
    assert settled(config_for(wide, data__fit="pad"), before).data.fit == "pad"  # refused later, by name


@pytest.mark.parametrize(("size", "expected"), [((100, 200), False), ((100, 203), False), ((100, 205), True)])
def test_aspects_may_differ_by_two_percent(size, expected):
    assert differs(size, (50, 100)) == expected == differs(size[::-1], (100, 50))


def test_the_start_says_what_happens():
    assert told_fit([(64, 64), (64, 192)], (64, 64), "pad") == (
        "pictures of 192x64 are scaled to fit inside 64x64 and padded with black (data.fit=pad)"
    )
    assert "192x64 are stretched to 64x64, which changes" in told_fit([(64, 192)], (64, 64), "stretch")
    assert "640x480 are resized to 128x96" in told_fit([(480, 640)], (96, 128), "stretch")
    assert told_fit([(64, 64)], (64, 64), "pad") == told_fit([(64, 64)], (), "stretch") == ""


@pytest.mark.parametrize("missing", ["semseg", "depth"])
def test_tasks_are_those_that_have_labels(tmp_path, missing):
    root = write_dataset(tmp_path / "data", {"train": 2, "val": 1})
    for file in (root / "train" / missing).iterdir():
        file.unlink()
    (left,) = {"semseg", "depth"} - {missing}
    config = config_for(root)
    assert settled(config).tasks == (left,)
    assert settled(replace(config, tasks=("depth", "semseg"))).tasks == ("depth", "semseg")
    with pytest.raises(UsageError, match=f"tasks={left}"):
        settled(replace(config, model__architecture="distilled"))


def test_both_tasks_where_there_are_both(tiny_dataset):
    assert settled(config_for(tiny_dataset)).tasks == ("semseg", "depth") == settled(Config()).tasks
    assert describe(config_for(tiny_dataset).data).chosen(()) == ("semseg", "depth")


# === EXIF ===

TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["png", "tif", "webp", "jpg"])
def test_pictures_are_read_upright(tmp_path, orientation, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    exif, path = Image.Exif(), str(tmp_path / f"picture.{kind}")
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(pixels).save(path, exif=exif, **{"lossless": True} if kind == "webp" else {})
    found, expected = read_rgb(path), TURNED[orientation](pixels)
    assert found.shape == expected.shape and size_of(path) == expected.shape[:2]
    if kind != "jpg":
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(read_part(path, lambda size: Window(3, 5, 10, 12))[0], found[3:13, 5:17])
