"""Opens a run directory for reading: its network, with the weights that it left."""

import contextlib
import dataclasses

import keras
import numpy as np

from mtl_tf.config import Config
from mtl_tf.data.descriptors import Descriptor, read
from mtl_tf.errors import UsageError
from mtl_tf.models import build_model
from mtl_tf.tasks import Task, answers
from mtl_tf.training.checkpoints import load_weights
from mtl_tf.training.trained_run import weights_file


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A run that has weights.

    Attributes:
        config: what it was trained with.
        descriptor: of its data set.
        tasks: what it predicts.
        model: with the best weights (or those that `config.weights` names).
    """

    config: Config
    descriptor: Descriptor
    tasks: tuple[Task, ...]
    model: keras.Model

    def answers(self, image) -> dict[str, np.ndarray]:
        """Class ids and metres by task, (H, W) in the image's size, of one image (1, H, W, 3), RGB 0..255."""
        found = answers(self.tasks, self.model(image, training=False))
        return {task.name: found[task.name].numpy()[0] for task in self.tasks}


def open_run(config: Config) -> TrainedRun:
    """Builds the run's network in the arithmetic of `config.precision` and loads the weights of `config.weights`.

    Raises:
        UsageError: the run has no such weights yet, or they are damaged.
    """
    weights = weights_file(config)
    if not weights.is_file():
        if config.weights == "averaged" and config.train.average == "none":
            raise UsageError(f"{config.run_dir} has no averaged weights: it was trained with --train.average=none")
        name = f"{weights.parent.name}/{weights.name}"
        raise UsageError(f"{config.run_dir} has no {name}: no epoch with such weights is finished; train it further")
    descriptor = read(config.run_dir)
    tasks = descriptor.tasks(config)
    with _arithmetic(config.precision):
        model = build_model(config.model, tasks, config.arch_options)
    load_weights(model, weights)
    return TrainedRun(config, descriptor, tasks, model)


@contextlib.contextmanager
def _arithmetic(policy):
    """Keras' dtype policy inside."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
