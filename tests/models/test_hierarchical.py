"""Swin and MiT: the published features at any size, what windows see, what they cannot do, and what they cost."""

import collections
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models import build_model
from mtl_tf.models.costs import multiply_adds
from mtl_tf.models.encoders import build_encoder, table
from mtl_tf.models.encoders.hierarchical import drop_rates
from mtl_tf.models.encoders.mit import mit
from mtl_tf.models.encoders.swin import FromWindows, MergePatches, WindowAttention, Windows, swin
from mtl_tf.models.layers import DropPath
from mtl_tf.models.recompute import Recomputed, recomputing
from mtl_tf.models.stages import Stages
from mtl_tf.models.weights import load_encoder_weights
from mtl_tf.tasks import cityscapes_tasks
from mtl_tf.training.checkpoints import save_weights
from tests.models.common import difference, pictures, randomise, unfilled_variables
from tests.models.weights import draw

GOLDENS = json.loads((pathlib.Path(__file__).parent / "goldens" / "hierarchical.json").read_text(encoding="utf-8"))
NAMES = tuple(GOLDENS["parameters"])
SWINS = tuple(name for name in NAMES if name.startswith("swin"))
STRIDES = (4, 8, 16, 32)
DEPTHS = (2, 2, 2, 2)
TINY = {
    "swin": lambda depths=DEPTHS, **options: swin("swin", 32, depths, (0, 0, 0), False, **options),
    "mit": lambda depths=DEPTHS, **options: mit("mit", (8, 16, 40, 64), depths, (0, 0, 0), False, **options),
}


def made(kind, **options):
    """A tiny encoder with random weights."""
    encoder = TINY[kind](**options)
    randomise(encoder)
    return encoder


@pytest.fixture(scope="module", params=TINY)
def tiny(request):
    return made(request.param)


# === The published features ===


def fill(encoder):
    """Gives every variable the numbers that belong to its name in the public checkpoints."""
    for variable in encoder.variables:
        _, layer, name = variable.path.split("/")
        name = {"kernel": "weight", "gamma": "weight", "beta": "bias"}.get(name, name)
        # PyTorch has (out, in), (out, in, height, width), and (channels, 1, height, width) for each channel by itself.
        axes = {2: (1, 0), 4: (2, 3, 0, 1) if "dwconv" in layer else (3, 2, 0, 1)}.get(len(variable.shape), (0,))
        axes = (0, 1) if name == "relative_position_bias_table" else axes
        value = draw.weight(f"{layer}.{name}", tuple(variable.shape[axis] for axis in axes))
        variable.assign(value.transpose(np.argsort(axes)))


@pytest.fixture(scope="module")
def published(request):
    """One of the smallest of a kind, with the weights that its golden features are of."""
    encoder = build_encoder(request.param)
    fill(encoder)
    return encoder


@pytest.mark.parametrize(
    ("published", "name", "size"),
    [(name, name, size) for name, goldens in GOLDENS["features"].items() for size in goldens],
    indirect=["published"],
)
def test_features_are_timms_and_transformers(published, name, size):
    height, width = map(int, size.split("x"))
    found = published(draw.image(height, width))
    for key, expected in GOLDENS["features"][name][size].items():
        value = draw.summary(f"{name} {size} {key}", found[key].numpy())
        assert value["shape"] == expected["shape"]
        for what in ("mean", "std", "largest", "values"):
            distance = np.abs(np.subtract(value[what], expected[what])).max()
            assert distance < 1e-5 * expected["largest"], (key, what)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_tensors_are_the_published_ones(name):
    with unfilled_variables():
        encoder = build_encoder(name)
    assert table.figures(name, encoder) == table.recorded()[name]
    beside = [variable for variable in encoder.variables if variable.path.split("/")[1] in ("norm0", "norm1", "norm2")]
    assert len(encoder.variables) - len(beside) == GOLDENS["tensors"][name]
    added = sum(int(np.prod(variable.shape)) for variable in beside)
    assert table.recorded()[name].parameters - added == GOLDENS["parameters"][name]
    assert len(beside) == (6 if name in SWINS else 0)
    assert encoder.output["last"] is encoder.output["stride32"]


def test_multiply_adds_of_swin_are_the_published_ones():
    """Liu et al., table 1: 4.5 G at 224x224."""
    with unfilled_variables():
        assert round(multiply_adds(build_encoder("swin_tiny"), (224, 224)) / 1e9, 1) == 4.5


