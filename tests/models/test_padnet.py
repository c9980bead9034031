"""PAD-Net: published counts and modules, every kind of message, auxiliary tasks.

Counts and modules: shared/goldens; networks of NYUD's tasks and of PASCAL's, encoders at stride 8, or HRNet.
"""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models.attention import build_attention
from mtl_tf.models.costs import multiply_adds
from mtl_tf.models.distillation import distil
from mtl_tf.objective import mean_losses
from mtl_tf.tasks import cityscapes_tasks
from tests.models.common import golden_module, take_weight, unfilled_variables
from tests.models.test_families import NYUD, image, network, shuffled, tasks_of

pytestmark = pytest.mark.slow

SEMSEG, DEPTH = cityscapes_tasks()


def tasks_with(*channels):
    """Tasks of so many channels."""
    return tuple(
        dataclasses.replace(
            SEMSEG, name=f"task{n}", classes=tuple(map(str, range(count))), palette=((0, 0, 0),) * count
        )
        if count > 1
        else dataclasses.replace(DEPTH, name=f"task{n}")
        for n, count in enumerate(channels)
    )


def costs(model):
    """Trainable parameters, and multiply-adds in 1e9 at 256x256."""
    count = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    return count, pytest.approx(multiply_adds(model, (256, 256)) / 1e9, abs=6e-4)


@pytest.mark.parametrize(
    ("encoder", "parameters", "billions"),
    [("resnet18", 14_416_018, 15.342), ("resnet50", 27_730_578, 29.234)],
)
def test_counts_of_a_dilated_encoder_are_the_published_ones(encoder, parameters, billions):
    with unfilled_variables():
        model = network("padnet", NYUD, encoder=encoder, dilation=(0, 1, 1), consistent_dilation=True)
        assert costs(model) == (parameters, billions)


@pytest.mark.parametrize(
    ("channels", "final", "parameters", "billions"),
    [
        ((40, 1), (), 7_019_056, 14.986),
        ((40, 1, 1, 3), (), 19_521_848, 66.168),
        ((40, 1, 1, 3), ("task0", "task1"), 12_161_332, 36.032),
        ((21, 7, 1, 3, 1), (), 29_304_992, 106.225),
    ],
)
def test_counts_on_hrnet_are_the_published_ones(channels, final, parameters, billions):
    with unfilled_variables():
        options = {"feature": "fused", "final": final}
        model = network("padnet", tasks_with(*channels), options, encoder="hrnet_w18_small_v2", dilation=(0, 0, 0))
        assert costs(model) == (parameters, billions)


def test_a_message_is_the_published_one(shared):
    golden = golden_module(shared, "pad_net_attention")
    model = build_attention("a/attention/b", channels=6)
    for variable in model.variables:
        take_weight(variable, "attention.0" if "/gate/" in variable.path else "conv", golden)
    np.testing.assert_allclose(model(golden["in/x"]), golden["out/y"], rtol=1e-5, atol=1e-6)


def distillation(names, final, kind="gate_source", channels=6):
    inputs = {name: keras.Input((None, None, channels), name=name) for name in names}
    return keras.Model(inputs, distil(ModelConfig(), inputs, final, kind))


