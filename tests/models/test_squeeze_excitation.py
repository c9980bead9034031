"""Squeeze-and-excitation inside the encoders: where it stands, what it does to dilation, which weights fit."""

import shutil

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.config import ModelConfig
from mtl_tf.models.encoders import build_encoder
from mtl_tf.models.encoders.squeeze_excitation import squeeze_excitation
from mtl_tf.models.weights import load_encoder_weights
from mtl_tf.training.checkpoints import save_weights
from tests.models.common import convolve, difference, pictures, randomise, refused

pytestmark = pytest.mark.slow

# encoder -> (name of a block, name of its last batch norm, (blocks, channels) of each stage)
KINDS = {
    "resnet18": ("layer{}_{}", "bn2", ((2, 64), (2, 128), (2, 256), (2, 512))),
    "resnet50": ("layer{}_{}", "bn3", ((3, 256), (4, 512), (6, 1024), (3, 2048))),
    "resnet50_keras": ("conv{}_block{}", "3_bn", ((3, 256), (4, 512), (6, 1024), (3, 2048))),
}


def blocks(encoder):
    """(name, channels) of every residual block."""
    pattern, _, stages = KINDS[encoder]
    start, first = (2, 1) if encoder == "resnet50_keras" else (1, 0)
    return [
        (pattern.format(stage, block), channels)
        for stage, (count, channels) in enumerate(stages, start)
        for block in range(first, first + count)
    ]


def settings(encoder, path, excite=True):
    return ModelConfig(encoder=encoder, encoder_weights=str(path), squeeze_excitation=excite)


def values_of(encoder):
    return {variable.path: variable.numpy() for variable in encoder.variables}


# === Structure ===