def test_a_feature_has_the_size_of_its_stride(tiny):
    traced = tf.function(tiny, input_signature=[tf.TensorSpec((None, None, None, 3))], autograph=False)
    for batch, height, width in ((2, 64, 96), (1, 65, 50), (1, 1, 1), (1, 3, 300), (1, 33, 127)):
        features = traced(pictures(batch, height, width))
        assert set(features) == {"last", *(f"stride{stride}" for stride in STRIDES)}
        for stride in STRIDES:
            value = features[f"stride{stride}"]
            assert value.shape[:3] == (batch, -(-height // stride), -(-width // stride)), stride
            assert np.isfinite(value).all()
    found, expected = traced(pictures(1, 65, 50)), tiny(pictures(1, 65, 50))
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-5)


# === Windows ===


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("size", [(7, 14), (5, 6), (20, 9)])
def test_windows_hold_the_map_rolled_and_padded(size, shift):
    maps = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    windows = Windows(7, shift)(maps)
    counts = [-(-side // 7) for side in size]
    assert windows.shape == (2, *counts, 49, 3)
    np.testing.assert_array_equal(FromWindows(7, shift)(windows, maps), maps)
    padded = np.pad(maps, ((0, 0), *((0, 7 * count - side) for side, count in zip(size, counts, strict=True)), (0, 0)))
    # An axis of one window is not shifted.
    rows, columns = (np.arange(7) + (shift if count > 1 else 0) for count in counts)
    np.testing.assert_array_equal(windows[:, 0, 0], padded[:, rows][:, :, columns].reshape(2, 49, 3))


def seen(size, shift):
    """Whether the attention of the first position of an image depends on each other one: (H, W)."""
    keras.utils.set_random_seed(0)
    maps = tf.constant(np.random.default_rng(0).normal(size=(1, *size, 6)).astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(maps)
        attended = WindowAttention(1, 7, shift)(Windows(7, shift)(maps))
        first = tf.reduce_sum(FromWindows(7, shift)(attended, tf.zeros((1, *size, 2)))[:, 0, 0])
    return np.any(tape.gradient(first, maps)[0], -1)


@pytest.mark.parametrize(
    ("size", "shift", "height", "width"),
    [((14, 14), 0, 7, 7), ((14, 14), 3, 3, 3), ((17, 20), 3, 3, 3), ((7, 14), 3, 7, 3), ((7, 7), 3, 7, 7)],
)
def test_a_position_sees_its_part_of_the_window(size, shift, height, width):
    """Not what a roll brought beside it from the opposite border."""
    expected = np.zeros(size, bool)
    expected[:height, :width] = True
    np.testing.assert_array_equal(seen(size, shift), expected)


def test_the_bias_is_the_tables_at_the_offset():
    layer = WindowAttention(2, 3, 0)
    layer.build((1, 1, 1, 9, 12))
    layer.table.assign(np.random.default_rng(0).normal(size=(25, 2)))
    found, values = np.asarray(layer._bias()), layer.table.numpy().reshape(5, 5, 2)
    for query in range(9):
        for key in range(9):
            offset = np.array(divmod(query, 3)) - divmod(key, 3) + 2
            np.testing.assert_array_equal(found[:, query, key], values[tuple(offset)])


def test_odd_sides_are_padded_before_patches_merge():
    maps = np.arange(2 * 3 * 2, dtype=np.float32).reshape(1, 2, 3, 2) + 1
    merged = np.asarray(MergePatches()(maps))
    assert merged.shape == (1, 1, 2, 8)
    np.testing.assert_array_equal(merged[0, 0, 0], np.concatenate([maps[0, r, c] for c in (0, 1) for r in (0, 1)]))
    np.testing.assert_array_equal(merged[0, 0, 1], [*maps[0, 0, 2], *maps[0, 1, 2], 0, 0, 0, 0])


# === Stochastic depth ===


def test_stochastic_depth_rises_with_depth():
    np.testing.assert_allclose(np.concatenate(drop_rates(0.2, (2, 1, 2))), [0, 0.05, 0.1, 0.15, 0.2])
    assert [len(rates) for rates in drop_rates(0.2, (2, 1, 2))] == [2, 1, 2]


@pytest.mark.parametrize("kind", TINY)
def test_branches_are_left_out_while_training_only(kind):
    encoder, plain = made(kind, drop_path=0.7), made(kind)
    rates = [layer.rate for layer in encoder.layers if isinstance(layer, DropPath)]
    np.testing.assert_allclose(rates, np.repeat(np.linspace(0, 0.7, 8)[1:], 2))
    assert not any(isinstance(layer, DropPath) for layer in plain.layers)
    images = pictures(2, 40, 56)
    np.testing.assert_allclose(encoder(images)["last"], plain(images)["last"], rtol=1e-5, atol=1e-5)
    assert difference(encoder(images, training=True)["last"], plain(images)["last"]) > 1e-2


# === What they cannot do ===


@pytest.mark.parametrize("name", ["swin_tiny", "mit_b0"])
def test_options_of_convolutional_networks_are_refused(name):
    with pytest.raises(UsageError, match=rf"model\.dilation=0,0,1 is not defined for model\.encoder={name}, .*=0,0,0"):
        build_encoder(name, (0, 0, 1))
    with pytest.raises(UsageError, match=rf"squeeze_excitation is not defined for model\.encoder={name}; turn it off"):
        build_encoder(name, excite=True)


def test_stages_of_swin_are_refused_by_name():
    """Its features have a norm that the next stage does not see."""
    config = ModelConfig(encoder="swin_tiny", dilation=(0, 0, 0), architecture="cross_stitch")
    with unfilled_variables(), pytest.raises(UsageError, match=r"model\.encoder=swin_tiny cannot be cut between its"):
        build_model(config, cityscapes_tasks())


# === Within a network ===


def test_mit_is_cut_between_its_stages():
    encoder = made("mit")
    stages = Stages("mit", encoder)
    assert stages.strides == (4, *STRIDES) and stages.widths == (8, 8, 16, 40, 64)
    images = pictures(1, 65, 50)
    expected, value = encoder(images), images
    for number, model in enumerate(stages.models()):
        value = model(value)
        if number:
            np.testing.assert_allclose(value, expected[f"stride{STRIDES[number - 1]}"], rtol=1e-5, atol=1e-5)


def test_it_can_be_recomputed_block_by_block(tiny):
    model, images = recomputing(tiny), pictures(1, 33, 40)
    # Two branches with a shortcut in each of eight blocks, and a norm after each of four stages.
    assert sum(isinstance(layer, Recomputed) for layer in model.layers) == 20
    found, expected = model(images), tiny(images)
    assert set(found) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", TINY)
def test_a_finite_gradient_reaches_every_weight(kind, policy):
    keras.config.set_dtype_policy(policy)
    encoder = made(kind)
    assert {variable.dtype for variable in encoder.variables} == {"float32"}
    with tf.GradientTape() as tape:
        features = encoder(pictures(2, 100, 130), training=True).values()
        loss = tf.add_n([tf.reduce_mean(tf.cast(feature, tf.float32) ** 3) for feature in features])
    gradients = tape.gradient(loss, [variable.value for variable in encoder.trainable_variables])
    for variable, gradient in zip(encoder.trainable_variables, gradients, strict=True):
        assert isinstance(gradient, tf.Tensor) and np.isfinite(gradient).all() and np.any(gradient), variable.path


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("kind", TINY)
def test_sixteen_bits_give_about_the_same_features(kind, policy):
    encoder, images = made(kind), pictures(1, 40, 56)
    keras.config.set_dtype_policy(policy)
    short, expected = TINY[kind](), encoder(images)
    short.set_weights(encoder.get_weights())
    for key, value in short(images).items():
        assert value.dtype == policy.removeprefix("mixed_")
        assert difference(tf.cast(value, tf.float32), expected[key]) < 0.1, key


# === Saved ===


def check_same(found, expected):
    assert set(found) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-5)


def test_a_saved_model_gives_the_same_features(tiny, tmp_path):
    tiny.save(tmp_path / "encoder.keras")
    images = pictures(1, 33, 50)
    check_same(keras.saving.load_model(tmp_path / "encoder.keras")(images), tiny(images))


@pytest.mark.parametrize("kind", TINY)
def test_an_exported_model_takes_every_size(kind, tmp_path):
    encoder, module = made(kind, depths=(2, 1, 1, 1)), tf.Module()
    module.kept = [variable.value for variable in encoder.variables]
    module.serve = tf.function(encoder, input_signature=[tf.TensorSpec((None, None, None, 3))], autograph=False)
    tf.saved_model.save(module, tmp_path / "encoder", signatures=module.serve)
    exported = tf.saved_model.load(tmp_path / "encoder").signatures["serving_default"]
    for images in (pictures(2, 64, 40), pictures(1, 130, 31)):
        check_same(exported(tf.constant(images)), encoder(images))


@pytest.mark.parametrize("name", ["mit_b0"])
def test_saved_weights_are_loaded(name, tmp_path):
    encoder, copy = build_encoder(name), build_encoder(name)
    randomise(encoder)
    save_weights(encoder, tmp_path / "weights.h5")
    said = load_encoder_weights(copy, ModelConfig(encoder=name, encoder_weights=str(tmp_path / "weights.h5")))
    assert f"all {len(encoder.variables)} tensors of {name}" in said
    for found, expected in zip(copy.variables, encoder.variables, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["swin_tiny", "mit_b0"])
def test_layers_start_as_published(name):
    keras.utils.set_random_seed(0)
    spreads = collections.defaultdict(list)
    for variable in build_encoder(name).variables:
        value = variable.numpy()
        if len(value.shape) == 1:
            assert np.unique(value) == (1 if variable.name == "gamma" else 0), variable.path
        elif len(value.shape) == 2 and value.size > 1000:
            spreads["dense"].append(value.std() / 0.02)
            assert np.abs(value).max() <= 0.04  # truncated
        elif name == "mit_b0" and len(value.shape) == 4:
            spreads["convolution"].append(value.std() / np.sqrt(2 / (value.shape[0] * value.shape[1] * value.shape[3])))
    np.testing.assert_allclose(spreads["dense"], 0.88, atol=0.03)  # which truncation leaves of the deviation
    np.testing.assert_allclose(spreads["convolution"], 1, atol=0.1)
