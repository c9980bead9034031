"""Encoders replayed from keras.applications: the published features at every stride, kept when strides are traded."""

import itertools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models.encoders import build_encoder, table
from mtl_tf.models.encoders.applications import APPLICATIONS
from mtl_tf.models.encoders.replay import named_layers
from mtl_tf.models.encoders.sampling import AtrousAveragePooling, PadToGrid
from mtl_tf.models.recompute import recomputing
from mtl_tf.models.weights import load_encoder_weights
from tests.models.common import difference, pictures, randomise, unfilled_variables

pytestmark = pytest.mark.slow

# A light member of each family -> its features: layer of keras.applications, and what Keras computes from its answer.
LIGHT = {
    "resnet50_keras": {
        "stride2": "conv1_relu",
        "stride4": "conv2_block3_out",
        "stride8": "conv3_block4_out",
        "stride16": "conv4_block6_out",
        "stride32": "conv5_block3_out",
    },
    # The 3x3 of the last block of a stage strides.
    "resnet50v2": {
        "stride2": "conv1_conv",
        "stride4": "conv2_block3_1_relu",
        "stride8": "conv3_block4_1_relu",
        "stride16": "conv4_block6_1_relu",
        "stride32": "post_relu",
    },
    "densenet121": {
        "stride2": "conv1_relu",
        "stride4": "pool2_conv",
        "stride8": "pool3_conv",
        "stride16": "pool4_conv",
        "stride32": "relu",
    },
    # The depthwise convolution strides, between expansion and projection.
    "mobilenetv2": {
        "stride2": "block_1_expand_relu",
        "stride4": "block_3_expand_relu",
        "stride8": "block_6_expand_relu",
        "stride16": "block_13_expand_relu",
        "stride32": "out_relu",
    },
    "mobilenetv3_small": {
        "stride2": ("conv_bn", keras.ops.hard_silu),
        "stride4": ("expanded_conv_1_expand_bn", keras.ops.relu),
        "stride8": ("expanded_conv_3_expand_bn", keras.ops.hard_silu),
        "stride16": ("expanded_conv_8_expand_bn", keras.ops.hard_silu),
        "stride32": ("conv_1_bn", keras.ops.hard_silu),
    },
    "efficientnet_b0": {
        "stride2": "block2a_expand_activation",
        "stride4": "block3a_expand_activation",
        "stride8": "block4a_expand_activation",
        "stride16": "block6a_expand_activation",
        "stride32": "top_activation",
    },
    # The first stages are fused: their 3x3 comes first in a block.
    "efficientnetv2_b0": {
        "stride2": "block1a_project_activation",
        "stride4": "block2b_add",
        "stride8": "block4a_expand_activation",
        "stride16": "block6a_expand_activation",
        "stride32": "top_activation",
    },
    # Layer norm comes before the 2x2 convolution.
    "convnext_tiny": {
        "stride4": "convnext_tiny_downsampling_layernorm_0",
        "stride8": "convnext_tiny_downsampling_layernorm_1",
        "stride16": "convnext_tiny_downsampling_layernorm_2",
        "stride32": "layer_normalization",
    },
}
_PREPROCESS = {
    "resnet50_keras": keras.applications.resnet.preprocess_input,
    "resnet50v2": keras.applications.resnet_v2.preprocess_input,
    "densenet121": keras.applications.densenet.preprocess_input,
    "mobilenetv2": keras.applications.mobilenet_v2.preprocess_input,
}
# Those two drop what is left of a stride at the border; an encoder keeps it, so that only whole strides compare.
_SIZES = {"densenet121": (64, 96), "convnext_tiny": (64, 96)}
_GATES = re.compile("se_expand/kernel|squeeze_excite_conv_1/kernel")


def reference_network(name, size=(None, None)):
    """The network of keras.applications with random weights; a known size makes it pad odd sizes rightly."""
    network = APPLICATIONS[name].network(include_top=False, weights=None, input_shape=(*size, 3))
    randomise(network)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:  # its weights are those of ImageNet
            layer.adapt_mean.assign([0.485, 0.456, 0.406])
            layer.adapt_variance.assign(np.square([0.229, 0.224, 0.225]))
            layer.finalize_state()
    return network


def tensor_of(network, tap):
    """A feature of keras.applications; some stand inside a Sequential, some have no name."""
    layer, activation = tap if isinstance(tap, tuple) else (tap, lambda x: x)
    operations = network.operations
    for before, block in itertools.pairwise(operations):
        if isinstance(block, keras.Sequential) and block.layers[0].name == layer:
            return block.layers[0](before.output)
    return activation(network.get_layer(layer).output)


def give_weights(encoder, network):
    """Copies weights layer by layer, by the names that keras.applications gives them."""
    for layer in network.layers:
        for inner in layer.layers if isinstance(layer, keras.Sequential) else [layer]:
            if inner.weights and not isinstance(inner, keras.layers.Normalization):
                encoder.get_layer(inner.name).set_weights(inner.get_weights())


