"""HRNet: its four features at any size, what it cannot do, and what it costs; its numbers are held in test_parity."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models import build_model
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.models.costs import multiply_adds
from mtl_tf.models.encoder_layers import encoder_stages
from mtl_tf.models.encoders import build_encoder, table
from mtl_tf.models.encoders.hrnet import RepeatLike
from mtl_tf.models.folding import fold
from mtl_tf.models.layers import BatchNorm
from mtl_tf.models.recompute import recomputing
from mtl_tf.models.stages import Stages
from mtl_tf.models.weights import imagenet_source, load_encoder_weights
from mtl_tf.tasks import cityscapes_tasks
from mtl_tf.training.checkpoints import save_weights
from tests.models.common import difference, pictures, randomise, refused, unfilled_variables

pytestmark = pytest.mark.slow

SMALL = "hrnet_w18_small_v2"
# timm 1.0.31: numel of parameters(), and channels, of create_model(NAME, features_only=True, feature_location="").
TIMM = {
    "hrnet_w18": (9_562_260, (18, 36, 72, 144)),
    "hrnet_w48": (65_325_120, (48, 96, 192, 384)),
    SMALL: (3_860_720, (18, 36, 72, 144)),
}


@pytest.fixture(scope="module")
def small():
    """The smallest, with random weights."""
    encoder = build_encoder(SMALL)
    randomise(encoder)
    return encoder


# === Features ===


@pytest.mark.parametrize("name", TIMM)
def test_parameters_and_channels_are_timms(name):
    with unfilled_variables():
        encoder = build_encoder(name)
    parameters, channels = TIMM[name]
    assert table.figures(name, encoder) == table.recorded()[name]
    assert table.recorded()[name].parameters == parameters
    assert [encoder.output[f"stride{stride}"].shape[-1] for stride in (4, 8, 16, 32)] == list(channels)
    assert encoder.output["last"] is encoder.output["stride32"]


@pytest.mark.parametrize(("height", "width", "billions"), [(256, 256, 2.082), (512, 512, 8.329), (480, 640, 9.76)])
def test_multiply_adds_are_the_published_ones(height, width, billions):
    """shared/goldens/parameters.json."""
    per_pixel = table.recorded()[SMALL].multiply_adds / 256**2
    assert per_pixel * height * width / 1e9 == pytest.approx(billions, abs=6e-4)


@pytest.mark.parametrize(
    ("head", "parameters", "size", "billions"),
    [("hrnet", 4_019_251, (480, 640), 12.772), ("fcn", 4_189_396, (425, 560), 12.593)],
)
def test_a_network_with_its_head_is_the_published_one(head, parameters, size, billions):
    """shared/goldens/parameters.json: the baseline for NYUD's 40 classes and depth."""
    semseg, depth = cityscapes_tasks()
    semseg = dataclasses.replace(semseg, classes=tuple(map(str, range(40))), palette=((0, 0, 0),) * 40)
    config = ModelConfig(architecture="hps", encoder=SMALL, dilation=(0, 0, 0))
    with unfilled_variables():
        model = build_model(config, (semseg, depth), ARCHITECTURES["hps"].Options(head=head))
    assert sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) == parameters
    assert multiply_adds(model, size) / 1e9 == pytest.approx(billions, abs=6e-4)


