"""Skips at several strides: the decoder by its definition, the sizes it works at, the strides that there are."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf import ModelConfig, build_model, cityscapes_tasks
from mtl_tf.errors import UsageError
from mtl_tf.models.decoder import build_decoder
from mtl_tf.training.checkpoints import load_weights, save_weights
from tests.models.common import convolve, difference, pictures, randomise

pytestmark = pytest.mark.slow

STRIDES = [strides for count in (1, 2, 3) for strides in itertools.combinations((8, 4, 2), count)]


def small(**options):
    return build_model(ModelConfig(encoder="resnet18", **options), cityscapes_tasks())


def decoder_paths(model, path):
    """Layers with variables below a decoder, in order."""
    found = [v.path.removeprefix(f"{path}/").split("/")[0] for v in model.variables if v.path.startswith(f"{path}/")]
    return list(dict.fromkeys(found))


# === The decoder ===


def test_the_decoder_by_its_definition():
    decoder = build_decoder([6, 5, 4], True, "depth/decoder")
    randomise(decoder)
    weights = {variable.path.removeprefix("depth/decoder/"): variable.numpy() for variable in decoder.variables}
    random = np.random.default_rng(0)
    shapes = ((1, 2, 3, 256), (1, 3, 5, 6), (1, 6, 9, 5), (1, 11, 17, 4))
    feature, *skips = (random.normal(size=shape).astype(np.float32) for shape in shapes)

    def block(x, name):
        x = convolve(x, weights[f"{name}_conv/kernel"]) - weights[f"{name}_bn/moving_mean"]
        scale = weights[f"{name}_bn/gamma"] / np.sqrt(weights[f"{name}_bn/moving_variance"] + 1e-5)
        return np.maximum(x * scale + weights[f"{name}_bn/beta"], 0)

    expected = feature
    for number, skip in enumerate(skips, 1):
        assert weights[f"skip{number}_conv/kernel"].shape == (1, 1, skip.shape[-1], 48)
        resized = tf.image.resize(expected, skip.shape[1:3])
        expected = block(np.concatenate([resized, block(skip, f"skip{number}")], -1), f"fuse{number}")
    assert difference(decoder([feature, *skips]), expected) < 1e-4


def test_the_default_is_the_published_decoder():
    default, explicit = small(), small(skip_strides=(4,))
    names = ["skip_conv", "skip_bn", "fuse1_conv", "fuse1_bn", "fuse2_conv", "fuse2_bn"]
    assert decoder_paths(default, "shared/decoder") == names
    assert [(v.path, tuple(v.shape)) for v in default.variables] == [
        (v.path, tuple(v.shape)) for v in explicit.variables
    ]


def test_names_of_several_skips():
    model = small(skip_strides=(8, 4, 2), architecture="branched")
    names = [f"{part}{number}_{layer}" for number in (1, 2, 3) for part in ("skip", "fuse") for layer in ("conv", "bn")]
    for task in ("semseg", "depth"):
        assert sorted(decoder_paths(model, f"{task}/decoder")) == sorted(names)


# === In the network ===


@pytest.mark.parametrize("strides", STRIDES, ids=str)
def test_heads_work_at_the_last_stride_and_answers_have_the_size_of_the_image(strides):
    model = small(skip_strides=strides)
    decoded = model.get_layer("shared_decoder")._inbound_nodes[-1].output_tensors[0]
    # Every variable of the decoders is counted: the projections from 128, 64 and 64 channels, the 3x3 convolutions.
    channels = [{8: 128, 4: 64, 2: 64}[stride] for stride in strides]
    trained = sum(c * 48 + 2 * 48 for c in channels) + len(channels) * (9 * 304 * 256 + 2 * 256)
    trained += 9 * 256 * 256 + 2 * 256 if len(strides) == 1 else 0
    assert sum(np.prod(v.shape) for v in model.get_layer("shared_decoder").trainable_variables) == trained
    every = keras.Model(model.input, {"decoded": decoded, **model.output})
    for height, width in ((45, 70), (33, 31)):
        outputs = every(pictures(1, height, width))
        last = strides[-1]
        assert outputs["decoded"].shape == (1, -(-height // last), -(-width // last), 256)
        assert outputs["semseg"].shape == (1, height, width, 19) and outputs["depth"].shape == (1, height, width, 1)
        assert all(np.isfinite(value).all() for value in outputs.values())


def test_a_dilated_stage_gives_the_feature_of_its_stride():
    plain, dilated = (small(skip_strides=(8, 4, 2), dilation=dilation) for dilation in ((0, 0, 1), (0, 1, 1)))
    shapes = [
        {v.path: tuple(v.shape) for v in model.variables}["shared/decoder/skip1_conv/kernel"]
        for model in (plain, dilated)
    ]
    # Layer 2 has 128 channels; at output stride 8 layer 4 with 512 stands at its place.
    assert shapes == [(1, 1, 128, 48), (1, 1, 512, 48)]


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50_keras"])
@pytest.mark.parametrize("strides", [(8,), (8, 4, 2)])
def test_a_stride_that_the_encoder_lacks_is_refused(encoder, strides):
    config = ModelConfig(encoder=encoder, dilation=(1, 1, 1), skip_strides=strides)
    with pytest.raises(UsageError) as error:
        build_model(config, cityscapes_tasks())
    assert f"{encoder} has no feature of stride 8 at model.dilation=1,1,1, only of 2, 4" in str(error.value)


@pytest.mark.parametrize("dilation", [flags for flags in itertools.product((0, 1), repeat=3) if flags != (1, 1, 1)])
def test_every_other_dilation_has_all_strides(dilation):
    outputs = small(skip_strides=(8, 4, 2), dilation=dilation)(pictures(1, 33, 50))
    assert outputs["semseg"].shape == (1, 33, 50, 19)


def test_stride_4_and_2_are_there_at_any_dilation():
    assert small(skip_strides=(4, 2), dilation=(1, 1, 1))(pictures(1, 33, 50))["depth"].shape == (1, 33, 50, 1)


@pytest.mark.parametrize("strides", [(8,), (2,), (4, 2), (8, 4, 2)])
def test_strides_without_skips_are_refused(strides):
    with pytest.raises(UsageError, match=r"model\.skip_strides=.* needs model\.skip"):
        ModelConfig(skip=False, skip_strides=strides)


def test_weights_and_model_come_back_from_files(tmp_path):
    options = dict(architecture="distilled", skip_strides=(8, 2), squeeze_excitation=True, gate_init="default")
    model, copy = small(**options), small(**options)
    randomise(model)
    save_weights(model, tmp_path / "weights.h5")
    load_weights(copy, tmp_path / "weights.h5")
    model.save(tmp_path / "model.keras")
    expected = model(pictures(1, 33, 50))
    for other in (copy, keras.saving.load_model(tmp_path / "model.keras")):
        found = other(pictures(1, 33, 50))
        for name in expected:
            assert difference(found[name], expected[name]) < 1e-5
