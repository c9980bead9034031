"""MTAN on residual networks and on SegNet: its modules, published counts, unpooling, and what is refused."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models import build_model
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.models.costs import multiply_adds
from mtl_tf.models.cut import cut
from mtl_tf.models.encoders import build_encoder
from mtl_tf.models.folding import fold
from mtl_tf.models.masks import build_mask, build_refinement
from mtl_tf.models.reach import reach
from mtl_tf.models.unpooling import Unpool
from mtl_tf.models.weights import load_encoder_weights
from mtl_tf.tasks import cityscapes_tasks
from tests.models.common import difference, pictures, randomise, unfilled_variables
from tests.models.test_families import NYUD, network, tasks_of
from tests.models.test_recompute import one_step

pytestmark = pytest.mark.slow

SEMSEG, DEPTH = cityscapes_tasks()
SEGNET = {"encoder": "segnet", "dilation": (0, 0, 0)}


def parameters(model, begin=("",)):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables if v.path.startswith(begin))


def classes(count, name="semseg"):
    return dataclasses.replace(SEMSEG, name=name, classes=tuple(map(str, range(count))), palette=((0, 0, 0),) * count)


# === Modules ===

NAMES = {
    "inner_conv": "0",
    "inner_bn": "1",
    "conv": "3",
    "bn": "4",
    **{f"block_{kind}{n}": f"0.{kind}{n}" for kind in ("conv", "bn") for n in (1, 2, 3)},
    "block_downsample": "0.downsample.0",
    "block_downsample_bn": "0.downsample.1",
}
LEAVES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean"}


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("mtan_attention", lambda: build_mask([8], 3, 4, "task/mask")),
        ("mtan_refinement", lambda: build_refinement(8, 16, "refinement")),
    ],
)
def test_a_module_is_the_published_one(name, build, shared):
    with np.load(shared / "goldens" / "modules.npz") as file:
        golden = {key: file[key] for key in file.files if key.startswith(f"{name}/")}
    model = build()
    for variable in model.variables:
        layer, leaf = variable.path.split("/")[-2:]
        value = golden.pop(
            f"{name}/weight/{NAMES[layer]}.{LEAVES.get(leaf, leaf.replace('moving_variance', 'running_var'))}"
        )
        variable.assign(value.transpose(2, 3, 1, 0) if leaf == "kernel" else value)
    found = model(tf.transpose(golden.pop(f"{name}/in/x"), (0, 2, 3, 1)))
    expected = golden.pop(f"{name}/out/y")
    assert not golden
    np.testing.assert_allclose(
        tf.transpose(found, (0, 3, 1, 2)), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
    )


# === On residual networks ===


@pytest.mark.parametrize("count", [1, 5])
def test_tasks_that_see_everything_share_the_features_of_hps(count):
    """With masks of one the last feature is the encoder's, whatever the others were."""
    tasks = tasks_of(count)
    one, other = network("mtan", tasks), network("hps", tasks)
    randomise(other)
    values = {variable.path: variable.numpy() for variable in other.variables}
    for variable in one.variables:
        if variable.path.endswith("mask/stage4/bn/gamma"):
            variable.assign(np.zeros(variable.shape))
        elif variable.path.endswith("mask/stage4/bn/beta"):
            variable.assign(np.full(variable.shape, 40.0))  # its sigmoid is 1 in float32
        elif variable.path in values:
            variable.assign(values.pop(variable.path))
    assert not values
    image = pictures(2, 45, 70)
    found, expected = one(image), other(image)
    for task in tasks:
        assert difference(found[task.name], expected[task.name]) < 1e-5


@pytest.mark.parametrize("head", ["hrnet", "fcn"])
def test_heads_of_all_stages_see_what_the_masks_leave(head):
    model = network("mtan", options={"head": head}, encoder="resnet18", dilation=(0, 0, 0))
    fused = model.get_layer(f"semseg_{head}")
    assert [tensor.shape[-1] for tensor in fused.inputs] == [64, 128, 256, 512]
    masked = [model.get_layer(f"semseg_masked{number}").output for number in (1, 2, 3, 4)]
    assert all(a is b for a, b in zip(fused._inbound_nodes[-1].input_tensors, masked, strict=True))


