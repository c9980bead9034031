"""The training step: the same on any number of devices, safe against what is not finite, and a step of the method."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtl_tf
from mtl_tf import config as configuration
from mtl_tf.errors import UsageError
from mtl_tf.models import build_model
from mtl_tf.models.layers import BatchNorm, scope
from mtl_tf.objective import loss_weight, mean_losses
from mtl_tf.tasks import cityscapes_tasks
from mtl_tf.training import runtime
from mtl_tf.training.build_step import build_step
from mtl_tf.training.step import LOSS_SCALE_PATIENCE
from tests.helpers import ROOT, as_built_in, tool_module
from tests.models.tiny import ENCODER
from tests.training.replicas import Smooth, batches


def _three_steps(tmp_path, devices, method, architecture, workers=1):
    path = tmp_path / f"{devices}_{workers}.npz"
    script = ROOT / "tests" / "training" / "replicas.py"
    addresses = [f"127.0.0.1:{port}" for port in tool_module("local_cluster").free_ports(workers)]
    processes = []
    for index in range(workers):
        cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        told = {"TF_CONFIG": json.dumps(cluster)} if workers > 1 else {}
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **told}
        command = [sys.executable, script, str(devices), method, architecture, path]
        processes.append(subprocess.Popen(command, env=environment))
    assert [process.wait(600) for process in processes] == [0] * workers
    return np.load(path)


@pytest.mark.slow
def test_devices_equal_one_in_parts(tmp_path):
    """Plain SGD, not clipped; batch norm's statistics are those of each part of the global batch."""
    one, three = (_three_steps(tmp_path, devices, "in_parts", "joint") for devices in (1, 3))
    assert_same_steps(one, three, "in_parts")


@pytest.fixture(scope="module")
def clipped_by_one(tmp_path_factory):
    """The steps of one device, all of them clipped."""
    one = _three_steps(tmp_path_factory.mktemp("one"), 1, "clipped", "joint")
    assert (one["losses"][:, -1] > 0.5).all()  # the norm of the gradient
    return one


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "workers"), [(3, 1), (1, 2)])
def test_devices_and_processes_equal_one(clipped_by_one, tmp_path, devices, workers):
    assert_same_steps(clipped_by_one, _three_steps(tmp_path, devices, "clipped", "joint", workers), "clipped")


@pytest.mark.slow
def test_devices_equal_one_with_adam(tmp_path):
    one, three = (_three_steps(tmp_path, devices, "adam", "distilled") for devices in (1, 3))
    assert_same_steps(one, three, "adam")


def assert_same_steps(one, two, method):
    """Losses, outputs and with SGD weights and averages to 1e-5, and the change of each of these to 1e-4."""
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-5)
    for name in one.files:
        if name.startswith("output/"):
            np.testing.assert_allclose(two[name], one[name], atol=1e-5 * np.abs(one[name]).max(), err_msg=name)
        elif name.startswith("change/") and method != "adam":
            # Adam turns the rounding noise of zero gradients into weights.
            weight = one[f"first/{name.removeprefix('change/').removeprefix('average/')}"]
            error, last = two[name] - one[name], weight + one[name]  # running statistics grow by far
            assert np.abs(error).max() <= 1e-5 * max(1, np.abs(weight).max(), np.abs(last).max()), name
            rounding = np.finfo(np.float32).eps * np.linalg.norm(weight)
            assert np.linalg.norm(error) <= 1e-4 * np.linalg.norm(one[name]) + rounding, name


def _step(**options):
    small = {"tasks": ("semseg", "depth"), "model__encoder": ENCODER.name, "model__aspp": False}
    small["model__dilation"] = (0, 0, 0)  # which TensorFlow differentiates in graphs only, on CPUs
    config = configuration.replace(configuration.Config(), **(small | options))
    strategy = runtime.start(config).strategy
    tasks = tuple(task for task in cityscapes_tasks() if task.name in config.tasks)
    model = build_model(config.model, tasks)
    return model, build_step(strategy, model, tasks, config)


# Half precision is slow on CPUs: the smaller, the better.
SMALL = (16, 24)


