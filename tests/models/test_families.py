"""Families of architectures: published counts, modules, and what every one of them has to hold.

Counts: shared/spec/families.md, section 4 (networks of NYUD's 40 classes and depth, encoders at stride 8).
"""

import dataclasses
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.config import Config, ModelConfig, replace
from mtl_tf.errors import UsageError
from mtl_tf.models import build_model
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.models.costs import multiply_adds
from mtl_tf.models.encoder_layers import encoder_layers, in_encoder
from mtl_tf.models.encoders import build_encoder
from mtl_tf.models.epochs import begin_epoch
from mtl_tf.models.exchange import Stitch, build_nddr
from mtl_tf.models.stages import Stages
from mtl_tf.tasks import cityscapes_tasks
from tests.models.common import unfilled_variables
from tests.models.tiny import ENCODER

SEMSEG, DEPTH = cityscapes_tasks()
NYUD = (dataclasses.replace(SEMSEG, classes=tuple(map(str, range(40))), palette=((0, 0, 0),) * 40), DEPTH)
LIGHT = {"invpt": {"embed": 28, "extra": 4, "project": (8, 16, 24)}}  # options that keep a test fast
FAMILIES = [name for name in ARCHITECTURES.built_in if name not in ("joint", "branched", "distilled")]


def tasks_of(count):
    """Segmentations and depths in turn, of other names."""
    return tuple(dataclasses.replace((SEMSEG, DEPTH)[n % 2], name=f"task{n}") for n in range(count))


def network(architecture, tasks=(SEMSEG, DEPTH), options=None, **config):
    keras.utils.set_random_seed(1)
    config = {"encoder": ENCODER.name} | config
    kind = ARCHITECTURES[architecture]
    options = options or LIGHT.get(architecture)
    given = kind.Options(**options) if options else None
    return build_model(ModelConfig(architecture=architecture, **config), tasks, given)


def image(height=48, width=64, seed=0, batch=2):
    return np.random.default_rng(seed).uniform(0, 255, (batch, height, width, 3)).astype(np.float32)


COUNTS = {
    ("hps", "resnet18"): (20_631_401, 21.439),
    ("hps", "resnet50"): (55_769_449, 56.873),
    ("cross_stitch", "resnet18"): (31_811_753, 33.471),
    ("cross_stitch", "resnet50"): (79_292_841, 81.790),
    ("nddr", "resnet18"): (33_221_033, 35.015),
    ("nddr", "resnet50"): (101_591_721, 105.480),
    ("mtan", "resnet18"): (21_657_865, 23.142),
    ("mtan", "resnet50"): (72_052_713, 84.119),
}


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [pytest.param(*key, marks=[pytest.mark.slow] if key[1] == "resnet50" else []) for key in COUNTS],
)
def test_parameters_and_multiply_adds_are_the_published_ones(architecture, encoder):
    with unfilled_variables():
        model = network(architecture, NYUD, encoder=encoder, dilation=(0, 1, 1), consistent_dilation=True)
    parameters, billions = COUNTS[architecture, encoder]
    assert sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) == parameters
    assert multiply_adds(model, (256, 256)) / 1e9 == pytest.approx(billions, abs=6e-4)


# === Encoders in stages ===