def compared(name):
    """By stride the features of keras.applications and those of the encoder, which has their weights."""
    keras.backend.clear_session()  # automatic names count anew
    size = _SIZES.get(name, (66, 97))
    network, encoder = reference_network(name, size), build_encoder(name)
    give_weights(encoder, network)
    images = pictures(1, *size)
    taps = {key: tensor_of(network, tap) for key, tap in LIGHT[name].items()}
    expected = keras.Model(network.input, taps)(_PREPROCESS.get(name, np.asarray)(images.copy()))
    as_arrays = lambda features: {key: np.asarray(value) for key, value in features.items()}  # noqa: E731
    return as_arrays(expected), as_arrays(encoder(images))


# === The published network ===


def families(*quick):
    """A test's parameter `name`: the quick ones, and the others marked slow."""
    marked = [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in LIGHT]
    return pytest.mark.parametrize("name", marked)


@families("resnet50v2", "mobilenetv3_small", "efficientnetv2_b0", "convnext_tiny")
def test_features_equal_those_of_keras_applications(name):
    expected, found = compared(name)
    assert set(found) == {*LIGHT[name], "last"}
    np.testing.assert_array_equal(found["last"], found["stride32"])
    for key, value in expected.items():
        # They differ from place to place: else a shifted grid would go unseen.
        assert value.std(axis=(1, 2)).mean() > 0.01 * np.abs(value).max(), key
        assert difference(found[key], value) < 1e-4, key