def test_a_feature_has_the_size_of_its_stride(small):
    traced = tf.function(small, input_signature=[tf.TensorSpec((None, None, None, 3))], autograph=False)
    for height, width in ((64, 96), (65, 50), (1, 7), (33, 127)):
        features = traced(pictures(1, height, width))
        assert set(features) == {"stride4", "stride8", "stride16", "stride32", "last"}
        for stride in (4, 8, 16, 32):
            assert features[f"stride{stride}"].shape[1:3] == (-(-height // stride), -(-width // stride)), stride


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("size", [(8, 16), (7, 13), (1, 3)])
def test_pixels_are_repeated_where_they_lie(factor, size):
    coarse = tuple(-(-side // factor) for side in size)
    images = np.random.default_rng(0).normal(size=(2, *coarse, 3)).astype(np.float32)
    found = RepeatLike(factor)(images, np.zeros((2, *size, 5), np.float32))
    rows, columns = (np.arange(side) // factor for side in size)
    np.testing.assert_array_equal(found, images[:, rows][:, :, columns])
    if not any(side % factor for side in size):
        np.testing.assert_array_equal(found, tf.image.resize(images, size, "nearest"))


def test_batch_norm_is_timms(small):
    norms = [layer for layer in small.layers if isinstance(layer, BatchNorm)]
    assert len(norms) == len(small.variables) // 5
    assert {(norm.epsilon, norm.momentum) for norm in norms} == {(1e-5, 0.9)}  # 0.1 in PyTorch's way of counting


def test_convolutions_start_he_normal_over_fan_out():
    keras.utils.set_random_seed(0)
    for variable in build_encoder(SMALL).variables:
        value = variable.numpy()
        if variable.name == "kernel":
            expected = np.sqrt(2 / (value.shape[0] * value.shape[1] * value.shape[3]))
            assert value.std() == pytest.approx(expected, rel=5 / np.sqrt(2 * value.size)), variable.path
        else:
            assert np.unique(value) == (1 if variable.name in ("gamma", "moving_variance") else 0), variable.path


# === What it cannot do ===


def test_dilation_is_refused():
    with pytest.raises(UsageError, match=rf"model\.dilation=0,0,1 is not defined for model\.encoder={SMALL}, .*=0,0,0"):
        build_encoder(SMALL, (0, 0, 1))


def test_squeeze_excitation_is_refused():
    with pytest.raises(UsageError, match=rf"squeeze_excitation is not defined for model\.encoder={SMALL}; turn it off"):
        build_encoder(SMALL, excite=True)


def test_stages_are_refused_by_name(small):
    with pytest.raises(UsageError, match=rf"model\.encoder={SMALL} cannot be cut between its stages"):
        Stages(SMALL, small)
    config = ModelConfig(encoder=SMALL, dilation=(0, 0, 0), architecture="cross_stitch")
    with pytest.raises(UsageError, match=f"{SMALL} cannot be cut"):
        build_model(config, cityscapes_tasks())


def test_a_skip_of_stride_2_is_refused():
    config = ModelConfig(encoder=SMALL, dilation=(0, 0, 0), skip_strides=(4, 2))
    with pytest.raises(UsageError, match=f"{SMALL} has no feature of stride 2 .*, only of 4, 8, 16, 32"):
        build_model(config, cityscapes_tasks())


# === Within a network ===


def test_features_that_build_on_no_other_are_one_stage(small):
    assert set(encoder_stages(small).values()) == set(encoder_stages(recomputing(small)).values()) == {0}
    assert set(encoder_stages(small)) == {variable.path for variable in small.trainable_variables}
    resnet = encoder_stages(build_encoder("resnet18"))
    assert resnet["encoder/conv1/kernel"] == 0
    assert [resnet[f"encoder/layer{n}_1_conv2/kernel"] for n in (1, 2, 3, 4)] == [1, 2, 3, 4]


@pytest.mark.parametrize("rebuild", [recomputing, fold])
def test_it_can_be_recomputed_and_folded(small, rebuild):
    images = pictures(1, 33, 40)
    found, expected = rebuild(small)(images), small(images)
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert difference(found[key], value) < 1e-4, key


def test_a_finite_gradient_reaches_every_weight_in_sixteen_bits():
    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.utils.set_random_seed(0)
    encoder = build_encoder(SMALL)
    assert {variable.dtype for variable in encoder.variables} == {"float32"}
    with tf.GradientTape() as tape:
        features = encoder(pictures(2, 40, 56), training=True).values()
        loss = tf.add_n([tf.reduce_mean(tf.square(tf.cast(feature, tf.float32))) for feature in features])
    gradients = tape.gradient(loss, [variable.value for variable in encoder.trainable_variables])
    for variable, gradient in zip(encoder.trainable_variables, gradients, strict=True):
        assert gradient is not None and np.isfinite(gradient).all() and np.any(gradient), variable.path


def test_sixteen_bits_give_about_the_same_features(small):
    keras.config.set_dtype_policy("mixed_bfloat16")
    short, images = build_encoder(SMALL), pictures(1, 40, 56)
    short.set_weights(small.get_weights())
    expected = small(images)
    for key, value in short(images).items():
        assert value.dtype == tf.bfloat16
        assert difference(tf.cast(value, tf.float32), expected[key]) < 0.1, key


# === Weights ===


def check_same(copy, small):
    images = pictures(1, 33, 50)
    expected = small(images)
    for key, value in copy(images).items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-5, atol=1e-5)


def test_saved_weights_are_loaded(small, tmp_path):
    save_weights(small, tmp_path / "weights.h5")
    copy = build_encoder(SMALL)
    said = load_encoder_weights(copy, ModelConfig(encoder=SMALL, encoder_weights=str(tmp_path / "weights.h5")))
    assert f"all {len(small.variables)} tensors of {SMALL}" in said
    check_same(copy, small)


def test_a_saved_model_gives_the_same_features(small, tmp_path):
    small.save(tmp_path / "encoder.keras")
    check_same(keras.saving.load_model(tmp_path / "encoder.keras"), small)


def test_weights_of_another_encoder_are_told(small, tmp_path):
    resnet, file = build_encoder("resnet18"), tmp_path / "weights.h5"
    save_weights(small, file)
    message = refused(resnet, ModelConfig(encoder="resnet18", encoder_weights=str(file)))
    assert f"these are of {SMALL}: use --model.encoder={SMALL}" in message
    save_weights(resnet, file)
    message = refused(small, ModelConfig(encoder=SMALL, encoder_weights=str(file)))
    assert "these are of resnet18: use --model.encoder=resnet18" in message


def test_the_hub_has_those_of_its_authors():
    assert imagenet_source("hrnet_w48") == "huggingface.co/timm/hrnet_w48.ms_in1k"
