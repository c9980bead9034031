"""Plain vision transformers: timm's tokens, features of any size, precision, gradients, export, what they refuse."""

import dataclasses
import json
import pathlib

import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models import build_model
from mtl_tf.models.costs import multiply_adds, parameters
from mtl_tf.models.encoders import PYRAMIDS, VITS, build_encoder, table
from mtl_tf.models.encoders.token_layers import (
    PadToPatch,
    PatchMap,
    Positions,
    RotaryAttention,
    SelfAttention,
    cubic_weights,
)
from mtl_tf.models.encoders.tokens import Restrided
from mtl_tf.models.encoders.vit import DESIGNS, vit
from mtl_tf.models.folding import fold
from mtl_tf.models.recompute import recomputing
from mtl_tf.models.stages import Stages
from mtl_tf.models.weights import load_encoder_weights
from mtl_tf.models.weights.layouts import translate
from mtl_tf.tasks import cityscapes_tasks
from mtl_tf.training.checkpoints import load_weights, save_weights
from tests.models.common import difference, pictures, randomise, unfilled_variables
from tests.models.tiny_transformers import DESIGNS as SMALL
from tests.models.weights import draw
from tests.models.weights.test_layouts import RATES, named_shapes, tensors_of
from tests.models.weights.test_parity import assert_summary
from tests.models.weights.test_transformer_layouts import PUBLISHED

GOLDENS = json.loads((pathlib.Path(__file__).parent / "weights" / "goldens" / "vit.json").read_text())
TASKS = cityscapes_tasks()


def build(kind="dinov3_plus", **options):
    """A small encoder with random weights."""
    encoder = vit(kind, (0, 0, 0), False, design=SMALL[kind], **options)
    randomise(encoder)
    return encoder


@pytest.fixture(scope="module")
def small():
    """One that is rotary and gated and has registers."""
    return build()


@pytest.fixture
def registered():
    """The options of a network on a small one, which has learnt positions."""
    return dict(encoder="tiny_vit", dilation=(0, 0, 0))


# === timm's numbers ===


@pytest.mark.parametrize("kind", SMALL)
def test_tokens_are_timms_at_the_native_and_at_another_size(kind, registered, tmp_path):
    """tools/make_parity_goldens.py; the other size is no multiple of a patch, and positions are resampled for it."""
    golden, encoder, path = GOLDENS[kind], build(kind), tmp_path / "timm.safetensors"
    tensors = {name: draw.weight(name, tuple(shape)) for name, shape in golden["tensors"].items()}
    safetensors.numpy.save_file(tensors, path)
    said = load_encoder_weights(encoder, ModelConfig(encoder_weights=str(path), **registered))
    assert f"all {len(tensors)} tensors of tiny_vit" in said and "8 of feature pyramid start anew" in said
    maps = keras.Model(encoder.input, [encoder.get_layer(f"pyramid_stride{s}_map").output for s in (4, 8, 16, 32)])
    sizes = {tuple(map(int, key.split()[0].split("x"))) for key in golden if key != "tensors"}
    assert len(sizes) == 2
    for height, width in sizes:
        for number, value in enumerate(maps(draw.image(height, width))):
            key = f"{height}x{width} tap{number}"
            assert_summary(f"{kind} {key}", value, golden[key])


@pytest.mark.parametrize("name", VITS)
def test_parameters_are_timms(name):
    """Of the transformer; those of the pyramid are ours."""
    with unfilled_variables():
        encoder = build_encoder(name)
    assert table.figures(name, encoder) == table.recorded()[name]
    ours = [variable for variable in encoder.variables if not variable.path.startswith("encoder/pyramid_")]
    assert sum(int(np.prod(variable.shape)) for variable in ours) == GOLDENS["parameters"][name]


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name in VITS])
def test_a_published_checkpoint_has_the_transformers_tensors(name):
    with unfilled_variables():
        encoder = build_encoder(name)
    ours = {variable.path: tuple(variable.shape) for variable in encoder.variables}
    found = translate(tensors_of(named_shapes(PUBLISHED[name])), ours, RATES)
    expected = {path: shape for path, shape in ours.items() if not path.startswith("encoder/pyramid_")}
    assert {path: tensor.shape for path, tensor in found.tensors.items()} == expected


