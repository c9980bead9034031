"""mmoe, cgc, ple, dselect_k and ltb: published counts and modules, gates of any image, selections, choices, pruning."""

import dataclasses
import math
import os
import signal
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtl_tf
from mtl_tf.commands import main
from mtl_tf.config import ModelConfig, OptimConfig, replace
from mtl_tf.errors import UsageError
from mtl_tf.inference.answering import answer_module
from mtl_tf.inference.runs import open_run
from mtl_tf.models.choice import Choice, pruned
from mtl_tf.models.costs import multiply_adds
from mtl_tf.models.cut import cut
from mtl_tf.models.encoder_layers import encoder_layers, encoder_stages, in_encoder
from mtl_tf.models.encoders import build_encoder
from mtl_tf.models.encoders.pyramid import encoder_model
from mtl_tf.models.epochs import begin_epoch
from mtl_tf.models.experts import Mixture
from mtl_tf.models.folding import fold
from mtl_tf.models.gates import SIDE, Selection, Thumbnail, selecting_gate, smooth_step
from mtl_tf.models.layers import IMAGENET, Conv2D, Whiten, bn_relu, scope
from mtl_tf.models.reach import reach
from mtl_tf.models.weights import load_pretrained
from mtl_tf.objective import count_of, mean_losses
from mtl_tf.tasks import answers
from mtl_tf.training import trainer
from mtl_tf.training.checkpoints import save_weights
from mtl_tf.training.optimisers import rate_factors_of
from mtl_tf.training.step import encoder_frozen
from mtl_tf.training.trained_run import read_configuration
from tests.helpers import TINY, as_built_in, assert_same_run
from tests.models.common import difference, pictures, randomise, unfilled_variables
from tests.models.test_families import DEPTH, SEMSEG, image, modules, network, shuffled, tasks_of

pytestmark = pytest.mark.slow

__all__ = ["modules"]  # a fixture

MIXTURES = ("mmoe", "cgc", "ple", "dselect_k", "ltb")


# === Published counts: LibMTL, ResNet50, shared/goldens/parameters.json ===


def segmentation(classes, name):
    return dataclasses.replace(
        SEMSEG, name=name, classes=tuple(map(str, range(classes))), palette=((0, 0, 0),) * classes
    )


NYU = (segmentation(13, "semseg"), DEPTH, segmentation(3, "normals")), (288, 384)  # counts ask for channels alone
CITY = (segmentation(7, "semseg"), DEPTH), (128, 256)
PUBLISHED = {
    ("mmoe", "nyu"): (121_890_778, 207.046),
    ("cgc", "nyu"): (144_403_479, 249.082),
    ("ple", "nyu"): (173_599_791, 333.236),
    ("dselect_k", "nyu"): (124_876_771, None),
    ("ltb", "nyu"): (118_904_839, 207.011),
    ("mmoe", "city"): (79_662_220, 40.896),
    ("cgc", "city"): (103_170_252, 53.355),
    ("ple", "city"): (108_937_436, 65.825),
    ("dselect_k", "city"): (80_055_440, None),
    ("ltb", "city"): (79_269_024, 40.891),
}


def gates_of(architecture, count):
    """Outputs of all gates that see the image, and of each that sees a stage."""
    experts, bits = count, math.ceil(math.log2(count))
    return {
        "mmoe": (count * experts, 0),
        "cgc": (count * 2, 0),
        "ple": (count * 2, count * 2),
        "dselect_k": (count * (2 * bits + 2), 0),
        "ltb": (0, 0),
    }[architecture]


