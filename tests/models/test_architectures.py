"""The networks: golden sizes, outputs of any shape, gradients, precision, names, and answers after reloading."""

import contextlib
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf import build_model, cityscapes_tasks
from mtl_tf.config import ENCODERS, ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.models.aspp import build_aspp
from mtl_tf.models.attention import build_attention
from mtl_tf.models.decoder import build_decoder, build_head
from mtl_tf.models.encoders import VITS
from mtl_tf.models.upsampled import UpsampledConv2D
from mtl_tf.tasks import Segmentation
from mtl_tf.training.checkpoints import load_weights, save_weights
from tests.models.common import convolve, difference, pictures, randomise, unfilled_variables
from tests.models.tiny import ENCODER

TASKS = cityscapes_tasks()
NAMES = ARCHITECTURES.built_in
FEW = ("joint", "branched", "distilled")
SOME = [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


def small(architecture="joint", tasks=TASKS, **options):
    """A network on the smallest encoder."""
    return build_model(ModelConfig(architecture=architecture, encoder=ENCODER.name, **options), tasks)


def parameters(model) -> int:
    """Trained parameters; running statistics are none."""
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def channels_of(output) -> int:
    """Of an output, by its name."""
    name, _, label = output.partition("@")
    task = next(task for task in TASKS if name.startswith(task.name))
    return {"regions": task.regions.channels, "cost": 1}.get(label, task.channels)


# === Size ===


@pytest.mark.parametrize(
    ("options", "millions"),
    [
        (dict(architecture="joint"), 26.72),
        (dict(architecture="branched"), 32.14),
        (dict(architecture="distilled"), 34.51),
        (dict(aspp=False, skip=False), 21.42),
        (dict(architecture="joint", encoder="resnet50"), 40.35),
        (dict(architecture="branched", encoder="resnet50"), 57.19),
        (dict(architecture="distilled", encoder="resnet50"), 59.56),
    ],
)
def test_parameter_counts(options, millions):
    with unfilled_variables():
        model = build_model(ModelConfig(**options), TASKS)
    assert round(parameters(model) / 1e6, 2) == millions


def test_parameter_counts_of_the_parts():
    # 1x1, three 3x3, pooling 1x1, projection of five times 256; a scale and a shift for each of the six.
    aspp = 512 * 256 + 3 * 9 * 512 * 256 + 512 * 256 + 5 * 256 * 256 + 6 * 2 * 256
    assert parameters(build_aspp(512, (3, 6, 9), True, "aspp")) == aspp
    assert round(aspp / 1e6, 2) == 4.13
    assert parameters(build_aspp(512, (3, 6, 9), False, "aspp")) == 512 * 256 + 2 * 256
    decoder = 64 * 48 + 2 * 48 + 9 * 304 * 256 + 9 * 256 * 256 + 2 * 2 * 256
    assert parameters(build_decoder([64], True, "decoder")) == decoder
    head = parameters(build_head(20, "head"))
    assert head == 256 * 20 + 20
    assert round(decoder / 1e6, 2) == 1.29
    assert parameters(build_decoder([64], False, "decoder")) == 0
    assert parameters(build_attention("attention")) == 2 * 9 * 256 * 256


@pytest.mark.parametrize(("architecture", "billions"), [("joint", 13.64), ("branched", 19.96), ("distilled", 29.65)])
def test_multiply_adds_of_a_256x256_image(architecture, billions, monkeypatch):
    found = []

    def count(kind):
        call = kind.call

        def counting(layer, inputs):
            outputs = call(layer, inputs)
            found.append(int(np.prod(outputs.shape)) * int(np.prod(layer.kernel.shape[:3])))
            return outputs

        monkeypatch.setattr(kind, "call", counting)

    model = build_model(ModelConfig(architecture=architecture), TASKS)
    for kind in (keras.layers.Conv2D, UpsampledConv2D):
        count(kind)
    tf.function(model).get_concrete_function(tf.TensorSpec((1, 256, 256, 3)))
    assert round(sum(found) / 1e9, 2) == billions


# === Outputs ===


def pairwise(**factors):
    """Few combinations in which every pair of values of two factors occurs."""
    names = list(factors)
    missing = {((a, x), (b, y)) for a, b in itertools.combinations(names, 2) for x in factors[a] for y in factors[b]}
    rows = []
    every = [dict(zip(names, values, strict=True)) for values in itertools.product(*factors.values())]

    def pairs(row):
        return {pair for pair in itertools.combinations(row.items(), 2)} & missing

    while missing:
        rows.append(max(every, key=lambda row: len(pairs(row))))
        missing -= pairs(rows[-1])
    return rows


# The rest of the network sees only an encoder's features: each encoder has one row, all other pairs the smallest.
FACTORS = dict(
    architecture=NAMES,
    aspp=(True, False),
    skip=(True, False),
    dilation=((0, 0, 0), (0, 1, 1)),  # the others change an encoder alone
    consistent_dilation=(False, True),
    aspp_rates=((3, 6, 9), (2,)),
)
COMBINATIONS = [{"encoder": ENCODER.name, **row} for row in pairwise(**FACTORS)]
# With one encoder: copies of the largest would not fit.
SINGLE = FACTORS | {"architecture": [name for name in NAMES if not ARCHITECTURES[name].Options]}
COMBINATIONS += [
    {"encoder": name, **{key: values[number % len(values)] for key, values in SINGLE.items()}}
    | (dict(dilation=(0, 0, 0)) if name.startswith(("hrnet", "swin", "mit")) or name in VITS else {})  # they have none
    for number, name in enumerate(ENCODERS.built_in)
]


def test_pairwise_covers_every_pair():
    rows = pairwise(a=(1, 2, 3), b=(1, 2), c=(1, 2))
    assert len(rows) < 12
    for first, second in itertools.combinations("abc", 2):
        found = {(row[first], row[second]) for row in rows}
        assert len(found) == (6 if first == "a" else 4)


# One encoder of each kind answers; its larger kin, of the same builder, is without values.
SMALL = (
    ENCODER.name,
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "resnet50_keras",
    "resnet50v2",
    "densenet121",
    "mobilenetv2",
)
SMALL += ("mobilenetv3_small", "efficientnet_b0", "efficientnetv2_b0", "convnext_tiny", "hrnet_w18_small_v2")
SMALL += ("dinov2_small", "swin_tiny", "mit_b0")


@pytest.mark.parametrize(
    "options",
    [pytest.param(row, marks=() if row["encoder"] in SMALL else pytest.mark.slow) for row in COMBINATIONS],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_every_pair_of_options_builds_and_answers(options):
    answers = options["encoder"] in SMALL
    with contextlib.nullcontext() if answers else unfilled_variables():
        model = build_model(ModelConfig(**options), TASKS)
    assert set(model.output) == {f"{task.name}{label}" for task in TASKS for label in model.label_weights}
    for name, value in model.output.items():
        assert value.shape == (None, None, None, channels_of(name))
    outputs = model(pictures(1, 33, 50)) if answers else {}
    for name, value in outputs.items():
        assert value.shape == (1, 33, 50, channels_of(name))
        assert value.dtype == tf.float32
        assert np.isfinite(value).all()


@pytest.mark.parametrize("architecture", FEW)  # of the others see test_families
def test_one_network_takes_every_size_and_batch(architecture):
    model = small(architecture)
    assert model.input_shape == (None, None, None, 3)
    assert model.inputs[0].name == "image"
    for batch, height, width in ((1, 1, 1), (3, 32, 32), (2, 65, 48), (1, 7, 90)):
        for name, value in model(pictures(batch, height, width)).items():
            assert value.shape == (batch, height, width, channels_of(name))


def test_the_answer_for_an_image_does_not_depend_on_the_others():
    model = small("distilled")
    randomise(model)
    images = pictures(3, 33, 48)
    together = model(images)
    for index in range(3):
        for name, value in model(images[index : index + 1]).items():
            assert difference(value[0], together[name][index]) < 1e-5


def test_head_answers_are_resized_with_half_pixel_centres():
    """The full-resolution answer is the head's at a quarter of the size, enlarged."""
    model = small()
    randomise(model)
    images = pictures(1, 32, 48)
    heads = keras.Model(model.input, {task.name: model.get_layer(task.name).input[0] for task in TASKS})
    outputs = model(images)
    for name, raw in heads(images).items():
        assert raw.shape[1:3] == (8, 12)
        np.testing.assert_allclose(outputs[name], tf.image.resize(raw, (32, 48)), rtol=1e-5, atol=1e-5)


def test_a_head_per_task_gives_what_one_wide_head_does_whose_enlarged_answer_is_cut():
    model = small()
    randomise(model)
    (kernels, biases) = ([model.get_layer(f"{task.name}_head").get_weights()[i] for task in TASKS] for i in (0, 1))
    feature = keras.Model(model.input, model.get_layer("semseg_head")._inbound_nodes[-1].input_tensors[0])
    images = pictures(2, 32, 48)
    narrow = feature(images)
    assert narrow.shape == (2, 8, 12, 256)
    wide = tf.nn.conv2d(narrow, np.concatenate(kernels, -1), 1, "SAME") + np.concatenate(biases)
    found = np.split(tf.image.resize(wide, (32, 48)), [TASKS[0].channels], -1)
    for task, cut in zip(TASKS, found, strict=True):
        assert difference(cut, model(images)[task.name]) < 1e-5


# === Tasks ===


@pytest.mark.parametrize("architecture", ["joint", "branched"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_single_task_networks(architecture, task):
    model = small(architecture, [task])
    outputs = model(pictures(2, 32, 32))
    assert {name: value.shape for name, value in outputs.items()} == {task.name: (2, 32, 32, task.channels)}


def test_distillation_needs_two_tasks():
    with pytest.raises(UsageError, match="at least two"):
        small("distilled", TASKS[:1])


def test_every_task_hears_every_other_one():
    parts = Segmentation(("a", "b", "c"), ((0, 0, 0),) * 3, name="parts")
    model = small("distilled", [*TASKS, parts])
    names = [task.name for task in (*TASKS, parts)]
    paths = {"/".join(variable.path.split("/")[:3]) for variable in model.variables if "/attention/" in variable.path}
    assert paths == {f"{one}/attention/{other}" for one in names for other in names if one != other}
    outputs = model(pictures(1, 32, 32))
    assert outputs["parts"].shape == outputs["parts_initial"].shape == (1, 32, 32, 3)


# === Attention ===


def test_a_message_is_the_value_times_its_gate():
    attention = build_attention("semseg/attention/depth")
    feature = np.random.default_rng(0).normal(size=(1, 4, 5, 256)).astype(np.float32)
    weights = {variable.path.split("/")[-2]: variable for variable in attention.variables}
    value = convolve(feature, weights["value"].numpy())
    # The gate starts at zero: sigmoid(0) = 1/2.
    assert not weights["gate"].numpy().any()
    np.testing.assert_allclose(attention(feature), value / 2, rtol=1e-3, atol=1e-5)
    weights["gate"].assign(np.random.default_rng(1).normal(0, 0.02, weights["gate"].shape))
    gate = 1 / (1 + np.exp(-convolve(feature, weights["gate"].numpy())))
    assert gate.min() < 0.3 and gate.max() > 0.7
    np.testing.assert_allclose(attention(feature), value * gate, rtol=1e-3, atol=1e-5)


def test_a_distilled_feature_is_the_own_one_plus_the_message():
    model = small("distilled")
    randomise(model)
    others = {"semseg": "depth", "depth": "semseg"}
    sums = {name: model.get_layer(f"{name}_distilled") for name in others}
    features = keras.Model(
        model.input,
        {name: layer.input[0] for name, layer in sums.items()}
        | {f"{name}_distilled": layer.output for name, layer in sums.items()},
    )(pictures(1, 32, 48))
    for name, other in others.items():
        message = model.get_layer(f"{name}_attention_{other}")(features[other])
        assert difference(features[f"{name}_distilled"], features[name] + message) < 1e-5


def test_without_messages_both_predictions_of_a_task_agree():
    """Silent attention and equal heads: P2 must be P1."""
    model = small("distilled")
    for variable in model.variables:
        if variable.path.endswith("attention/depth/value/kernel") or "attention/semseg/value/kernel" in variable.path:
            variable.assign(np.zeros(variable.shape))
    for task in TASKS:
        model.get_layer(f"{task.name}_head").set_weights(model.get_layer(f"{task.name}_head_initial").get_weights())
    outputs = model(pictures(1, 32, 48))
    for task in TASKS:
        assert difference(outputs[task.name], outputs[f"{task.name}_initial"]) < 1e-6


# === ASPP and decoder ===


def norm_relu(x, weights, name):
    x = (x - weights[f"{name}_bn/moving_mean"]) / np.sqrt(weights[f"{name}_bn/moving_variance"] + 1e-5)
    return np.maximum(x * weights[f"{name}_bn/gamma"] + weights[f"{name}_bn/beta"], 0)


def weights_below(model, path):
    return {variable.path.removeprefix(f"{path}/"): variable.numpy() for variable in model.variables}


def test_aspp_is_its_published_branches():
    aspp = build_aspp(6, (2, 3), True, "depth/aspp")
    randomise(aspp)
    weights = weights_below(aspp, "depth/aspp")
    feature = np.random.default_rng(0).normal(size=(2, 5, 7, 6)).astype(np.float32)

    def block(x, name, dilation=1):
        return norm_relu(convolve(x, weights[f"{name}_conv/kernel"], 1, dilation), weights, name)

    pooled = np.broadcast_to(block(feature.mean((1, 2), keepdims=True), "pool"), (2, 5, 7, 256))
    branches = [block(feature, "point"), block(feature, "atrous2", 2), block(feature, "atrous3", 3), pooled]
    assert difference(aspp(feature), block(np.concatenate(branches, -1), "project")) < 1e-5


def test_aspp_off_is_one_convolution():
    aspp = build_aspp(6, (2, 3), False, "aspp")
    randomise(aspp)
    weights = weights_below(aspp, "aspp")
    feature = np.random.default_rng(0).normal(size=(2, 5, 7, 6)).astype(np.float32)
    expected = norm_relu(convolve(feature, weights["project_conv/kernel"]), weights, "project")
    assert difference(aspp(feature), expected) < 1e-5


def test_the_decoder_fuses_the_enlarged_feature_with_the_skip():
    decoder = build_decoder([6], True, "semseg/decoder")
    randomise(decoder)
    weights = weights_below(decoder, "semseg/decoder")
    random = np.random.default_rng(0)
    feature, low_level = random.normal(size=(1, 2, 3, 256)), random.normal(size=(1, 7, 10, 6))
    feature, low_level = feature.astype(np.float32), low_level.astype(np.float32)

    def block(x, name):
        return norm_relu(convolve(x, weights[f"{name}_conv/kernel"]), weights, name)

    x = np.concatenate([tf.image.resize(feature, (7, 10)), block(low_level, "skip")], -1)
    assert difference(decoder([feature, low_level]), block(block(x, "fuse1"), "fuse2")) < 1e-4


def test_without_skip_the_decoder_only_enlarges():
    feature = np.random.default_rng(0).normal(size=(1, 2, 3, 256)).astype(np.float32)
    found = build_decoder([6], False, "decoder")([feature, np.zeros((1, 7, 10, 6), np.float32)])
    np.testing.assert_allclose(found, tf.image.resize(feature, (7, 10)), rtol=1e-5, atol=1e-6)


def test_heads_start_as_pytorch_convolutions_do():
    kernel, bias = build_head(512, "head").get_weights()
    for value in (kernel, bias):
        assert 0.9 / 16 < np.abs(value).max() <= 1 / 16
        assert abs(value.mean()) < 0.2 / 16


def test_weights_follow_the_global_seed():
    def weights(seed):
        keras.utils.set_random_seed(seed)
        return small().get_weights()

    first, same, other = weights(1), weights(1), weights(2)
    for a, b in zip(first, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


# === Gradients ===


def total_loss(outputs, targets):
    """The mean loss of all predictions, first ones too."""
    terms = [
        task.loss(raw, targets[task.name])
        for task in TASKS
        for name, raw in outputs.items()
        if name.startswith(task.name) and not name.endswith("@cost")
    ]
    return tf.add_n([total / count for total, count in terms])


def targets_of(batch, height, width, seed=0):
    random = np.random.default_rng(seed)
    return {
        "semseg": random.integers(0, 19, (batch, height, width)).astype(np.int32),
        "depth": random.uniform(4, 300, (batch, height, width)).astype(np.float32),
    }


def gradients_of(model, images, targets):
    with tf.GradientTape() as tape:
        loss = total_loss(model(images, training=True), targets)
    return loss, tape.gradient(loss, [variable.value for variable in model.trainable_variables])


@pytest.mark.parametrize(
    "options",
    [
        *[dict(architecture=architecture) for architecture in FEW],  # of the others see test_families
        dict(architecture="distilled", aspp=False, skip=False, dilation=(0, 1, 1)),
        dict(architecture="joint", encoder="resnet50", dilation=(1, 0, 0)),
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_a_gradient_reaches_every_weight_and_is_finite(options):
    """The gate of the attention too, which starts at zero."""
    keras.utils.set_random_seed(0)
    model = build_model(ModelConfig(**{"encoder": ENCODER.name, **options}), TASKS)
    loss, gradients = gradients_of(model, pictures(4, 48, 48), targets_of(4, 48, 48))
    assert np.isfinite(loss)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path
        assert np.abs(gradient).max() > 0, variable.path


def test_the_gradient_is_the_slope_of_the_loss():
    """A small step against the gradient lowers the loss by the step times its squared norm."""
    keras.utils.set_random_seed(0)
    model = small("distilled")
    images, targets = pictures(4, 48, 48), targets_of(4, 48, 48)
    before, gradients = gradients_of(model, images, targets)
    norm = sum(float(tf.reduce_sum(tf.square(gradient))) for gradient in gradients)
    step = 1e-3 * float(before) / norm
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        variable.assign_sub(step * gradient)
    after = total_loss(model(images, training=True), targets)
    assert float(before - after) == pytest.approx(step * norm, rel=0.1)


# === Precision ===


@pytest.mark.parametrize("policy", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def test_mixed_precision_answers_and_learns_in_float32(policy):
    keras.utils.set_random_seed(0)
    exact = small("distilled")
    images, targets = pictures(4, 32, 32), targets_of(4, 32, 32)  # half precision is slow on CPUs
    keras.config.set_dtype_policy(policy)
    model = small("distilled")
    model.set_weights(exact.get_weights())
    assert model.get_layer("encoder").get_layer("conv1").compute_dtype == policy.removeprefix("mixed_")
    assert {variable.dtype for variable in model.variables} == {"float32"}
    expected = exact(images)
    for name, value in model(images).items():
        assert value.dtype == tf.float32
        assert np.abs(value - expected[name]).max() < 0.1 * np.abs(expected[name]).max()
    loss, gradients = gradients_of(model, images, targets)
    assert float(loss) == pytest.approx(float(total_loss(exact(images, training=True), targets)), rel=0.05)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient.dtype == tf.float32
        assert np.isfinite(gradient).all(), variable.path


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_heads_compute_in_float32_under_every_policy(policy):
    """A bfloat16 head of 100 m would know depth to half a metre."""
    keras.config.set_dtype_policy(policy)
    head = build_head(3, "head")
    feature = tf.cast(np.random.default_rng(0).normal(size=(1, 4, 5, 256)), policy.removeprefix("mixed_"))
    found = head(feature)
    kernel, bias = head.get_weights()
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, tf.cast(feature, tf.float32) @ kernel[0, 0] + bias, rtol=1e-4, atol=1e-5)


# === Names, saving, loading ===


def paths(model):
    return [variable.path for variable in model.variables]


@pytest.mark.parametrize("architecture", NAMES)
def test_variable_paths_are_unique_and_stay(architecture):
    with unfilled_variables():
        first, again = paths(small(architecture)), paths(small(architecture))
    assert len(set(first)) == len(first)
    assert again == first
    roots = {path.split("/")[0] for path in first} - {"semseg", "depth", "shared"}
    copies = {root for root in roots if "expert_" in root}
    apart = {"exchange"} if ARCHITECTURES[architecture].copies and architecture != "mtan" else {"encoder"}
    assert roots == (copies or apart)
    between = ("joint", "mtan", "mtinet", "invpt")
    assert any(path.startswith("shared/") for path in first) == (architecture in between)


def test_variable_paths_by_part():
    with unfilled_variables():
        found = set(paths(small("distilled")))
        shared = paths(small("joint"))
    assert {
        "encoder/conv1/kernel",
        "encoder/bn1/moving_variance",
        "encoder/layer1_0_conv2/kernel",
        "encoder/layer2_0_downsample/kernel",
        "encoder/layer4_1_bn2/gamma",
        "semseg/aspp/point_conv/kernel",
        "semseg/aspp/atrous9_bn/beta",
        "depth/aspp/pool_conv/kernel",
        "depth/decoder/fuse2_conv/kernel",
        "depth/decoder/skip_bn/moving_mean",
        "semseg/head_initial/conv/bias",
        "depth/head/conv/kernel",
        "semseg/attention/depth/gate/kernel",
        "depth/attention/semseg/value/kernel",
    } <= found
    assert {path.split("/")[1] for path in shared if path.startswith("shared/")} == {"aspp", "decoder"}


def same_answers(model, copy):
    images = pictures(2, 33, 48)
    expected, found = model(images), copy(images)
    assert set(found) == set(expected)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5)
    return expected


@pytest.mark.parametrize("architecture", FEW)  # of the others see test_family_training
def test_saved_weights_give_the_same_answers(architecture, tmp_path):
    keras.utils.set_random_seed(0)
    model, copy = small(architecture), small(architecture)
    randomise(model)
    save_weights(model, tmp_path / "weights.h5")
    load_weights(copy, tmp_path / "weights.h5")
    same_answers(model, copy)


def test_weights_of_another_network_are_refused_and_nothing_changes(tmp_path):
    save_weights(small("joint"), tmp_path / "weights.h5")
    model = small("branched")
    before = model.get_weights()
    with pytest.raises(UsageError, match="another network"):
        load_weights(model, tmp_path / "weights.h5")
    for value, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)


@pytest.mark.parametrize("architecture", SOME)
def test_a_saved_model_gives_the_same_answers(architecture, tmp_path):
    model = small(architecture, dilation=(1, 0, 0), consistent_dilation=True)
    randomise(model)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    same_answers(model, copy)
    for value, old in zip(copy.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, old)