@pytest.mark.parametrize("name", APPLICATIONS)
def test_every_network_has_the_weights_of_keras_applications(name):
    """Names, shapes and number, and so their count; the figures of the table."""
    with unfilled_variables():
        network, encoder = APPLICATIONS[name].without_top(), build_encoder(name)
    layers = [(ours, layer) for ours, layer in named_layers(network) if getattr(layer, "weights", ())]
    expected = {
        f"encoder/{ours}/{variable.name}": tuple(variable.shape)
        for ours, layer in layers
        for variable in layer.weights
        if not isinstance(layer, keras.layers.Normalization)
    }
    # Keras leaves the name of this one variable to chance.
    expected = {re.sub(r"(_layer_scale)/variable(_\d+)?$", r"\1/gamma", key): shape for key, shape in expected.items()}
    assert {variable.path: tuple(variable.shape) for variable in encoder.variables} == expected
    assert table.figures(name, encoder) == table.recorded()[name]
    whitening = 7 if name.startswith("efficientnet_") else 0  # mean, variance and count of three channels
    assert sum(np.prod(variable.shape) for variable in encoder.variables) == network.count_params() - whitening


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
@pytest.mark.parametrize("name", ["mobilenetv3_small", pytest.param("convnext_tiny", marks=pytest.mark.slow)])
def test_files_of_keras_fit(name, ending, tmp_path):
    """Also where Keras counts its automatic names on, and where it leaves a variable unnamed."""
    keras.layers.LayerNormalization()
    network, encoder, path = reference_network(name), build_encoder(name), tmp_path / f"network{ending}"
    network.save_weights(path) if ending == ".weights.h5" else network.save(path)
    load_encoder_weights(encoder, ModelConfig(encoder=name, encoder_weights=str(path)))
    for found, expected in zip(encoder.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


# === Any size ===


@pytest.mark.parametrize("name", ["mobilenetv3_small", *(pytest.param(n, marks=pytest.mark.slow) for n in _SIZES)])
def test_a_feature_has_the_size_of_its_stride(name):
    for dilation in ((0, 0, 0), (0, 1, 0)):
        encoder = build_encoder(name, dilation)
        traced = tf.function(encoder, input_signature=[tf.TensorSpec((None, None, None, 3))], autograph=False)
        strides = [int(key.removeprefix("stride")) for key in LIGHT[name]][: -1 if any(dilation) else None]
        for height, width in ((65, 50), (1, 7)):
            features = traced(pictures(1, height, width))
            assert set(features) == {"last", *(f"stride{stride}" for stride in strides)}
            for stride in strides:
                assert features[f"stride{stride}"].shape[1:3] == (-(-height // stride), -(-width // stride)), stride


def test_whole_patches_do_not_notice_that_the_border_is_kept():
    """keras.applications drops what is left of a patch at the border."""
    layer, images = PadToGrid(4, 4, same=False), np.random.default_rng(0).normal(size=(1, 9, 18, 3)).astype(np.float32)
    convolution = keras.layers.Conv2D(5, 4, strides=4)
    found, expected = convolution(layer(images)), convolution(images)
    assert (found.shape[1:3], expected.shape[1:3]) == ((3, 5), (2, 4))
    np.testing.assert_allclose(found[:, :2, :4], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_padding_starts_windows_where_same_does(size, dilation):
    """On every dilation-th pixel a stride-1 layer sees what TensorFlow's "same" shows a strided one, for any size."""
    random = np.random.default_rng(size)
    images = random.normal(size=(1, size * dilation, 6 * dilation, 1)).astype(np.float32)
    kernel = random.normal(size=(5, 5, 1, 1)).astype(np.float32)
    expected = tf.nn.conv2d(images[:, ::dilation, ::dilation], kernel, 2, "SAME")
    dense = tf.nn.convolution(PadToGrid(5, 2, dilation)(images), kernel, 1, "VALID", dilations=dilation)
    assert dense.shape == images.shape
    np.testing.assert_allclose(dense[:, :: 2 * dilation, :: 2 * dilation], expected, rtol=1e-4, atol=1e-5)


# === Dilation ===


def check_dilation(name, dilation):
    """Sub-sampled, the deepest feature equals that of the strided network, up to the border; so do those before."""
    strided, dilated = build_encoder(name), build_encoder(name, dilation)
    for encoder in (strided, dilated):
        randomise(encoder)  # the same weights: dilation changes neither their order nor their shapes
        for variable in encoder.variables:
            # Gates depend on the mean of all pixels, of which there are more now: they are shut.
            if _GATES.search(variable.path):
                variable.assign(keras.ops.zeros_like(variable))
    images = pictures(1, 66, 97, seed=3)
    expected, found = strided(images), dilated(images)
    step = 2 ** sum(dilation)
    assert set(found) == {key for key in expected if key == "last" or int(key.removeprefix("stride")) <= 32 // step}
    assert difference(found["last"][:, ::step, ::step], expected["last"]) < 1e-4
    for key in found:
        if found[key].shape == expected[key].shape:
            assert difference(found[key], expected[key]) < 1e-5, key


@families("mobilenetv3_small", "convnext_tiny")
def test_traded_strides_keep_the_features(name):
    check_dilation(name, (0, 1, 1))


@pytest.mark.parametrize("name", LIGHT)
def test_a_stride_between_traded_ones_keeps_them_too(name):
    check_dilation(name, (1, 0, 1))


def test_means_at_a_distance_leave_out_what_is_beyond_the_border():
    images = np.arange(6, dtype=np.float32).reshape(1, 1, 6, 1)
    found = AtrousAveragePooling(2, 2)(images).numpy().ravel()
    np.testing.assert_allclose(found, [1, 2, 3, 4, 4, 5])


# === Training ===


@pytest.mark.parametrize("name", ["mobilenetv3_small", pytest.param("convnext_tiny", marks=pytest.mark.slow)])
def test_activations_can_be_computed_again(name):
    """Operations that are no layers are part of a segment too."""
    encoder = build_encoder(name)
    again, images = recomputing(encoder), pictures(1, 33, 40)
    assert sum("recomputed" in layer.name for layer in again.layers) > 10
    for key, value in encoder(images).items():
        np.testing.assert_array_equal(again(images)[key], value)


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("mobilenetv3_small", "mixed_bfloat16"),
        pytest.param("efficientnetv2_b0", "mixed_bfloat16", marks=pytest.mark.slow),
        pytest.param("convnext_tiny", "mixed_bfloat16", marks=pytest.mark.slow),
        pytest.param("resnext50_32x4d", "mixed_bfloat16", marks=pytest.mark.slow),
        pytest.param("resnext50_32x4d", "float32", marks=pytest.mark.slow),
        pytest.param("densenet121", "mixed_float16", marks=pytest.mark.slow),
    ],
)
def test_a_finite_gradient_reaches_every_weight(name, policy):
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    encoder = build_encoder(name, (0, 0, 1))
    assert {variable.dtype for variable in encoder.variables} == {"float32"}

    @tf.function(autograph=False)
    def gradients(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(tf.cast(encoder(images, training=True)["last"], tf.float32)))
        return tape.gradient(loss, [variable.value for variable in encoder.trainable_variables])

    for variable, gradient in zip(encoder.trainable_variables, gradients(pictures(2, 48, 64)), strict=True):
        assert gradient is not None and np.isfinite(gradient).all(), variable.path


def test_squeeze_excitation_is_refused_where_it_is_not_defined():
    with pytest.raises(UsageError, match=r"not defined for model.encoder=convnext_tiny, only for .*resnet50_keras"):
        build_encoder("convnext_tiny", excite=True)


def test_convolutions_that_keras_leaves_to_chance_start_he_normal():
    keras.utils.set_random_seed(0)
    encoder = build_encoder("mobilenetv2")
    for path, fan in (("block_16_project", 320), ("block_16_depthwise", 9)):
        kernel = encoder.get_layer(path).kernel.numpy()
        assert kernel.std() == pytest.approx(np.sqrt(2 / fan), rel=0.05), path
