"""The layers: batch norm against its definition, Keras' and itself on two devices; resizing against NumPy."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.kernels import on_any_backend, on_tensorflow
from mtl_tf.models import layers
from mtl_tf.models.layers import BatchNorm, Conv2D, ResizeLike, Whiten, conv_bn_relu, pytorch_uniform, scope
from tests.helpers import ROOT
from tests.models.common import convolve, randomise, skip_where_sums_are_imprecise

# === Batch norm ===


def numbers(*shape, seed=0, mean=3.0, std=2.0):
    return np.random.default_rng(seed).normal(mean, std, shape).astype(np.float32)


def built(layer, channels):
    layer.build((None, None, None, channels))
    randomise(layer)
    return layer


def keras_layer(channels):
    return built(keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5), channels)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(4, 5, 6, 3), (1, 2, 3, 1), (7, 1, 1, 8)])
def test_batch_norm_normalises_as_keras_does(shape, training):
    ours, theirs = built(BatchNorm(), shape[-1]), keras_layer(shape[-1])
    inputs = numbers(*shape)
    np.testing.assert_allclose(ours(inputs, training=training), theirs(inputs, training=training), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, rtol=1e-5, atol=1e-6)


def test_batch_norm_is_inference_unless_told_otherwise():
    layer, inputs = built(BatchNorm(), 3), numbers(2, 4, 4, 3)
    before = layer.get_weights()
    np.testing.assert_array_equal(layer(inputs), layer(inputs, training=False))
    for value, old in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)


def test_running_statistics_follow_the_unbiased_variance():
    """new = 0.9 * old + 0.1 * found, as PyTorch with its momentum of 0.1; Keras takes the biased variance."""
    layer = built(BatchNorm(), 3)
    mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    for seed in range(3):
        inputs = numbers(2, 2, 2, 3, seed=seed)
        layer(inputs, training=True)
        values = inputs.reshape(-1, 3).astype(np.float64)
        mean = 0.9 * mean + 0.1 * values.mean(0)
        variance = 0.9 * variance + 0.1 * values.var(0, ddof=1)
        np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-5)
        np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-5)


def single_value(policy="float32"):
    """A layer of two channels, a value of each, and what the running statistics make of it (epsilon is 1)."""
    layer = BatchNorm(epsilon=1.0, dtype=policy)
    layer.build((None, None, None, 2))
    layer.set_weights(np.array([[2, 3], [1, -1], [1, 0], [3, 8]], np.float32))  # gamma, beta, mean, variance
    # (5 - 1) / sqrt(3 + 1) * 2 + 1 = 5 and (6 - 0) / sqrt(8 + 1) * 3 - 1 = 5; by their own mean both would be beta.
    return layer, tf.reshape(tf.constant([5.0, 6.0], layer.compute_dtype), (1, 1, 1, 2)), [5.0, 5.0]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(
    ("known", "xla"),
    [(None, False), *((sizes, xla) for sizes in ((1, 1, 1), (None, 1, 1), (None,) * 3) for xla in (False, True))],
)
def test_a_single_value_is_normalised_by_the_running_statistics_and_moves_none(known, xla, policy):
    """Without a graph (None) and in one, whatever of the shape is known there."""
    layer, value, expected = single_value(policy)
    before = layer.get_weights()

    def train(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
        return outputs, *tape.gradient(outputs, [inputs, layer.gamma.value, layer.beta.value])

    if known:
        train = tf.function(train, input_signature=[tf.TensorSpec((*known, 2), value.dtype)], jit_compile=xla)
    outputs, by_input, by_gamma, by_beta = (np.ravel(tf.cast(each, tf.float32)) for each in train(value))
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    np.testing.assert_allclose(by_input, [1.0, 1.0], rtol=1e-6)  # gamma / sqrt(variance + 1)
    np.testing.assert_allclose(by_gamma, [2.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose(by_beta, [1.0, 1.0], rtol=1e-6)
    for found, old in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, old)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 1, 1, 3), (2, 3, 4, 3)])
def test_other_backends_normalise_as_tensorflow_does(shape):
    """A single value too: by the running statistics, and it has none of its own."""
    gamma, beta, mean, variance = (tf.constant(numbers(3, seed=seed, mean=5.0, std=0.5)) for seed in range(4))
    given = tf.constant(numbers(*shape, seed=5)), gamma, beta, (mean, variance), 1e-5
    pairs = zip(on_any_backend.normalise_by_batch(*given), on_tensorflow.normalise_by_batch(*given), strict=True)
    for found, expected in pairs:
        assert np.isfinite(expected).all() or shape == (1, 1, 1, 3)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 1, 1, 3), (1, 1, 2, 3), (4, 5, 6, 3)])
def test_more_values_are_normalised_as_ever_whatever_of_the_shape_is_known(shape):
    """Bit for bit, answers, gradients and running statistics; where the size is known there is no condition."""
    inputs, upstream = tf.constant(numbers(*shape)), numbers(*shape, seed=1)

    def trained(*known):
        layer = built(BatchNorm(), 3)

        @tf.function(input_signature=[tf.TensorSpec((*known, 3))])
        def train(inputs):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                loss = tf.reduce_sum(layer(inputs, training=True) * upstream)
            return loss, *tape.gradient(loss, [inputs, layer.gamma.value, layer.beta.value])

        kinds = {operation.type for operation in train.get_concrete_function().graph.get_operations()}
        assert any("If" in kind for kind in kinds) == (None in known and not any(size and size > 1 for size in known))
        return [*train(inputs), *layer.get_weights()]

    expected = trained(*shape[:3])
    for known in ((None, *shape[1:3]), (None, None, None)):
        for found, value in zip(trained(*known), expected, strict=True):
            np.testing.assert_array_equal(found, value)


def test_a_frozen_layer_takes_a_single_value_as_it_always_did():
    layer, value, expected = single_value()
    layer.trainable = False
    np.testing.assert_allclose(np.ravel(layer(value, training=True)), expected, rtol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_gradients_through_batch_norm_equal_those_through_keras(training):
    inputs, upstream = tf.constant(numbers(3, 4, 5, 6)), numbers(3, 4, 5, 6, seed=1, mean=0.0)

    def gradients(layer):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(layer(inputs, training=training) * upstream)
        return tape.gradient(loss, [inputs, layer.gamma.value, layer.beta.value])

    for found, expected in zip(gradients(built(BatchNorm(), 6)), gradients(keras_layer(6)), strict=True):
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_statistics_stay_in_float32_under_mixed_precision(policy):
    inputs = numbers(4, 8, 8, 3)
    layer, exact = built(BatchNorm(dtype=policy), 3), built(BatchNorm(), 3)
    outputs, expected = layer(inputs, training=True), exact(inputs, training=True)
    assert outputs.dtype == keras.DTypePolicy(policy).compute_dtype
    assert {variable.dtype for variable in layer.variables} == {"float32"}
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), expected, atol=0.05)
    np.testing.assert_allclose(layer.moving_variance, exact.moving_variance, rtol=5e-3)


def test_two_devices_normalise_as_one():
    """Even, uneven and empty shares of a batch; forward, backward and running statistics. Images are dropped apart.

    One value on each device are two; one on both together is normalised by the running statistics.
    """
    run = subprocess.run(
        [sys.executable, "-m", "tests.models.synchronised_statistics"],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    drawn, differences = map(json.loads, run.stdout.splitlines()[-2:])
    assert drawn["calls"] == [2, 2]
    assert len({tuple(factors) for factors in drawn["drawn"]}) == 4  # apart on each device and in each step
    assert set(differences) == {"even", "uneven", "empty", "bfloat16", "two values", "a single value"}
    for split, found in differences.items():
        for name, value in found.items():
            assert value < (0.05 if split == "bfloat16" else 1e-5), (split, name)


# === Convolution ===


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("dilation", [1, 2, 3, 9])
def test_convolution_equals_that_of_keras(dilation, native, monkeypatch):
    """Answers and gradients, with the machine's own dilated kernels and without."""
    if native and not on_tensorflow.has_dilated_kernels("float32"):
        pytest.skip("no dilated kernels here")
    monkeypatch.setattr(on_tensorflow, "has_dilated_kernels", lambda dtype: native)
    options = dict(padding="same", dilation_rate=dilation, use_bias=False)
    ours, theirs = Conv2D(8, 3, **options), keras.layers.Conv2D(8, 3, **options)
    inputs, upstream = tf.constant(numbers(2, 12, 10, 6)), numbers(2, 12, 10, 8, seed=1)
    found = []
    for layer in (ours, theirs):
        layer.build(inputs.shape)
        layer.kernel.assign(numbers(3, 3, 6, 8, seed=2))

        @tf.function
        def answer(layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = layer(inputs)
            return outputs, *tape.gradient(outputs, [inputs, layer.kernel.value], upstream)

        found.append([value.numpy() for value in answer()])
    for mine, other in zip(*found, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize("size", [(8, 10), (7, 9)])
def test_a_strided_point_convolution_of_few_channels_does_not_stride(size):
    """oneDNN's gradient of its kernel would write past its end: the process crashed within 300 calls."""
    ours, theirs = Conv2D(12, 1, strides=2, use_bias=False), keras.layers.Conv2D(12, 1, strides=2, use_bias=False)
    images = np.random.default_rng(0).normal(size=(5, *size, 8)).astype(np.float32)
    for layer in (ours, theirs):
        layer.build(images.shape)
    theirs.kernel.assign(ours.kernel)

    @tf.function(autograph=False)
    def gradient(images):
        with tf.GradientTape() as tape:
            found = ours(images)
        return found, tape.gradient(found, ours.kernel.value)

    found, of_kernel = gradient(images)
    np.testing.assert_allclose(found, theirs(images), rtol=1e-5, atol=1e-5)
    taken = images[:, ::2, ::2].reshape(-1, 8).sum(0)  # the sum of all outputs is that of the pixels taken
    np.testing.assert_allclose(of_kernel[0, 0], np.repeat(taken[:, None], 12, 1), rtol=1e-4, atol=1e-4)
    operations = gradient.get_concrete_function(images).graph.get_operations()
    strides = {tuple(each.get_attr("strides")) for each in operations if each.type.startswith("Conv2D")}
    assert strides == {(1, 1, 1, 1)}


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize(("channels", "groups", "dilation"), [(8, 2, 1), (8, 4, 2), (6, 6, 1), (6, 6, 2)])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.03)])
def test_groups_are_convolutions_side_by_side(channels, groups, dilation, dtype, tolerance, kernels, monkeypatch):
    """Answers and gradients, with the machine's own kernels and without: those of each group alone, in float32."""
    if kernels and not on_tensorflow.has_grouped_kernels(dtype):
        pytest.skip("no kernels for groups here")
    skip_where_sums_are_imprecise(dtype)
    monkeypatch.setattr(on_tensorflow, "has_grouped_kernels", lambda dtype: kernels)
    layer = Conv2D(channels, 3, padding="same", dilation_rate=dilation, groups=groups, use_bias=False, dtype=dtype)
    # So large that oneDNN takes the way on which its gradient in sixteen bits is wrong.
    inputs = tf.cast(numbers(2, 33, 36, channels, mean=0.0), dtype)
    upstream = tf.cast(numbers(2, 33, 36, channels, seed=1, mean=0.0), dtype)
    layer.build(inputs.shape)
    layer.kernel.assign(numbers(3, 3, channels // groups, channels, seed=2, mean=0.0))

    @tf.function
    def answer(convolve, inputs, kernel, upstream):
        with tf.GradientTape() as tape:
            tape.watch([inputs, kernel])
            outputs = convolve(inputs, kernel)
        return outputs, *tape.gradient(outputs, [inputs, kernel], upstream)

    def side_by_side(inputs, kernel):
        pairs = zip(tf.split(inputs, groups, -1), tf.split(kernel, groups, -1), strict=True)
        return tf.concat([tf.nn.convolution(x, k, 1, "SAME", dilations=dilation) for x, k in pairs], -1)

    given = inputs, tf.convert_to_tensor(layer.kernel), upstream
    found = answer(layer.convolution_op, *given)
    for mine, other in zip(found, answer(side_by_side, *(tf.cast(x, tf.float32) for x in given)), strict=True):
        assert np.abs(tf.cast(mine, tf.float32) - other).max() < tolerance * np.abs(other).max()


# === Stochastic depth ===


def test_drop_path_leaves_out_whole_images_and_keeps_the_mean():
    keras.utils.set_random_seed(0)
    layer = layers.DropPath(0.25)
    images = np.ones((4000, 2, 3, 1), np.float32)
    factors = layer(images, training=True).numpy()
    assert set(np.unique(factors)) == {0.0, np.float32(1 / 0.75)}
    np.testing.assert_array_equal(factors, np.broadcast_to(factors[:, :1, :1], factors.shape))
    assert factors.mean() == pytest.approx(1.0, abs=0.04)
    assert (layer(images, training=True).numpy() != factors).any()
    np.testing.assert_array_equal(layer(images), images)


def test_a_checkpoint_holds_what_drop_path_drew(tmp_path):
    """It goes on as if it had not been stopped; its state is no weight."""
    inputs = keras.Input((1, 1, 1))
    model = keras.Model(inputs, layers.DropPath(0.5)(inputs))
    assert model.variables == []
    images = np.ones((64, 1, 1, 1), np.float32)
    step = tf.function(lambda: model(images, training=True))
    step()
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "ckpt"))
    expected = [step().numpy() for _ in range(2)]
    again = keras.models.clone_model(model)
    again(images, training=True)
    tf.train.Checkpoint(model=again).read(path).assert_consumed()
    np.testing.assert_array_equal([again(images, training=True) for _ in range(2)], expected)
    assert (expected[0] != expected[1]).any()


