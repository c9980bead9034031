"""The training step: the same on any number of devices, safe against what is not finite, and a step of the method."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf import config as configuration
from mtl_tf.models import build_model
from mtl_tf.tasks import cityscapes_tasks
from mtl_tf.training import runtime
from mtl_tf.training.optimisers import build_optimizer
from mtl_tf.training.step import TrainingStep
from tests.helpers import ROOT
from tests.training.replicas import batches


def _three_steps(tmp_path, devices, optimizer, architecture):
    path = tmp_path / f"{devices}.npz"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    script = ROOT / "tests" / "training" / "replicas.py"
    subprocess.run([sys.executable, script, str(devices), optimizer, architecture, path], check=True, env=environment)
    return np.load(path)


@pytest.mark.parametrize(("optimizer", "architecture"), [("sgd", "distilled"), ("adam", "joint")])
def test_two_devices_equal_one(tmp_path, optimizer, architecture):
    one, two = (_three_steps(tmp_path, devices, optimizer, architecture) for devices in (1, 2))
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-5)
    for name in one.files:
        if name.startswith("output/"):
            np.testing.assert_allclose(two[name], one[name], atol=1e-5 * np.abs(one[name]).max(), err_msg=name)
        elif name.startswith("weight/") and optimizer == "sgd":
            # Adam turns the rounding noise of zero gradients into weights.
            np.testing.assert_allclose(two[name], one[name], atol=1e-5 * max(1, np.abs(one[name]).max()), err_msg=name)


def _step(**options):
    config = configuration.replace(configuration.Config(), model__encoder="resnet18", model__aspp=False, **options)
    strategy = runtime.start(config).strategy
    tasks = tuple(task for task in cityscapes_tasks() if task.name in config.tasks)
    model = build_model(config.model, tasks)
    optimizer = build_optimizer(config.optim)
    optimizer.build(model.trainable_variables)
    return model, TrainingStep(strategy, model, optimizer, tasks, config)


def _tensors(batch):
    return {name: tf.constant(value) for name, value in batch.items()}


def test_first_sgd_step_is_the_gradient_with_l2():
    """After one step from rest w1 = w0 - rate * (dL/dw + wd * w0); checked on the heads' biases and one kernel."""
    model, step = _step(optim__learning_rate=0.1, optim__weight_decay=0.01)
    (batch,) = batches(1)
    before = {variable.path: variable.numpy() for variable in model.trainable_variables}
    # Batch norm's running statistics do not enter the training pass.
    with tf.GradientTape() as tape:
        outputs = model(batch["image"], training=True)
        valid = batch["semseg"] != 255
        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
            np.where(valid, batch["semseg"], 0), outputs["semseg"]
        )
        semseg = tf.reduce_sum(tf.boolean_mask(cross_entropy, valid)) / valid.sum()
        means = []
        for truth, raw in zip(batch["depth"], tf.unstack(outputs["depth"][..., 0]), strict=True):
            if (truth > 0).any():
                error = tf.boolean_mask(raw, truth > 0) - (truth[truth > 0] - 27.0727) / 29.1264
                means.append(tf.reduce_mean(tf.square(error)))
        loss = 0.5 * semseg + 0.5 * tf.add_n(means) / len(means)
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    found = step(_tensors(batch))
    assert float(found["loss"]) == pytest.approx(float(loss), rel=1e-5)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        expected = before[variable.path] - 0.1 * (gradient.numpy() + 0.01 * before[variable.path])
        # The change is compared in the mean: a ReLU at rounding distance from zero flips single gradients.
        change = np.linalg.norm(expected - before[variable.path])
        assert np.linalg.norm(variable.numpy() - expected) <= 5e-3 * change + 1e-6, variable.path


def test_a_batch_without_any_label_changes_nothing_but_decay():
    model, step = _step(optim__weight_decay=0.0)
    (batch,) = batches(1)
    batch["semseg"][:], batch["depth"][:] = 255, 0
    before = [variable.numpy() for variable in model.trainable_variables]
    found = step(_tensors(batch))
    assert float(found["loss"]) == 0.0 and bool(found["good"])
    for variable, old in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_non_finite_loss_is_reported_and_changes_no_weight(poison):
    model, step = _step()
    (batch,) = batches(1)
    batch["image"][2, 3, 4] = poison
    before = [variable.numpy() for variable in model.trainable_variables]
    found = step(_tensors(batch))
    assert not bool(found["good"])
    for variable, old in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)


def test_loss_weights_and_single_tasks():
    _, both = _step(loss__semseg_weight=0.25, loss__depth_weight=2.0)
    (batch,) = batches(1)
    found = {name: float(value) for name, value in both(_tensors(batch)).items()}
    assert found["loss"] == pytest.approx(0.25 * found["loss_semseg"] + 2.0 * found["loss_depth"], rel=1e-6)
    _, single = _step(tasks=("depth",))
    assert set(single(_tensors(batch))) == {"loss", "loss_depth", "good"}


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_learns_and_keeps_float32_weights(precision):
    model, step = _step(train__precision=precision, optim__learning_rate=0.02)
    (batch,) = batches(1)
    losses = [float(step(_tensors(batch))["loss"]) for _ in range(12)]
    assert losses[-1] < losses[0]
    assert {str(variable.dtype) for variable in model.trainable_variables} == {"float32"}


def test_float16_halves_a_loss_scale_that_overflows_and_goes_on():
    model, step = _step(train__precision="mixed_float16")
    step.loss_scale.assign(2.0**126)
    (batch,) = batches(1)
    before = [variable.numpy() for variable in model.trainable_variables]
    found = step(_tensors(batch))
    assert bool(found["good"]) and float(step.loss_scale) == 2.0**125
    for variable, old in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)
