"""Run as a program by test_backends, under one backend of Keras: what a network answers and learns, as a file.

python -m tests.models.other_backend ARCHITECTURE ENCODER WEIGHTS OUTPUT: takes the weights of WEIGHTS, or, where there
is no such file, draws them and writes it. Under another backend than TensorFlow there is no TensorFlow.
"""

import dataclasses
import functools
import os
import pathlib
import sys

if os.environ["KERAS_BACKEND"] != "tensorflow":
    sys.modules["tensorflow"] = None  # importing it fails

import keras
import numpy as np

import mtl_tf
from mtl_tf.config import Config, ModelConfig, replace
from mtl_tf.losses import PIXEL_LOSSES
from mtl_tf.models import build_model
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.models.costs import multiply_adds
from mtl_tf.models.encoders.mit import mit
from mtl_tf.models.encoders.swin import swin
from mtl_tf.models.encoders.vit import KINDS, Design, vit
from mtl_tf.tasks import cityscapes_tasks
from mtl_tf.tasks._class_options import LOSSES
from tests.models import tiny  # noqa: F401 (an encoder)
from tests.models.common import pictures, randomise

SIZE = (3, 24, 40)
VIT = Design(32, 4, 2, **KINDS["dinov2_reg"] | {"side": 3})
DEPTHS = (2, 1, 1, 1)
TRANSFORMERS = {
    "tiny_vit": functools.partial(vit, "tiny_vit", design=VIT),
    "tiny_swin": functools.partial(swin, "tiny_swin", 32, DEPTHS),
    "tiny_mit": functools.partial(mit, "tiny_mit", (8, 16, 40, 64), DEPTHS),
}
for name, build in TRANSFORMERS.items():
    mtl_tf.register(mtl_tf.Encoder(name, build))


def a_batch(tasks):
    """Images whose labels are valid in part."""
    random = np.random.default_rng(3)
    semseg = random.integers(0, tasks[0].channels, SIZE, np.int32)
    depth = random.uniform(tasks[1].minimum, tasks[1].maximum, SIZE).astype(np.float32)
    semseg[random.random(SIZE) < 0.2] = 255
    depth[0, :5], depth[random.random(SIZE) < 0.3] = 0.0, 0.0
    # Of unlike brightness: the batch norm after image pooling would blow up what rounding makes of equal means.
    images = pictures(*SIZE) * np.array([1.0, 0.6, 0.3], np.float32)[:, None, None, None]
    return {"image": images, "semseg": semseg, "depth": depth, "index": np.arange(len(semseg))}


def step_of(model, tasks, config):
    """A function that makes one step in place and gives its losses."""
    if keras.config.backend() == "jax":
        from mtl_tf.training.jax_step import JaxStep

        step = JaxStep(model, tasks, config)

        def run(batch):
            losses = step(batch)
            step.write_back()
            return losses

        return run
    import tensorflow as tf

    from mtl_tf.training.build_step import build_step

    step = build_step(tf.distribute.get_strategy(), model, tasks, config)
    return lambda batch: {name: value for name, value in step(batch).items() if name.startswith("loss")}


def all_losses(tasks, outputs, batch):
    """The sums of every loss there is, of the answers of a network."""
    semseg, depth = tasks
    kinds = {name: dataclasses.replace(semseg, objective=name) for name in LOSSES}
    weights = tuple(np.linspace(0, 2, semseg.channels).tolist())
    kinds["hardest"] = dataclasses.replace(semseg, hardest=0.2, smoothing=0.1, weights=weights)
    kinds |= {name: dataclasses.replace(depth, objective=name) for name in (*PIXEL_LOSSES, "silog")}
    kinds["gradients"] = dataclasses.replace(depth, reduction="pixels", gradient_weight=0.5)
    found = {}
    for name, task in kinds.items():
        value, counted = task.loss(outputs[task.name], batch[task.name])
        count = task.count(batch[task.name])
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (counted, count)))
        found[name] = np.asarray(keras.ops.convert_to_numpy(value))
    return found


def main(architecture, encoder, weights, output):
    """Writes answers, losses and the change that one step of SGD makes."""
    undilated = (architecture, encoder) == ("mtan", "segnet") or encoder in TRANSFORMERS
    dilation = (0, 0, 0) if undilated else (0, 0, 1)
    model_config = ModelConfig(architecture=architecture, encoder=encoder, aspp_rates=(2, 3), dilation=dilation)
    # So large a step that the change of a weight does not drown in its last digit.
    config = replace(Config(model=model_config), optim__learning_rate=1.0)
    tasks = cityscapes_tasks()
    # What is left out at random differs between backends, as do the variables that it follows from.
    options = ARCHITECTURES[architecture].Options
    model = build_model(model_config, tasks, options(dropout=0.0) if architecture == "atrc" else None)
    variables = [variable for variable in model.variables if "seed_generator" not in variable.path]
    if not pathlib.Path(weights).exists():
        randomise(model)
        batch_norms = {variable.path.rpartition("/")[0] for variable in variables if variable.name == "moving_mean"}
        for variable in variables:
            if variable.name == "beta" and variable.path.rpartition("/")[0] in batch_norms:
                # Far from where ReLU bends: one that is 0 here and 1e-7 there changes a gradient by more than 1e-4.
                variable.assign_add(keras.ops.full(variable.shape, 4.0))
        np.savez(weights, **{variable.path: variable.numpy() for variable in variables})
    with np.load(weights) as given:
        for variable in variables:
            variable.assign(given[variable.path])
    batch = a_batch(tasks)
    outputs = model(batch["image"], training=False)
    found = {f"answer {name}": keras.ops.convert_to_numpy(value) for name, value in outputs.items()}
    # Of numbers that are the same everywhere: inverse depth would enlarge what rounding makes of the answers.
    random = np.random.default_rng(4)
    raws = {task.name: random.normal(size=(*SIZE, task.channels)).astype(np.float32) for task in tasks}
    found |= {f"decoded {task.name}": keras.ops.convert_to_numpy(task.decode(raws[task.name])) for task in tasks}
    found |= {f"sum of {name}": value for name, value in all_losses(tasks, outputs, batch).items()}
    found["multiply_adds"] = multiply_adds(model, SIZE[1:])
    before = {variable.path: keras.ops.convert_to_numpy(variable.value).copy() for variable in variables}
    losses = step_of(model, tasks, config)(batch)
    found |= {f"trained {name}": float(value) for name, value in losses.items()}
    for variable in variables:
        found[f"change {variable.path}"] = keras.ops.convert_to_numpy(variable.value) - before[variable.path]
    np.savez(output, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