def _tensors(batch):
    return {name: tf.constant(value) for name, value in batch.items()}


def test_first_sgd_step_is_the_gradient_with_l2():
    """After one step from rest w1 = w0 - rate * (dL/dw + wd * w0); checked on the heads' biases and one kernel."""
    model, step = _step(optim__learning_rate=0.1, optim__weight_decay=0.01)
    (batch,) = batches(4)
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


def test_a_batch_without_any_label_changes_nothing_but_decay(by_operation):
    model, step = _step(optim__weight_decay=0.0)
    (batch,) = batches(4)
    batch["semseg"][:], batch["depth"][:] = 255, 0
    before = [variable.numpy() for variable in model.trainable_variables]
    found = step(_tensors(batch))
    assert float(found["loss"]) == 0.0 and bool(found["good"])
    for variable, old in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_non_finite_loss_is_reported_and_changes_no_weight(poison, by_operation):
    model, step = _step()
    (batch,) = batches(4)
    batch["image"][2, 3, 4] = poison
    before = [variable.numpy() for variable in model.trainable_variables]
    found = step(_tensors(batch))
    assert not bool(found["good"])
    for variable, old in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)


def test_loss_weights_and_single_tasks(by_operation):
    _, both = _step(loss__semseg_weight=0.25, loss__depth_weight=2.0)
    (batch,) = batches(4)
    found = {name: float(value) for name, value in both(_tensors(batch)).items()}
    assert found["loss"] == pytest.approx(0.25 * found["loss_semseg"] + 2.0 * found["loss_depth"], rel=1e-6)
    _, single = _step(tasks=("depth",))
    assert set(single(_tensors(batch))) == {"loss", "loss_depth", "good", "updated", "broken_gradient"}


@pytest.mark.parametrize("precision", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def test_mixed_precision_learns_and_keeps_float32_weights(precision):
    # At a rate at which the loss falls steadily in 32 bits: where it leaps there too, rounding decides how it ends.
    model, step = _step(train__precision=precision, optim__learning_rate=0.001)
    (batch,) = batches(4, size=SMALL)
    losses = [float(step(_tensors(batch))["loss"]) for _ in range(12)]
    assert losses[-1] < losses[0]
    assert model.get_layer("encoder").compute_dtype == precision.removeprefix("mixed_")
    assert {str(variable.dtype) for variable in model.trainable_variables} == {"float32"}


def test_float16_halves_a_loss_scale_that_overflows_and_goes_on(by_operation):
    model, step = _step(train__precision="mixed_float16")
    step.loss_scale.assign(2.0**126)
    (batch,) = batches(4, size=SMALL)
    before = [variable.numpy() for variable in model.trainable_variables]
    found = step(_tensors(batch))
    assert bool(found["good"]) and float(step.loss_scale) == 2.0**125
    for variable, old in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)


def test_float16_doubles_the_loss_scale_after_many_good_steps(by_operation):
    _, step = _step(train__precision="mixed_float16")
    step.loss_scale.assign(1024.0)
    step.good_steps.assign(LOSS_SCALE_PATIENCE - 2)
    (batch,) = batches(4, size=SMALL)
    found = [(bool(step(_tensors(batch))["updated"]), float(step.loss_scale)) for _ in range(3)]
    assert found == [(True, 1024.0), (True, 2048.0), (True, 2048.0)]


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_picture_that_is_not_finite_gives_no_loss_and_does_not_change_the_scale(precision, by_operation):
    _, step = _step(train__precision=precision)
    (batch,) = batches(4, size=SMALL)
    batch["image"] = batch["image"].astype(np.float32)
    batch["image"][1, 3, 4] = np.nan
    scale = float(step.loss_scale)
    found = step(_tensors(batch))
    assert np.isnan(found["loss"]) and not bool(found["good"]) and not bool(found["updated"])
    assert float(step.loss_scale) == scale


# === Clipping, accumulation, freezing, XLA ===


def _still_batch_norm(monkeypatch):
    """Batch norm of the running statistics, so that an image's gradient does not depend on its neighbours."""
    call = BatchNorm.call
    monkeypatch.setattr(BatchNorm, "call", lambda self, inputs, training=False: call(self, inputs, training=False))