# === Resizing ===


def half_pixel_bilinear(images, height, width):
    """Bilinear interpolation with half-pixel centres, clamped at the border, by its definition."""

    def weights(old, new):
        matrix = np.zeros((new, old))
        for index in range(new):
            centre = min(max((index + 0.5) * old / new - 0.5, 0.0), old - 1.0)
            low = int(np.floor(centre))
            high = min(low + 1, old - 1)
            matrix[index, low] += 1 - (centre - low)
            matrix[index, high] += centre - low
        return matrix

    rows, columns = weights(images.shape[1], height), weights(images.shape[2], width)
    return np.einsum("hi,wj,bijc->bhwc", rows, columns, images.astype(np.float64))


def test_the_half_pixel_reference_by_hand():
    found = half_pixel_bilinear(np.array([0.0, 4.0]).reshape(1, 1, 2, 1), 1, 4)
    np.testing.assert_allclose(found.ravel(), [0, 1, 3, 4])


@pytest.mark.parametrize(
    ("old", "new"), [((3, 4), (12, 16)), ((5, 3), (17, 11)), ((4, 4), (4, 4)), ((2, 7), (8, 7)), ((9, 9), (3, 5))]
)
def test_resize_is_half_pixel_bilinear(old, new):
    images, reference = numbers(2, *old, 3), np.zeros((2, *new, 7), np.float32)
    found = ResizeLike()(images, reference)
    np.testing.assert_allclose(found, half_pixel_bilinear(images, *new), rtol=1e-5, atol=1e-5)


