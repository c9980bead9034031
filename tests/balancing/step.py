"""A tiny network and fixed batches on which every method of balancing makes its training steps.

As a program: the steps of some settings on some logical devices, or processes, written to a file:
`step.py DEVICES FILE SETTING...`.
"""

import functools
import gc
import json
import sys
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import mtl_tf
from mtl_tf import config as configuration
from mtl_tf.balancing import AGGREGATORS, SCALARIZERS
from mtl_tf.models import build_model
from mtl_tf.models.architectures import Architecture
from mtl_tf.models.encoders.pyramid import encoder_model
from mtl_tf.models.layers import IMAGENET, BatchNorm, Conv2D, Whiten, scope
from mtl_tf.tasks import Depth, Normals, Segmentation
from mtl_tf.training import runtime
from mtl_tf.training.build_step import build_step
from mtl_tf.training.cluster import cluster
from mtl_tf.training.step import TrainingStep
from tests.helpers import as_built_in, forget_graphs

TASKS = (
    Segmentation(classes=("a", "b", "c"), palette=((9, 0, 0), (0, 9, 0), (0, 0, 9))),
    Depth(4.0, 80.0, mean=27.0, std=29.0, log_mean=2.9, log_std=0.9),
    Normals(),
)
ABSENT = 1  # the step in which no image has depth
SEED = 11
COMMON = {
    "tasks": tuple(task.name for task in TASKS),
    "seed": SEED,
    "train.batch_size": 12,
    "optim.learning_rate": 0.05,
    "optim.momentum": 0.5,
    "optim.weight_decay": 0.01,
    "optim.schedule": "constant",
    "loss.weights": "semseg:0.4,depth:0.3,normals:1.1",
}

# === Settings: what of the configuration, and of the network, is not `COMMON` ===

# Options that make a method's own state move far enough to be seen in three steps.
_LIVELY = {
    "stch": {"balance.mu": 0.3},
    "auto_lambda": {"balance.rate": 0.03},
    "excess": {"balance.eta": 1.0},
}
METHODS = {
    **{name: {"balance.scalarizer": name, **_LIVELY.get(name, {})} for name in SCALARIZERS if name != "fixed"},
    **{name: {"balance.aggregator": name, **_LIVELY.get(name, {})} for name in AGGREGATORS if name != "none"},
}
SETTINGS = {
    **METHODS,
    "stch_mtl": {"balance.scalarizer": "stch", "balance.variant": "mtl", "balance.warmup_epoch": 0},
    "db_mtl_averaged": {"balance.aggregator": "db_mtl", "balance.beta": 0.9},
    "log_cagrad": {"balance.scalarizer": "log", "balance.aggregator": "cagrad"},
    "gradnorm_mgda": {"balance.scalarizer": "gradnorm", "balance.aggregator": "mgda"},
    "auto_lambda_aligned": {
        "balance.scalarizer": "auto_lambda",
        "balance.aggregator": "aligned",
        "balance.rate": 0.03,
    },
    "preference": {"balance.aggregator": "upgrad", "balance.preference": "semseg:3,depth:1,normals:2"},
    "own_scale": {"balance.aggregator": "pcgrad", "balance.scale": "own"},
    "weighted": {"balance.aggregator": "cagrad", "balance.specific": "weighted"},
    "smooth": {"balance.aggregator": "mgda", "balance.smooth": 0.5},
    "every": {"balance.aggregator": "nash", "balance.every": 2},
    "layer": {"balance.aggregator": "upgrad", "balance.groups": "layer"},
    "branched": {"balance.aggregator": "mgda", "model.architecture": "branched"},
    "features": {"balance.aggregator": "mgda", "balance.source": "features"},
    "features_branched": {
        "balance.aggregator": "aligned",
        "balance.source": "features",
        "model.architecture": "branched",
    },
}
# One of each kind of what methods need: losses, norms, losses after the step, a second batch; Gramians, rows, those of
# two halves, of features, and weights that are used again.
KINDS = (
    *("log", "gradnorm", "famo", "auto_lambda_aligned"),
    *("mgda", "moco", "graddrop", "modo", "features_branched", "every", "db_mtl"),
)


