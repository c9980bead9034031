"""Two balanced training steps of families of architectures on logical devices; run by test_family_training.py.

family_steps.py DEVICES FILE FAMILY...: losses, outputs, and how weights have changed.
"""

import sys

import keras
import numpy as np
import tensorflow as tf

from mtl_tf import config as configuration
from mtl_tf.models import build_model
from mtl_tf.tasks import cityscapes_tasks
from mtl_tf.training import runtime
from mtl_tf.training.build_step import build_step
from tests.helpers import forget_graphs
from tests.models.tiny import ENCODER, small_options
from tests.training.replicas import Smooth, batches

# What is drawn apart on each device is left out.
OPTIONS = {"atrc": {"arch.atrc.dropout": 0.0}}


def main(devices, path, *families):
    keras.layers.ReLU = Smooth
    common = {"train.devices": int(devices), "train.batch_size": 4, "optim.learning_rate": 0.003}
    common |= {"model.encoder": ENCODER.name, "balance.aggregator": "upgrad"}
    machine = runtime.start(configuration.from_values(common))
    arrays, saved = list(batches(4, 4)), {}
    for family in families:
        keras.utils.set_random_seed(1)
        own = {"model.architecture": family, **small_options(family), **OPTIONS.get(family, {})}
        config = configuration.from_values(common | own)
        with machine.strategy.scope():
            model = build_model(config.model, cityscapes_tasks(), config.arch_options)
            step = build_step(machine.strategy, model, cityscapes_tasks(), config)
        first = {variable.path: variable.numpy() for variable in model.variables}

        def given(share):
            stacked = {name: np.concatenate([batch[name] for batch in arrays]) for name in arrays[0]}
            return tf.data.Dataset.from_tensor_slices(stacked).batch(4)

        losses = []
        for number, batch in enumerate(machine.distribute(given)):
            found = step(batch, **step.at(number))
            losses.append([float(found[name]) for name in found if name.startswith("loss")])
        saved[f"{family}/losses"] = np.array(losses)
        for name, value in model(arrays[0]["image"], training=False).items():
            saved[f"{family}/output/{name}"] = value.numpy()
        for variable in model.variables:
            saved[f"{family}/change/{variable.path}"] = variable.numpy() - first[variable.path]
            saved[f"{family}/first/{variable.path}"] = first[variable.path]
        del model, step
        forget_graphs()
    np.savez(path, **saved)


if __name__ == "__main__":
    main(*sys.argv[1:])
