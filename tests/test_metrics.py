"""The metrics: values worked out by hand, an independent form, parity with Keras, scores of a run."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.errors import UsageError
from mtl_tf.selection import found_by, selection_score, total_scores
from mtl_tf.tasks import Depth, Normals, Segmentation, cityscapes_tasks

SEMSEG = Segmentation(("road", "car", "sky", "train"), ((0, 0, 0),) * 4)
# The head is metres, or ln metres.
DEPTH = Depth(1.0, 50.0, mean=0.0, std=1.0, log_mean=0.0, log_std=1.0)
LOG_DEPTH = Depth(1.0, 50.0, mean=0.0, std=1.0, log_mean=0.0, log_std=1.0, space="log")
DEPTH_NAMES = ("si_log_rmse", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "mae", "delta1", "delta2", "delta3")


def statistics_of(task, raw, target):
    return {
        name: value.numpy() for name, value in task.measure(tf.constant(raw, tf.float32), tf.constant(target)).items()
    }


def scores_of(task, raw, target):
    """Of all images of a batch together."""
    return task.scores({name: value.sum(0) for name, value in statistics_of(task, raw, target).items()})


def segment(answers, truth):
    """Scores of answered classes (B, H, W) against true ones."""
    return scores_of(SEMSEG, np.eye(4)[np.array(answers)], np.array(truth, np.int32))


def measure_depth(answers, truth, task=DEPTH):
    """Scores of answered metres (B, H, W) against true ones."""
    raw = np.log(answers) if task.space == "log" else np.array(answers)
    return scores_of(task, raw[..., None], np.array(truth, np.float32))


# === Segmentation by hand ===

# truth    road road car  | sky  255
# answer   road car  car  | road sky
# Confusion (row = truth): road: 1 road, 1 car; car: 1 car; sky: 1 road; train never occurs.
#   IoU road = 1 / (2 + 2 - 1) = 1/3; car = 1 / (1 + 2 - 1) = 1/2; sky = 0 / (1 + 0 - 0) = 0; train has no union.
TRUTH = [[[0, 0, 1], [2, 255, 255]]]
ANSWER = [[[0, 1, 1], [0, 2, 3]]]


def test_iou_by_hand():
    found = segment(ANSWER, TRUTH)
    assert found["iou"] == {
        "road": pytest.approx(100 / 3),
        "car": pytest.approx(50),
        "sky": 0.0,
        "train": None,
    }
    assert found["miou"] == pytest.approx((100 / 3 + 50 + 0) / 3)
    assert found["pixel_accuracy"] == pytest.approx(50)


def test_an_absent_class_counts_zero_in_the_originals_mean_only():
    found = segment(ANSWER, TRUTH)
    assert found["miou_all_classes"] == pytest.approx((100 / 3 + 50 + 0 + 0) / 4)
    assert found["miou"] > found["miou_all_classes"]


def test_a_class_that_is_only_answered_is_not_absent():
    """Answered where there is none: union 1, IoU 0, and it counts."""
    found = segment([[[0, 3]]], [[[0, 0]]])
    assert found["iou"] == {"road": 50.0, "car": None, "sky": None, "train": 0.0}
    assert found["miou"] == 25.0


def test_the_confusion_matrix_has_truth_in_rows():
    confusion = statistics_of(SEMSEG, np.eye(4)[np.array(ANSWER)], np.array(TRUTH, np.int32))["confusion"]
    assert confusion.shape == (1, 4, 4) and confusion.dtype == np.float64
    np.testing.assert_array_equal(confusion[0], [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])


def test_a_perfect_answer():
    found = segment([[[0, 1], [2, 3]]], [[[0, 1], [2, 3]]])
    assert found["miou"] == found["miou_all_classes"] == found["pixel_accuracy"] == 100
    assert set(found["iou"].values()) == {100.0}


def test_nothing_labelled_is_null():
    found = segment([[[0, 1], [2, 3]]], [[[255, 255], [255, 255]]])
    assert found == {
        "miou": None,
        "miou_all_classes": None,
        "pixel_accuracy": None,
        "iou": dict.fromkeys(SEMSEG.classes),
    }


def test_iou_is_of_the_whole_split_not_a_mean_over_images():
    """Road: 1 of 1 in the first image, 0 of 9 in the second: 10 % of the split, not 50 %."""
    truth = np.zeros((2, 3, 3), np.int32)
    truth[0].flat[1:] = 255
    answer = np.zeros((2, 3, 3), np.int32)
    answer[1] = 1
    assert segment(answer, truth)["iou"]["road"] == pytest.approx(10)


# === Depth by hand ===

# truth   2  4  8  0        (0: no label)
# answer  4  4  4  9
# error   2  0 -4           d = ln z - ln answer = (-ln 2, 0, ln 2)
BY_HAND = {
    "abs_rel": (2 / 2 + 0 + 4 / 8) / 3,
    "sq_rel": (1 + 0 + 1 / 4) / 3,
    "rmse": math.sqrt((4 + 0 + 16) / 3),
    "rmse_log": math.log(2) * math.sqrt(2 / 3),
    "log10": 2 * math.log10(2) / 3,
    "mae": (2 + 0 + 4) / 3,
    "delta1": 100 / 3,
    "delta2": 100 / 3,
    "delta3": 100 / 3,
    # mean(d) = 0, so that it is 100 * rmse_log.
    "si_log_rmse": 100 * math.log(2) * math.sqrt(2 / 3),
}


@pytest.mark.parametrize("task", [DEPTH, LOG_DEPTH], ids=["linear", "log"])
def test_depth_by_hand(task):
    found = measure_depth([[[4.0, 4.0, 4.0, 9.0]]], [[[2.0, 4.0, 8.0, 0.0]]], task)
    for name, value in BY_HAND.items():
        assert found[name] == pytest.approx(value, rel=1e-6), name
        # A single image: the pooled values are the same.
        assert found[f"{name}_pixels"] == pytest.approx(value, rel=1e-6), name
    assert set(found) == {*DEPTH_NAMES, *(f"{name}_pixels" for name in DEPTH_NAMES)}


def test_thresholds_of_delta_by_hand():
    """Ratios 1.2, 1.5, 1.9 and 2.1 against 1.25, 1.5625 and 1.953125; either may be the larger."""
    found = measure_depth([[[12.0, 10.0, 19.0, 10.0]]], [[[10.0, 15.0, 10.0, 21.0]]])
    assert (found["delta1"], found["delta2"], found["delta3"]) == (25, 50, 75)


def test_the_threshold_of_delta_itself_does_not_count():
    """1.25 is exact in binary: ratio < 1.25 is false at 5 / 4."""
    assert measure_depth([[[5.0]]], [[[4.0]]])["delta1"] == 0


def test_means_over_images_differ_from_means_over_pixels():
    """One image with one pixel wrong by 1 m, one with four right ones: 1/2 per image, 1/5 over pixels."""
    truth = np.array([[[4.0, 0, 0, 0]], [[4.0, 4, 4, 4]]])
    answer = np.array([[[5.0, 1, 1, 1]], [[4.0, 4, 4, 4]]])
    found = measure_depth(answer, truth)
    assert found["mae"] == pytest.approx(1 / 2) and found["mae_pixels"] == pytest.approx(1 / 5)
    assert found["abs_rel"] == pytest.approx(1 / 8) and found["abs_rel_pixels"] == pytest.approx(1 / 20)
    # Roots are taken per image before the mean; pooled, after it.
    assert found["rmse"] == pytest.approx((1 + 0) / 2)
    assert found["rmse_pixels"] == pytest.approx(math.sqrt(1 / 5))
    # Scale invariance is per image: one pixel is always right; pooled, its scale differs from the others'.
    assert found["si_log_rmse"] == pytest.approx(0, abs=1e-9)
    d = math.log(5 / 4)
    assert found["si_log_rmse_pixels"] == pytest.approx(100 * math.sqrt(d**2 / 5 - (d / 5) ** 2))


def test_images_without_depth_do_not_count():
    truth = np.array([[[2.0, 4.0]], [[0.0, 0.0]], [[60.0, 0.5]]])
    answer = np.array([[[4.0, 4.0]], [[9.0, 9.0]], [[9.0, 9.0]]])
    one = measure_depth(answer[:1], truth[:1])
    assert measure_depth(answer, truth) == pytest.approx(one)
    assert one["mae"] == pytest.approx(1)


def test_no_depth_at_all_is_null():
    found = measure_depth(np.ones((2, 3, 4)), np.zeros((2, 3, 4)))
    assert set(found) == {*DEPTH_NAMES, *(f"{name}_pixels" for name in DEPTH_NAMES)}
    assert set(found.values()) == {None}


@pytest.mark.parametrize("invalid", [np.nan, np.inf, -np.inf, -4.0, 60.0])
def test_invalid_depth_is_no_label(invalid):
    truth = np.array([[[2.0, 4.0, 8.0, invalid]]])
    found = measure_depth([[[4.0, 4.0, 4.0, 9.0]]], truth)
    assert found["mae"] == pytest.approx(2) and np.isfinite(list(found.values())).all()


def test_answers_are_clipped_to_the_range_first():
    """A head of -3 m and 900 m answers 1 m and 50 m."""
    found = measure_depth([[[-3.0, 900.0]]], [[[2.0, 40.0]]])
    assert found["mae"] == pytest.approx((1 + 10) / 2)


def test_si_log_rmse_does_not_know_the_scale():
    random = np.random.default_rng(0)
    truth = random.uniform(5, 20, (3, 8, 9))
    answer = random.uniform(5, 20, (3, 8, 9))
    found = measure_depth(answer, truth)
    for factor in (0.5, 2.0):
        scaled = measure_depth(factor * answer, truth)
        assert scaled["si_log_rmse"] == pytest.approx(found["si_log_rmse"], rel=1e-5)
        assert scaled["rmse"] != pytest.approx(found["rmse"], rel=0.1)
    # Each image by itself: the mean over images does not change, the pooled value does.
    scaled = measure_depth(np.array([0.5, 1, 2]).reshape(3, 1, 1) * answer, truth)
    assert scaled["si_log_rmse"] == pytest.approx(found["si_log_rmse"], rel=1e-5)
    assert scaled["si_log_rmse_pixels"] != pytest.approx(found["si_log_rmse_pixels"], rel=0.1)


def test_si_log_rmse_of_a_wrong_scale_is_zero():
    """mean(d^2) - mean(d)^2 would cancel to some noise."""
    truth = np.random.default_rng(0).uniform(1.5, 12, (1, 30, 40)).astype(np.float32)
    assert measure_depth(4 * truth, truth)["si_log_rmse"] < 1e-4


# === An independent form ===


def numpy_segmentation(answers, truth):
    ious = []
    for label in range(4):
        there, said = truth == label, (answers == label) & (truth != 255)
        union = (there | said).sum()
        ious.append(100 * (there & said).sum() / union if union else None)
    present = [iou for iou in ious if iou is not None]
    counted = truth != 255
    return {
        "miou": sum(present) / len(present),
        "miou_all_classes": sum(present) / 4,
        "pixel_accuracy": 100 * (answers == truth)[counted].mean(),
        "iou": dict(zip(SEMSEG.classes, ious, strict=True)),
    }


def numpy_depth(answer, truth):
    """Scores of the pixels of one image, or of all pixels of a split."""
    valid = (truth >= 1) & (truth <= 50)
    z, p = truth[valid].astype(np.float64), np.clip(answer[valid].astype(np.float64), 1, 50)
    d = np.log(z) - np.log(p)
    ratio = np.maximum(z / p, p / z)
    return {
        "si_log_rmse": 100 * d.std(),
        "abs_rel": (np.abs(z - p) / z).mean(),
        "sq_rel": (((z - p) / z) ** 2).mean(),
        "rmse": np.sqrt(((z - p) ** 2).mean()),
        "rmse_log": np.sqrt((d**2).mean()),
        "log10": np.abs(np.log10(z) - np.log10(p)).mean(),
        "mae": np.abs(z - p).mean(),
        **{f"delta{k}": 100 * (ratio < 1.25**k).mean() for k in (1, 2, 3)},
    }


def label_batch(seed):
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4 - seed % 2, (5, 7, 8)).astype(np.int32)
    answers = np.where(random.random(truth.shape) < 0.6, truth, random.integers(0, 4 - seed % 2, truth.shape))
    truth[random.random(truth.shape) < 0.2] = 255
    truth[1] = 255
    return answers, truth


def depth_batch(seed):
    random = np.random.default_rng(seed)
    truth = random.uniform(1, 50, (5, 7, 8)).astype(np.float32)
    answer = (truth * random.lognormal(0.1, 0.4, truth.shape)).astype(np.float32)
    truth[random.random(truth.shape) < 0.3] = 0
    truth[2] = 0
    truth[3].flat[1:] = 0
    truth[3, 0, 0] = 10
    return answer, truth


@pytest.mark.parametrize("seed", range(4))
def test_segmentation_equals_its_definition(seed):
    answers, truth = label_batch(seed)
    found, expected = segment(answers, truth), numpy_segmentation(answers, truth)
    assert found.pop("iou") == pytest.approx(expected.pop("iou"))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("task", [DEPTH, LOG_DEPTH], ids=["linear", "log"])
@pytest.mark.parametrize("seed", range(3))
def test_depth_equals_its_definition(seed, task):
    answer, truth = depth_batch(seed)
    found = measure_depth(answer, truth, task)
    images = [numpy_depth(a, t) for a, t in zip(answer, truth, strict=True) if ((t >= 1) & (t <= 50)).any()]
    assert len(images) == 4
    expected = {name: np.mean([image[name] for image in images]) for name in DEPTH_NAMES}
    expected |= {f"{name}_pixels": value for name, value in numpy_depth(answer, truth).items()}
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_miou_equals_keras(seed):
    answers, truth = label_batch(seed)
    metric = keras.metrics.MeanIoU(num_classes=4, ignore_class=255)
    metric.update_state(truth, answers)
    assert segment(answers, truth)["miou"] == pytest.approx(100 * float(metric.result()), rel=1e-5)


# === Both tasks ===


TASKS = cityscapes_tasks()


def both(miou, si):
    return {"semseg": {"miou": miou}, "depth": {"si_log_rmse": si}}


@pytest.mark.parametrize(
    ("miou", "si", "total", "grader"),
    [(70.0, 30.0, 40.0, 40.0), (40.0, 60.0, -20.0, 0.0), (60.0, 60.0, 0.0, 10.0), (40.0, 20.0, 20.0, 30.0)],
)
def test_total_and_grader_by_hand(miou, si, total, grader):
    assert total_scores(TASKS, both(miou, si)) == {"total": total, "grader": grader}
    assert selection_score(TASKS, both(miou, si), "total") == total
    assert selection_score(TASKS, both(miou, si), "grader") == grader


@pytest.mark.parametrize("missing", [{}, both(None, 30.0), both(60.0, None), {"semseg": {"miou": 60.0}}])
def test_total_and_grader_are_null_without_both_tasks(missing):
    assert total_scores(TASKS, missing) == {"total": None, "grader": None}


EVALUATION = {
    "semseg": {"miou": 61.0, "pixel_accuracy": 90.0},
    "depth": {"si_log_rmse": 20.0, "rmse": 5.0, "abs_rel": 0.2, "delta1": 80.0},
    "total": 41.0,
    "grader": 41.0,
    "loss": 1.5,
}


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("miou", 61.0),
        ("pixel_accuracy", 90.0),
        ("delta1", 80.0),
        ("si_log_rmse", -20.0),
        ("rmse", -5.0),
        ("abs_rel", -0.2),
        ("loss", -1.5),
        ("total", 41.0),
        ("grader", 11.0 + 30.0),
    ],
)
def test_the_selection_score_is_larger_where_better(metric, expected):
    assert selection_score(TASKS, EVALUATION, metric) == pytest.approx(expected)


def test_a_metric_is_named_alone_or_with_its_task():
    assert found_by("total", TASKS) is None
    for name in ("miou", "semseg.miou"):
        task, metric = found_by(name, TASKS)
        assert (task.name, metric.name) == ("semseg", "miou")
    assert selection_score(TASKS, EVALUATION, "depth.rmse") == -5.0


@pytest.mark.parametrize(
    ("name", "tasks", "said"),
    [
        ("miou", TASKS[1:], "is no score of tasks=depth"),
        ("rmse", TASKS[:1], "is no score of tasks=semseg"),
        ("mious", TASKS, "did you mean semseg.miou?"),
        ("miou", (TASKS[0], dataclasses.replace(TASKS[0], name="lanes")), "choose one of semseg.miou, lanes.miou"),
    ],
)
def test_a_metric_of_no_task_or_of_several_is_refused(name, tasks, said):
    with pytest.raises(UsageError, match=said.replace("?", "[?]")):
        found_by(name, tasks)


def test_the_total_of_other_tasks_is_the_sum_of_what_stands_for_each():
    lanes = dataclasses.replace(TASKS[0], name="lanes")
    scores = both(60.0, 20.0) | {"lanes": {"miou": 30.0}}
    assert total_scores((*TASKS, lanes), scores) == {"total": 70.0, "grader": None}
    assert total_scores(TASKS[:1], scores) == {"total": None, "grader": None}
    assert selection_score(TASKS[:1], scores, "total") == 60.0


@pytest.mark.parametrize(
    ("evaluation", "total", "grader"),
    [
        ({"semseg": {"miou": 61.0}}, 61.0, 11.0),
        ({"depth": {"si_log_rmse": 20.0}}, -20.0, 30.0),
        ({"depth": {"si_log_rmse": 70.0}}, -70.0, 0.0),
        (both(None, 20.0), -20.0, 30.0),
        (both(61.0, None), 61.0, 11.0),
    ],
)
def test_a_single_task_is_selected_by_its_own_term(evaluation, total, grader):
    assert selection_score(TASKS, evaluation, "total") == total
    assert selection_score(TASKS, evaluation, "grader") == grader


@pytest.mark.parametrize("metric", ["total", "grader", "miou", "rmse", "loss"])
def test_what_was_not_measured_is_worse_than_anything(metric):
    nothing = {"semseg": {"miou": None}, "depth": {"si_log_rmse": None, "rmse": None}}
    for evaluation in ({}, nothing):
        assert selection_score(TASKS, evaluation, metric) == -math.inf
    assert selection_score(TASKS, EVALUATION, metric) > -math.inf


def test_the_grader_ties_below_its_thresholds():
    """Of equals the trainer takes the later: below 50 mIoU and above 50 SI the grader sees no difference."""
    assert selection_score(TASKS, both(10.0, 90.0), "grader") == selection_score(TASKS, both(20.0, 80.0), "grader") == 0


@pytest.mark.parametrize("answer", [math.nan, math.inf])
def test_answers_that_are_not_finite_are_measured_without_an_error(answer):
    """Of a network that diverges: the loss of the next step ends the run, and says so."""
    target = np.zeros((1, 2, 3, 3), np.float32)
    target[..., 2] = -1
    found = Normals().measure(tf.fill((1, 2, 3, 3), answer), tf.constant(target))
    assert Normals().scores({name: value.numpy()[0] for name, value in found.items()})["within_30"] == 0