@pytest.mark.parametrize("dilation", [(0, 0, 0), (0, 1, 1)])
@pytest.mark.parametrize(
    "encoder",
    [
        "resnet18",
        "resnet50v2",
        "mobilenetv2",
        pytest.param("densenet121", marks=pytest.mark.slow),
        pytest.param("convnext_tiny", marks=pytest.mark.slow),
    ],
)
def test_stages_one_after_another_are_the_encoder(encoder, dilation):
    whole = build_encoder(encoder, dilation)
    stages = Stages(encoder, whole)
    x, count = image(65, 97), 0
    expected = whole(x)["last"].numpy()
    for model, width, stride in zip(stages.models(), stages.widths, stages.strides, strict=True):
        x = model(x)
        count += model.count_params()
        assert x.shape[-1] == width and x.shape[1:3] == (-(-65 // stride), -(-97 // stride))
    np.testing.assert_allclose(x, expected, atol=1e-6 * np.abs(expected).max())
    assert len(stages.models()) == 5 and count == whole.count_params()


def test_stages_without_their_last_block():
    whole = build_encoder("resnet18", (0, 0, 1))
    stages = Stages("resnet18", whole)
    for model, (first, last) in zip(stages.models()[1:], stages.parted_models(), strict=True):
        feature = tf.random.stateless_normal((1, 8, 8, model.input.shape[-1]), [1, 2])
        before = first(feature)
        assert before.shape == last(before).shape
        np.testing.assert_array_equal(last(before), model(feature))
        assert last.count_params() == 2 * (9 * last.output.shape[-1] ** 2 + 4 * last.output.shape[-1])


@pytest.mark.parametrize("encoder", ["mobilenetv2", "densenet121"])
def test_an_encoder_without_such_blocks_is_refused_by_name(encoder):
    stages = Stages(encoder, build_encoder(encoder))
    with pytest.raises(UsageError, match=f"model.encoder={encoder} has no residual block that ends its stage"):
        stages.parted_models()


def test_an_encoder_that_cannot_be_cut_is_refused_by_name():
    image = keras.Input((None, None, 3))
    first = keras.layers.Conv2D(4, 3, 4, padding="same")(image)
    second = keras.layers.Conv2D(4, 3, 2, padding="same")(first)
    beside = keras.layers.Conv2D(4, 3, 2, padding="same")(first)
    last = keras.layers.Add()([keras.layers.Conv2D(4, 3, 2, padding="same")(each) for each in (second, beside)])
    encoder = keras.Model(image, {"stride4": first, "stride8": second, "stride16": last, "last": last}, name="encoder")
    with pytest.raises(UsageError, match=r"model\.encoder=mine cannot be cut between its stages"):
        Stages("mine", encoder)


@pytest.mark.parametrize("recompute", [False, True])
def test_heads_of_all_features_take_the_last_once(recompute):
    with unfilled_variables():
        model = network("hps", options={"head": "hrnet"}, recompute=recompute, dilation=(0, 0, 0))
    widths = {v.shape[-2:] for v in model.variables if v.path.endswith("hrnet/fuse_conv/kernel")}
    assert widths == {(8 + 8 + 16 + 24,) * 2}


# === Every family ===


def shuffled(model, seed=0):
    """Gives every variable random values by its path, so that networks of one structure have the same."""
    for variable in model.variables:
        if keras.backend.is_float_dtype(variable.dtype):
            random = np.random.default_rng([seed, *variable.path.encode()])
            # A gate of few units may be closed by chance.
            low = 0.5 if re.search("variance|gamma|reduce/bias", variable.path) else -0.1
            variable.assign(random.uniform(low, low + 0.2 + 0.8 * (low > 0), variable.shape))
    return model


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("architecture", FAMILIES)
def test_every_weight_has_a_gradient_and_every_output_its_shape(architecture, count):
    tasks = tasks_of(count)
    # Behind a factor that starts at zero there is no gradient at first.
    model, dead = shuffled(network(architecture, tasks)), []
    for epoch in (0, 50) if architecture == "ltb" else (0,):  # takes all features first, then one
        begin_epoch(model, epoch, 100)
        for variable in model.variables:
            if variable.path.endswith("/alpha") and epoch:  # its own, so that no encoder is passed by
                variable.assign([8.0, *(0.0 for _ in tasks[1:])])
        with tf.GradientTape() as tape:
            outputs = model(image(45, 70), training=True)
            total = tf.add_n([tf.reduce_sum(tf.square(output)) for output in outputs.values()])
        for task in tasks:
            assert outputs[task.name].shape == (2, 45, 70, task.channels) and outputs[task.name].dtype == tf.float32
        gradients = tape.gradient(total, [variable.value for variable in model.trainable_variables])
        found = zip(model.trainable_variables, gradients, strict=True)
        dead.append({variable.path for variable, gradient in found if gradient is None or not np.any(gradient)})
    assert not set.intersection(*dead)
    for batch, height, width in ((1, 1, 1), (3, 32, 32), (1, 7, 90)):
        for name, output in model(image(height, width, batch=batch)).items():
            assert output.shape[:3] == (batch, height, width) and np.isfinite(output).all(), name
    assert set(model.label_weights) >= {""} and set(model.label_weights.values()) <= {1.0, 0.5}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", FAMILIES)
def test_the_order_of_the_tasks_orders_the_outputs(architecture):
    tasks = tasks_of(3)
    turned = (tasks[2], tasks[0], tasks[1])
    one, other = (shuffled(network(architecture, given)) for given in (tasks, turned))
    concatenated = {"nddr": r"nddr.*kernel", "atrc": r"joined/found_conv/kernel"}.get(architecture)
    if concatenated:  # the features of all tasks stand in their order
        by_path = {variable.path: variable for variable in other.variables}
        for variable in one.variables:
            if re.search(concatenated, variable.path):
                blocks = np.split(variable.numpy(), 3, axis=2)
                by_path[variable.path].assign(np.concatenate([blocks[2], blocks[0], blocks[1]], axis=2))
    if architecture == "cross_stitch":
        by_path = {variable.path: variable for variable in other.variables}
        for variable in one.variables:
            if "stitch" in variable.path:
                by_path[variable.path].assign(variable.numpy()[[2, 0, 1]][:, [2, 0, 1]])
    if architecture == "invpt":  # the norm over all tasks has a row for each
        by_path = {variable.path: variable for variable in other.variables}
        for variable in one.variables:
            if "joint_norm" in variable.path:
                by_path[variable.path].assign(variable.numpy()[[2, 0, 1]])
    if architecture == "ltb":  # the task itself, then the others in their order
        by_path = {variable.path: variable for variable in other.variables}
        for variable in one.variables:
            if variable.path.endswith("task0/alpha") or variable.path.endswith("task1/alpha"):
                by_path[variable.path].assign(variable.numpy()[[0, 2, 1]])
    first, second = one(image()), other(image())
    for task in tasks:
        largest = np.abs(first[task.name]).max()
        np.testing.assert_allclose(first[task.name], second[task.name], rtol=1e-4, atol=1e-5 * largest)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", FAMILIES)
def test_a_seed_gives_the_same_network_also_where_it_is_computed_again(architecture):
    one, other = (network(architecture, recompute=recompute) for recompute in (False, True))
    for first, second in zip(one.variables, other.variables, strict=True):
        assert first.path == second.path
        np.testing.assert_array_equal(first.numpy(), second.numpy(), err_msg=first.path)
    first, second = one(image()), other(image())
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value)


@pytest.mark.parametrize("architecture", [name for name in FAMILIES if ARCHITECTURES[name].exchanges])
def test_an_exchange_needs_two_tasks(architecture):
    with pytest.raises(UsageError, match=f"{architecture} exchanges features between tasks and needs at least two"):
        network(architecture, tasks_of(1))


def test_options_of_another_architecture_are_refused():
    with pytest.raises(UsageError, match=r"arch\.nddr\.\* are options of nddr, but model\.architecture=joint"):
        replace(Config(), arch__nddr__alpha=0.5)
    config = replace(Config(), model__architecture="nddr", arch__nddr__alpha=0.5)
    assert config.arch_options.alpha == 0.5 and replace(config, model__architecture="nddr") == config


# === Exchange units ===


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["cross_stitch", "nddr"])
def test_units_that_pass_on_their_own_task_alone_leave_single_networks(architecture):
    """Features are ReLU's, so that another one leaves them; NDDR's batch norm begins as the identity, but for 1e-5."""
    exchanging = shuffled(network(architecture, options={"alpha": 1.0, "beta": 0.0}))
    alone = network("hps", (SEMSEG,)), network("hps", (DEPTH,))
    fresh = network(architecture, options={"alpha": 1.0, "beta": 0.0})
    values = {variable.path: variable.numpy() for variable in fresh.variables}
    for variable in exchanging.variables:
        if variable.path.startswith("exchange/"):
            variable.assign(values[variable.path])
    values = {variable.path: variable.numpy() for variable in exchanging.variables}
    outputs = exchanging(image())
    for task, single in zip((SEMSEG, DEPTH), alone, strict=True):
        for variable in single.variables:
            path = variable.path
            variable.assign(values[f"{task.name}/{path}" if in_encoder(path) else path])
        expected = single(image())[task.name].numpy()
        np.testing.assert_allclose(outputs[task.name], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.fixture
def modules(shared):
    with np.load(shared / "goldens" / "modules.npz") as file:
        yield file


def golden_of(modules, name):
    return {key.removeprefix(f"{name}/"): modules[key] for key in modules.files if key.startswith(f"{name}/")}


def test_a_stitch_is_the_published_one(modules):
    golden = golden_of(modules, "cross_stitch")
    inputs = [tf.transpose(golden[f"in/{task}"], (0, 2, 3, 1)) for task in "ab"]
    unit = Stitch(0.9, 0.1)
    unit(inputs)
    names = [[f"weight/cross_stitch_unit.{i}.{j}.param" for j in "ab"] for i in "ab"]
    unit.weight.assign(np.array([[golden[name].reshape(-1) for name in row] for row in names]))
    for task, found in zip("ab", unit(inputs), strict=True):
        np.testing.assert_allclose(tf.transpose(found, (0, 3, 1, 2)), golden[f"out/{task}"], rtol=1e-5, atol=1e-6)


def test_an_nddr_unit_is_the_published_one(modules):
    golden = golden_of(modules, "nddr")
    given = [keras.Input((None, None, 6)) for _ in "ab"]
    model = keras.Model(given, build_nddr(given, ["a", "b"], 0.9, 0.1, "stage1"))
    for variable in model.variables:
        _, layer, part = variable.path.rsplit("/", 2)
        task, kind = layer.split("_")[2:]
        name = {
            "kernel": "weight",
            "gamma": "weight",
            "beta": "bias",
            "moving_mean": "running_mean",
            "moving_variance": "running_var",
        }[part]
        value = golden[f"weight/layer.{task}.{0 if kind == 'conv' else 1}.{name}"]
        variable.assign(value.transpose(2, 3, 1, 0) if part == "kernel" else value)
    found = model([tf.transpose(golden[f"in/{task}"], (0, 2, 3, 1)) for task in "ab"])
    for task, each in zip("ab", found, strict=True):
        np.testing.assert_allclose(tf.transpose(each, (0, 3, 1, 2)), golden[f"out/{task}"], rtol=1e-5, atol=1e-5)


def test_nddr_begins_as_published(modules):
    given = [keras.Input((None, None, 3)) for _ in "ab"]
    model = keras.Model(given, build_nddr(given, ["a", "b"], 0.9, 0.1, "stage1"))
    for variable in model.variables:
        if variable.path.endswith("kernel"):
            task = variable.path.split("/")[-2].split("_")[2]
            expected = modules[f"nddr_initial_weight_task_{task}"]
            np.testing.assert_allclose(variable.numpy().transpose(3, 2, 0, 1), expected, atol=1e-7)


def test_copies_of_the_encoder_carry_the_task():
    model = network("cross_stitch")
    assert {layer.name.partition("_encoder_")[0] for layer in encoder_layers(model)} == {"semseg", "depth"}
    inside = {in_encoder(variable.path) for variable in model.variables} - {""}
    assert inside == {variable.path for variable in build_encoder(ENCODER.name, (0, 0, 1)).variables}