def test_resize_broadcasts_a_single_pixel():
    images = numbers(2, 1, 1, 3)
    found = ResizeLike()(images, np.zeros((2, 5, 9, 1), np.float32))
    np.testing.assert_array_equal(found, np.broadcast_to(images, (2, 5, 9, 3)))


def test_resize_takes_any_size_inside_a_graph():
    image, feature = keras.Input((None, None, 3)), keras.Input((None, None, 2))
    model = keras.Model([feature, image], ResizeLike()(feature, image))
    assert model.output_shape == (None, None, None, 2)
    traced = tf.function(model, input_signature=[[tf.TensorSpec((None, None, None, c)) for c in (2, 3)]])
    for size in ((3, 5), (8, 2)):
        assert traced([numbers(1, 2, 2, 2), numbers(1, *size, 3)]).shape == (1, *size, 2)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_resize_answers_in_the_dtype_of_the_policy(policy):
    images, reference = numbers(1, 3, 3, 2), np.zeros((1, 6, 6, 1), np.float32)
    assert ResizeLike(dtype=policy)(images, reference).dtype == keras.DTypePolicy(policy).compute_dtype


# === The other parts ===


def test_whitening_reverses_channels_before_it_subtracts():
    image = np.array([10.0, 20.0, 30.0], np.float32).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(np.ravel(Whiten((1, 2, 3), (1, 2, 4))(image)), [9, 9, 6.75])
    np.testing.assert_allclose(np.ravel(Whiten((1, 2, 3), (1, 2, 4), reverse=True)(image)), [29, 9, 1.75])


