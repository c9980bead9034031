"""Regression and disparity: files of each encoding, statistics, errors by hand, zoom, sections that are wrong."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mtl_tf.config import AugmentConfig, Config, replace
from mtl_tf.data import descriptors
from mtl_tf.errors import UsageError
from mtl_tf.tasks import Disparity, DisparityLabels, Move, Regression, RegressionLabels
from mtl_tf.tasks._numbers import NOTHING
from tests.helpers import TWO_LABELS
from tests.tasks.battery import loss_of, scores_of

# === Files ===


def test_stored_values_are_scaled_shifted_and_dropped(tmp_path):
    path = str(tmp_path / "0.png")
    Image.fromarray(np.array([[0, 100, 65535]], np.uint16)).save(path)
    labels = RegressionLabels("grey", scale=0.01, offset=-5.0, invalid=(65535.0,))
    np.testing.assert_array_equal(labels.read(path), np.float32([[-5, -4, NOTHING]]))


def test_the_first_channels_of_a_colour_picture(tmp_path):
    path = str(tmp_path / "0.png")
    Image.fromarray(np.array([[[127, 127, 9], [127, 0, 9]]], np.uint8)).save(path)
    labels = RegressionLabels("rgb8", 2, 1 / 127, -1.0, (127.0,))
    np.testing.assert_allclose(labels.read(path), [[[NOTHING, NOTHING], [0, -1]]], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
@pytest.mark.parametrize("deep", [False, True])
def test_arrays_of_any_type_with_or_without_an_axis_of_channels(tmp_path, dtype, deep):
    path = str(tmp_path / "0.npy")
    array = np.array([[3, -1]], dtype)
    np.save(path, array[..., None] if deep else array)
    np.testing.assert_array_equal(RegressionLabels("npy", invalid=(-1.0,)).read(path), np.float32([[3, NOTHING]]))


def test_nan_and_infinity_are_no_labels(tmp_path):
    path = str(tmp_path / "0.npy")
    np.save(path, np.array([[[1, np.nan], [np.inf, 0], [2, 3]]]))
    np.testing.assert_array_equal(
        RegressionLabels("npy", 2).read(path), np.float32([[[NOTHING] * 2, [NOTHING] * 2, [2, 3]]])
    )


@pytest.mark.parametrize("array", [np.zeros((2, 3, 4)), np.zeros(3), np.zeros((2, 3), complex), np.array("text")])
def test_arrays_of_another_shape_are_refused(tmp_path, array):
    path = str(tmp_path / "0.npy")
    np.save(path, array)
    with pytest.raises(UsageError, match="channels = 3, got") as error:
        RegressionLabels("npy", 3).read(path)
    assert str(error.value).startswith(path)


# === Statistics, losses and scores ===


def test_statistics_are_those_of_each_channel_over_all_files():
    labels = RegressionLabels("npy", 2)
    one, other = np.float32([[[1, 10], [3, 30]]]), np.float32([[[5, 20], [NOTHING] * 2]])
    assert labels.sums(np.full((1, 1, 2), NOTHING, np.float32)) == {}
    sums = {"numbers": labels.sums(one)["numbers"] + labels.sums(other)["numbers"]}
    found = labels.measured_from(sums)
    assert found.mean == (3, 20) and found.std == pytest.approx(np.std([[1, 10], [3, 30], [5, 20]], 0), rel=1e-4)
    assert labels.figures(sums)["pixels"] == 3 and len(labels.listed("flow", sums)) == 2


def test_errors_by_hand():
    """Whitened for the loss, in the unit for scores: errors 2, -4 of std 2, and one of 100 without a label."""
    target = np.float32([[[10, 10, NOTHING]]])
    raw = np.array([1.0, -2.0, 50.0]).reshape(1, 1, 3, 1)
    for objective, expected in (("l1", 3), ("l2", 5)):
        task = Regression((10.0,), (2.0,), objective)
        assert loss_of(task, raw, target) == (pytest.approx(expected), 2)
    assert scores_of(task, raw, target) == {"mae": pytest.approx(3), "rmse": pytest.approx(10**0.5)}


def test_channels_are_averaged():
    task = Regression((0.0, 0.0), (1.0, 10.0))
    target = np.zeros((1, 1, 1, 2), np.float32)
    raw = np.array([1.0, 1.0]).reshape(1, 1, 1, 2)
    assert loss_of(task, raw, target) == (1, 1)
    assert scores_of(task, raw, target)["mae"] == pytest.approx(5.5)


def test_outliers_of_disparity_are_off_by_3_pixels_and_5_percent():
    task = Disparity((0.0,), (1.0,))
    target = np.float32([[[10, 10, 100, 100]]])
    raw = np.array([12.9, 13.1, 104.9, 105.1]).reshape(1, 1, 4, 1)
    assert scores_of(task, raw, target)["bad_3px"] == pytest.approx(50)


def test_no_disparity_is_negative():
    answer = Disparity((0.0,), (1.0,)).decode(tf.constant([[[[-3.0], [3.0]]]]))
    np.testing.assert_array_equal(answer, [[[0, 3]]])


# === Zoom ===


@pytest.mark.parametrize(("zoom", "expected"), [(True, [5, NOTHING]), (False, [10, NOTHING])])
def test_what_is_twice_as_far_has_half_the_disparity(zoom, expected):
    config = AugmentConfig(zoom_depth=zoom)
    label = tf.constant([[10.0, NOTHING]])
    moved = DisparityLabels().moved(label, Move(2.0), config)
    np.testing.assert_array_equal(moved, np.float32([expected]))
    np.testing.assert_array_equal(RegressionLabels().moved(label, Move(2.0), config), label)


# === dataset.json ===


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"encoding": "exr"}, ["tasks.it.encoding", "one of grey, rgb8, npy", "exr"]),
        ({"channels": 3}, ["tasks.it.channels", "1 to 1", "grey PNG"]),
        ({"encoding": "rgb8", "channels": 4}, ["tasks.it.channels", "1 to 3"]),
        ({"scale": 0}, ["tasks.it.scale", "a positive number"]),
        ({"invalid": 7}, ["tasks.it.invalid", "a list of numbers"]),
        ({"invald": [7]}, ["invald", "did you mean invalid?"]),
    ],
)
@pytest.mark.parametrize("kind", ["regression", "disparity"])
def test_a_section_that_is_wrong(tmp_path, kind, section, words):
    path = descriptors.write(tmp_path, descriptors.Descriptor("data", TWO_LABELS))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tasks": {"it": {"kind": kind, **section}}}))
    with pytest.raises(UsageError) as error:
        descriptors.read(tmp_path)
    assert all(word in str(error.value) for word in [str(path), *words])


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (RegressionLabels(), ["lacks the it statistics", "dataset_statistics"]),
        (RegressionLabels("npy", 2, mean=(1.0,), std=(1.0, 1.0)), ["2 channels", "[1.0]"]),
        (RegressionLabels(mean=(1.0,), std=(0.0,)), ["above 0", "[0.0]"]),
        (DisparityLabels("npy", 2, mean=(1.0, 1.0), std=(1.0, 1.0)), ["a disparity has one"]),
    ],
)
def test_statistics_that_are_missing_or_do_not_fit(labels, words):
    with pytest.raises(UsageError) as error:
        labels.task("it", "data", Config())
    assert all(word in str(error.value) for word in words)


def test_the_loss_is_an_option():
    config = replace(Config(), task__regression__loss="l2")
    labels = RegressionLabels(mean=(1.0,), std=(1.0,), unit=" K")
    assert labels.task("heat", "data", config) == Regression((1.0,), (1.0,), "l2", " K", "heat")


def test_another_unit_does_not_mix():
    with pytest.raises(UsageError, match="1 channels in K, that of ours 1 channels in no unit"):
        RegressionLabels().adapting(RegressionLabels(unit=" K"), "heat", "theirs", "ours")