@pytest.mark.parametrize("name", KINDS)
def test_every_block_gets_four_tensors_and_nothing_else_changes(name):
    plain, excited = build_encoder(name), build_encoder(name, excite=True)
    shapes = {variable.path: tuple(variable.shape) for variable in excited.variables}
    expected = {variable.path: tuple(variable.shape) for variable in plain.variables}
    for block, channels in blocks(name):
        expected |= {
            f"encoder/{block}_se_reduce/kernel": (1, 1, channels, channels // 16),
            f"encoder/{block}_se_reduce/bias": (channels // 16,),
            f"encoder/{block}_se_expand/kernel": (1, 1, channels // 16, channels),
            f"encoder/{block}_se_expand/bias": (channels,),
        }
    assert shapes == expected
    assert {key: tuple(feature.shape) for key, feature in excited.output.items()} == {
        key: tuple(feature.shape) for key, feature in plain.output.items()
    }


@pytest.mark.parametrize("name", KINDS)
def test_it_scales_the_last_batch_norm_before_the_addition(name):
    encoder, norm = build_encoder(name, excite=True), KINDS[name][1]
    for block, _ in blocks(name):
        scale = encoder.get_layer(f"{block}_se_scale")
        assert scale.input[0] is encoder.get_layer(f"{block}_{norm}").output
        assert encoder.get_layer(f"{block}_se_pool").input is scale.input[0]
        assert any(tensor is scale.output for tensor in encoder.get_layer(f"{block}_add").input)


# === Arithmetic ===


def test_a_block_of_the_encoder_by_its_definition():
    encoder = build_encoder("resnet18", excite=True)
    randomise(encoder)
    parts = keras.Model(encoder.input, [encoder.get_layer(f"layer1_{i}_relu").output for i in (0, 1)])
    before, after = (np.asarray(part) for part in parts(pictures(2, 40, 48)))
    weights = {path.removeprefix("encoder/layer1_1_"): value for path, value in values_of(encoder).items()}

    def conv_and_norm(x, number):
        x = convolve(x, weights[f"conv{number}/kernel"]) - weights[f"bn{number}/moving_mean"]
        scale = weights[f"bn{number}/gamma"] / np.sqrt(weights[f"bn{number}/moving_variance"] + 1e-5)
        return x * scale + weights[f"bn{number}/beta"]

    y = conv_and_norm(np.maximum(conv_and_norm(before, 1), 0), 2)
    hidden = np.maximum(y.mean((1, 2)) @ weights["se_reduce/kernel"][0, 0] + weights["se_reduce/bias"], 0)
    gate = 1 / (1 + np.exp(-(hidden @ weights["se_expand/kernel"][0, 0] + weights["se_expand/bias"])))
    assert gate.std() > 0.01
    assert difference(after, np.maximum(before + y * gate[:, None, None], 0)) < 1e-4


def test_by_hand():
    inputs = keras.Input((None, None, 16))
    model = keras.Model(inputs, squeeze_excitation(inputs, "block"))
    # One hidden unit, 2 * (mean of channel 0) - 1; its gates are sigmoid(0) but for channel 3: sigmoid(hidden).
    reduce, expand = np.zeros((1, 1, 16, 1), np.float32), np.zeros((1, 1, 1, 16), np.float32)
    reduce[..., 0, 0], expand[..., 3] = 2, 1
    model.set_weights([reduce, np.full(1, -1, np.float32), expand, np.zeros(16, np.float32)])
    image = np.ones((2, 1, 2, 16), np.float32)
    image[0, 0, :, 0] = 1, 3  # mean 2, hidden 3
    image[1, 0, :, 0] = -1, 0  # mean -0.5, hidden -2 and so 0
    found = model(image).numpy()
    np.testing.assert_allclose(found[0, 0, :, 0], [0.5, 1.5], rtol=1e-6)
    np.testing.assert_allclose(found[:, 0, :, 3], [[0.952574] * 2, [0.5] * 2], rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_the_mean_is_right_where_the_sum_overflows_sixteen_bits(policy):
    keras.config.set_dtype_policy(policy)
    inputs = keras.Input((None, None, 16))
    model = keras.Model(inputs, squeeze_excitation(inputs, "block"))
    model.set_weights([np.full(v.shape, 0.01 if v.path.endswith("kernel") else 0, np.float32) for v in model.variables])
    # The sum is 262144, far above what float16 holds; the gates are sigmoid(0.01 * 16 * 0.01 * 64).
    found = model(np.full((1, 64, 64, 16), 64, np.float32))
    np.testing.assert_allclose(np.asarray(found, np.float32), 64 / (1 + np.exp(-0.1024)), rtol=0.01)


@pytest.mark.parametrize("name", ["resnet50", "resnet50_keras"])
def test_a_gradient_reaches_every_gate_of_bottlenecks(name):
    keras.utils.set_random_seed(0)
    encoder = build_encoder(name, (0, 0, 1), excite=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(encoder(pictures(2, 48, 64), training=True)["last"]))
    gradients = tape.gradient(loss, [variable.value for variable in encoder.trainable_variables])
    for variable, gradient in zip(encoder.trainable_variables, gradients, strict=True):
        assert gradient is not None and np.isfinite(gradient).all(), variable.path
        assert np.abs(gradient).max() > 0 or "_se_" not in variable.path, variable.path


# === Dilation ===


@pytest.mark.parametrize(("name", "consistent"), [("resnet18", True), ("resnet50_keras", False)])
def test_dilation_keeps_the_features_up_to_the_gates(name, consistent):
    """The mean runs over more pixels at a smaller stride: only gates that ignore it give the strided features."""
    strided, dilated = (build_encoder(name, (0, 0, flag), consistent, excite=True) for flag in (0, 1))
    randomise(strided)
    image = pictures(1, 65, 97)

    def distance():
        dilated.set_weights(strided.get_weights())
        return difference(dilated(image)["last"][:, ::2, ::2], strided(image)["last"])

    assert 1e-4 < distance() < 0.5
    for variable in strided.variables:
        if variable.path.endswith("_se_expand/kernel"):
            variable.assign(tf.zeros_like(variable))
    assert distance() < 1e-4


# === Weights ===


@pytest.fixture(scope="module")
def excited_file(tmp_path_factory):
    """A weight file of a resnet18 with squeeze-and-excitation."""
    path = tmp_path_factory.mktemp("excited") / "weights.h5"
    encoder = build_encoder("resnet18", excite=True)
    randomise(encoder, seed=8)
    save_weights(encoder, path)
    return path


def test_a_file_of_keras_applications_fits_and_the_gates_keep_their_start(tmp_path):
    path = tmp_path / "resnet50.weights.h5"
    reference = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(None, None, 3))
    randomise(reference, seed=5)
    reference.save_weights(path)
    encoder = build_encoder("resnet50_keras", excite=True)
    before = values_of(encoder)
    said = load_encoder_weights(encoder, settings("resnet50_keras", path))
    # 53 convolutions with bias and 53 batch norms; 16 blocks of two convolutions with bias.
    assert f"all {53 * 2 + 53 * 4} tensors" in said and f"{16 * 4} of squeeze-and-excitation start anew" in said
    stored = {f"encoder/{layer.name}/{v.name}": v.numpy() for layer in reference.layers for v in layer.variables}
    for path, value in values_of(encoder).items():
        np.testing.assert_array_equal(value, before[path] if "_se_" in path else stored[path])


def test_a_file_with_gates_is_refused_by_an_encoder_without(excited_file):
    message = refused(build_encoder("resnet18"), settings("resnet18", excited_file, excite=False))
    assert "of an encoder with squeeze-and-excitation; turn --model.squeeze_excitation on" in message


def test_a_file_with_some_of_the_gates_is_refused(excited_file, tmp_path):
    shutil.copy(excited_file, tmp_path / "weights.h5")
    with h5py.File(tmp_path / "weights.h5", "r+") as file:
        del file["encoder/layer3_1_se_expand"]
    message = refused(build_encoder("resnet18", excite=True), settings("resnet18", tmp_path / "weights.h5"))
    assert "2 of 132 tensors" in message and "encoder/layer3_1_se_expand/kernel is missing" in message


def test_gates_of_a_larger_network_are_refused(excited_file, tmp_path):
    larger = build_encoder("resnet34", excite=True)
    save_weights(larger, tmp_path / "weights.h5")
    message = refused(build_encoder("resnet18", excite=True), settings("resnet18", tmp_path / "weights.h5"))
    # 8 blocks more, of ten tensors each and four of gates.
    assert f"{8 * 14} of {132 + 8 * 14} tensors" in message and "is not in the network" in message