# === The network ===


def _convolution(x, filters, name, stride=1):
    """A softplus stands in for ReLU, which opens or closes by chance where its input is within rounding of zero."""
    x = Conv2D(filters, 3, strides=stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return keras.layers.Activation("softplus", name=f"{name}_act")(BatchNorm(name=f"{name}_bn")(x))


def two_stages(dilation, consistent, excite):
    """Two convolutions; see `mtl_tf.models.encoders`."""
    image = keras.Input((None, None, 3), name="image")
    with scope("encoder"):
        fine = _convolution(Whiten(**IMAGENET, name="whiten")(image), 4, "stem", stride=2)
        coarse = _convolution(fine, 6, "stage1", stride=2)
    return encoder_model(image, [(2, fine), (4, coarse)])


def _branch(pyramid, path):
    """Of both features, so that a branched network has two places where its tasks part."""
    with scope(path):
        coarse = _convolution(pyramid["last"], 4, f"{path}_coarse")
        fine = keras.layers.AveragePooling2D(2, name=f"{path}_fine")(pyramid["stride2"])
        return keras.layers.Concatenate(name=f"{path}_both")([coarse, fine])


def _joint(config, tasks, pyramid):
    feature = _branch(pyramid, "shared")
    return {"": {task.name: feature for task in tasks}}


def _branched(config, tasks, pyramid):
    return {"": {task.name: _branch(pyramid, task.name) for task in tasks}}


def register():
    """Makes the network known: model.encoder=two_stages, model.architecture=tiny_joint or tiny_branched."""
    mtl_tf.register(mtl_tf.Encoder("two_stages", two_stages))
    mtl_tf.register(Architecture("tiny_joint", _joint))
    mtl_tf.register(Architecture("tiny_branched", _branched))


class Rig(NamedTuple):
    """A network and its step.

    Attributes:
        model, step: the same.
        config: of the step.
        machine: where it is.
        architecture: joint or branched.
    """

    model: keras.Model
    step: TrainingStep
    config: configuration.Config
    machine: runtime.Runtime
    architecture: str


def rig(options: dict, tasks=TASKS, machine: runtime.Runtime | None = None) -> Rig:
    """A tiny network with its step, the same weights every time.

    Args:
        options: of the configuration, over `COMMON`.
        tasks: of the network.
        machine: of an earlier one, on which the steps are to be made.
    """
    values = {**COMMON, **options}
    architecture = values.pop("model.architecture", "joint")
    config = configuration.from_values(values)
    machine = machine or runtime.start(config, cluster())
    keras.utils.set_random_seed(SEED)
    with machine.strategy.scope():
        model = network(architecture, tasks)
        step = build_step(machine.strategy, model, tasks, config)
    return Rig(model, step, config, machine, architecture)


def network(architecture: str = "joint", tasks=TASKS) -> keras.Model:
    """The network alone."""
    with as_built_in():
        register()
        return build_model(configuration.ModelConfig(encoder="two_stages", architecture=f"tiny_{architecture}"), tasks)


# === What it is shown ===


def batches(count: int = 3, size=(16, 24), images: int = 12) -> list[dict[str, np.ndarray]]:
    """Random batches: pixels without labels in every image, whole images without, and one batch without any depth.

    Of three devices one has no segmentation at all, and two have unlike shares of the depth.
    """
    random = np.random.default_rng(5)
    found = []
    for step in range(count):
        # Images that differ as a whole, so that batch norm does not blow rounding up.
        coarse = random.uniform(0, 255, (images, 4, 4, 3)) * random.uniform(0.3, 1, (images, 1, 1, 1))
        image = tf.image.resize(coarse, size).numpy() + random.uniform(0, 10, (images, *size, 3)).astype(np.float32)
        semseg = random.integers(0, 3, (images, *size)).astype(np.int32)
        depth = random.uniform(4, 80, (images, *size)).astype(np.float32)
        normals = random.normal(0, 1, (images, *size, 3)).astype(np.float32)
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
        semseg[random.uniform(size=semseg.shape) < 0.2] = 255
        depth[random.uniform(size=depth.shape) < 0.3] = 0
        normals[random.uniform(size=depth.shape) < 0.4] = 0
        semseg[:4], depth[5:9], normals[10, 3:] = 255, 0, 0
        if step == ABSENT:
            depth[:] = 0
        found.append({"image": image, "semseg": semseg, "depth": depth, "normals": normals, "index": np.arange(images)})
    return found


def tensors(batch: dict) -> dict:
    """A batch as a step takes it."""
    return {name: tf.constant(value) for name, value in batch.items()}


def run(made: Rig, shown: list[dict], given=tensors) -> list[dict[str, np.ndarray]]:
    """A step of each batch, each of which is an epoch; where a second batch is needed it is the next one.

    Returns:
        What each step says.
    """
    found = []
    for number, batch in enumerate(shown):
        second = shown[(number + 1) % len(shown)] if made.step.needs_second_batch else None
        at = made.step.at(number, None if second is None else given(second))
        found.append({name: np.array(value) for name, value in made.step(given(batch), **at).items()})
        made.step.end_epoch()
    return found


# === Comparing ===


def assert_same_network(one: keras.Model, other: keras.Model, first: dict[str, np.ndarray]):
    """Every variable to 1e-5 of its size, and its change since `first` to 1e-4 of that."""
    values = [{variable.path: variable.numpy() for variable in model.variables} for model in (one, other)]
    assert_same_values(*values, first)


def assert_same_values(one: dict, other: dict, first: dict):
    """The same of arrays by the paths of the variables."""
    assert one.keys() == other.keys()
    for (path, value), begin in zip(one.items(), first.values(), strict=True):
        error, change = other[path] - value, value - begin
        assert np.abs(change).max() > 0, path
        assert np.abs(error).max() <= 1e-5 * max(1.0, np.abs(value).max()), path
        rounding = np.finfo(np.float32).eps * np.linalg.norm(value)
        assert np.linalg.norm(error) <= 1e-4 * np.linalg.norm(change) + rounding, path


# === As a program ===


def main(devices: str, path: str, *settings: str):
    """Makes the steps of each setting on some devices, or with the other processes of TF_CONFIG, and writes them down.

    On one device those of `KINDS` are compiled, and the others run operation by operation, in half the time. The
    exchanges of several devices of a process are in order in a graph only.

    Args:
        devices: how many.
        path: of the file, which the first process writes.
        settings: names in `SETTINGS`; after a comma, more options as JSON.
    """
    machine, saved = None, {}
    for setting in settings:
        name, _, more = setting.partition(",")
        tf.config.run_functions_eagerly(devices == "1" and setting not in KINDS)
        options = {**SETTINGS[name], **json.loads(more or "{}"), "train.devices": int(devices)}
        made = rig(options, machine=machine)
        machine = made.machine  # processes, and devices, find each other once
        first = {variable.path: variable.numpy() for variable in made.model.variables}
        found = run(made, batches(), functools.partial(_distributed, machine))
        for number, step in enumerate(found):
            saved |= {f"{setting}/step{number}/{what}": value for what, value in step.items()}
        for variable in made.model.variables:
            saved[f"{setting}/first/{variable.path}"] = first[variable.path]
            saved[f"{setting}/last/{variable.path}"] = variable.numpy()
        for slot, value in _named(made.step.tracked):
            saved[f"{setting}/state/{slot}"] = value.numpy()
        del made
        forget_graphs()
        gc.collect()
    if machine.cluster.worker == 0:
        np.savez(path, **saved)


def _distributed(machine, batch):
    """This process' share of a batch, on its devices."""

    def make(share):
        own = {name: np.array_split(value, share.workers)[share.worker] for name, value in batch.items()}
        return tf.data.Dataset.from_tensors(own).unbatch().batch(len(own["index"]))

    return next(iter(machine.distribute(make)))


def _named(state, path=()):
    """(name, variable) of nested state."""
    parts = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    for name, value in parts:
        yield from _named(value, (*path, str(name)))
    if not parts and path and not isinstance(state, dict | list):
        yield "/".join(path), state


if __name__ == "__main__":
    main(*sys.argv[1:])
