"""Three training steps on some logical devices, or processes; writes losses, outputs, weights. Run by test_step.py."""

import sys

import keras
import numpy as np
import tensorflow as tf

from mtl_tf import config as configuration
from mtl_tf.models import build_model
from mtl_tf.tasks import cityscapes_tasks
from mtl_tf.training import runtime
from mtl_tf.training.build_step import build_step
from mtl_tf.training.cluster import cluster
from tests.models.tiny import ENCODER


def batches(*sizes, size=(32, 40)):
    """Random batches of so many images; masks are uneven: one has no labels, one no depth, one almost none."""
    random = np.random.default_rng(5)
    for batch in sizes:
        semseg = random.integers(0, 19, (batch, *size)).astype(np.int32)
        depth = random.uniform(4, 80, (batch, *size)).astype(np.float32)
        semseg[random.uniform(size=semseg.shape) < 0.2] = 255
        depth[random.uniform(size=depth.shape) < 0.3] = 0
        semseg[0], depth[1] = 255, 0
        semseg[3, 2:], depth[3, :, 3:] = 255, 0
        # Images that differ as a whole: of equal noise the pooled features would be equal up to rounding, and the
        # batch norm behind the pooling would blow that rounding up.
        coarse = random.uniform(0, 255, (batch, 4, 4, 3)) * random.uniform(0.3, 1, (batch, 1, 1, 1))
        image = tf.image.resize(coarse, size).numpy() + random.uniform(0, 10, (batch, *size, 3)).astype(np.float32)
        yield {"image": image, "semseg": semseg, "depth": depth, "index": np.arange(batch)}


class Smooth(keras.layers.Layer):
    """A softplus as sharp as it needs to be; stands in for ReLU.

    A ReLU whose input is within rounding of zero opens or closes by chance, which changes gradients by the square
    root of the rounding: 3e-4. That is noise of the network, not of the distribution, which is what is compared.
    """

    def __init__(self, name):
        super().__init__(name=name)

    def call(self, inputs):
        return keras.ops.softplus(4 * inputs) / 4


METHODS = {
    "clipped": {"optim.learning_rate": 0.1, "optim.clip_norm": 0.5, "optim.encoder_rate": 0.5},
    # Two images in each part on three devices: of a single one batch norm blows rounding up.
    "in_parts": {"optim.learning_rate": 0.001, "train.accumulate": 2, "train.batch_size": 12},
    "adam": {"optim.name": "adam", "optim.learning_rate": 1e-4},
}


def main(devices, method, architecture, path):
    keras.layers.ReLU = Smooth
    config = configuration.from_values(
        {
            "train.devices": int(devices),
            "train.batch_size": 6,
            "train.average": "ema",
            "model.architecture": architecture,
            "model.encoder": ENCODER.name,
            **METHODS[method],
        }
    )
    machine = runtime.start(config, cluster())
    strategy = machine.strategy
    with strategy.scope():
        model = build_model(config.model, cityscapes_tasks())
        step = build_step(strategy, model, cityscapes_tasks(), config)
    size = config.train.batch_size
    arrays = list(
        batches(size, size, size if config.train.accumulate > 1 else 5)
    )  # the last is ragged, where it may be
    first = {variable.path: variable.numpy() for variable in model.variables}

    def part(share):
        parts = [
            {name: np.array_split(value, share.workers)[share.worker] for name, value in batch.items()}
            for batch in arrays
        ]
        stacked = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return tf.data.Dataset.from_tensor_slices(stacked).batch(len(parts[0]["index"]))

    losses = []
    for batch in machine.distribute(part):
        found = step(batch)
        losses.append([float(found[name]) for name in found if name.startswith("loss") or name == "gradient_norm"])
    outputs = model(arrays[0]["image"], training=False)
    saved = {f"output/{name}": value.numpy() for name, value in outputs.items()}
    saved |= {f"change/{variable.path}": variable.numpy() - first[variable.path] for variable in model.variables}
    with step.averaging.swapped_in():
        averages = {variable.path: variable.numpy() for variable in model.variables}
    saved |= {f"change/average/{path}": value - first[path] for path, value in averages.items()}
    saved |= {f"first/{path}": value for path, value in first.items()}
    if machine.cluster.worker == 0:
        np.savez(path, losses=np.array(losses), **saved)


if __name__ == "__main__":
    main(*sys.argv[1:])
