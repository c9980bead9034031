"""MTI-Net: published counts and modules, pyramids of any encoder, auxiliary tasks."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.errors import UsageError
from mtl_tf.models.encoders.squeeze_excitation import squeeze_excitation
from mtl_tf.models.propagation import TaskSoftmax, build_propagation
from tests.models.common import golden_module, take_weight, unfilled_variables
from tests.models.test_families import image, network, shuffled, tasks_of
from tests.models.test_padnet import costs, tasks_with

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("channels", "final", "parameters", "billions"),
    [
        ((40, 1), (), 8_578_179, 3.657),
        ((40, 1, 1, 3), (), 17_960_945, 6.056),
        ((40, 1, 1, 3), ("task0", "task1"), 14_838_121, 4.881),
        ((21, 7, 1, 3, 1), (), 24_494_171, 7.577),
    ],
)
def test_counts_on_hrnet_are_the_published_ones(channels, final, parameters, billions):
    with unfilled_variables():
        options = {"final": final}
        model = network("mtinet", tasks_with(*channels), options, encoder="hrnet_w18_small_v2", dilation=(0, 0, 0))
        assert costs(model) == (parameters, billions)


def test_squeeze_and_excitation_is_the_published_one(shared):
    golden = golden_module(shared, "squeeze_excitation")
    feature = keras.Input((None, None, 32))
    model = keras.Model(feature, squeeze_excitation(feature, "a"))
    for variable in model.variables:
        take_weight(variable, "squeeze.0" if "reduce" in variable.path else "squeeze.2", golden)
    np.testing.assert_allclose(model(golden["in/x"]), golden["out/y"], rtol=1e-5, atol=1e-6)


def of_propagation(path):
    """The published name of a module with variables."""
    task, *_, layer, _ = path.split("/")
    if task != "shared":
        return f"se.{task}.squeeze.{0 if 'reduce' in layer else 2}"
    if layer == "mask_conv":
        return "non_linear.2"
    block, _, part = layer.partition("_")
    blocks = {"block1": "non_linear.0", "block2": "non_linear.1", "reduce": "dimensionality_reduction"}
    return f"{blocks[block]}.{ {'downsample': 'downsample.0', 'downsample_bn': 'downsample.1'}.get(part, part) }"


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_feature_propagation_is_the_published_one(shared, names):
    golden = golden_module(shared, "feature_propagation")
    model = build_propagation(names, 16, "channels", "/scale8")
    for variable in model.variables:
        take_weight(variable, of_propagation(variable.path), golden)
    found = model([golden[f"in/features_{name}"] for name in names])
    for name, value in zip(names, found, strict=True):
        np.testing.assert_allclose(value, golden[f"out/{name}"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("over", ["channels", "tasks"])
def test_a_mask_sums_to_one(over):
    given = tf.random.stateless_normal((2, 3, 5, 3 * 4), [1, 2])
    layer = TaskSoftmax.from_config(TaskSoftmax(3, over).get_config())
    found = layer(given).numpy()
    groups = [[4 * task + channel for task in range(3)] for channel in range(4)]
    if over == "channels":
        groups = [[3 * group + place for place in range(3)] for group in range(4)]
    for group in groups:
        expected = tf.nn.softmax(tf.gather(given, group, axis=-1), -1)
        np.testing.assert_allclose(found[..., group], expected, rtol=1e-6)


def test_over_tasks_blocks_can_change_places():
    given = np.random.default_rng(0).normal(size=(1, 2, 3, 12)).astype(np.float32)
    blocks = np.concatenate(np.split(given, 3, -1)[::-1], -1)
    found = [np.split(TaskSoftmax(3, "tasks")(each).numpy(), 3, -1) for each in (given, blocks)]
    for one, other in zip(found[0], found[1][::-1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_auxiliary_tasks_answer_by_their_finest_prediction():
    with unfilled_variables():
        options = {"final": ("task1",), "scale_weight": 0.5}
        model = network("mtinet", tasks_of(2), options, dilation=(0, 0, 0))
    coarser = {f"task{n}@scale{stride}" for n in (0, 1) for stride in (8, 16, 32)}
    assert set(model.output) == {"task0", "task1", "task1@scale4"} | coarser
    assert model.label_weights == {"": 1.0} | {f"@scale{stride}": 0.5 for stride in (4, 8, 16, 32)}
    heads = {path.split("/")[0] for path in (variable.path for variable in model.variables) if "/hrnet/" in path}
    assert heads == {"task1"}


def projected(model):
    return {v.path.split("/")[2]: v.shape[-1] for v in model.variables if "/project/" in v.path and v.name == "kernel"}


def test_wide_features_are_projected_and_others_are_not():
    with unfilled_variables():
        found = projected(network("mtinet", encoder="resnet18", dilation=(0, 0, 0)))
        assert found == {"project4_conv": 48, "project8_conv": 96, "project16_conv": 192, "project32_conv": 384}
        found = projected(
            network("mtinet", options={"widths": (64, 256, 128, 256)}, encoder="resnet18", dilation=(0, 0, 0))
        )
        assert found == {"project16_conv": 128, "project32_conv": 256}


def test_dilation_leaves_fewer_scales():
    model = shuffled(network("mtinet", encoder="resnet18", dilation=(0, 1, 1)))
    found = model(image(45, 70))
    assert set(found) == {f"{task}{at}" for task in ("semseg", "depth") for at in ("", "@scale4", "@scale8")}
    assert projected(model) == {"project4_conv": 48, "project8_conv": 96}  # of 64 channels, and the last 512


def test_it_computes_in_a_graph_too():
    model = shuffled(network("mtinet"))
    expected, found = model(image()), tf.function(model, autograph=False)(image())
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5 * np.abs(value).max())


def test_a_single_scale_is_refused_in_one_line():
    message = "mtinet takes features of two or more of the strides 4, 8, 16, 32; tiny has 4 at model.dilation=1,1,1:"
    with unfilled_variables(), pytest.raises(UsageError, match=message):
        network("mtinet", dilation=(1, 1, 1))
