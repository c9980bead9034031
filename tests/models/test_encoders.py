"""Encoders: the contract of features by stride, dilation that keeps features, and parity with the published ones."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf import commands
from mtl_tf.errors import UsageError
from mtl_tf.models.encoders import ENCODERS, build_encoder, table
from mtl_tf.models.encoders.resnet import conv_bn
from tests.helpers import ROOT
from tests.models.common import convolve, difference, pictures, randomise, unfilled_variables

BASIC, BOTTLENECK = (64, 128, 256, 512), (256, 512, 1024, 2048)
CHANNELS = {"resnet18": BASIC, "resnet34": BASIC, "resnet50": BOTTLENECK, "resnet50_keras": BOTTLENECK}


# === Shapes ===


@pytest.mark.parametrize(
    ("name", "dilation"),
    [
        *itertools.product(("resnet18",), ((0, 0, 0), (0, 1, 0), (1, 1, 1))),
        *itertools.product(("resnet34", "resnet50_keras"), ((0, 0, 1), (1, 0, 1))),
        *itertools.product(("resnet50",), ((0, 0, 0), (0, 1, 1), (1, 0, 0))),
    ],
)
def test_a_feature_has_the_size_and_channels_of_its_stride(name, dilation):
    encoder = build_encoder(name, dilation)
    channels, stride = {2: 64, 4: CHANNELS[name][0]}, 4
    for flag, width in zip(dilation, CHANNELS[name][1:], strict=True):
        stride *= 1 if flag else 2
        channels[stride] = width
    for height, width in ((32, 64), (65, 50), (1, 7)):
        features = encoder(pictures(1, height, width))
        assert set(features) == {"last", *(f"stride{s}" for s in channels)}
        for s, count in channels.items():
            assert features[f"stride{s}"].shape == (1, -(-height // s), -(-width // s), count), s
        np.testing.assert_array_equal(features["last"], features[f"stride{stride}"])


@pytest.mark.parametrize(
    ("dilation", "output_stride"), [((0, 0, 0), 32), ((0, 0, 1), 16), ((0, 1, 1), 8), ((1, 1, 1), 4)]
)
def test_the_deepest_feature_stands_at_the_output_stride(dilation, output_stride):
    features = build_encoder("resnet18", dilation)(pictures(1, 64, 96))
    assert features["last"].shape == (1, 64 // output_stride, 96 // output_stride, 512)
    assert features[f"stride{output_stride}"].shape[-1] == 512


@pytest.mark.parametrize("dilation", [(0, 0, 0), (0, 0, 1), (1, 0, 1)])
def test_the_features_of_segnet_are_those_of_its_levels(dilation):
    encoder, stride, channels = build_encoder("segnet", dilation), 4, {2: 128, 4: 256}
    for flag in dilation:
        stride *= 1 if flag else 2
        channels[stride] = 512
    for height, width in ((32, 48), (65, 50), (1, 7)):
        features = encoder(pictures(1, height, width))
        assert set(features) == {"last", *(f"stride{s}" for s in channels)}
        for s, count in channels.items():
            assert features[f"stride{s}"].shape == (1, -(-height // s), -(-width // s), count), s
        np.testing.assert_array_equal(features["last"], features[f"stride{stride}"])


# === Dilation ===


@functools.cache
def strided_feature(name, consistent):
    """The deepest feature that random weights give without dilation."""
    encoder = build_encoder(name, (0, 0, 0), consistent)
    randomise(encoder)
    return np.asarray(encoder(pictures(1, 65, 97))["last"])


def atrous_difference(name, dilation, consistent=False):
    """Largest relative difference of the deepest feature, sub-sampled, to that of the strided network."""
    encoder = build_encoder(name, dilation, consistent)
    randomise(encoder)  # the same weights: dilation changes neither their order nor their shapes
    step = 2 ** sum(dilation)
    return difference(encoder(pictures(1, 65, 97))["last"][:, ::step, ::step], strided_feature(name, consistent))


@pytest.mark.parametrize(
    ("name", "dilation", "consistent"),
    [
        ("resnet50", (0, 1, 1), False),
        ("resnet50_keras", (1, 0, 1), False),
        *[("resnet18", dilation, True) for dilation in ((0, 0, 1), (0, 1, 0), (1, 0, 1), (1, 1, 1))],
        *[("segnet", dilation, False) for dilation in ((0, 0, 1), (1, 0, 1), (1, 1, 0))],
        *[
            pytest.param(*row, marks=pytest.mark.slow)
            for row in (
                *[("resnet50", dilation, False) for dilation in ((0, 0, 1), (1, 1, 1), (1, 0, 1))],
                ("resnext50_32x4d", (0, 1, 1), False),
                *[("resnet50_keras", dilation, False) for dilation in ((0, 0, 1), (0, 1, 1), (1, 0, 0))],
                *[("resnet34", dilation, True) for dilation in ((0, 0, 1), (0, 1, 1))],
            )
        ],
    ],
)
def test_dilation_keeps_the_features_of_the_strided_network(name, dilation, consistent):
    assert atrous_difference(name, dilation, consistent) < 1e-4


@pytest.mark.parametrize("dilation", [(0, 0, 1), (0, 1, 1)])
def test_the_rule_of_the_original_does_not_keep_them(dilation):
    assert atrous_difference("resnet18", dilation) > 1e-2


def dilations(name, dilation, **options):
    """(stage, block) -> dilations of its convolutions larger than 1x1, stages counted 1 to 4."""
    found = {}
    with unfilled_variables():
        layers = build_encoder(name, dilation, **options).layers
    for layer in layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (3, 3):
            if name == "resnet50_keras":
                stage, block = layer.name.removeprefix("conv").split("_")[:2]
                key = int(stage) - 1, int(block.removeprefix("block")) - 1
            else:
                key = tuple(int(part) for part in layer.name.removeprefix("layer").split("_")[:2])
            assert layer.dilation_rate[0] == layer.dilation_rate[1]
            found.setdefault(key, []).append(layer.dilation_rate[0])
    return found


DEPTHS = (3, 4, 6, 3)


def expected_dilations(first, others):
    """From stage -> dilations of the first block and of the others; stages that are not named have none."""
    plain = [1] * len(next(iter(first.values())))
    return {
        (stage, block): list(first.get(stage, plain) if block == 0 else others.get(stage, plain))
        for stage, depth in enumerate(DEPTHS, 1)
        for block in range(depth)
    }


@pytest.mark.parametrize(
    ("name", "dilation", "consistent", "first", "others"),
    [
        # The original's BasicBlock: conv1 is never dilated.
        ("resnet34", (0, 0, 1), False, {4: (1, 2)}, {4: (1, 2)}),
        ("resnet34", (0, 1, 1), False, {3: (1, 2), 4: (1, 2)}, {3: (1, 2), 4: (1, 4)}),
        # The consistent one: conv1 has the dilation that its input has.
        ("resnet34", (0, 0, 1), True, {4: (1, 2)}, {4: (2, 2)}),
        ("resnet34", (0, 1, 1), True, {3: (1, 2), 4: (2, 4)}, {3: (2, 2), 4: (4, 4)}),
        # torchvision's Bottleneck: the first block keeps the previous dilation.
        ("resnet50", (0, 0, 1), False, {4: (1,)}, {4: (2,)}),
        ("resnet50", (0, 1, 1), False, {3: (1,), 4: (2,)}, {3: (2,), 4: (4,)}),
        # keras.applications': the stride comes before the 3x3, so that all blocks take the running one.
        ("resnet50_keras", (0, 0, 1), False, {4: (2,)}, {4: (2,)}),
        ("resnet50_keras", (0, 1, 1), False, {3: (2,), 4: (4,)}, {3: (2,), 4: (4,)}),
    ],
)
def test_convolutions_are_dilated_as_the_rule_says(name, dilation, consistent, first, others):
    assert dilations(name, dilation, consistent=consistent) == expected_dilations(first, others)


# === Arithmetic of the parts ===


@pytest.mark.parametrize("size", [(8, 6), (9, 7), (2, 2)])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(7, 2, 1), (3, 2, 1), (1, 2, 1), (3, 1, 2), (3, 2, 2), (3, 1, 1)]
)
def test_a_convolution_pads_both_sides_alike(size, kernel, stride, dilation):
    """As PyTorch does; TensorFlow's "same" pads the far side more at stride 2."""
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, conv_bn(inputs, 5, kernel, "conv", stride, dilation))
    randomise(model)
    weights = {variable.path: variable.numpy() for variable in model.variables}
    images = np.random.default_rng(1).normal(size=(2, *size, 3)).astype(np.float32)
    expected = convolve(images, weights["conv/kernel"], stride, dilation) - weights["bn/moving_mean"]
    expected *= weights["bn/gamma"] / np.sqrt(weights["bn/moving_variance"] + 1e-5)
    expected += weights["bn/beta"]
    np.testing.assert_allclose(model(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
def test_the_stem_whitens_convolves_and_pools_as_in_pytorch(size):
    encoder = build_encoder("resnet18")
    randomise(encoder)
    parts = keras.Model(encoder.input, [encoder.get_layer(name).output for name in ("whiten", "relu1", "pool")])
    images = pictures(1, *size)
    whitened, stem, pooled = (np.asarray(part) for part in parts(images))
    np.testing.assert_allclose(
        whitened,
        (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        rtol=1e-4,
        atol=1e-5,
    )
    weights = {variable.path: variable.numpy() for variable in encoder.variables}
    expected = convolve(whitened, weights["encoder/conv1/kernel"], 2) - weights["encoder/bn1/moving_mean"]
    expected *= weights["encoder/bn1/gamma"] / np.sqrt(weights["encoder/bn1/moving_variance"] + 1e-5)
    expected = np.maximum(expected + weights["encoder/bn1/beta"], 0)
    np.testing.assert_allclose(stem, expected, rtol=1e-4, atol=1e-4)
    padded = np.pad(stem, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[:, ::2, ::2]
    np.testing.assert_array_equal(pooled, windows.max((-1, -2)))


def test_a_basic_block_is_the_published_one():
    encoder = build_encoder("resnet18")
    randomise(encoder)
    parts = keras.Model(
        encoder.input, [encoder.get_layer(name).output for name in ("layer1_1_relu", "layer2_0_relu", "layer2_1_relu")]
    )
    before, first, second = (np.asarray(part) for part in parts(pictures(1, 40, 48)))
    weights = {variable.path.removeprefix("encoder/"): variable.numpy() for variable in encoder.variables}

    def conv_and_norm(x, conv, norm, stride=1):
        x = convolve(x, weights[f"{conv}/kernel"], stride) - weights[f"{norm}/moving_mean"]
        scale = weights[f"{norm}/gamma"] / np.sqrt(weights[f"{norm}/moving_variance"] + 1e-5)
        return x * scale + weights[f"{norm}/beta"]

    def block(x, name, stride, shortcut):
        y = np.maximum(conv_and_norm(x, f"{name}_conv1", f"{name}_bn1", stride), 0)
        return np.maximum(conv_and_norm(y, f"{name}_conv2", f"{name}_bn2") + shortcut, 0)

    projected = conv_and_norm(before, "layer2_0_downsample", "layer2_0_downsample_bn", 2)
    assert difference(first, block(before, "layer2_0", 2, projected)) < 1e-4
    assert difference(second, block(first, "layer2_1", 1, first)) < 1e-4


# === Initial weights ===


@pytest.mark.parametrize("name", ["resnet18", "resnet50_keras"])
def test_convolutions_start_he_normal_over_fan_out_and_no_branch_starts_closed(name):
    keras.utils.set_random_seed(0)
    encoder = build_encoder(name)
    for variable in encoder.variables:
        value = variable.numpy()
        if variable.name == "kernel":
            expected = np.sqrt(2 / (value.shape[0] * value.shape[1] * value.shape[3]))
            assert value.std() == pytest.approx(expected, rel=5 / np.sqrt(2 * value.size)), variable.path
            # The tails of a normal distribution are there: it is not a truncated one.
            assert value.size < 10_000 or np.abs(value).max() > 3 * expected, variable.path
        else:
            assert np.unique(value) == (1 if variable.name in ("gamma", "moving_variance") else 0), variable.path


# === keras.applications ===

STAGES = {
    "stride2": "conv1_relu",
    "stride4": "conv2_block3_out",
    "stride8": "conv3_block4_out",
    "stride16": "conv4_block6_out",
    "stride32": "conv5_block3_out",
}


def check_parity(reference):
    """Copies the weights of a keras.applications.ResNet50 and compares all stages."""
    encoder = build_encoder("resnet50_keras", (0, 0, 0))
    for layer in reference.layers:
        if layer.weights:
            encoder.get_layer(layer.name).set_weights(layer.get_weights())
    images = pictures(2, 64, 97)
    # Smooth pictures, as a real network knows them.
    images = tf.image.resize(tf.image.resize(images, (8, 12)), (64, 97)).numpy()
    expected = keras.Model(reference.input, {key: reference.get_layer(name).output for key, name in STAGES.items()})(
        keras.applications.resnet.preprocess_input(images.copy())
    )
    features = encoder(images)
    for stage in STAGES:
        assert difference(features[stage], expected[stage]) < 1e-4, stage


def test_resnet50_keras_equals_keras_applications():
    reference = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(None, None, 3))
    randomise(reference)
    check_parity(reference)


def test_resnet50_keras_equals_keras_applications_with_the_published_weights(shared):
    path = shared / "weights" / "resnet50_imagenet_notop.weights.h5"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there")
    check_parity(keras.applications.ResNet50(include_top=False, weights=str(path), input_shape=(None, None, 3)))


# === The table ===

# Trainable parameters of torchvision's networks without their classifier (torchvision 0.28: numel of parameters()).
TORCHVISION = {
    "resnet18": 11176512,
    "resnet34": 21284672,
    "resnet50": 23508032,
    "resnet101": 42500160,
    "resnet152": 58143808,
    "wide_resnet50_2": 66834240,
    "wide_resnet101_2": 124837696,
    "resnext50_32x4d": 22979904,
    "resnext101_32x8d": 86742336,
    "resnext101_64x4d": 81406272,
}


def test_every_encoder_is_measured_and_has_torchvisions_parameters():
    rows = table.recorded()
    assert tuple(rows) == ENCODERS.built_in
    assert {name: rows[name].parameters for name in TORCHVISION} == TORCHVISION


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small"])
def test_figures_of_the_table_are_those_of_the_network(name):
    assert table.figures(name, build_encoder(name)) == table.recorded()[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISION)
def test_figures_of_torchvisions_networks(name):
    with unfilled_variables():
        encoder = build_encoder(name)
    assert table.figures(name, encoder) == table.recorded()[name]


def test_the_command_prints_the_tables_of_the_documentation(capsys, tmp_path):
    assert commands.main(["encoders"]) == 0
    printed = capsys.readouterr().out.strip().split("\n\n")
    documentation = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")
    assert len(printed) == 2 and all(part in documentation for part in printed)
    path = tmp_path / "encoders.md"
    path.write_text(documentation.replace("23.51 M", "? M").replace("Apache-2.0", "?"), encoding="utf-8")
    assert commands.main(["encoders", f"--output={path}"]) == 0
    assert path.read_text(encoding="utf-8") == documentation


def test_tables_that_are_not_there_yet_are_put_at_the_end(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("Text.\n\n| old |\n| row |\n\nMore.\n")
    table.put_into(str(path), "| new |", "| second |")
    assert path.read_text() == "Text.\n\n| new |\n\nMore.\n\n| second |\n"
    table.put_into(str(path), "| newer |")
    assert path.read_text() == "Text.\n\n| newer |\n\nMore.\n\n| second |\n"


def test_an_encoder_without_figures_is_named(monkeypatch):
    rows = table.recorded()
    monkeypatch.setattr(table, "recorded", lambda: {name: rows[name] for name in rows if name != "resnet18"})
    with pytest.raises(UsageError, match=r"not measured yet: resnet18; main\.py encoders --measure"):
        table.markdown(lambda name: "")
