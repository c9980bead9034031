"""Depth that is not in metres (normalised disparity) through metrics, files and reports: no metre is claimed of it."""

import numpy as np
import pytest
from PIL import Image

from mtl_tf import panels, pictures
from mtl_tf.inference.files import write_prediction
from mtl_tf.inference.predictor import Prediction
from mtl_tf.report.scores import Board, results_table
from mtl_tf.tasks import DEPTH_UNITS, Depth

STATISTICS = dict(mean=0.1, std=0.1, log_mean=-2.5, log_std=0.7)
DISPARITY = Depth(1e-5, 1.0, **STATISTICS, unit="normalised_disparity")
METRES = Depth(0.1, 10.0, **STATISTICS)


def raw(task, depth):
    """The raw head that stands for a depth."""
    return ((np.asarray(depth, np.float32) - task.mean) / task.std)[..., None]


def test_small_disparities_are_not_raised_to_a_centimetre():
    import tensorflow as tf

    truth = np.array([[[0.004, 0.2, 0.0]]], np.float32)
    answer = np.array([[[0.006, 0.1, 0.5]]], np.float32)
    found = DISPARITY.measure(tf.constant(raw(DISPARITY, answer)), tf.constant(truth))
    result = DISPARITY.scores({name: value.numpy().sum(0) for name, value in found.items()})
    # errors 0.002 / 0.004 and 0.1 / 0.2; the third pixel is invalid
    assert result["abs_rel_pixels"] == pytest.approx((0.5 + 0.5) / 2, rel=1e-4)
    assert result["mae_pixels"] == pytest.approx((0.002 + 0.1) / 2, rel=1e-4)


def test_predictions_are_written_in_the_codes_of_the_data_set(tmp_path):
    codes = np.array([[1, 257], [32257, 65535]])
    answer = Prediction({"depth": (codes / 65535).astype(np.float32)})
    write_prediction(tmp_path, "x", np.zeros((2, 2, 3), np.uint8), answer, (DISPARITY,))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "depth/x.png")), codes)
    answer = Prediction({"depth": np.array([[0.1, 2.5]], np.float32)})
    write_prediction(tmp_path, "y", np.zeros((1, 2, 3), np.uint8), answer, (METRES,))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "depth/y.png")), [[10, 250]])


def test_scores_are_shown_without_metres():
    metres, disparity = Board((METRES,)).describe, Board((DISPARITY,)).describe
    assert metres("depth.mae").show(0.01234567) == "0.012 m"
    assert disparity("depth.mae").show(0.01234567) == "0.01235"
    assert disparity("depth.abs_rel") == metres("depth.abs_rel")
    evaluation = {"depth": {"rmse": 0.01234567, "abs_rel": 0.25}}
    assert "0.012 m" in results_table((METRES,), evaluation, {})
    table = results_table((DISPARITY,), evaluation, {})
    assert "0.01235" in table and " m" not in table.replace(" metric", "")


def test_pictures_are_labelled_without_metres():
    assert [label for _, label in panels.depth_ticks(1, 10, 2)] == ["1 m", "10 m"]
    assert [label for _, label in panels.depth_ticks(0.01, 0.1, 2, "")] == ["0.01", "0.1"]
    depth = np.full((40, 60), 0.25, np.float32)
    assert panels.sample_panel(np.zeros((40, 60, 3), np.uint8), (DISPARITY,), {"depth": depth}, {}).size
    codes, step = pictures.pack_depth(depth, DEPTH_UNITS["normalised_disparity"].step)
    assert step == 1 / 65535 and (int(codes[0, 0, 0]) * 256 + int(codes[0, 0, 1])) == round(0.25 * 65535)