def test_masks_of_libmtl_are_as_wide_as_their_features():
    with unfilled_variables():
        model = network("mtan", options={"reduction": 1}, encoder="resnet18")
    widths = [model.get_layer(f"depth_mask_stage{n}").get_layer("inner_conv").filters for n in (1, 2, 3, 4)]
    assert widths == [64, 128, 256, 512]


def test_encoder_and_refinements_are_shared():
    model = network("mtan")
    shared = {path.partition("/")[0] for path, tasks in reach(model, (SEMSEG, DEPTH)).items() if sum(tasks) > 1}
    assert shared == {"encoder", "shared"}
    with pytest.raises(UsageError, match=r"but shared/refinement/stage1/.* is shared by what each task makes of them"):
        cut(model, (SEMSEG, DEPTH))


def test_more_tasks_have_the_published_number_of_parameters(shared):
    published = json.loads((shared / "goldens" / "parameters.json").read_text())["vandenhende"]["counts"]
    tasks = [classes(count, f"task{count}") for count in (21, 7, 1, 3)] + [DEPTH]
    with unfilled_variables():
        model = network("mtan", tasks, encoder="resnet18")
    expected = published["mtan_vand/resnet18/pascal5"]
    assert parameters(model) == expected["params"] and parameters(model, ("shared/refinement",)) == expected["refine"]
    masks = {f"{task.name}/mask" for task in tasks}
    assert parameters(model, tuple(masks)) == expected["attention"]
    assert parameters(network("mtan", NYUD, encoder="resnet18"), ("shared/refinement",)) == expected["refine"]


def test_an_encoder_without_last_blocks_is_refused():
    with pytest.raises(UsageError, match=r"model\.encoder=mobilenetv2 has no residual block that ends its stage"):
        network("mtan", encoder="mobilenetv2")


@pytest.mark.parametrize("options", [{}, SEGNET], ids=["resnet", "segnet"])
def test_computing_again_and_folding_change_nothing(options):
    plain, again = (network("mtan", recompute=recompute, **options) for recompute in (False, True))
    loss, found, _ = one_step(plain)
    loss_again, found_again, _ = one_step(again)
    assert loss_again == loss
    for path, value in found.items():
        np.testing.assert_allclose(found_again[path], value, rtol=0, atol=3e-5 * np.abs(value).max(), err_msg=path)
    image, folded = pictures(1, 33, 50), fold(plain)
    expected = plain(image)
    for name, value in folded(image).items():
        assert difference(value, expected[name]) < 1e-4


# === On SegNet ===


@pytest.mark.parametrize(
    ("name", "counts"),
    [("mtan_segnet/mtan/standard/-/nyu13", (13, 1, 3)), ("mtan_segnet/stan/standard/semantic/nyu13", (13,))],
)
def test_parameters_and_multiply_adds_are_the_published_ones(name, counts, shared):
    published = json.loads((shared / "goldens" / "parameters.json").read_text())["mtan"]["counts"]
    tasks = [classes(count, f"task{count}") for count in counts]
    with unfilled_variables():
        model = network("mtan", tasks, **SEGNET)
    # The published network of several tasks also holds a learnt weight for the loss of each.
    weights = len(counts) if len(counts) > 1 else 0
    assert parameters(model) == published[name]["params"] - weights
    assert multiply_adds(model, (288, 384)) / 1e9 == pytest.approx(published[name]["gmacs_288x384"], abs=6e-4)
    single = parameters(model, ("encoder", "shared/decoder", "task13/head"))
    assert single == published["mtan_segnet/single/standard/semantic/nyu13"]["params"]


def test_every_weight_of_segnet_has_a_gradient_and_every_output_its_shape():
    tasks = tasks_of(2)
    model = network("mtan", tasks, **SEGNET)
    with tf.GradientTape() as tape:
        outputs = model(pictures(2, 45, 38), training=True)
        total = tf.add_n([tf.reduce_sum(tf.square(output)) for output in outputs.values()])
    for task in tasks:
        assert outputs[task.name].shape == (2, 45, 38, task.channels) and outputs[task.name].dtype == tf.float32
    gradients = tape.gradient(total, [variable.value for variable in model.trainable_variables])
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        # A batch norm takes out the bias before it: what is left of its gradient is rounding.
        assert gradient is not None and np.isfinite(gradient).all(), variable.path
        assert np.any(gradient) or variable.path.endswith("bias"), variable.path
    shared = {path.partition("/")[0] for path, reached in reach(model, tasks).items() if all(reached)}
    assert shared == {"encoder", "shared"}


