"""The options of the ladder to the best public score: squeeze-and-excitation, multi-scale skips, open gates."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf import ModelConfig, build_model, cityscapes_tasks
from mtl_tf.errors import UsageError
from mtl_tf.models.encoders import build_encoder
from mtl_tf.models.encoders.squeeze_excitation import squeeze_excitation
from mtl_tf.models.weights import load_encoder_weights
from mtl_tf.training.checkpoints import save_weights
from tests.models.common import difference, pictures, randomise

pytestmark = pytest.mark.slow


def parameters(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def build(**options):
    return build_model(ModelConfig(encoder="resnet18", **options), cityscapes_tasks())


# === Squeeze-and-excitation ===


def test_the_block_by_its_definition():
    inputs = keras.Input((None, None, 32))
    model = keras.Model(inputs, squeeze_excitation(inputs, "block"))
    randomise(model, seed=3)
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 32)).astype(np.float32)
    reduce, reduce_bias, expand, expand_bias = (value.astype(np.float64) for value in model.get_weights())
    assert reduce.shape == (1, 1, 32, 2)  # r = 16
    hidden = np.maximum(x.mean((1, 2), dtype=np.float64) @ reduce[0, 0] + reduce_bias, 0)
    gate = 1 / (1 + np.exp(-(hidden @ expand[0, 0] + expand_bias)))
    assert difference(model(x), x * gate[:, None, None]) < 1e-6


@pytest.mark.parametrize(
    ("encoder", "blocks"),
    [
        ("resnet18", {64: 2, 128: 2, 256: 2, 512: 2}),
        ("resnet34", {64: 3, 128: 4, 256: 6, 512: 3}),
        ("resnet50", {256: 3, 512: 4, 1024: 6, 2048: 3}),
        ("resnet50_keras", {256: 3, 512: 4, 1024: 6, 2048: 3}),
    ],
)
def test_parameters_of_every_block(encoder, blocks):
    # C -> C/16 -> C with biases.
    expected = sum(count * (2 * c * (c // 16) + c // 16 + c) for c, count in blocks.items())
    plain, excited = build_encoder(encoder), build_encoder(encoder, excite=True)
    assert parameters(excited) - parameters(plain) == expected
    assert excited.output_shape == plain.output_shape


def test_it_stands_before_the_addition_and_an_open_gate_changes_nothing():
    plain, excited = build_encoder("resnet18"), build_encoder("resnet18", excite=True)
    randomise(plain)
    ours = {variable.path: variable for variable in excited.variables}
    for variable in plain.variables:
        ours[variable.path].assign(variable)
    for path, variable in ours.items():
        if "_se_expand" in path:
            # sigmoid(20) is 1 - 2e-9: the gate lets everything through.
            variable.assign(np.full(variable.shape, 20.0 if path.endswith("bias") else 0.0, np.float32))
    image = pictures(1, 33, 48)
    assert difference(excited(image)["last"], plain(image)["last"]) < 1e-5
    layer = excited.get_layer("layer1_0_add")
    assert any("_se_scale" in tensor._keras_history.operation.name for tensor in layer.input)


def test_weights_of_a_plain_encoder_are_taken_and_the_rest_starts_anew(tmp_path):
    plain = build()
    randomise(plain, seed=4)
    save_weights(plain, tmp_path / "plain.h5")
    excited = build(squeeze_excitation=True).get_layer("encoder")
    config = ModelConfig(encoder="resnet18", encoder_weights=str(tmp_path / "plain.h5"), squeeze_excitation=True)
    report = load_encoder_weights(excited, config)
    assert "all 100 tensors of resnet18" in report and "32 of squeeze-and-excitation start anew" in report
    values = {variable.path: np.asarray(variable) for variable in excited.variables}
    for variable in plain.get_layer("encoder").variables:
        np.testing.assert_array_equal(values[variable.path], variable)


def test_weights_of_an_excited_encoder_are_taken_whole(tmp_path):
    first = build(squeeze_excitation=True)
    randomise(first, seed=4)
    save_weights(first, tmp_path / "excited.h5")
    second = build(squeeze_excitation=True).get_layer("encoder")
    config = ModelConfig(encoder="resnet18", encoder_weights=str(tmp_path / "excited.h5"), squeeze_excitation=True)
    assert "anew" not in load_encoder_weights(second, config)
    for one, other in zip(first.get_layer("encoder").variables, second.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_missing_tensor_is_still_refused(tmp_path):
    import h5py

    plain = build()
    save_weights(plain, tmp_path / "plain.h5")
    with h5py.File(tmp_path / "plain.h5", "a") as file:
        del file["encoder/conv1/kernel"]
    excited = build(squeeze_excitation=True).get_layer("encoder")
    config = ModelConfig(encoder="resnet18", encoder_weights=str(tmp_path / "plain.h5"), squeeze_excitation=True)
    with pytest.raises(UsageError, match="encoder/conv1/kernel is missing"):
        load_encoder_weights(excited, config)


# === Multi-scale skips ===


def test_parameters_of_the_multi_scale_decoder():
    one, several = build(), build(skip_strides=(8, 4, 2))
    # Projections of strides 8, 4, 2 (128, 64, 64 channels) to 48, each with batch norm; three 3x3 of 304 -> 256.
    new = sum(c * 48 + 2 * 48 for c in (128, 64, 64)) + 3 * (9 * 304 * 256 + 2 * 256)
    old = 64 * 48 + 2 * 48 + 9 * 304 * 256 + 9 * 256 * 256 + 2 * 2 * 256
    assert parameters(several) - parameters(one) == new - old


@pytest.mark.parametrize("architecture", ["joint", "branched", "distilled"])
def test_heads_and_attention_work_at_the_last_stride(architecture):
    model = build(skip_strides=(8, 4, 2), architecture=architecture, squeeze_excitation=True, gate_init="default")
    outputs = model(pictures(1, 45, 70))
    assert outputs["semseg"].shape == (1, 45, 70, 19) and outputs["depth"].shape == (1, 45, 70, 1)
    path = "shared_decoder" if architecture == "joint" else "depth_decoder"
    found = keras.Model(model.inputs, _output_of(model, path))
    assert found(pictures(1, 45, 70)).shape == (1, 23, 35, 256)


def _output_of(model, name):
    """The tensor that a part of the model gives when it is called inside it."""
    return model.get_layer(name)._inbound_nodes[-1].output_tensors[0]


def test_every_variable_has_a_finite_gradient():
    model = build(
        architecture="distilled",
        skip_strides=(8, 4, 2),
        squeeze_excitation=True,
        gate_init="default",
        dilation=(0, 1, 1),
    )
    with tf.GradientTape() as tape:
        outputs = model(pictures(2, 32, 48), training=True)
        loss = tf.add_n([tf.reduce_mean(tf.square(output)) for output in outputs.values()])
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None and np.isfinite(gradient).all(), variable.path
        assert np.abs(gradient).max() > 0 or variable.path.endswith("bias"), variable.path


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(skip_strides=(4, 8)), "must fall"),
        (dict(skip_strides=(4, 4)), "must fall"),
        (dict(skip_strides=(16, 4)), "takes one of 8, 4, 2"),
        (dict(skip_strides=(8, 4, 2), skip=False), "needs model.skip"),
        (dict(gate_init="ones"), "zeros, default"),
    ],
)
def test_what_does_not_go_together_is_refused(options, words):
    with pytest.raises(UsageError, match=words):
        ModelConfig(**options)


# === Gates ===


def test_gates_start_half_open_or_random():
    for gate_init in ("zeros", "default"):
        model = build(architecture="distilled", gate_init=gate_init)
        gates = [np.asarray(v) for v in model.variables if "/attention/" in v.path and "/gate/" in v.path]
        assert len(gates) == 2
        for gate in gates:
            # PyTorch's default: uniform within 1/sqrt(fan in), fan in = 9 * 256.
            assert (np.abs(gate).max() == 0) == (gate_init == "zeros")
            assert np.abs(gate).max() <= 1 / 48
            if gate_init == "default":
                assert gate.std() == pytest.approx(1 / 48 / 3**0.5, rel=0.02)
