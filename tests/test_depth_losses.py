"""What depth and numbers add to a loss of pixels: what the mean is over, and the match of the gradients."""

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf import flags, losses
from mtl_tf.data.sets import describe
from mtl_tf.tasks import Depth, Regression
from tests.test_losses import loss_of

OBJECTIVES = ("l2", "l1", "berhu", "silog")


def depth(objective="l1", **options):
    """Whitened metres are (z - 10) / 5, whitened log metres (ln z - 2) / 0.5."""
    return Depth(1.0, 50.0, mean=10.0, std=5.0, log_mean=2.0, log_std=0.5, objective=objective, **options)


def batch(seed=0, size=(19, 21)):
    """Four images: all valid, half valid, none, a single pixel."""
    random = np.random.default_rng(seed)
    target = random.uniform(1, 50, (4, *size)).astype(np.float32)
    target[1][random.random(size) < 0.2] = 0
    target[2:] = 0
    target[3, 2, 3] = 17
    return random.normal(0, 2, (*target.shape, 1)).astype(np.float32), target


# === What the mean is over ===


@pytest.mark.parametrize(("reduction", "expected"), [("images", ((2 + 1) / 2 + 5, 2)), ("pixels", (2 + 1 + 5, 3))])
def test_means_over_pixels_and_over_images_by_hand(reduction, expected):
    """Errors 2 and 1 of one image, 5 of another, none of the third, which has no depth."""
    target = np.array([[[10, 10]], [[10, 0]], [[0, 0]]], np.float32)
    raw = np.array([[[2, -1]], [[5, 100]], [[100, 100]]], np.float32)[..., None]
    assert loss_of(depth(reduction=reduction), raw, target) == pytest.approx(expected, rel=1e-6)
    numbers = Regression((0.0,), (1.0,), reduction=reduction)
    assert loss_of(numbers, raw, np.where(target > 0, 0, -1e38).astype(np.float32)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("space", ["linear", "log"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_over_pixels_an_image_counts_as_often_as_it_has_pixels(objective, space):
    raw, target = batch()
    by_image, by_pixel = (depth(objective, space=space, reduction=each) for each in ("images", "pixels"))
    total, count = loss_of(by_pixel, raw, target)
    alone = [loss_of(by_image, raw[[index]], target[[index]])[0] for index in range(4)]
    pixels = (target > 0).sum((1, 2))
    assert (total, count) == (pytest.approx(np.dot(np.ravel(alone), pixels), rel=1e-5), pixels.sum())


# === Gradients ===


def matching(error, valid, **options):
    total, count = losses.gradient_matching(tf.constant(error, tf.float32), tf.constant(valid), **options)
    return float(total), float(count)


def test_gradient_matching_by_hand():
    """Two scales fit. Steps of 1: rows 1, 3 and 2, 2, columns 1, 0, 1: 10 over 6 pixels. Of 2: |4| over 2 pixels."""
    error = [[[0, 1, 4], [1, 3, 5]]]
    rows, columns, twice = 1 + 3 + 2 + 2, 1 + 2 + 1, 4
    assert matching(error, np.ones((1, 2, 3), bool)) == pytest.approx(((rows + columns) / 6 + twice / 2, 1), rel=1e-6)


def test_no_gradient_crosses_a_pixel_without_a_label():
    """Not the one between its neighbours, nor the one of twice the step that passes over it."""
    error = np.array([[[0.0, 7.0, 4.0, 9.0, 1.0]]])
    valid = np.array([[[True, False, True, True, True]]])
    # Steps of 1: |9 - 4| + |1 - 9| over 4 pixels; of 2: |1 - 4| over 3 pixels; that of 4 passes over it.
    assert matching(error, valid) == pytest.approx((13 / 4 + 3 / 3, 1), rel=1e-6)


def test_an_error_that_is_the_same_everywhere_has_no_gradient():
    assert matching(np.full((2, 20, 20), 3.0), np.ones((2, 20, 20), bool)) == (0, 2)


def numpy_matching(error, valid):
    """Of one image, pair by pair, float64."""
    total = 0.0
    for step in (1, 2, 4, 8):
        sums, pixels = 0.0, 0
        for y in range(0, error.shape[0], step):
            for x in range(0, error.shape[1], step):
                pixels += valid[y, x]
                for down, right in ((step, 0), (0, step)):
                    ends = y + down, x + right
                    between = valid[y : ends[0] + 1, x : ends[1] + 1]
                    if ends[0] < error.shape[0] and ends[1] < error.shape[1] and between.all():
                        sums += abs(error[ends] - error[y, x])
        total += sums / max(pixels, 1)
    return total


@pytest.mark.parametrize("space", ["linear", "log"])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("reduction", ["images", "pixels"])
def test_the_term_is_that_of_the_error_of_the_loss(objective, space, reduction):
    raw, target = batch()
    with_term, without = (
        loss_of(depth(objective, space=space, reduction=reduction, gradient_weight=weight), raw, target)
        for weight in (0.5, 0.0)
    )
    valid, metres = target > 0, np.where(target > 0, target, 10).astype(np.float64)
    heads = raw[..., 0].astype(np.float64)
    if objective == "silog" and space == "linear":
        answer = heads * 5 + 10
        logs = np.where(answer > 0.5, np.log(np.maximum(answer, 0.5)), np.log(0.5) + (answer - 0.5) / 0.5)
        error = logs - np.log(metres)
    elif space == "linear":
        error = heads - (metres - 10) / 5
    else:
        error = (heads - (np.log(metres) - 2) / 0.5) * (0.5 if objective == "silog" else 1)
    terms = [numpy_matching(*each) for each in zip(error, valid, strict=True)]
    expected = np.dot(terms, valid.sum((1, 2)) if reduction == "pixels" else np.ones(4))
    assert with_term[1] == without[1]
    assert with_term[0] - without[0] == pytest.approx(0.5 * expected, rel=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 8), (8, 3)])
def test_pictures_smaller_than_a_step_have_fewer_scales(size):
    raw, target = batch(size=(9, 9))
    error, valid = raw[:2, : size[0], : size[1], 0], target[:2, : size[0], : size[1]] > 0
    expected = sum(numpy_matching(*each) for each in zip(error.astype(np.float64), valid, strict=True))
    assert matching(error, valid)[0] == pytest.approx(expected, rel=1e-5)


# === Options ===


def task_of(*arguments):
    config = flags.parse(["--tasks=depth", *arguments]).config
    return describe(config.data).tasks(config)[0]


def test_options_of_the_loss_reach_the_task():
    plain = task_of()
    assert (plain.reduction, plain.gradient_weight) == ("images", 0.0)
    found = task_of("--task.depth.reduction=pixels", "--task.depth.gradient_weight=0.5")
    assert (found.reduction, found.gradient_weight) == ("pixels", 0.5)