def _change(options, seed=3):
    """The change of every weight by one step of plain gradient descent at rate 1, and what the step says."""
    keras.utils.set_random_seed(seed)
    sgd = dict(optim__learning_rate=1.0, optim__momentum=0.0, optim__weight_decay=0.0)
    model, step = _step(**{**sgd, **options})
    before = [variable.numpy() for variable in model.trainable_variables]
    (batch,) = batches(4)
    found = step(_tensors(batch))
    changes = [variable.numpy() - old for variable, old in zip(model.trainable_variables, before, strict=True)]
    return np.concatenate([change.ravel() for change in changes]), {name: float(value) for name, value in found.items()}


def test_clipping_keeps_the_direction_and_bounds_the_norm(monkeypatch, by_operation):
    _still_batch_norm(monkeypatch)
    free, _ = _change({})
    norm = np.linalg.norm(free)
    clipped, found = _change(dict(optim__clip_norm=norm / 4))
    np.testing.assert_allclose(clipped, free / 4, atol=1e-5 * np.abs(free).max())
    assert found["gradient_norm"] == pytest.approx(norm, rel=1e-4)
    loose, _ = _change(dict(optim__clip_norm=norm * 2))
    np.testing.assert_allclose(loose, free, atol=1e-6 * np.abs(free).max())


def test_decay_is_not_clipped(monkeypatch, by_operation):
    _still_batch_norm(monkeypatch)
    decayed, _ = _change(dict(optim__clip_norm=1e-9, optim__weight_decay=0.1))
    model, _ = _step()
    keras.utils.set_random_seed(3)
    model, _ = _step()
    weights = np.concatenate([variable.numpy().ravel() for variable in model.trainable_variables])
    np.testing.assert_allclose(decayed, -0.1 * weights, atol=1e-6)


