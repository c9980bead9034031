"""Puts NaN where something has broken: `python -m tests.faults.poison WHERE NUMBER train --option=value ...`.

WHERE is "batch" (in the picture of training sample NUMBER), "gradient" (of the first weight, wherever that sample is in
the batch) or "weight" (in the first weight, after step NUMBER, once). "memory" is no NaN: the step of that sample asks
for more than a process can have.
"""

import sys
from unittest import mock

import numpy as np
import tensorflow as tf

from mtl_tf.commands import main
from mtl_tf.data.pipeline import TrainingData
from mtl_tf.training.passes import Passes
from tests.faults.small import after_step

TOO_MANY = 2**46  # numbers of four bytes: more than a process can address


def poisoned(where: str, number: int):
    """A context in which training meets NaN, or has not enough memory; see above."""
    return {"batch": _in_batch, "gradient": _in_gradient, "weight": _in_weight, "memory": _in_memory}[where](number)


def _in_batch(sample):
    dataset = TrainingData.dataset

    def spoil(batch):
        hit = (batch["index"] == sample)[:, None, None, None]
        return batch | {"image": tf.where(hit, np.nan, batch["image"])}

    return mock.patch.object(TrainingData, "dataset", lambda *arguments: dataset(*arguments).map(spoil))


def _in_gradient(sample):
    return _added_to_gradient(sample, lambda hit: tf.where(hit, np.nan, 0.0))


def _in_memory(sample):
    def count(hit):
        return tf.where(hit, tf.constant(TOO_MANY), tf.constant(1, tf.int64))

    return _added_to_gradient(sample, lambda hit: tf.reduce_sum(tf.fill([count(hit)], 0.0)))


def _added_to_gradient(sample, of_hit):
    of_total = Passes.of_total

    def spoil(self, batch, *arguments):
        losses, (first, *others) = of_total(self, batch, *arguments)
        return losses, [first + of_hit(tf.reduce_any(batch["index"] == sample)), *others]

    return mock.patch.object(Passes, "of_total", spoil)


def _in_weight(step):
    def spoil(training):
        (weight, *_) = training.model.trainable_variables
        value = weight.numpy()
        value[..., 0] = np.nan
        weight.assign(value)

    return after_step(step, spoil)


if __name__ == "__main__":
    where, number, *arguments = sys.argv[1:]
    with poisoned(where, int(number)):
        sys.exit(main(arguments))
