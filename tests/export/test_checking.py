"""An export is compared with its run: shares of pixels, differences and scores, by hand; and what is too much."""

import dataclasses

import numpy as np
import pytest

from mtl_tf.export.checking import Comparison, compare
from mtl_tf.tasks import Depth, Segmentation

CLASSES = Segmentation(("road", "sky"), ((1, 1, 1), (2, 2, 2)))
DEPTH = Depth(1.0, 100.0, 10.0, 5.0, 2.0, 1.0)
TASKS = (CLASSES, DEPTH)


def answers(classes, depth):
    """Of pictures of 1x4."""
    return lambda image: {
        "semseg": np.array([[classes]], np.int32),
        "semseg_probability": np.full((1, 1, 4), 0.5, np.float32),
        "depth": np.array([[depth]], np.float32),
    }


def batch(classes=(0, 0, 1, 255), depth=(10.0, 10.0, 20.0, 0.0)):
    image = np.zeros((1, 1, 4, 3), np.float32)
    return {"image": image, "semseg": np.array([[classes]], np.int32), "depth": np.array([[depth]], np.float32)}


def found(run=((0, 0, 1, 1), (10, 10, 20, 20)), export=((0, 1, 1, 0), (10, 11, 20, 20)), batches=None):
    return compare(TASKS, answers(*run), answers(*export), batches or [batch()])


def test_shares_and_differences():
    comparison = found()
    assert comparison.samples == 1
    assert comparison.same == {"semseg": 50.0}
    assert comparison.error == pytest.approx({"semseg_probability": 0.0, "depth": 100 / 60})


def test_scores_count_labelled_pixels_only():
    comparison = found()
    assert comparison.run["semseg"]["miou"] == pytest.approx(100)
    # road: 1 of 2 found, none too many: 1/2. sky: 1 found of 1, with one pixel too many: 1/2.
    assert comparison.export["semseg"]["miou"] == pytest.approx(50)
    assert comparison.run["depth"]["abs_rel"] == pytest.approx(0)
    assert comparison.export["depth"]["abs_rel"] == pytest.approx(0.1 / 3)


def test_pictures_are_added_up():
    comparison = found(batches=[batch(), batch(classes=(0, 1, 1, 0))])
    assert comparison.samples == 2
    # The second picture is answered by the run as (0, 0, 1, 1), of (0, 1, 1, 0): both classes 3 of 5 in all.
    assert comparison.run["semseg"]["miou"] == pytest.approx(100 * (3 / 5 + 2 / 4) / 2)


def test_faults_name_what_differs_and_by_how_much():
    faults = found().faults(TASKS, quantized=False)
    assert faults == [
        "semseg: 50.00 % of pixels agree, at least 99.5 % expected",
        "depth: mean difference 1.67 %, at most 0.5 % expected",
    ]
    assert found(export=((0, 0, 1, 1), (10, 10, 20, 20))).faults(TASKS, quantized=False) == []


def test_of_a_quantised_export_scores_count():
    faults = found().faults(TASKS, quantized=True)
    assert faults[0] == "semseg.miou 50.00 %, of the run 100.00 %: at most 1.00 % worse expected"
    assert len(faults) == 2 and faults[1].startswith("depth.si_log_rmse 4.49, of the run 0.00: at most 0.50 worse")
    # Other pixels than labelled ones may differ.
    assert found(export=((0, 0, 1, 0), (10, 10, 20, 30))).faults(TASKS, quantized=True) == []


def test_without_labels_pixels_count_of_a_quantised_export_too():
    unlabelled = batch(classes=(255,) * 4, depth=(0.0,) * 4)
    assert len(found(batches=[unlabelled]).faults(TASKS, quantized=True)) == 2
    pictures = {"image": unlabelled["image"]}
    assert len(found(batches=[pictures]).faults(TASKS, quantized=True)) == 2


@pytest.mark.parametrize(("export", "loss"), [(29.0, 1.0), (31.0, -1.0)])
def test_a_loss_is_what_is_worse_whatever_way_is_better(export, loss):
    comparison = Comparison(1, {}, {}, {"semseg": {"miou": 30.0}}, {"semseg": {"miou": export}})
    assert comparison.loss(CLASSES) == loss
    depths = {"depth": {"si_log_rmse": 30.0}}, {"depth": {"si_log_rmse": export}}
    assert dataclasses.replace(comparison, run=depths[0], export=depths[1]).loss(DEPTH) == -loss


def test_answers_that_are_not_finite_are_a_fault():
    faults = found(export=((0, 0, 1, 1), (10, 10, 20, np.nan))).faults(TASKS, quantized=False)
    assert faults == ["depth: mean difference nan %, at most 0.5 % expected"]
