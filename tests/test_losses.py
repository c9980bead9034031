"""The losses: values worked out by hand, an independent NumPy form, exact merging, and gradients that stay finite."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.config import leaves
from mtl_tf.evaluation import Evaluator
from mtl_tf.losses import PIXEL_LOSSES
from mtl_tf.objective import mean_losses, raws_of
from mtl_tf.tasks import Depth, Segmentation, cityscapes_tasks

DEPTH_LOSSES = ("l2", "l1", "berhu", "silog")
SEMSEG = Segmentation(("a", "b", "c"), ((0, 0, 0),) * 3)


def depth_task(loss, space="linear", **options):
    """Whitened metres are (z - 10) / 5, whitened log metres (ln z - 2) / 0.5."""
    return Depth(1.0, 50.0, mean=10.0, std=5.0, log_mean=2.0, log_std=0.5, objective=loss, space=space, **options)


def loss_of(task, raw, target):
    total, count = task.loss(tf.constant(raw, tf.float32), tf.constant(target))
    assert total.dtype == count.dtype == tf.float32 and total.shape == count.shape == ()
    return float(total), float(count)


def one_image(task, errors, target):
    """The loss of one image of one row whose whitened linear errors are given where the target is valid."""
    target = np.array(target, np.float32).reshape(1, 1, -1)
    raw = (target - task.mean) / task.std + np.array(errors, np.float32).reshape(1, 1, -1)
    return loss_of(task, raw[..., None], target)


def test_every_loss_of_depth_that_can_be_asked_for_is_tested():
    field = leaves()["task.depth.loss"]
    assert set(field.metadata["choices"]) == set(DEPTH_LOSSES) == {*PIXEL_LOSSES, "silog"}


# === Golden values ===


def test_cross_entropy_by_hand():
    """Logits ln(1, 2, 5) are probabilities 1/8, 2/8, 5/8: pixels cost ln 8, ln 4, ln(8/5); the fourth is ignored."""
    logits = np.broadcast_to(np.log([1.0, 2.0, 5.0]), (1, 2, 2, 3))
    total, count = loss_of(SEMSEG, logits, np.array([[[0, 1], [2, 255]]], np.int32))
    assert count == 3
    assert total == pytest.approx(np.log(8) + np.log(4) + np.log(8 / 5), rel=1e-6)


def test_the_mean_of_cross_entropy_is_over_all_pixels_of_the_batch():
    """An image with one labelled pixel weighs a quarter of one with four, not as much."""
    logits = np.zeros((2, 2, 2, 3))
    logits[1, 0, 0] = np.log([1.0, 2.0, 5.0])
    labels = np.array([[[0, 1], [2, 0]], [[0, 255], [255, 255]]], np.int32)
    total, count = loss_of(SEMSEG, logits, labels)
    assert count == 5
    assert total == pytest.approx(4 * np.log(3) + np.log(8), rel=1e-6)


def test_l2_by_hand():
    """(1 + 4 + 9) / 3; the pixel without depth would add 100."""
    total, count = one_image(depth_task("l2"), [1, -2, 3, 10], [10, 20, 5, 0])
    assert (total, count) == (pytest.approx(14 / 3, rel=1e-6), 1)


def test_l1_by_hand():
    total, count = one_image(depth_task("l1"), [1, -2, 3, 10], [10, 20, 5, 0])
    assert (total, count) == (pytest.approx(2, rel=1e-6), 1)


def test_berhu_by_hand():
    """The largest error is 5, so that c = 1: |0.5|, |-1|, (9 + 1) / 2 and (25 + 1) / 2; 10 is not valid."""
    total, count = one_image(depth_task("berhu"), [0.5, -1, 3, -5, 10], [10, 20, 5, 30, 0])
    assert (total, count) == (pytest.approx((0.5 + 1 + 5 + 13) / 4, rel=1e-5), 1)


def test_berhu_bends_per_image():
    """Errors (1, 5) bend at 1, errors (0.1, 0.5) at 0.1: the second image is a tenth of the first."""
    task = depth_task("berhu")
    target = np.full((2, 1, 2), 10, np.float32)
    raw = np.array([[[1, 5]], [[0.1, 0.5]]], np.float32)
    total, count = loss_of(task, raw[..., None], target)
    assert count == 2
    assert total == pytest.approx(1.1 * (1 + 13) / 2, rel=1e-5)


def test_silog_by_hand():
    """d = (1, 3) where valid: (1 + 9) / 2 - 0.5 * 2^2 = 3."""
    task = depth_task("silog", "log")
    target = np.array([[[2.0, 4.0, 0.0]]], np.float32)
    raw = (np.log([[[2.0, 4.0, 1.0]]]) + np.array([[[1, 3, 50]]]) - 2.0) / 0.5
    assert loss_of(task, raw[..., None], target) == (pytest.approx(3, rel=1e-5), 1)


def test_silog_of_a_linear_head_by_hand():
    """Predictions twice the truth: d = ln 2 everywhere, ln(2)^2 - 0.5 ln(2)^2."""
    target = np.array([[[2.0, 4.0, 20.0]]], np.float32)
    total, count = loss_of(depth_task("silog"), ((2 * target - 10) / 5)[..., None], target)
    assert (total, count) == (pytest.approx(0.5 * np.log(2) ** 2, rel=1e-5), 1)


def test_silog_below_its_floor_is_the_tangent():
    """At half the minimum (0.5 m) the logarithm goes on as ln 0.5 + (z - 0.5) / 0.5; at -0.5 m that is ln 0.5 - 2."""
    target = np.array([[[1.0]]], np.float32)
    total, _ = loss_of(depth_task("silog"), ((np.array([[[-0.5]]]) - 10) / 5)[..., None], target)
    assert total == pytest.approx(0.5 * (np.log(0.5) - 2) ** 2, rel=1e-5)


def test_depth_is_averaged_per_image_first():
    """One image with one wrong pixel of four, one with one of one, one without depth: 1/4 + 1, over 2 images."""
    target = np.array([[[10, 10, 10, 10]], [[10, 0, 0, 0]], [[0, 0, 0, 0]]], np.float32)
    raw = np.zeros((3, 1, 4, 1), np.float32)
    raw[:, 0, 0] = 1
    for loss in ("l2", "l1"):
        assert loss_of(depth_task(loss), raw, target) == (pytest.approx(1.25), 2)


def test_targets_of_the_study_are_whitened_with_the_published_statistics():
    """27.0727 m is 0 and 29.1264 m more is 1: the head 0 costs 0 and 1."""
    _, depth = cityscapes_tasks()
    target = np.array([[[27.0727]], [[56.1991]]], np.float32)
    total, count = loss_of(depth, np.zeros((2, 1, 1, 1)), target)
    assert (total, count) == (pytest.approx(1, rel=1e-5), 2)


def test_log_targets_of_the_study_are_whitened_in_the_logarithm():
    semseg, depth = cityscapes_tasks()
    depth = Depth(**{**vars(depth), "space": "log"})
    target = np.exp([[[2.89]], [[2.89 + 2 * 0.866]]]).astype(np.float32)
    total, count = loss_of(depth, np.zeros((2, 1, 1, 1)), target)
    assert (total, count) == (pytest.approx(4, rel=1e-5), 2)
    assert semseg.ignore == 255


@pytest.mark.parametrize("loss", DEPTH_LOSSES)
@pytest.mark.parametrize("space", ["linear", "log"])
def test_a_perfect_head_costs_nothing(loss, space):
    task = depth_task(loss, space)
    target = np.random.default_rng(0).uniform(1, 50, (2, 4, 5)).astype(np.float32)
    total, count = loss_of(task, task.encode(target)[..., None], target)
    assert count == 2
    assert abs(total) < 1e-6


def test_what_is_out_of_range_is_no_label():
    target = np.array([[[0.5, 1.0, 50.0, 50.5, -3.0, np.nan, np.inf]]], np.float32)
    raw = np.ones((1, 1, 7, 1), np.float32)
    expected = ((1 + 9 / 5) ** 2 + (1 - 40 / 5) ** 2) / 2
    assert loss_of(depth_task("l2"), raw, target) == (pytest.approx(expected, rel=1e-6), 1)


# === An independent form ===


def numpy_loss(task, raw, target):
    """Image by image and pixel by pixel, in float64."""
    raw = np.asarray(raw, np.float64)
    if isinstance(task, Segmentation):
        costs = []
        for logits, label in zip(raw.reshape(-1, raw.shape[-1]), target.ravel(), strict=True):
            if label != task.ignore:
                shifted = logits - logits.max()
                costs.append(np.log(np.exp(shifted).sum()) - shifted[label])
        return sum(costs), len(costs)
    means = []
    for head, metres in zip(raw[..., 0], target, strict=True):
        pixels = [(h, float(z)) for h, z in zip(head.ravel(), metres.ravel(), strict=True) if 1 <= z <= 50]
        if not pixels:
            continue
        heads, metres = np.array(pixels).T
        if task.objective == "silog":
            if task.space == "log":
                logs = heads * 0.5 + 2
            else:
                predicted = heads * 5 + 10
                logs = np.array([np.log(z) if z > 0.5 else np.log(0.5) + (z - 0.5) / 0.5 for z in predicted])
            d = logs - np.log(metres)
            means.append((d**2).mean() - 0.5 * d.mean() ** 2)
            continue
        white = (np.log(metres) - 2) / 0.5 if task.space == "log" else (metres - 10) / 5
        error = np.abs(heads - white)
        if task.objective == "berhu":
            bend = error.max() / 5
            error = np.array([e if e <= bend else (e * e + bend * bend) / (2 * bend) for e in error])
        means.append((error**2 if task.objective == "l2" else error).mean())
    return sum(means), len(means)


def depth_batch(seed=0):
    """Four images: all valid, half valid, none, a single pixel."""
    random = np.random.default_rng(seed)
    target = random.uniform(1, 50, (4, 6, 7)).astype(np.float32)
    target[1][random.random((6, 7)) < 0.5] = 0
    target[2] = 0
    target[3] = 0
    target[3, 2, 3] = 17
    return random.normal(0, 2, (4, 6, 7, 1)).astype(np.float32), target


def label_batch(seed=0):
    """Four images: all labelled, half ignored, all ignored, one class only; class 2 never occurs in the second."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, (4, 6, 7)).astype(np.int32)
    labels[1] = np.where(random.random((6, 7)) < 0.5, 255, labels[1] % 2)
    labels[2] = 255
    labels[3] = 1
    return random.normal(0, 3, (4, 6, 7, 3)).astype(np.float32), labels


