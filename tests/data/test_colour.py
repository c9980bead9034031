"""Photometric augmentation: golden values by hand and from torchvision; what a change leaves alone."""

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.config import AugmentConfig
from mtl_tf.data.augment import augment
from mtl_tf.data.colour import DRAWS, blur, changes_colour, jitter_colour
from tests.helpers import TWO_LABELS

NAMES = ("brightness", "contrast", "saturation", "hue", "gamma", "grey", "blur")
IMAGE = np.array([[[100.0, 50.0, 200.0], [20.0, 20.0, 20.0]]])
LUMA = 0.299 * 100 + 0.587 * 50 + 0.114 * 200


def colour(image, draw, **strength):
    """One change with one draw; the others are off."""
    draws = [draw if name in strength else 0.0 for name in NAMES]
    config = AugmentConfig(**strength)
    return jitter_colour(tf.constant(image, tf.float32), tf.constant(draws, tf.float64), config).numpy()


@pytest.fixture
def sample():
    """A picture of noise and its labels."""
    random = np.random.default_rng(0)
    return {
        "image": random.integers(0, 256, (37, 53, 3)).astype(np.uint8),
        "semseg": random.integers(0, 5, (37, 53)).astype(np.int32),
        "depth": random.uniform(4, 300, (37, 53)).astype(np.float32),
    }


def test_golden_values():
    np.testing.assert_allclose(colour(IMAGE, 1.0, brightness=0.5), np.minimum(IMAGE * 1.5, 255))
    np.testing.assert_allclose(colour(IMAGE, 0.0, brightness=0.5), IMAGE * 0.5)
    mean = (LUMA + 20) / 2
    np.testing.assert_allclose(colour(IMAGE, 0.0, contrast=0.4), mean + (IMAGE - mean) * 0.6, rtol=1e-5)
    grey = np.array([[[LUMA], [20.0]]])
    np.testing.assert_allclose(colour(IMAGE, 0.0, saturation=1.0), grey + 0 * IMAGE, rtol=1e-5)
    # a third of a turn of hue takes red to green
    red = np.array([[[240.0, 0.0, 0.0]]])
    np.testing.assert_allclose(colour(red, 1.0, hue=1 / 3), [[[0.0, 240.0, 0.0]]], atol=1e-3)
    # a quarter of full brightness under the exponent 1/2 becomes a half; black and white stay
    ramp = np.array([[[0.0, 63.75, 255.0]]])
    np.testing.assert_allclose(colour(ramp, 0.0, gamma=0.5), [[[0.0, 127.5, 255.0]]], rtol=1e-6)
    np.testing.assert_allclose(colour(ramp, 1.0, gamma=0.5)[0, 0, 1], 255 * 0.25**1.5, rtol=1e-6)
    np.testing.assert_allclose(colour(IMAGE, 0.29, grey=0.3), grey + 0 * IMAGE, rtol=1e-5)
    np.testing.assert_array_equal(colour(IMAGE, 0.31, grey=0.3), IMAGE)


def test_brightness_contrast_saturation_and_hue_are_those_of_torchvision():
    # torchvision 0.28, transforms.v2.functional.adjust_*, of this picture of 2x2 pixels.
    image = np.array([[[200, 30, 90], [10, 220, 40]], [[70, 80, 250], [128, 128, 5]]], np.float32)
    expected = {
        "brightness": [[[255.0, 39.0, 117.0], [13.0, 255.0, 52.0]], [[91.0, 104.0, 255.0], [166.4, 166.4, 6.5]]],
        "contrast": [[[163.5, 61.5, 97.5], [49.5, 175.5, 67.5]], [[85.5, 91.5, 193.5], [120.3, 120.3, 46.5]]],
        "saturation": [[[244.9, 6.9, 90.9], [0.0, 253.3, 1.3]], [[59.4, 73.4, 255.0], [133.6, 133.6, 0.0]]],
        "hue": [[[200.0, 51.6, 30.0], [10.0, 220.0, 140.8]], [[146.4, 70.0, 250.0], [69.0, 128.0, 5.0]]],
    }
    found = {
        "brightness": colour(image, 1.0, brightness=0.3),
        "contrast": colour(image, 0.0, contrast=0.4),
        "saturation": colour(image, 1.0, saturation=0.4),
        "hue": colour(image, 1.0, hue=0.08),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=0.06, err_msg=name)


def test_a_point_is_blurred_to_a_gaussian():
    image = np.zeros((15, 17, 3), np.float32)
    image[7, 8] = 100.0
    found = blur(tf.constant(image), tf.constant(0.8), 1.0).numpy()
    x, y = np.mgrid[-3:4, -3:4]
    bell = np.exp(-(x**2 + y**2) / (2 * 0.8**2))
    np.testing.assert_allclose(found[4:11, 5:12, 1], 100 * bell / bell.sum(), rtol=1e-4)
    assert found[:4].max() == found[:, :5].max() == 0.0
    # a draw of 0.8 of the largest is that blur
    np.testing.assert_allclose(colour(image, 0.8, blur=1.0), found, atol=1e-4)


def test_a_blur_keeps_flat_pictures_of_any_size_and_none_is_none():
    flat = tf.fill((3, 40, 3), 77.0)  # lower than the kernel
    np.testing.assert_allclose(blur(flat, tf.constant(2.0), 2.0), flat, rtol=1e-5)
    np.testing.assert_allclose(colour(IMAGE, 0.0, blur=2.0), IMAGE, rtol=1e-6)


def test_the_middle_of_every_range_changes_no_colour(sample):
    image = tf.constant(sample["image"], tf.float32)
    config = AugmentConfig(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2, gamma=0.5)
    found = jitter_colour(image, tf.constant([0.5] * DRAWS, tf.float64), config)
    np.testing.assert_allclose(found, image, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_each_change_is_on_by_its_own_option_and_leaves_labels_alone(sample, name):
    assert not changes_colour(AugmentConfig(scale_max=2.0, reflect=True, cutmix=0.5))
    change = []
    for number in range(5):
        found = augment(sample, (1, number), AugmentConfig(**{name: 0.5 if name != "blur" else 2.0}), (), {})
        np.testing.assert_array_equal(found["semseg"], sample["semseg"])
        np.testing.assert_array_equal(found["depth"], sample["depth"])
        image = found["image"].numpy()
        change.append(np.abs(image - sample["image"]).mean())
        assert image.min() >= 0 and image.max() <= 255 and image.shape == sample["image"].shape
    assert max(change) > 5


def test_a_whole_jitter_is_the_same_eagerly_and_in_tf_data(sample):
    config = AugmentConfig(
        brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1, gamma=0.2, grey=0.3, blur=1.0, scale_max=1.2
    )

    def one(number):
        return augment(sample, tf.stack([tf.constant(5, tf.int64), number]), config, (), TWO_LABELS)

    in_graph = list(tf.data.Dataset.range(8).map(one, num_parallel_calls=2).as_numpy_iterator())
    for number in range(8):
        eager = one(tf.constant(number, tf.int64))
        np.testing.assert_allclose(in_graph[number]["image"], eager["image"], atol=1e-2)
    grey = [np.ptp(found["image"], axis=-1).max() < 0.01 for found in in_graph]
    assert 0 < sum(grey) < 8