def test_the_order_of_the_tasks_orders_the_outputs_of_segnet():
    tasks = tasks_of(2)
    one, other = network("mtan", tasks, **SEGNET), network("mtan", tasks[::-1], **SEGNET)
    randomise(one)
    values = {variable.path: variable.numpy() for variable in one.variables}
    for variable in other.variables:
        variable.assign(values[variable.path])
    for size in ((32, 32), (17, 1)):
        first, second = one(pictures(1, *size)), other(pictures(1, *size))
        for task in tasks:
            np.testing.assert_allclose(first[task.name], second[task.name], rtol=1e-5, atol=1e-5)


def test_convolutions_of_segnet_start_as_published():
    for variable in network("mtan", **SEGNET).variables:
        value = variable.numpy()
        if variable.name == "kernel":
            expected = np.sqrt(2 / (value.shape[0] * value.shape[1] * sum(value.shape[2:])))
            assert value.std() == pytest.approx(expected, rel=5 / np.sqrt(2 * value.size)), variable.path
        elif variable.name in ("bias", "beta"):
            assert not value.any(), variable.path


@pytest.mark.parametrize(
    ("options", "config", "told"),
    [
        ({}, {"dilation": (0, 0, 1)}, r"model\.dilation=0,0,1: .*use --model\.dilation=0,0,0"),
        ({"head": "fcn"}, {}, r"arch\.mtan\.head=fcn is of no use with model\.encoder=segnet"),
        ({"dropout": 0.5}, {}, r"arch\.mtan\.dropout=0\.5 is of no use"),
        ({"reduction": 2}, {}, r"arch\.mtan\.reduction=2 is of no use"),
        ({}, {"squeeze_excitation": True}, r"model\.squeeze_excitation is not defined for model\.encoder=segnet"),
    ],
)
def test_what_segnet_lacks_is_refused(options, config, told):
    given = ARCHITECTURES["mtan"].Options(**options)
    with pytest.raises(UsageError, match=told):
        build_model(ModelConfig(architecture="mtan", **SEGNET | config), (SEMSEG, DEPTH), given)


def test_nobody_publishes_weights_of_segnet():
    config = ModelConfig(encoder_weights="imagenet", **SEGNET)
    with unfilled_variables():
        encoder = build_encoder("segnet")
    with pytest.raises(UsageError, match="imagenet is not published for segnet"):
        load_encoder_weights(encoder, config)


# === Unpooling ===


def unpooled(values, before):
    """By its definition, window by window."""
    found = np.zeros_like(before)
    for image, row, column, channel in np.ndindex(values.shape):
        window = before[image, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2, channel]
        place = np.unravel_index(np.argmax(window), window.shape)
        found[image, 2 * row + place[0], 2 * column + place[1], channel] = values[image, row, column, channel]
    return found


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 4), (1, 1)])
@pytest.mark.parametrize("compiled", [False, True])
def test_values_go_back_to_the_first_maximum_of_their_window(size, compiled):
    random = np.random.default_rng(0)
    before = random.integers(0, 3, (2, *size, 5)).astype(np.float32) - 1.0  # of three values: many ties
    values = random.normal(size=(2, -(-size[0] // 2), -(-size[1] // 2), 5)).astype(np.float32)
    layer, weights = Unpool(), random.normal(size=before.shape).astype(np.float32)

    @tf.function(jit_compile=compiled)
    def run(values, before):
        with tf.GradientTape() as tape:
            tape.watch([values, before])
            found = layer(values, before)
            total = tf.reduce_sum(found * weights)
        return found, *tape.gradient(total, [values, before], unconnected_gradients="zero")

    found, gradient, none = run(tf.constant(values), tf.constant(before))
    np.testing.assert_array_equal(found, unpooled(values, before))
    pooled = keras.layers.MaxPooling2D(2, padding="same")(before)
    np.testing.assert_array_equal(layer(pooled, before), np.where(unpooled(np.ones_like(values), before), before, 0))
    places = unpooled(np.ones_like(values), before) * weights
    padded = np.pad(places, ((0, 0), (0, size[0] % 2), (0, size[1] % 2), (0, 0)))
    expected = padded.reshape(2, values.shape[1], 2, values.shape[2], 2, 5).sum((2, 4))
    np.testing.assert_array_equal(gradient, expected)
    assert not np.any(none)
