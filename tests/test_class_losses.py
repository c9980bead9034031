"""The losses of classes: values worked out by hand, independent NumPy forms, gradients, and options that fit or not."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf import class_losses, flags
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.sets import describe
from mtl_tf.errors import UsageError
from mtl_tf.tasks import ClassLabels, Segmentation
from mtl_tf.tasks._class_options import LOSSES, log_inverse, median_frequency
from tests.tasks.battery import loss_of

LABELS = ClassLabels(("a", "b", "c"), ((0, 0, 0),) * 3)


def task(objective="cross_entropy", **options):
    return Segmentation(LABELS.classes, LABELS.palette, objective=objective, **options)


def row(*labels):
    """Label maps of one image of one row."""
    return np.array(labels, np.int32).reshape(1, 1, -1)


def logits(*probabilities):
    """A raw head of one row that answers probabilities."""
    return np.log(np.array(probabilities)).reshape(1, 1, len(probabilities), -1)


# A pixel costs ln 8, ln 4 or ln(8 / 5) by its label.
EIGHTHS = (1 / 8, 2 / 8, 5 / 8)


# === Golden values ===


def test_weights_are_what_the_mean_is_over():
    """Labels 0, 1, 2 of weight 0.5, 1, 2, and an ignored pixel: the sum of the weights is 3.5."""
    total, count = loss_of(task(weights=(0.5, 1.0, 2.0)), logits(*[EIGHTHS] * 4), row(0, 1, 2, 255))
    assert count == 3.5
    assert total == pytest.approx(0.5 * np.log(8) + np.log(4) + 2 * np.log(8 / 5), rel=1e-6)


def test_a_class_without_weight_has_no_label():
    raw, labels = logits(*[EIGHTHS] * 3), row(0, 1, 2)
    for options in ({}, {"hardest": 0.5}, {"objective": "cross_entropy+dice"}):
        without = loss_of(task(weights=(0.0, 1.0, 1.0), **options), raw, labels)
        np.testing.assert_allclose(without, loss_of(task(**options), raw, row(255, 1, 2)), rtol=1e-6)


def test_label_smoothing_by_hand():
    """0.3 of the label is spread over three classes: q = (0.1, 0.1, 0.8)."""
    total, count = loss_of(task(smoothing=0.3), logits(EIGHTHS), row(2))
    assert (total, count) == (pytest.approx(0.1 * np.log(8) + 0.1 * np.log(4) + 0.8 * np.log(8 / 5), rel=1e-6), 1)


def test_smoothed_labels_cost_least_where_they_are_answered():
    """At their entropy; being surer of the label costs more."""
    best = loss_of(task(smoothing=0.3), logits((0.1, 0.1, 0.8)), row(2))[0]
    assert best == pytest.approx(-2 * 0.1 * np.log(0.1) - 0.8 * np.log(0.8), rel=1e-6)
    for other in ((0.01, 0.01, 0.98), (0.2, 0.2, 0.6), (0.05, 0.15, 0.8)):
        assert loss_of(task(smoothing=0.3), logits(other), row(2))[0] > best + 0.01


def test_focal_by_hand():
    """(1 - 5/8)^2 ln(8/5) + (1 - 1/8)^2 ln 8; without an exponent it is cross-entropy."""
    raw, labels = logits(EIGHTHS, EIGHTHS, EIGHTHS), row(2, 0, 255)
    expected = (3 / 8) ** 2 * np.log(8 / 5) + (7 / 8) ** 2 * np.log(8)
    assert loss_of(task("focal"), raw, labels) == (pytest.approx(expected, rel=1e-6), 2)
    np.testing.assert_allclose(loss_of(task("focal", gamma=0.0), raw, labels), loss_of(task(), raw, labels), rtol=1e-6)


def test_the_hardest_pixels_by_hand():
    """0.4 of 5 pixels are the two that cost ln 8; of an image of one it is that one. The mean is over images."""
    raw = np.broadcast_to(np.log(EIGHTHS), (3, 1, 6, 3))
    labels = np.array([[[0, 1, 2, 0, 2, 255]], [[255, 2, 255, 255, 255, 255]], [[255] * 6]], np.int32)
    assert loss_of(task(hardest=0.4), raw, labels) == (pytest.approx(np.log(8) + np.log(8 / 5), rel=1e-6), 2)
    assert loss_of(task(hardest=0.6), raw, labels)[0] == pytest.approx(
        (2 * np.log(8) + np.log(4)) / 3 + np.log(8 / 5), rel=1e-6
    )


def test_equal_pixels_at_the_edge_of_the_hardest_share_what_is_left():
    """Half of 4 pixels that cost 3, 2, 2, 1: 3 and one of the twos, whichever: so the gradient of both is half."""
    costs = tf.constant([[[3.0, 2.0, 2.0, 1.0]]])
    with tf.GradientTape() as tape:
        tape.watch(costs)
        mean = class_losses.hardest_mean(costs, tf.ones((1, 1, 4)), 0.5)
    assert mean.numpy().tolist() == [2.5]
    assert tape.gradient(mean, costs).numpy().tolist() == [[[0.5, 0.25, 0.25, 0.0]]]


def test_the_hardest_are_so_with_their_weight():
    """Costs 3, 2, 1 with weights 1, 2, 8: the hardest two are 1 * 8 and 2 * 2, over weights 10."""
    mean = class_losses.hardest_mean(tf.constant([[[3.0, 2.0, 1.0]]]), tf.constant([[[1.0, 2.0, 8.0]]]), 2 / 3)
    assert float(mean[0]) == pytest.approx(12 / 10)


def test_dice_by_hand():
    """Class 0: 2 * 0.8 / (0.64 + 0.16 + 1); class 1: 2 * 0.5 / (0.01 + 0.25 + 1); class 2 is in no label."""
    raw, labels = logits((0.8, 0.1, 0.1), (0.4, 0.5, 0.1), (0.1, 0.1, 0.8)), row(0, 1, 255)
    expected = 1 - (1.6 / 1.8 + 1.0 / 1.26) / 2
    assert loss_of(task("dice"), raw, labels) == (pytest.approx(expected, rel=1e-6), 1)


def test_lovasz_by_hand():
    """Class 0 of (0.8, 0.4): errors 0.4 (another's pixel), 0.2 (its own). 1 - IoU after each: 1/2, 1.

    So 0.4 * 1/2 + 0.2 * 1/2 = 0.3. Class 1 of (0.1, 0.5): 0.5 (its own: 1), 0.1 (another's: 0 more) = 0.5.
    """
    raw, labels = logits((0.8, 0.1, 0.1), (0.4, 0.5, 0.1), (0.1, 0.1, 0.8)), row(0, 1, 255)
    assert loss_of(task("lovasz"), raw, labels) == (pytest.approx((0.3 + 0.5) / 2, rel=1e-6), 1)


def test_lovasz_of_a_sure_answer_is_one_minus_the_iou():
    random = np.random.default_rng(0)
    labels, answer = random.integers(0, 3, (2, 1, 6, 7))
    ious = [((labels == c) & (answer == c)).sum() / ((labels == c) | (answer == c)).sum() for c in range(3)]
    total, _ = loss_of(task("lovasz"), 50 * np.eye(3)[answer], labels.astype(np.int32))
    assert total == pytest.approx(1 - np.mean(ious), rel=1e-5)


def test_a_sum_has_the_terms_of_both():
    raw, labels = batch()
    for region in ("dice", "lovasz"):
        found = loss_of(task(f"cross_entropy+{region}", weights=WEIGHTS), raw, labels)
        one, other = loss_of(task(weights=WEIGHTS), raw, labels), loss_of(task(region), raw, labels)
        np.testing.assert_allclose(found, np.concatenate([one, other], 1), rtol=1e-5, atol=0)


# === Independent forms ===


def numpy_loss(task, raw, target):
    """Pixel by pixel and image by image, in float64: sum and count of each term."""
    raw = np.asarray(raw, np.float64)
    weights = np.array(task.weights or (1.0,) * task.channels)
    sums = {term: np.zeros(2) for term in task.objective.split("+")}
    for heads, labels in zip(raw, target, strict=True):
        known = [y for y in np.ndindex(labels.shape) if labels[y] != 255 and weights[labels[y]] > 0]
        if not known:
            continue
        truth = np.array([labels[y] for y in known])
        shifted = np.array([heads[y] - heads[y].max() for y in known])
        p = np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)
        weight, g, present = weights[truth], np.eye(3)[truth], np.unique(truth)
        for term, total in sums.items():
            if term == "dice":
                overlaps = [2 * p[:, c] @ g[:, c] / (p[:, c] @ p[:, c] + g[:, c].sum()) for c in present]
                total += 1 - np.mean(overlaps), 1
            elif term == "lovasz":
                total += np.mean([extension(np.abs(g[:, c] - p[:, c]), truth == c) for c in present]), 1
            else:
                cost = -((g * (1 - task.smoothing) + task.smoothing / 3) * np.log(p)).sum(1) * weight
                if term == "focal":
                    cost *= (1 - p[np.arange(len(p)), truth]) ** task.gamma
                chosen = np.argsort(-cost)[: max(round(task.hardest * len(cost)), 1)]
                mean = cost[chosen].sum() / weight[chosen].sum()
                total += (cost.sum(), weight.sum()) if task.hardest == 1 else (mean, 1)
    return np.array(list(sums.values())).T


def extension(errors, own):
    """The Lovász extension of 1 - IoU as an integral: over all t, of the loss of the set of errors of t and more."""

    def lost(wrong):
        kept, others = (own & ~wrong).sum(), (~own & wrong).sum()
        return 1 - kept / (own.sum() + others)

    levels = np.unique(np.append(errors, 0.0))
    return sum((high - low) * lost(errors >= high) for low, high in itertools.pairwise(levels))


def batch(seed=0):
    """Four images: all labelled, half ignored and without class 2, all ignored, one class only."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, (4, 6, 7)).astype(np.int32)
    labels[1] = np.where(random.random((6, 7)) < 0.5, 255, labels[1] % 2)
    labels[2], labels[3] = 255, 1
    return random.normal(0, 2, (4, 6, 7, 3)).astype(np.float32), labels


WEIGHTS = (0.25, 1.0, 4.0)
CASES = [
    *(task(loss) for loss in LOSSES),
    *(task(weights=weights) for weights in (WEIGHTS, (0.0, 2.0, 1.0))),
    task(smoothing=0.1, weights=WEIGHTS),
    task("focal", gamma=0.5, weights=WEIGHTS),
    task("focal", gamma=5.0),
    task(hardest=0.2),
    task("focal", hardest=0.3, weights=WEIGHTS),
    task("cross_entropy+lovasz", hardest=0.2, smoothing=0.1, weights=(0.0, 2.0, 1.0)),
]
every_case = pytest.mark.parametrize("case", CASES, ids=str(list(range(len(CASES)))).strip("[]").split(", "))


@every_case
@pytest.mark.parametrize("seed", [0, 1])
def test_losses_equal_their_definition(case, seed):
    raw, labels = batch(seed)
    expected, counted = numpy_loss(case, raw, labels)
    found, count = loss_of(case, raw, labels)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert count.tolist() == counted.tolist() == np.atleast_1d(case.count(tf.constant(labels))).tolist()
    assert (counted > 0).all()


@every_case
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_parts_of_a_batch_add_up_to_it(case, cut):
    raw, labels = batch()
    parts = [loss_of(case, *each) for each in ((raw[:cut], labels[:cut]), (raw[cut:], labels[cut:]))]
    np.testing.assert_allclose(np.sum(parts, 0), loss_of(case, raw, labels), rtol=1e-6)


def gradient_of(case, raw, labels):
    raw = tf.constant(raw, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(raw)
        total, _ = case.loss(raw, tf.constant(labels))
    return tape.gradient(total, raw).numpy()


@every_case
def test_gradients_are_the_slope_of_the_definition(case):
    raw, labels = batch()
    gradient, random, step = gradient_of(case, raw, labels), np.random.default_rng(3), 1e-6
    assert (gradient[labels == 255] == 0).all()
    for _ in range(3):
        direction = random.normal(size=raw.shape)
        above, below = (numpy_loss(case, raw + sign * step * direction, labels)[0].sum() for sign in (1, -1))
        assert (gradient * direction).sum() == pytest.approx((above - below) / (2 * step), rel=2e-3, abs=2e-3)


@every_case
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e4, 1e30])
def test_gradients_of_extreme_heads_are_finite(case, size):
    raw, labels = batch()
    for head in (size * raw, size * np.eye(3, dtype=np.float32)[np.where(labels == 255, 0, labels)]):
        assert np.isfinite(gradient_of(case, head, labels)).all()
        assert not gradient_of(case, head, np.full_like(labels, 255)).any()


def test_keras_smooths_and_focuses_alike():
    raw, labels = batch()
    known = labels != 255
    hot = np.eye(3)[labels[known]]
    smoothed = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1, reduction="sum")
    assert loss_of(task(smoothing=0.1), raw, labels)[0] == pytest.approx(float(smoothed(hot, raw[known])), rel=1e-5)
    focal = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=2.0, from_logits=True, reduction="sum")
    assert loss_of(task("focal"), raw, labels)[0] == pytest.approx(float(focal(hot, raw[known])), rel=1e-5)


