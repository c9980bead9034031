"""A convolution over an upsampled map, worked out on the small one: answers and gradients of the plain way."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.models.layers import Conv2D, ResizeLike
from mtl_tf.models.upsampled import UpsampledConv2D, _interpolation
from tests.models.common import difference, skip_where_sums_are_imprecise

SMALL, LARGE, FILTERS = 5, 3, 4  # channels
SIZES = (((4, 6), (16, 24)), ((3, 5), (10, 17)), ((1, 1), (4, 4)), ((2, 7), (2, 7)), ((9, 4), (5, 3)))


def plain_and_quick(policy="float32"):
    """Both layers as networks of any size, with the same weights."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        small, large = keras.Input((None, None, SMALL)), keras.Input((None, None, LARGE))
        both = keras.layers.Concatenate()([ResizeLike()(small, large), large])
        plain = keras.Model([small, large], Conv2D(FILTERS, 3, padding="same")(both))
        quick = keras.Model([small, large], UpsampledConv2D(FILTERS, use_bias=True)([small, large]))
    finally:
        keras.config.set_dtype_policy(before)
    random = np.random.default_rng(0)
    plain.set_weights([random.normal(size=weight.shape) for weight in plain.weights])
    quick.set_weights(plain.get_weights())
    return plain, quick


def maps(sizes, batch=2):
    """Random inputs."""
    random = np.random.default_rng(1)
    return [
        tf.constant(random.normal(size=(batch, *size, channels)), tf.float32)
        for size, channels in zip(sizes, (SMALL, LARGE), strict=True)
    ]


def differentiated(model, inputs):
    """Outputs, and gradients with respect to inputs and variables, all in float32."""
    pull = np.random.default_rng(2).normal(size=(*inputs[1].shape[:3], FILTERS)).astype(np.float32)

    # A graph that does not know the sizes, as in training and in an export.
    @tf.function(input_signature=[tf.TensorSpec((None, None, None, channels)) for channels in (SMALL, LARGE)])
    def run(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = tf.cast(model(list(inputs)), tf.float32)
            loss = tf.reduce_sum(outputs * pull)
        return [outputs, *tape.gradient(loss, [*inputs, *model.trainable_variables])]

    return run(*inputs)


@pytest.mark.parametrize("sizes", SIZES)
def test_answers_and_gradients_are_those_of_the_plain_way(sizes):
    found = [differentiated(model, maps(sizes)) for model in plain_and_quick()]
    assert len(found[0]) == 1 + 2 + 2
    for expected, value in zip(*found, strict=True):
        assert difference(value, expected) < 1e-5


def test_interpolation_by_hand():
    """Two positions to four: half-pixel centres lie at -0.25, 0.25, 0.75 and 1.25 of the small row."""
    enlarge = np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    found = np.asarray(_interpolation(2, 4, "float32")).reshape(4, 2, 3)
    np.testing.assert_allclose(found[:, :, 1], enlarge, atol=1e-7)
    np.testing.assert_allclose(found[:, :, 0], np.vstack([np.zeros(2), enlarge[:3]]), atol=1e-7)
    np.testing.assert_allclose(found[:, :, 2], np.vstack([enlarge[1:], np.zeros(2)]), atol=1e-7)


@pytest.mark.parametrize("sizes", [((8, 8), (32, 32)), ((6, 9), (23, 35))])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_sixteen_bits_round_little_more_than_the_plain_way(policy, sizes):
    skip_where_sums_are_imprecise(policy.removeprefix("mixed_"))
    inputs = maps(sizes, batch=8)
    exact = differentiated(plain_and_quick()[0], inputs)
    plain, quick = (differentiated(model, inputs) for model in plain_and_quick(policy))
    for expected, one, other in zip(exact, plain, quick, strict=True):
        assert np.std(other - expected) < 1.5 * np.std(one - expected) + 1e-4 * np.std(expected)


def test_a_saved_layer_is_the_same(tmp_path):
    _, quick = plain_and_quick()
    quick.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    inputs = maps(SIZES[1])
    np.testing.assert_array_equal(again(inputs), quick(inputs))