def test_whitening_does_not_round_the_image_first():
    """bfloat16 has 8 bits: a resized picture's 200.5 would become 200 before the mean is subtracted."""
    image = np.full((1, 1, 1, 3), 200.5, np.float32)
    found = Whiten((200.0,) * 3, dtype="mixed_bfloat16")(image)
    assert found.dtype == tf.bfloat16
    np.testing.assert_array_equal(tf.cast(found, tf.float32), np.full((1, 1, 1, 3), 0.5))


def test_layers_come_back_from_their_configuration():
    for layer in (BatchNorm(momentum=0.7, epsilon=1e-3), Whiten((1, 2, 3), (4, 5, 6), reverse=True), ResizeLike()):
        copy = keras.layers.deserialize(keras.layers.serialize(layer))
        assert type(copy) is type(layer)
        assert copy.get_config() == layer.get_config()


def test_scope_names_variables_and_ends():
    with scope("a/b"):
        inside = keras.layers.Dense(1, name="inside")
        inside.build((None, 1))
    outside = keras.layers.Dense(1, name="outside")
    outside.build((None, 1))
    assert inside.kernel.path == "a/b/inside/kernel"
    assert outside.kernel.path == "outside/kernel"


def test_pytorch_uniform_has_the_bound_of_pytorch():
    value = np.asarray(pytorch_uniform()((3, 3, 64, 32)))
    bound = 1 / np.sqrt(3 * 3 * 64)
    assert 0.99 * bound < np.abs(value).max() <= bound
    assert value.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 3)])
def test_the_block_is_convolution_batch_norm_and_relu(kernel, dilation):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, conv_bn_relu(inputs, 4, kernel, "block", dilation))
    randomise(model)
    assert [variable.path for variable in model.trainable_variables] == [
        "block_conv/kernel",
        "block_bn/gamma",
        "block_bn/beta",
    ]
    weights = {variable.path: variable.numpy() for variable in model.variables}
    images = numbers(2, 7, 8, 3)
    expected = convolve(images, weights["block_conv/kernel"], 1, dilation) - weights["block_bn/moving_mean"]
    expected *= weights["block_bn/gamma"] / np.sqrt(weights["block_bn/moving_variance"] + 1e-5)
    expected = np.maximum(expected + weights["block_bn/beta"], 0)
    assert (expected == 0).any()
    np.testing.assert_allclose(model(images), expected, rtol=1e-4, atol=1e-4)