def test_all_losses_are_the_same_when_compiled_by_xla():
    raw, labels = map(tf.constant, batch())

    def everything(raw):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(raw)
            found = [case.loss(raw, labels) for case in CASES]
        return found, [tape.gradient(total, raw) for total, _ in found]

    compiled = tf.function(everything, jit_compile=True, autograph=False)(raw)
    for one, other in zip(tf.nest.flatten(compiled), tf.nest.flatten(everything(raw)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


# === Weights of measured frequencies ===


def test_weights_of_frequencies_by_hand():
    """The median of 0.1, 0.2 and 0.4 is 0.2; the last class never occurs."""
    frequency, where_present = (0.3, 0.6, 0.1, 0.0), (0.4, 0.2, 0.1, 0.0)
    assert median_frequency(frequency, where_present).tolist() == pytest.approx([0.5, 1.0, 2.0, 0.0])
    expected = [*(1 / np.log(1.02 + np.array(frequency[:3]))), 0.0]
    assert log_inverse(frequency, where_present).tolist() == pytest.approx(expected)


def test_frequencies_are_those_counted_by_hand():
    """Maps of 4 and 6 pixels: class b is in the first only."""
    sums = [LABELS.sums(row(0, 0, 1, 255)), LABELS.sums(row(0, 255, 255, 255, 255, 255)), LABELS.sums(row(255))]
    assert sums[2] == {}
    found = LABELS.measured_from({key: sums[0][key] + sums[1][key] for key in sums[0]})
    assert found.frequency == (0.75, 0.25, 0.0) and found.frequency_where_present == (0.3, 0.25, 0.0)
    assert found.unmeasured == LABELS and LABELS.missing == LABELS.measured and not found.missing
    assert not LABELS.lacks_statistics  # that it could not be trained without


# === Options ===

MEASURED = dataclasses.replace(LABELS, frequency=(0.75, 0.25, 0.0), frequency_where_present=(0.3, 0.25, 0.0))


def task_of(*options, labels=LABELS):
    config = flags.parse(["--tasks=semseg", *(f"--task.classes.{option}" for option in options)]).config
    return Descriptor("mine", {"semseg": labels}).tasks(config)[0]


def test_options_reach_the_task():
    assert task_of() == task()
    found = task_of("loss=focal", "gamma=1.5", "class_weights=1,0.5,0", "hardest=0.2")
    assert found == task("focal", gamma=1.5, weights=(1.0, 0.5, 0.0), hardest=0.2)
    assert task_of("loss=cross_entropy+dice", "label_smoothing=0.1") == task("cross_entropy+dice", smoothing=0.1)


def test_measured_frequencies_become_weights():
    assert task_of(labels=MEASURED) == task()
    found = task_of("class_weights=median_frequency", labels=MEASURED).weights
    assert found == pytest.approx((0.275 / 0.3, 1.1, 0.0))
    found = task_of("class_weights=log_inverse", labels=MEASURED).weights
    assert found == pytest.approx((1 / np.log(1.77), 1 / np.log(1.27), 0.0))


def test_rendered_scenes_come_with_their_frequencies():
    config = flags.parse(["--tasks=semseg", "--task.classes.class_weights=median_frequency"]).config
    (found,) = describe(config.data).tasks(config)
    assert np.median([weight for weight in found.weights if weight]) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["loss=dice", "gamma=1"], "task.classes.gamma=1.0 is of the loss focal, but task.classes.loss=dice"),
        (["gamma=1"], "is of the loss focal"),
        (["loss=focal", "label_smoothing=0.1"], "task.classes.label_smoothing=0.1 is of the loss cross_entropy, but"),
        (["loss=lovasz", "hardest=0.2"], "task.classes.hardest=0.2 is of the loss cross_entropy or focal, but"),
        (["loss=dice", "class_weights=1,1,2"], "task.classes.class_weights=1,1,2 is of the loss cross_entropy or"),
        (
            ["class_weights=1,2"],
            "has 2 numbers, but semseg of data set mine has 3 classes: give 3, or one of none, med",
        ),
        (["class_weights=1,2,-1"], "class_weights=1,2,-1 has a negative number: give 0 (the class"),
        (["class_weights=0,0,0"], "has no number above 0"),
        (["class_weights=median"], "should be none, median_frequency, log_inverse, or 3 numbers with commas, one a"),
        (["class_weights=1,nan,1"], "or 3 numbers with commas"),
        (["class_weights=none,1,1"], "or 3 numbers with commas"),
        (
            ["class_weights=log_inverse"],
            "task.classes.class_weights=log_inverse: data set mine lacks the semseg statistics frequency, "
            "frequency_where_present, which depend on your files: measure them once with tools/dataset_statistics.py",
        ),
    ],
)
def test_options_that_do_not_fit_are_one_line(options, expected):
    with pytest.raises(UsageError) as raised:
        task_of(*options)
    assert expected in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("loss=dise", "--task.classes.loss: takes one of cross_entropy, focal, dice, lovasz, cross_entropy+dice"),
        ("label_smoothing=1.5", "--task.classes.label_smoothing: must be at most 1.0"),
        ("hardest=0", "--task.classes.hardest: must be at least 0.001"),
        ("gamma=-1", "--task.classes.gamma: must be at least 0.0"),
        ("class_weights=", "task.classes.class_weights= should be none, median_frequency"),
    ],
)
def test_values_out_of_range_are_one_line(option, expected):
    with pytest.raises(UsageError) as raised:
        task_of(option)
    assert str(raised.value).startswith(expected) and "\n" not in str(raised.value)