SPACES = ("linear", "log")
CASES = [(SEMSEG, label_batch), *[(depth_task(loss, s), depth_batch) for loss in DEPTH_LOSSES for s in SPACES]]
NAMES = ["cross_entropy", *[f"{loss}-{space}" for loss in DEPTH_LOSSES for space in SPACES]]


@pytest.mark.parametrize(("task", "batch"), CASES, ids=NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_losses_equal_their_definition(task, batch, seed):
    raw, target = batch(seed)
    total, count = loss_of(task, raw, target)
    expected, expected_count = numpy_loss(task, raw, target)
    assert count == expected_count > 0
    assert total == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_equals_keras_with_ignored_pixels():
    raw, labels = label_batch()
    total, count = loss_of(SEMSEG, raw, labels)
    keras_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255, reduction="sum")
    assert total == pytest.approx(float(keras_loss(labels, raw)), rel=1e-5)
    keras_mean = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=255, reduction="mean_with_sample_weight"
    )
    assert total / count == pytest.approx(float(keras_mean(labels, raw)), rel=1e-5)


def test_another_ignore_value_is_obeyed():
    task = Segmentation(("a", "b", "c"), ((0, 0, 0),) * 3, ignore=2)
    total, count = loss_of(task, np.zeros((1, 1, 3, 3)), np.array([[[0, 1, 2]]], np.int32))
    assert (total, count) == (pytest.approx(2 * np.log(3)), 2)