def test_distillation_is_the_published_one(shared):
    golden = golden_module(shared, "multi_modal_distillation_2_of_3")
    model = distillation("abc", "ab")
    for variable in model.variables:
        target, _, source, part, _ = variable.path.split("/")
        take_weight(variable, f"self_attention.{target}.{source}.{'attention.0' if part == 'gate' else 'conv'}", golden)
    found = model({name: golden[f"in/features_{name}"] for name in "abc"})
    for name in "ab":
        np.testing.assert_allclose(found[name], golden[f"out/{name}"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["gate_source", "gate_target", "add", "concat"])
def test_what_is_distilled_follows_the_formula(kind):
    model = shuffled(distillation("abc", "ac", kind))
    kernels = {variable.path: variable.value for variable in model.variables}
    features = {name: tf.random.stateless_normal((1, 4, 5, 6), [1, seed]) for seed, name in enumerate("abc")}

    def convolved(name, path):
        return tf.nn.conv2d(features[name], kernels[f"{path}/kernel"], 1, "SAME")

    found = model(features)
    assert set(found) == {"a", "c"}
    for target in "ac":
        expected = features[target]
        for source in sorted({"a", "b", "c"} - {target}):
            path = f"{target}/attention/{source}"
            message = 0.0 if kind == "concat" else convolved(source, f"{path}/value")
            if kind == "gate_source":
                message *= tf.sigmoid(convolved(source, f"{path}/gate"))
            if kind == "gate_target":
                message *= tf.sigmoid(convolved(target, f"{target}/attention/gate"))
            expected += message
        if kind == "concat":
            expected = tf.concat([features[name] for name in "abc"], -1)
        np.testing.assert_allclose(found[target], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["gate_target", "add", "concat"])
def test_every_kind_of_message_learns_and_keeps_to_the_names_of_the_tasks(kind):
    tasks = tasks_of(3)
    options = {"distillation": kind, "final": ("task0", "task2")}
    model, turned = (shuffled(network("padnet", given, options)) for given in (tasks, tasks[::-1]))
    with tf.GradientTape() as tape:
        outputs = model(image(), training=True)
        total = tf.add_n([tf.reduce_sum(tf.square(output)) for output in outputs.values()])
    gradients = tape.gradient(total, [variable.value for variable in model.trainable_variables])
    assert all(gradient is not None and np.any(gradient) for gradient in gradients)
    first, second = shuffled(model)(image()), turned(image())
    for name, value in first.items():
        np.testing.assert_allclose(value, second[name], rtol=1e-4, atol=1e-5 * np.abs(value).max())


def test_auxiliary_tasks_answer_by_their_initial_prediction():
    tasks = tasks_of(3)
    with unfilled_variables():
        everything = network("padnet", tasks)
        model = network("padnet", tasks, {"final": ("task2",), "initial_weight": 0.25})
    assert set(everything.output) == {f"task{n}{label}" for n in range(3) for label in ("", "_initial")}
    assert set(model.output) == {"task0", "task1", "task2", "task2_initial"}
    assert model.label_weights == {"_initial": 0.25, "": 1.0}
    parts = {tuple(variable.path.split("/")[:2]) for variable in model.variables}
    assert {part for task, part in parts if task == "task0"} == {"blocks_initial", "head"}
    assert {part for task, part in parts if task == "task2"} == {
        "blocks_initial",
        "head_initial",
        "attention",
        "blocks",
        "head",
    }


def test_the_loss_weighs_initial_predictions_of_final_tasks():
    outputs = {"semseg": 1.0, "depth": 2.0, "depth_initial": 3.0}
    outputs = {name: tf.fill((1, 2, 2, 19 if name == "semseg" else 1), value) for name, value in outputs.items()}
    labels = {"semseg": tf.zeros((1, 2, 2), tf.int32), "depth": tf.ones((1, 2, 2))}
    counts = {"semseg": 4.0, "depth": 4.0}

    def losses(names, weights):
        return mean_losses((SEMSEG, DEPTH), {name: outputs[name] for name in names}, labels, counts, weights)

    both = losses(outputs, {"": 1.0, "_initial": 0.25})
    answers = losses(("semseg", "depth"), {"": 1.0})
    initial = mean_losses((DEPTH,), {"depth": outputs["depth_initial"]}, labels, counts, {"": 1.0})
    assert float(both["semseg"]) == float(answers["semseg"])
    assert float(both["depth"]) == pytest.approx(float(answers["depth"] + 0.25 * initial["depth"]))


@pytest.mark.parametrize("architecture", ["padnet", "mtinet"])
def test_a_final_task_that_is_not_there_is_refused_in_one_line(architecture):
    message = (
        rf"^arch\.{architecture}\.final=depht takes tasks of the network, semseg, depth; got 'depht': did you mean "
        "depth[?] add it to --tasks, or leave it out$"
    )
    with unfilled_variables(), pytest.raises(UsageError, match=message):
        network(architecture, options={"final": ("depht",)})


@pytest.mark.parametrize("architecture", ["padnet", "mtinet"])
def test_recomputed_parts_compute_the_same(architecture):
    options = {"widths": (16,) * 4} if architecture == "mtinet" else None
    plain, again = (network(architecture, options=options, recompute=recompute) for recompute in (False, True))
    assert [variable.path for variable in again.variables] == [variable.path for variable in plain.variables]
    for name, value in plain(image()).items():
        np.testing.assert_array_equal(again(image())[name], value)
