"""Balanced steps at the edges: labels in one half of a batch, a frozen encoder, gradients that are not finite."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf import config as configuration
from mtl_tf import plugins
from mtl_tf.balancing import Balance
from mtl_tf.errors import UsageError
from mtl_tf.models import build_model
from mtl_tf.tasks import cityscapes_tasks
from mtl_tf.training import runtime
from mtl_tf.training.build_step import build_step
from mtl_tf.training.cluster import ALONE
from tests.helpers import ROOT, as_built_in, write_dataset
from tests.training.replicas import batches
from tests.training.test_trainer import train


@pytest.fixture(autouse=True)
def five():
    """The encoder of five convolutions."""
    with as_built_in():
        plugins.load(str(ROOT / "docs/examples/encoder.py"))
        yield


@pytest.fixture
def batch():
    """Four images of noise, most of which have both labels."""
    (found,) = batches(4)
    return found


def _network(**options):
    """A branched network whose steps are of length 1, so that a step shows its direction."""
    values = {
        "model.encoder": "five",
        "model.aspp": False,
        "model.architecture": "branched",
        "train.batch_size": 4,
        "optim.learning_rate": 1.0,
        "optim.momentum": 0.0,
        "optim.weight_decay": 0.0,
    }
    config = configuration.from_values(values | options)
    strategy = runtime.start(config).strategy
    with strategy.scope():
        model = build_model(config.model, cityscapes_tasks())
        return model, build_step(strategy, model, cityscapes_tasks(), config)


def _moved(network, batch, frozen=False):
    """The direction of a step {path: array}, after which the network is as it was, and what the step returned."""
    model, step = network
    before = [variable.numpy() for variable in model.variables]
    found = step({name: tf.constant(value) for name, value in batch.items()}, frozen, **step.at(0))
    direction = {}
    for variable, value in zip(model.variables, before, strict=True):
        direction[variable.path] = value - variable.numpy()
        variable.assign(value)
    return direction, found


# === Labels in one half of the batch ===


def test_a_task_that_one_half_lacks_moves_its_own_parameters_by_the_other_half(batch):
    """As if that half were the whole: not by the mean with a half that says nothing of it."""
    batch["depth"][0::2], batch["depth"][1::2] = 20.0, 0.0  # every other image is of one half
    network = _network(**{"balance.aggregator": "modo"})
    direction, _ = _moved(network, batch)
    half = {name: np.repeat(value[0::2], 2, axis=0) for name, value in batch.items()}
    expected, _ = _moved(network, half)
    own = [path for path in direction if path.startswith("depth/head")]
    assert own
    for path in own:
        np.testing.assert_allclose(direction[path], expected[path], rtol=1e-3, atol=1e-6)


# === A frozen encoder ===


def test_heads_learn_the_logarithm_of_their_loss_while_no_parameter_is_shared(batch):
    """db_mtl has own parameters learn log L also in the epochs in which there are no rows to combine."""
    network, plain = (_network(**{"balance.aggregator": name}) for name in ("db_mtl", "pcgrad"))
    for to, value in zip(network[0].variables, plain[0].variables, strict=True):
        to.assign(value)
    direction, found = _moved(network, batch, frozen=True)
    fixed, _ = _moved(plain, batch, frozen=True)
    for task in ("semseg", "depth"):
        path = f"{task}/head/conv/kernel"
        expected = fixed[path] / 0.5 / float(found[f"loss_{task}"])  # of weight 0.5
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(direction[path], expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ({"balance.scalarizer": "gradnorm"}, "balance.scalarizer has nothing to learn from"),
        ({"balance.aggregator": "mgda"}, "balance.aggregator has nothing to combine"),
    ],
)
def test_a_method_that_needs_shared_parameters_says_where_none_is_ever_trained(method, told):
    frozen, trained = (_network(**method, **{"train.freeze_encoder": epochs})[1] for epochs in (-1, 1))
    assert frozen.told == f"no trained parameter is shared: {told}"
    assert not trained.told


# === What is not finite ===


def test_a_second_batch_whose_gradient_is_not_finite_counts_as_a_gradient_that_is_not(batch):
    """For which float16 halves its loss scale: too large for that batch alone, it would stay for ever."""
    _, step = _network(**{"balance.scalarizer": "auto_lambda"})
    batch = {name: tf.constant(value) for name, value in batch.items()}
    broken = {**batch, "image": batch["image"] * np.nan}
    before = [variable.numpy() for variable in step.variables]
    found = step(batch, **step.at(0, broken))
    assert np.isfinite(float(found["loss"]))
    assert not bool(found["updated"])
    assert int(found["broken_gradient"]) >= 0
    for variable, value in zip(step.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


# === Random numbers ===


def test_no_variable_gets_the_random_numbers_of_another_at_any_step():
    balance = Balance(2, aggregator="graddrop")
    drawn = [
        draw.numpy().tobytes()
        for step in range(4)
        for draw in balance.draws(tf.constant([3, step], tf.int64), [(5,)] * 4)["aggregator"]
    ]
    assert len(set(drawn)) == 16


# === Losses that a method does not take ===


def test_a_batch_without_a_task_is_no_loss_below_what_the_method_takes(tmp_path):
    """A task that a batch lacks has the loss 0, which nobody takes for one."""
    from PIL import Image

    data = write_dataset(tmp_path / "data", {"train": 4, "val": 1})
    for path in (data / "train/depth").iterdir():
        Image.fromarray(np.zeros((32, 48), np.uint16)).save(path)
    options = ("--balance.scalarizer=famo", "--balance.base=0.01", "--train.epochs=1", "--model.encoder=five")
    assert train(data, tmp_path / "run", *options) == 0


# === Shares of the devices ===


@pytest.mark.parametrize(("size", "devices", "fits"), [(4, 3, False), (6, 4, False), (5, 3, True), (2, 2, True)])
def test_no_device_may_be_left_without_images(size, devices, fits):
    """TensorFlow gives each device as many as the first, rounded up, until none are left: of 4 on 3 devices 2, 2, 0."""
    config = configuration.from_values({"train.batch_size": size})
    names = tuple(f"CPU:{number}" for number in range(devices))
    with contextlib.nullcontext() if fits else pytest.raises(UsageError, match=f"use a multiple of {devices}"):
        runtime._check_step(config, ALONE, names)