@pytest.mark.parametrize(("architecture", "data"), list(PUBLISHED))
def test_parameters_and_multiply_adds_are_the_published_ones_but_for_the_gates(architecture, data):
    """A gate of the image has 3 * SIDE^2 inputs for 3 * H * W, one of a stage C for h * w * C."""
    tasks, (height, width) = NYU if data == "nyu" else CITY
    with unfilled_variables():
        model = network(architecture, tasks, encoder="resnet50", dilation=(0, 1, 1), consistent_dilation=True)
        counted = multiply_adds(model, (height, width)) / 1e9
    parameters, billions = PUBLISHED[architecture, data]
    of_image, of_stages = gates_of(architecture, len(tasks))
    begins = ((64, 4), (256, 4), (512, 8), (1024, 8))  # channels and stride of what a stage begins with
    fewer = of_image * 3 * (height * width - SIDE**2)
    fewer += of_stages * sum(channels * (height * width // stride**2 - 1) for channels, stride in begins)
    more = fewer
    if architecture == "ltb":  # of six rows of alpha published two are never used
        fewer = 2 * len(tasks) ** 2
    if architecture == "ple":  # the shared stem is run once, not once a task
        more += (len(tasks) - 1) * 3 * 7 * 7 * 64 * (height // 2) * (width // 2)
    assert sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) == parameters - fewer
    if billions:
        assert counted == pytest.approx(billions - more / 1e9, abs=6e-4)


# === Modules ===


def test_a_mixture_is_the_published_one(modules):
    experts = [tf.transpose(expert, (0, 2, 3, 1)) for expert in modules["mmoe/experts"]]
    found = Mixture()(modules["mmoe/selector"], experts)
    np.testing.assert_allclose(tf.transpose(found, (0, 3, 1, 2)), modules["mmoe/mixture"], rtol=1e-5, atol=1e-6)


def test_the_smooth_step_is_the_published_one(modules):
    found = smooth_step(tf.constant(modules["dselect/smooth_step_in"]))
    np.testing.assert_allclose(found, modules["dselect/smooth_step_out"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", [(64, 96), (45, 70), (7, 1)])
def test_a_thumbnail_is_the_mean_of_areas(size):
    """Every pixel as large as the thumbnail, whose pixels are as large as the image, is a mean of equal numbers."""
    pixels = np.random.default_rng(0).normal(size=(2, *size, 3))
    fine = pixels.repeat(SIDE, 1).repeat(SIDE, 2).reshape(2, SIDE, size[0], SIDE, size[1], 3)
    np.testing.assert_allclose(Thumbnail()(pixels.astype(np.float32)), fine.mean((2, 4)), atol=1e-5)


# === DSelect-k ===


@pytest.mark.parametrize("experts", [2, 3, 4, 5])
def test_settled_codes_select_an_expert_each_and_cost_nothing(experts):
    bits = math.ceil(math.log2(experts))
    numbers = np.array([[0, experts - 1], [experts - 1, experts - 1]])  # of the experts, two selectors an image
    codes = np.where((numbers[..., None] >> np.arange(bits)) & 1, 1.0, -1.0).reshape(2, -1).astype(np.float32)
    logits = np.array([[0.0, np.log(3.0)], [5.0, -5.0]], np.float32)
    weights, cost = Selection(experts, 1.0)(codes, logits)
    expected = np.zeros((2, experts))
    expected[0, 0], expected[0, -1], expected[1, -1] = 0.25, 0.75, 1.0
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    assert cost.shape == (2, 1, 1, 1) and np.abs(cost).max() < 1e-5


def test_what_a_selection_costs():
    """Three experts of four codes: half open, each selector gives a quarter to each."""
    weights, cost = Selection(3, 0.1)(np.zeros((1, 4), np.float32), np.zeros((1, 2), np.float32))
    np.testing.assert_allclose(weights, [[0.25] * 3], rtol=1e-6)
    np.testing.assert_allclose(cost[0, 0, 0], [2 * (0.1 * 0.75 * np.log(4) + 1 / 0.75 - 1)], rtol=1e-4)
    none = tf.constant([[1.0, 1.0]])
    with tf.GradientTape() as tape:
        tape.watch(none)
        cost = Selection(3, 0.1)(none, tf.zeros((1, 1)))[1]
    assert np.isfinite(cost).all() and np.isfinite(tape.gradient(cost, none)).all()


def test_the_cost_drives_codes_to_experts():
    given = keras.Input((4,))
    gate = keras.Model(given, selecting_gate(given, 3, 2, 0.1, "gate"))
    optimizer = keras.optimizers.SGD(0.1)
    for _ in range(100):
        with tf.GradientTape() as tape:
            weights, cost = gate(tf.ones((1, 4)))
            total = tf.reduce_sum(cost)
        trained = gate.trainable_variables
        optimizer.apply(tape.gradient(total, [variable.value for variable in trained]), trained)
    assert float(total) < 0.01 and np.sum(weights) == pytest.approx(1.0, abs=0.01)


def test_every_task_pays_for_its_selection():
    tasks = SEMSEG, DEPTH
    model = network("dselect_k", tasks, {"experts": 3, "regulariser": 0.5})
    outputs = model(image(), training=True)
    labels = {"semseg": np.zeros((2, 48, 64), np.int32), "depth": np.full((2, 48, 64), 9.0, np.float32)}
    labels["depth"][0, :5] = 0.0
    counts = {task.name: count_of(task, labels[task.name], model.label_weights) for task in tasks}
    losses = mean_losses(tasks, outputs, labels, counts, model.label_weights)
    for task in tasks:
        alone, count = task.loss(outputs[task.name], labels[task.name])
        valid = np.asarray(task.valid(labels[task.name]))
        cost = outputs[f"{task.name}@cost"][..., 0].numpy()[valid].mean()
        assert cost > 0.1
        assert float(losses[task.name]) == pytest.approx(float(tf.reduce_sum(alone / count)) + cost, rel=1e-5)


@pytest.mark.parametrize(
    ("architecture", "options", "told"),
    [
        ("mmoe", {"experts": 1}, "arch.mmoe.experts=1: a single expert leaves nothing to mix"),
        ("dselect_k", {"experts": 2, "k": 3}, "arch.dselect_k.k=3: there are 2 experts"),
    ],
)
def test_what_cannot_be_mixed_is_refused(architecture, options, told):
    with pytest.raises(UsageError, match=told):
        network(architecture, options=options)


# === Copies ===


@pytest.mark.parametrize("architecture", ["cgc", "ple"])
def test_every_copy_is_an_encoder(architecture, tmp_path):
    """It starts from the pretrained weights, has a rate of its own and is frozen."""
    encoder = build_encoder("resnet18", (0, 0, 1))
    randomise(encoder)
    save_weights(encoder, tmp_path / "encoder.h5")
    model = network(architecture, encoder="resnet18")
    config = ModelConfig(encoder_weights=str(tmp_path / "encoder.h5"), encoder="resnet18")
    said = load_pretrained(model, config)
    assert "in each of 3 encoders" in said
    values = {variable.path: variable.numpy() for variable in encoder.variables}
    inside = [variable for variable in model.variables if in_encoder(variable.path)]
    assert len(inside) == 3 * len(values)
    for variable in inside:
        np.testing.assert_array_equal(variable.numpy(), values[in_encoder(variable.path)])
    trained = {variable.path for variable in inside if variable.trainable}
    assert {path.split("/")[0] for path in trained} == {"expert_0", "semseg_expert_0", "depth_expert_0"}
    factors = rate_factors_of(OptimConfig(encoder_rate=0.5), model)
    slower = {v.path for v, factor in zip(model.trainable_variables, factors, strict=True) if factor == 0.5}
    assert slower == set(encoder_stages(model)) == trained
    assert {v.path for layer in encoder_layers(model) for v in layer.trainable_variables} == trained
    with encoder_frozen(model, True):
        assert not trained & {variable.path for variable in model.trainable_variables}


@pytest.mark.parametrize("architecture", MIXTURES)
@pytest.mark.parametrize("head", ["hrnet", "fcn"])
def test_heads_of_all_features(architecture, head):
    with unfilled_variables():
        model = network(architecture, options={"head": head}, encoder="resnet18", dilation=(0, 0, 0))
        kernels = [variable for variable in model.variables if variable.path.endswith(f"{head}/fuse_conv/kernel")]
    assert [kernel.shape[2] for kernel in kernels] == [64 + 128 + 256 + 512] * 2


@pytest.mark.parametrize("architecture", ["mmoe", "cgc", "ple", "dselect_k"])
def test_a_single_task_has_experts_too(architecture):
    model = network(architecture, (DEPTH,))
    assert len({v.path.partition("/encoder/")[0] for v in model.variables if "/encoder/" in v.path}) == 2
    assert model(image(45, 70))["depth"].shape == (2, 45, 70, 1)


@pytest.mark.parametrize("architecture", ["mmoe", "ple"])
def test_features_of_equal_encoders_are_those_of_one(architecture):
    """Whatever the gates say, since the weights of a mixture add up to 1."""
    model, one = network(architecture), shuffled(network("hps"))
    values = {variable.path: variable.numpy() for variable in one.variables}
    for variable in model.variables:
        if (path := in_encoder(variable.path) or variable.path) in values:
            variable.assign(values[path])
    for name, expected in one(image()).items():
        np.testing.assert_allclose(model(image())[name], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


# === What is shared ===


@pytest.mark.parametrize(
    ("architecture", "shared"),
    [
        ("mmoe", {"expert_0", "expert_1"}),
        ("cgc", {"expert_0"}),
        ("ple", {"expert_0"}),
        ("dselect_k", {"expert_0", "expert_1"}),
        ("ltb", {"semseg", "depth", "exchange"}),
    ],
)
def test_shared_experts_are_shared_and_own_ones_are_not(architecture, shared):
    with unfilled_variables():
        found = reach(network(architecture), (SEMSEG, DEPTH))
    assert {path.split("/")[0] for path, tasks in found.items() if all(tasks)} == shared
    assert {tasks for path, tasks in found.items() if path.startswith("depth_expert_0/")} <= {(False, True)}
    assert {tasks for path, tasks in found.items() if path.startswith("semseg/gate")} <= {(True, False)}


def test_networks_are_cut_at_the_features_of_shared_experts():
    tasks = SEMSEG, DEPTH
    with unfilled_variables():
        found = cut(network("cgc"), tasks)
        assert found.names == ("expert_0_encoder/stride16",)
        assert {variable.path.split("/")[0] for variable in found.trunk.variables} == {"expert_0"}
        with pytest.raises(UsageError, match=r"balance\.source=features needs features through which alone shared"):
            cut(network("ple"), tasks)


# === LTB ===


def choice(**options):
    layer = Choice(**options)
    features = [tf.fill((1, 2, 2, 3), float(number)) for number in (1, 10, 100)]
    layer(features)
    return layer, features


def test_all_features_are_taken_first():
    for warm_up, expected in (("mean", 37.0), ("sum", 111.0)):
        layer, features = choice(warm_up=warm_up)
        layer.begin_epoch(1, 200)
        for training in (True, False):
            np.testing.assert_allclose(layer(features, training=training), np.full((1, 2, 2, 3), expected), rtol=1e-6)
        assert layer.chosen() is None


def test_the_temperature_is_the_published_one():
    layer, _ = choice()
    for epoch, expected in ((0, 0.0), (1, 0.0), (2, 10 / np.sqrt(3)), (199, 10 / np.sqrt(200))):
        layer.begin_epoch(epoch, 200)
        assert float(layer.temperature) == pytest.approx(expected)


def test_a_feature_is_drawn_by_its_share_and_the_largest_answers():
    keras.utils.set_random_seed(3)
    layer, features = choice()
    layer.alpha.assign(np.log([0.2, 0.5, 0.3]))
    drawn = [float(layer(features, training=True)[0, 0, 0, 0]) for _ in range(1000)]
    shares = [drawn.count(value) / 1000 for value in (1.0, 10.0, 100.0)]
    np.testing.assert_allclose(shares, [0.2, 0.5, 0.3], atol=0.05)
    assert layer.chosen() == 1
    np.testing.assert_array_equal(layer(features), features[1])


def test_the_gradient_of_a_draw_is_that_of_the_softmax():
    keras.utils.set_random_seed(3)
    layer, features = choice()
    layer.temperature.assign(0.7)
    state = layer.draws.numpy()
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(features, training=True))
    found = tape.gradient(total, layer.alpha.value)
    uniform = tf.random.stateless_uniform((3,), state)
    alpha = tf.Variable(tf.ones(3))
    with tf.GradientTape() as tape:
        soft = tf.nn.softmax((alpha - tf.math.log(-tf.math.log(uniform))) / 0.7)
        total = 12.0 * tf.reduce_sum(soft * [1.0, 10.0, 100.0])
    np.testing.assert_allclose(found, tape.gradient(total, alpha), rtol=1e-4)


def test_a_seed_gives_the_same_draws():
    outputs = [network("ltb")(image(), training=True) for _ in range(2)]
    for name, value in outputs[0].items():
        np.testing.assert_array_equal(value, outputs[1][name])


def with_choices(places):
    """A network of random weights in which each stage of each of three tasks goes on from a task."""
    model = network("ltb", tasks_of(3))
    randomise(model)
    begin_epoch(model, 50, 100)
    for layer in model.layers:
        if isinstance(layer, Choice):
            stage, task = (int(part[-1]) for part in layer.name.split("_")[1:])
            order = [task, *(other for other in range(3) if other != task)]
            layer.alpha.assign(np.eye(3)[order.index(places[stage - 1][task])])
    return model


def count(model):
    return sum(int(np.prod(variable.shape)) for variable in model.variables)


def test_what_no_task_has_chosen_is_left_out():
    """Task 0 alone until stage 2; from there the first two are one branch until stage 4, the last another."""
    model = with_choices([[0, 0, 0], [0, 0, 0], [0, 0, 2], [0, 0, 2]])
    small = pruned(model)
    parts = {layer.name for layer in encoder_layers(small)}
    expected = {f"task0_encoder_stage{stage}" for stage in range(5)}
    expected |= {f"task2_encoder_stage{stage}" for stage in (2, 3, 4)} | {"task1_encoder_stage4"}
    assert parts == expected and not any(isinstance(layer, Choice) for layer in small.layers)
    left_out = sum(count(layer) for layer in encoder_layers(model) if layer.name not in parts)
    assert left_out and count(small) == count(model) - left_out - 12 * (3 + 1)  # alpha, temperature
    assert multiply_adds(small, (64, 64)) < multiply_adds(model, (64, 64))
    folded, images = fold(small), pictures(2, 33, 48)
    for name, answer in model(images).items():
        np.testing.assert_array_equal(small(images)[name], answer)
        assert difference(folded(images)[name], answer) < 1e-4


def test_nothing_is_left_out_while_all_is_taken():
    model = with_choices([[0, 0, 0]] * 4)
    begin_epoch(model, 0, 100)
    small, images = fold(pruned(model)), pictures(1, 33, 48)
    assert len(encoder_layers(small)) == 15
    for name, answer in model(images).items():
        assert difference(small(images)[name], answer) < 1e-4


def test_equal_encoders_begin_as_one_by_their_mean():
    """By the sum they do not: batch norm's statistics are those of one feature."""
    one = shuffled(network("hps"))
    values = {variable.path: variable.numpy() for variable in one.variables}
    far = {}
    for warm_up in ("mean", "sum"):
        model = network("ltb", options={"warm_up": warm_up})
        for variable in model.variables:
            if (path := in_encoder(variable.path) or variable.path) in values:
                variable.assign(values[path])
        begin_epoch(model, 0, 100)
        found = model(image())
        far[warm_up] = max(difference(found[name], answer) for name, answer in one(image()).items())
    assert far["mean"] < 1e-4 and far["sum"] > 0.1


# === In a run ===


def small_encoder(dilation, consistent, excite):
    """A stem and three stages of one convolution each."""
    del dilation, consistent, excite
    inputs = keras.Input((None, None, 3), name="image")
    x, features = Whiten(**IMAGENET, name="whiten")(inputs), []
    with scope("encoder"):
        for number, (width, stride) in enumerate(((4, 4), (4, 1), (6, 2), (8, 2))):
            x = Conv2D(width, 3, stride, padding="same", use_bias=False, name=f"conv{number}")(x)
            x = bn_relu(x, f"conv{number}")
            features.append(x)
    return encoder_model(inputs, list(zip((4, 8, 16), features[1:], strict=True)))


def test_a_run_goes_from_all_features_to_one_also_when_it_was_stopped(tiny_dataset, tmp_path):
    """It ends bit for bit as the run that was not, and answers by what it has chosen, without what it has not."""

    def arguments(name):
        run = [f"--data.root={tiny_dataset}", "--data.image_size=32,48", f"--run_dir={tmp_path / name}"]
        own = ["--model.encoder=small", "--model.architecture=ltb", "--log.panels_every=0", "--train.average=ema"]
        return ["train", *TINY, *run, *own]

    told = []

    def stopping(model, epoch, epochs):
        begin_epoch(model, epoch, epochs)
        told.append((epoch, epochs))
        if epoch:
            os.kill(os.getpid(), signal.SIGTERM)

    with as_built_in():
        mtl_tf.register(mtl_tf.Encoder("small", small_encoder))
        assert main(arguments("whole")) == 0
        with mock.patch.object(trainer, "begin_epoch", stopping):
            assert main(arguments("stopped")) == 4
        assert told == [(0, 2), (0, 2), (1, 2)]  # before the averages begin, and before each epoch
        assert main(arguments("stopped")) == 0
        assert_same_run(tmp_path / "stopped", tmp_path / "whole")
        run = open_run(replace(read_configuration(tmp_path / "whole"), run_dir=str(tmp_path / "whole")))
        module, _ = answer_module(tmp_path / "whole")
        pixels = pictures(1, 32, 48).astype(np.uint8)
        expected, found = answers(run.tasks, run.model(pixels.astype(np.float32))), module.native(pixels)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4)
        choices = [layer for layer in run.model.layers if isinstance(layer, Choice)]
        taken = {float(layer.temperature.numpy()) for layer in choices}
        assert len(choices) == 2 * 3 and len(taken) == 1 and taken <= {0.0, np.float32(0.1 / math.sqrt(2))}