def test_every_name_has_its_design():
    assert set(DESIGNS) == set(VITS)


# === Features ===


@pytest.mark.parametrize("pyramid", PYRAMIDS)
@pytest.mark.parametrize("kind", ["vit", "dinov2", "dinov3_plus"])
def test_a_feature_has_the_size_and_channels_of_its_stride(kind, pyramid):
    encoder = build(kind, pyramid=pyramid)
    widths = dict(zip((4, 8, 16, 32), dict(simple=(8, 16, 32, 32), dpt=(4, 8, 16, 32))[pyramid], strict=True))
    traced = tf.function(encoder, input_signature=[tf.TensorSpec((None, None, None, 3))], autograph=False)
    # The last ones are smaller than a patch: they are padded to one.
    for height, width in ((64, 96), (65, 50), (127, 33), (1, 7)):
        features = traced(pictures(2, height, width))
        assert set(features) == {"stride4", "stride8", "stride16", "stride32", "last"}
        for stride, channels in widths.items():
            expected = 2, -(-height // stride), -(-width // stride), channels
            assert features[f"stride{stride}"].shape == expected
            assert np.isfinite(features[f"stride{stride}"]).all()
    assert encoder.output["last"] is encoder.output["stride32"]


@pytest.mark.parametrize("kind", ["dinov2", "dinov3_plus"])
def test_the_features_of_an_image_do_not_depend_on_the_others(kind):
    encoder, images = build(kind), pictures(2, 40, 50)
    together = encoder(images)
    for key, value in encoder(images[1:]).items():
        assert difference(value[0], together[key][1]) < 1e-4, key


def test_padding_is_what_whitening_makes_zero():
    """As in timm: the mean colour beyond the lower and right border."""
    encoder, image = build("vit"), pictures(1, 20, 30)
    padded = np.pad(image, ((0, 0), (0, 12), (0, 2), (0, 0)), constant_values=127.5)
    for key, value in encoder(padded).items():
        found = encoder(image)[key]
        np.testing.assert_allclose(found, value[:, : found.shape[1], : found.shape[2]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "padded"), [((1, 7), (14, 14)), ((14, 15), (14, 28)), ((28, 42), (28, 42))])
def test_images_are_padded_to_whole_patches(size, padded):
    image = pictures(1, *size)
    found = PadToPatch(14)(image)
    assert found.shape == (1, *padded, 3)
    np.testing.assert_array_equal(found[:, : size[0], : size[1]], image)
    assert float(tf.reduce_sum(found)) == pytest.approx(image.sum(), rel=1e-5)


def test_class_token_and_registers_are_dropped_and_patches_stay_in_rows():
    tokens = np.arange(2 * 11, dtype=np.float32).reshape(1, 11, 2)
    found = PatchMap(16, 5)(tokens, np.zeros((1, 20, 40, 3), np.float32))
    np.testing.assert_array_equal(found, tokens[:, 5:].reshape(1, 2, 3, 2))


def test_pixels_of_another_stride_lie_where_they_lay():
    """A ramp of the image stays that ramp, whatever is padded."""
    height, width = 100, 57
    before, after = (np.arange(-(-width // stride)) * stride + stride / 2 for stride in (14, 16))
    ramp = np.broadcast_to(before[None, None, :, None], (1, -(-height // 14), len(before), 1)).astype(np.float32)
    found = np.asarray(Restrided(14, 16)(ramp, np.zeros((1, height, width, 3), np.float32)))
    assert found.shape == (1, 7, 4, 1)
    np.testing.assert_allclose(found[0, :, :, 0], np.broadcast_to(after, (7, 4)), atol=1e-4)


# === Positions ===


@pytest.mark.parametrize(("before", "after"), [(5, 5), (5, 9), (9, 5), (37, 19), (4, 1)])
def test_positions_are_resampled_as_by_tensorflows_resize(before, after):
    values = np.random.default_rng(0).normal(size=(1, before, 1, 3)).astype(np.float32)
    found = np.einsum("oi,bixc->boxc", cubic_weights(before, after), values)
    np.testing.assert_allclose(found, tf.image.resize(values, (after, 1), "bicubic", antialias=True), atol=1e-5)
    if before == after:
        np.testing.assert_array_equal(found, values)


def test_positions_are_exact_at_their_size():
    layer, tokens = Positions(37, 14, 1, name="pos_embed"), np.zeros((1, 1 + 37**2, 8), np.float32)
    found = layer(tokens, np.zeros((1, 518, 518, 3), np.float32))
    np.testing.assert_array_equal(found, layer.values)


def test_queries_and_keys_are_turned_by_where_patches_lie():
    layer = RotaryAttention(1, 16, others=1)
    cosines, sines = (np.asarray(each) for each in layer._turns(2, 3, 8))
    assert cosines.shape == (7, 4)
    np.testing.assert_array_equal(cosines[0], 1)  # the class token is not turned
    np.testing.assert_array_equal(sines[0], 0)
    periods = 100.0 ** (np.arange(2) / 2)
    rows, columns = np.meshgrid([-0.5, 0.5], [-2 / 3, 0, 2 / 3], indexing="ij")
    places = np.concatenate([rows.reshape(-1, 1) / periods, columns.reshape(-1, 1) / periods], -1)
    np.testing.assert_allclose(cosines[1:], np.cos(2 * np.pi * places), atol=1e-5)
    np.testing.assert_allclose(sines[1:], np.sin(2 * np.pi * places), atol=1e-5)


# === Attention ===


def test_attention_is_its_definition():
    tokens = np.random.default_rng(0).normal(size=(2, 7, 3, 2, 4))
    query, key, value = np.moveaxis(tokens, 2, 0).transpose(0, 1, 3, 2, 4)  # (B, heads, N, d)
    weights = np.exp(query @ key.swapaxes(-1, -2) / 2)
    expected = (weights / weights.sum(-1, keepdims=True)) @ value
    found = SelfAttention(2)(tokens.reshape(2, 7, 24).astype(np.float32))
    np.testing.assert_allclose(found, expected.transpose(0, 2, 1, 3).reshape(2, 7, 8), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_attention_to_many_tokens_keeps_its_sum_in_sixteen_bits(policy):
    """A mean of 5000 equal values: a sum of weights in sixteen bits would stop growing long before."""
    keras.config.set_dtype_policy(policy)
    tokens = np.concatenate([np.zeros((1, 5000, 16)), np.ones((1, 5000, 8))], -1)
    found = SelfAttention(2)(tokens)
    np.testing.assert_allclose(tf.cast(found, tf.float32), 1.0, rtol=0.01)


# === Sixteen bits, gradients, drop path ===


@pytest.mark.parametrize("kind", ["dinov2", "dinov3_plus"])
def test_sixteen_bits_give_about_the_same_features(kind):
    exact, images = build(kind), pictures(1, 40, 56)
    keras.config.set_dtype_policy("mixed_bfloat16")
    short = vit(kind, (0, 0, 0), False, design=SMALL[kind])
    assert {variable.dtype for variable in short.variables} == {"float32"}
    short.set_weights(exact.get_weights())
    expected = exact(images)
    for key, value in short(images).items():
        assert value.dtype == tf.bfloat16
        assert difference(tf.cast(value, tf.float32), expected[key]) < 0.1, key


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(("kind", "pyramid"), [(kind, "simple") for kind in SMALL] + [("dinov2", "dpt")])
def test_a_finite_gradient_reaches_every_weight(kind, pyramid, policy):
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    encoder = vit(kind, (0, 0, 0), False, pyramid=pyramid, drop_path=0.1, design=SMALL[kind])
    with tf.GradientTape() as tape:
        features = encoder(pictures(2, 40, 56), training=True)
        weights = np.random.default_rng(0)  # the mean of what a layer norm gives would not change
        loss = tf.add_n(
            [
                tf.reduce_mean(tf.cast(feature, tf.float32) * weights.normal(size=feature.shape).astype(np.float32))
                for feature in features.values()
            ]
        )
    gradients = tape.gradient(loss, [variable.value for variable in encoder.trainable_variables])
    for variable, gradient in zip(encoder.trainable_variables, gradients, strict=True):
        assert gradient is not None and np.isfinite(gradient).all() and np.any(gradient), variable.path


def test_branches_are_left_out_at_a_rate_that_rises():
    encoder = build("vit", drop_path=0.3)
    rates = {layer.name: layer.rate for layer in encoder.layers if "drop_path" in layer.name}
    assert rates == {
        f"blocks_{block}_drop_path{part}": pytest.approx(0.1 * block) for block in (1, 2, 3) for part in (1, 2)
    }
    images = pictures(4, 32, 32)
    first, second = (np.asarray(encoder(images, training=True)["last"]) for _ in range(2))
    assert difference(first, second) > 1e-3
    plain = build("vit")
    assert [variable.path for variable in plain.variables] == [variable.path for variable in encoder.variables]
    assert difference(encoder(images)["last"], plain(images)["last"]) < 1e-6


def test_layers_begin_as_in_timm():
    keras.utils.set_random_seed(0)
    encoder = vit("dinov3", (0, 0, 0), False, design=dataclasses.replace(SMALL["dinov3"], width=128))
    for variable in encoder.variables:
        value = variable.numpy()
        if variable.path.startswith("encoder/pyramid_"):
            continue
        if variable.name in ("kernel", "cls_token", "reg_token"):
            assert value.std() == pytest.approx(0.02 * 0.88, rel=0.3), variable.path  # of a normal one within 2 sigma
        else:
            expected = {"gamma": 1, "gamma_1": 1e-5, "gamma_2": 1e-5}.get(variable.name, 0)
            assert np.unique(value) == np.float32(expected), variable.path


# === Saving, loading, export ===


def assert_same(copy, model, *sizes):
    for height, width in sizes:
        images = pictures(1, height, width)
        expected = model(images)
        for key, value in copy(images).items():
            np.testing.assert_allclose(value, expected[key], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["dinov2_reg", "dinov3_plus"])
def test_weights_are_saved_and_loaded(kind, tmp_path):
    encoder, copy = build(kind), vit(kind, (0, 0, 0), False, design=SMALL[kind])
    save_weights(encoder, tmp_path / "weights.h5")
    load_weights(copy, tmp_path / "weights.h5")
    assert_same(copy, encoder, (33, 50))


@pytest.mark.parametrize(("kind", "pyramid"), [("dinov2_reg", "simple"), ("dinov3_plus", "dpt")])
def test_a_saved_model_gives_the_same_features(kind, pyramid, tmp_path):
    encoder = build(kind, pyramid=pyramid, drop_path=0.1)
    encoder.save(tmp_path / "encoder.keras")
    assert_same(keras.saving.load_model(tmp_path / "encoder.keras"), encoder, (33, 50))


@pytest.mark.parametrize("kind", ["dinov2", pytest.param("dinov3_plus", marks=pytest.mark.slow)])
def test_an_exported_model_takes_any_size(kind, tmp_path):
    encoder = build(kind)
    encoder.export(tmp_path / "exported", format="tf_saved_model", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    assert_same(loaded.serve, encoder, (33, 50), (70, 70), (1, 7))


# === Within a network ===


def test_it_can_be_recomputed(small):
    again, images = recomputing(small), pictures(1, 33, 40)
    assert_same(again, small, (33, 40))
    names = [variable.path for variable in small.trainable_variables]
    assert sorted(variable.path for variable in again.trainable_variables) == sorted(names)
    found = []
    for model in (small, again):
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_sum(feature**2) for feature in model(images, training=True).values()])
        found.append(tape.gradient(loss, [variable.value for variable in small.trainable_variables]))
    for name, one, other in zip(names, *found, strict=True):
        assert difference(one, other) < 1e-3, name


def test_every_branch_is_recomputed_by_itself(small):
    """Two in each of 4 blocks, four features, of which the last is made of a map that comes before; the embedding."""
    parts = [layer.segment.layers for layer in recomputing(small).layers if hasattr(layer, "segment")]
    added = [sum("_add" in part.name for part in segment) for segment in parts]
    assert sum(added) == 8 and max(added) == 1
    assert len(parts) == 8 + 4 + 1


@pytest.mark.parametrize("architecture", ["joint", "hps", "invpt"])
@pytest.mark.parametrize("pyramid", PYRAMIDS)
def test_architectures_take_its_features(architecture, pyramid, registered):
    config = ModelConfig(architecture=architecture, pyramid=pyramid, **registered)
    outputs = build_model(config, TASKS)(pictures(1, 33, 50))
    assert {name: value.shape[1:3] for name, value in outputs.items() if "@" not in name}
    assert all(np.isfinite(value).all() for value in outputs.values())


def test_a_network_can_be_folded(registered):
    model, images = build_model(ModelConfig(**registered), TASKS), pictures(1, 33, 50)
    randomise(model)
    found, expected = fold(model)(images), model(images)
    for key, value in expected.items():
        assert difference(found[key], value) < 1e-4, key


# === What it cannot do ===


@pytest.mark.parametrize("name", ["dinov2_small", "vit_base"])
def test_dilation_and_squeeze_excitation_are_refused(name):
    with pytest.raises(UsageError, match=rf"model\.dilation=0,0,1 is not defined for model\.encoder={name}, .*=0,0,0"):
        build_encoder(name, (0, 0, 1))
    with pytest.raises(UsageError, match=rf"squeeze_excitation is not defined for model\.encoder={name}; turn it off"):
        build_encoder(name, excite=True)


@pytest.mark.parametrize("name", ["cross_stitch", "nddr", "ltb", "mtan", "ple"])
def test_families_that_need_cuts_refuse_it_in_one_line(name, registered):
    with pytest.raises(UsageError, match="tiny_vit cannot be cut between its stages, which this arch") as error:
        build_model(ModelConfig(architecture=name, **registered), TASKS)
    assert "\n" not in str(error.value)


def test_stages_are_refused_by_name(small):
    with pytest.raises(UsageError, match=r"model\.encoder=tiny cannot be cut between its stages"):
        Stages("tiny", small)


@pytest.mark.parametrize(("option", "value", "shown"), [("pyramid", "dpt", "dpt"), ("drop_path", 0.2, "0.2")])
@pytest.mark.parametrize("encoder", ["resnet18", "hrnet_w18_small_v2", "mobilenetv3_small"])
def test_other_encoders_refuse_what_is_of_transformers(encoder, option, value, shown):
    config = ModelConfig(encoder=encoder, dilation=(0, 0, 0), **{option: value})
    with pytest.raises(UsageError, match=rf"^model\.{option}={shown} is not defined for model\.encoder={encoder}; "):
        build_model(config, TASKS)


def test_a_skip_of_stride_2_is_refused(registered):
    with pytest.raises(UsageError, match=r"tiny_vit has no feature of stride 2 .*, only of 4, 8, 16, 32"):
        build_model(ModelConfig(skip_strides=(4, 2), **registered), TASKS)


def test_what_it_costs_is_counted():
    """By hand: tokens of a 32x48 image, 6 patches and 5 others, in four blocks of width 32, and the pyramid."""
    encoder = vit("dinov3", (0, 0, 0), False, design=SMALL["dinov3"])
    dense, attention = 11 * (3 + 1 + 4 + 4) * 32**2, 2 * 11**2 * 32
    enlarged = 6 * 4 * 32 * 16 + 24 * 4 * 16 * 8 + 6 * 4 * 32 * 16
    assert multiply_adds(encoder, (32, 48)) == 6 * 16**2 * 3 * 32 + 4 * (dense + attention) + enlarged
    assert parameters(encoder) == sum(int(np.prod(variable.shape)) for variable in encoder.variables)
