"""What can be measured, whichever backend does it, and the random batch that it is measured on."""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from mtl_tf.tasks import Task

SIZE = (256, 256)  # pixels, where neither data.crop_size nor data.image_size is set
TRAINING_PASSES = 3  # forward, and backward by images and by weights: each as many multiply-adds as forward


@dataclasses.dataclass(frozen=True)
class Work:
    """What is measured."""

    batches: Iterator[Any]  # endless
    use: Callable[[Any], Any]  # what is done with a batch; returns when it is done
    batch_size: int  # images
    devices: tuple[str, ...]
    parameters: int = 0  # of the network, those that are trained
    multiply_adds: int = 0  # of one image, backward passes included; 0 = not known
    idle: int = 1  # batches that can be prepared while it is another's turn
    # In which reading names a bad file.
    naming_errors: contextlib.AbstractContextManager = dataclasses.field(default_factory=contextlib.nullcontext)


class Backend(Protocol):
    """The modules `on_tensorflow` and `on_jax`."""

    PARTS: dict[str, Callable[..., Work]]  # (config, real, tasks, export) -> Work

    def answering(self, config, tasks, export: str) -> tuple[Callable, Any, tuple[str, ...], tuple]:
        """A function that answers for uint8 (B, H, W, 3) and returns when it has; network; devices; sizes."""

    def compiled(self, function: Callable) -> Callable:
        """The function, compiled."""

    def wait(self, value) -> None:
        """Returns when a tensor is there."""

    def peak_memory(self, devices: tuple[str, ...]) -> int:
        """Bytes: of the fullest GPU, or of this process where there is none."""


def as_many(tasks: Sequence[Task], count: int) -> tuple[Task, ...]:
    """So many tasks (0 = as they are): the first of them, then copies of all by other names."""
    copies = (
        task if number == 1 else dataclasses.replace(task, name=f"{task.name}{number}")
        for number in itertools.count(1)
        for task in tasks
    )
    return tuple(itertools.islice(copies, count or len(tasks)))


def size_of(config) -> tuple[int, int]:
    """(H, W) in pixels of the random pictures that the options describe."""
    return config.data.crop_size or config.data.image_size or SIZE


def random_batch(config, tasks) -> dict[str, np.ndarray]:
    """A batch of the data contract, without pixels to ignore."""
    shape = (config.train.batch_size, *size_of(config))
    random = np.random.default_rng(config.seed)
    batch = {"image": random.uniform(0, 255, (*shape, 3)).astype(np.float32), "index": np.arange(shape[0])}
    for task in tasks:
        batch[task.name] = task.random(random, shape)
    return batch


def parameters_of(model) -> int:
    """Number of trained weights."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_variables)