@pytest.mark.parametrize("parts", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_accumulated_gradients_are_those_of_the_whole_batch(parts, monkeypatch, by_operation):
    """The images' masks are uneven: the mean over parts of means would be another loss."""
    _still_batch_norm(monkeypatch)
    whole, expected = _change(dict(model__aspp=True))
    cut, found = _change(dict(model__aspp=True, train__accumulate=parts))
    assert found == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(cut, whole, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("parts", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_parts_are_trained_as_batches_of_their_own(parts, monkeypatch, by_operation):
    """Batch norm takes the statistics of each part, of single images too; the losses' means are of the whole batch."""
    monkeypatch.setattr(keras.layers, "ReLU", Smooth)
    sgd = dict(optim__learning_rate=1.0, optim__momentum=0.0, optim__weight_decay=0.0)
    # Stride 16, so that batch norm sees several values of a single image.
    model, step = _step(model__aspp=True, model__dilation=(0, 0, 1), train__accumulate=parts, **sgd)
    tasks = cityscapes_tasks()
    (batch,) = batches(4)
    counts = {task.name: task.count(tf.constant(batch[task.name])) for task in tasks}
    before = [variable.numpy() for variable in model.variables]
    expected = 0.0
    for number in range(parts):
        part = _tensors({name: value[number::parts] for name, value in batch.items()})
        with tf.GradientTape() as tape:
            losses = mean_losses(tasks, model(part["image"], training=True), part, counts, model.label_weights)
            loss = tf.add_n([loss_weight(configuration.Config(), task) * losses[task.name] for task in tasks])
        gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        expected = expected - np.concatenate([gradient.numpy().ravel() for gradient in gradients])
    statistics = {variable.path: variable.numpy() for variable in model.non_trainable_variables}
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)
    step(_tensors(batch))
    old = dict(zip((variable.path for variable in model.variables), before, strict=True))
    changes = [variable.numpy() - old[variable.path] for variable in model.trainable_variables]
    found = np.concatenate([change.ravel() for change in changes])
    assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)
    for path, value in statistics.items():
        np.testing.assert_allclose(model_value(model, path), value, rtol=1e-3, atol=1e-5, err_msg=path)
    pooled = "shared/aspp/pool_bn/moving_variance"
    # One pooled value has no variance.
    assert np.array_equal(model_value(model, pooled), old[pooled]) == (parts == 4)


def model_value(model, path):
    return next(variable.numpy() for variable in model.variables if variable.path == path)


def test_parts_must_be_equal():
    with pytest.raises(UsageError, match=r"train\.batch_size=4 cannot be cut into equal parts .* use a multiple of 3"):
        runtime.start(configuration.replace(configuration.Config(), train__accumulate=3))
    assert runtime.start(configuration.replace(configuration.Config(), train__accumulate=3), training=False)


def test_what_several_devices_cannot_do(monkeypatch):
    monkeypatch.setattr(runtime, "_devices", lambda count, processes: tuple(f"GPU:{index}" for index in range(8)))
    with pytest.raises(UsageError, match=r"train\.batch_size=4 cannot be cut .* 8 device.* use a multiple of 8"):
        runtime.start(configuration.Config())
    with pytest.raises(UsageError, match=r"--train\.xla compiles the step of one device, but there are 8: set"):
        runtime.start(configuration.replace(configuration.Config(), train__xla=True))


def test_a_frozen_encoder_stays_as_it_is_and_learns_afterwards(by_operation):
    model, step = _step()
    encoder = model.get_layer("encoder")
    (batch,) = batches(4)
    before = {variable.path: variable.numpy() for variable in model.variables}
    step(_tensors(batch), True)
    for variable in model.variables:
        same = np.array_equal(variable.numpy(), before[variable.path])
        assert same == variable.path.startswith("encoder/"), variable.path
    assert encoder.trainable
    step(_tensors(batch), False)
    assert all(not np.array_equal(variable.numpy(), before[variable.path]) for variable in encoder.variables)


def test_weights_of_a_feature_that_no_decoder_takes_stay(by_operation):
    def build(**options):
        encoder = ENCODER.build(**options)
        with scope("encoder"):
            aside = keras.layers.Conv2D(4, 1, name="aside")(encoder.output["stride8"])
        return keras.Model(encoder.input, {**encoder.output, "stride8": aside}, name="encoder")

    with as_built_in():
        mtl_tf.register(mtl_tf.Encoder("aside", build))
        model, step = _step(model__encoder="aside", optim__weight_decay=0.0)
    (batch,) = batches(4)
    before = {variable.path: variable.numpy() for variable in model.trainable_variables}
    assert step(_tensors(batch))["updated"]
    stayed = {path for path, value in before.items() if np.array_equal(_variable(model, path), value)}
    assert stayed == {"encoder/aside/kernel", "encoder/aside/bias"}


def _variable(model, path):
    return next(variable for variable in model.variables if variable.path == path).numpy()


def test_the_encoder_has_a_rate_of_its_own(by_operation):
    model, step = _step(optim__encoder_rate=0.0)
    (batch,) = batches(4)
    before = {variable.path: variable.numpy() for variable in model.trainable_variables}
    step(_tensors(batch))
    for variable in model.trainable_variables:
        same = np.array_equal(variable.numpy(), before[variable.path])
        assert same == variable.path.startswith("encoder/"), variable.path


def test_deterministic_mode_is_asked_of_tensorflow(monkeypatch):
    """On a CPU it changes no result; it stays on for the life of a process."""
    asked = []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: asked.append(True))
    for deterministic, expected in ((False, []), (True, [True])):
        runtime.start(configuration.replace(configuration.Config(), train__deterministic=deterministic))
        assert asked == expected


@pytest.mark.slow
def test_xla_makes_the_same_step():
    plain, expected = _change({})
    compiled, found = _change(dict(train__xla=True))
    _, step = _step(train__xla=True)
    traced = step.__call__.get_concrete_function(_tensors(next(batches(4)))).graph.as_graph_def()
    assert any(function.attr["_XlaMustCompile"].b for function in traced.library.function)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    # A ReLU at rounding distance from zero flips single gradients; the change is compared as a whole.
    assert np.linalg.norm(compiled - plain) < 5e-3 * np.linalg.norm(plain)
