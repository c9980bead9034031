"""Resizing by products of matrices equals TensorFlow's kernel for it."""

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.inference.resizing import resize_antialiased

SIZES = [((48, 64), (12, 16)), ((37, 53), (12, 16)), ((10, 100), (12, 16)), ((7, 9), (20, 11)), ((12, 16), (12, 16))]


@pytest.mark.parametrize(("old", "new"), SIZES)
@pytest.mark.parametrize("known", [True, False], ids=["sizes known", "sizes unknown"])
def test_it_equals_the_kernel(old, new, known):
    images = np.random.default_rng(0).integers(0, 256, (2, *old, 3)).astype(np.uint8)
    shape = (None, *old, 3) if known else (None, None, None, 3)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8), tf.TensorSpec((2,), tf.int32)], autograph=False)
    def resized(images, size):
        return resize_antialiased(images, list(new) if known else size)

    found = resized(images, tf.constant(new))
    np.testing.assert_allclose(found, tf.image.resize(images, new, antialias=True), atol=2e-3)


def test_two_pixels_become_their_mean():
    images = np.array([[[[0.0], [10.0], [20.0], [40.0]]]], np.float32)
    # A triangle of reach 2: weights 3/4, 3/4, 1/4 of the three pixels inside, over their sum.
    expected = [(0.75 * 0 + 0.75 * 10 + 0.25 * 20) / 1.75, (0.25 * 10 + 0.75 * 20 + 0.75 * 40) / 1.75]
    np.testing.assert_allclose(resize_antialiased(images, (1, 2))[0, 0, :, 0], expected, rtol=1e-6)


def test_pictures_of_the_size_that_is_asked_for_stay():
    images = np.random.default_rng(0).integers(0, 256, (1, 5, 6, 3)).astype(np.uint8)
    np.testing.assert_array_equal(resize_antialiased(images, (5, 6)), images)