# === Merging ===


@pytest.mark.parametrize(("task", "batch"), CASES, ids=NAMES)
def test_parts_of_a_batch_add_up_to_it(task, batch):
    raw, target = batch()
    whole = loss_of(task, raw, target)
    for cut in (1, 2, 3):
        parts = loss_of(task, raw[:cut], target[:cut]), loss_of(task, raw[cut:], target[cut:])
        assert sum(count for _, count in parts) == whole[1]
        assert sum(total for total, _ in parts) == pytest.approx(whole[0], rel=1e-6)


# === Gradients ===


def value_and_gradient(task, raw, target):
    raw = tf.constant(raw, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(raw)
        total, count = task.loss(raw, tf.constant(target))
    return float(total), float(count), tape.gradient(total, raw).numpy()


INVALID = {
    "zero": 0.0,
    "negative": -5.0,
    "tiny": 1e-30,
    "nan": np.nan,
    "infinite": np.inf,
    "minus infinity": -np.inf,
    "too far": 60.0,
}


@pytest.mark.parametrize("invalid", INVALID.values(), ids=INVALID.keys())
@pytest.mark.parametrize("space", ["linear", "log"])
@pytest.mark.parametrize("loss", DEPTH_LOSSES)
def test_depth_gradients_are_finite_and_zero_where_invalid(loss, space, invalid):
    task = depth_task(loss, space)
    raw, target = depth_batch()
    target[target == 0] = invalid
    total, count, gradient = value_and_gradient(task, raw, target)
    assert np.isfinite(total) and count == 3
    valid = (target >= 1) & (target <= 50)
    assert np.isfinite(gradient).all()
    assert (gradient[~valid] == 0).all()
    for image in (0, 1):
        assert (gradient[image][valid[image]] != 0).mean() > 0.9
    assert gradient[3, 2, 3] != 0


@pytest.mark.parametrize("invalid", INVALID.values(), ids=INVALID.keys())
@pytest.mark.parametrize("space", ["linear", "log"])
@pytest.mark.parametrize("loss", DEPTH_LOSSES)
def test_a_batch_without_depth_costs_nothing_and_moves_nothing(loss, space, invalid):
    raw = depth_batch()[0]
    total, count, gradient = value_and_gradient(depth_task(loss, space), raw, np.full((4, 6, 7), invalid, np.float32))
    assert (total, count) == (0, 0)
    assert (gradient == 0).all()


@pytest.mark.parametrize("loss", DEPTH_LOSSES)
@pytest.mark.parametrize("space", ["linear", "log"])
def test_depth_gradients_are_finite_for_extreme_heads(loss, space):
    """An untrained head: far outside the range on both sides, and exactly right."""
    task = depth_task(loss, space)
    raw = np.array([-1e6, -100.0, -2.0, 0.0, 100.0, 1e6], np.float32).reshape(1, 1, 6, 1)
    total, count, gradient = value_and_gradient(task, raw, np.full((1, 1, 6), 10, np.float32))
    assert np.isfinite(total) and count == 1
    assert np.isfinite(gradient).all()
    exact = task.encode(tf.fill([1, 2, 2], 7.0))[..., None]
    assert np.isfinite(value_and_gradient(task, exact, np.full((1, 2, 2), 7, np.float32))[2]).all()


@pytest.mark.parametrize("loss", DEPTH_LOSSES)
def test_a_head_below_zero_metres_is_pulled_up(loss):
    """Also where a logarithm is taken: the gradient keeps its sign."""
    raw = np.full((1, 1, 1, 1), (-30 - 10) / 5, np.float32)
    gradient = value_and_gradient(depth_task(loss), raw, np.full((1, 1, 1), 10, np.float32))[2]
    assert gradient < 0


def test_segmentation_gradients_are_finite_and_zero_where_ignored():
    raw, labels = label_batch()
    total, count, gradient = value_and_gradient(SEMSEG, 1e4 * raw, labels)
    assert np.isfinite(total) and count > 0
    assert np.isfinite(gradient).all()
    assert (gradient[labels == 255] == 0).all()
    gradient = value_and_gradient(SEMSEG, raw, labels)[2]
    assert (np.abs(gradient[labels != 255]).max(-1) > 0).all()
    probabilities = tf.nn.softmax(raw).numpy()
    one_hot = np.eye(3)[np.where(labels == 255, 0, labels)]
    expected = (probabilities - one_hot) * (labels != 255)[..., None]
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_a_batch_without_labels_costs_nothing_and_moves_nothing():
    raw, labels = label_batch()
    total, count, gradient = value_and_gradient(SEMSEG, raw, np.full_like(labels, 255))
    assert (total, count) == (0, 0)
    assert (gradient == 0).all()


@pytest.mark.parametrize(("task", "batch"), CASES, ids=NAMES)
def test_gradients_are_the_slope_of_the_definition(task, batch):
    raw, target = batch()
    gradient = value_and_gradient(task, raw, target)[2]
    random, step = np.random.default_rng(3), 1e-5
    for _ in range(4):
        direction = random.normal(size=raw.shape)
        if getattr(task, "objective", "") == "berhu":
            # The bend is held constant: leave the largest error, which sets it, as it is.
            white = np.asarray(task.encode(tf.maximum(target, 1.0)))
            error = np.where((target >= 1) & (target <= 50), np.abs(raw[..., 0] - white), 0)
            direction *= (error < error.max((1, 2), keepdims=True))[..., None]
        above, below = (numpy_loss(task, raw + sign * step * direction, target)[0] for sign in (1, -1))
        assert (gradient * direction).sum() == pytest.approx((above - below) / (2 * step), rel=2e-3, abs=2e-3)


@pytest.mark.parametrize(("task", "batch"), CASES, ids=NAMES)
def test_sixteen_bit_heads_are_added_up_in_float32(task, batch):
    raw, target = batch()
    half = tf.cast(raw, tf.bfloat16)
    total, count = task.loss(raws_of(task, {task.name: half})[""], tf.constant(target))
    assert total.dtype == count.dtype == tf.float32
    assert float(total) == pytest.approx(loss_of(task, tf.cast(half, tf.float32), target)[0], rel=1e-6)


def test_validation_has_the_loss_of_training():
    """Of a network with first answers too, whose loss is the mean over both."""
    tasks = (SEMSEG, depth_task("l1"))
    random = np.random.default_rng(0)
    outputs = {
        f"{task.name}{part}": tf.constant(random.normal(size=(2, 4, 4, task.channels)), tf.float32)
        for task in tasks
        for part in ("_initial", "")
    }
    batch = {
        "image": tf.zeros((2, 4, 4, 3)),
        "semseg": tf.constant(random.integers(0, 3, (2, 4, 4)), tf.int32),
        "depth": tf.constant(random.uniform(1, 50, (2, 4, 4)), tf.float32),
        "index": tf.constant([0, 1], tf.int64),
    }
    weights = {"_initial": 0.5, "": 0.5}

    def network(image, training):
        return outputs

    network.label_weights = weights
    found = Evaluator(tf.distribute.get_strategy(), network, tasks).run([batch])
    counts = {task.name: task.count(batch[task.name]) for task in tasks}
    trained = mean_losses(tasks, outputs, batch, counts, weights)
    for task in tasks:
        last, counted = task.loss(outputs[task.name], batch[task.name])
        assert found.losses[task.name] == pytest.approx(float(trained[task.name]), rel=1e-5)
        assert found.last_losses[task.name] == pytest.approx(float(last / counted), rel=1e-5)
        assert found.losses[task.name] != pytest.approx(found.last_losses[task.name])
