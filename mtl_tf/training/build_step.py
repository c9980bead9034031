"""The step of a run, as its options ask for it."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from mtl_tf.config import Config
from mtl_tf.tasks import Task
from mtl_tf.training.averaging import Averaging
from mtl_tf.training.balanced_step import BalancedStep
from mtl_tf.training.optimisers import build_optimizer, rate_factors_of
from mtl_tf.training.step import TrainingStep


def build_step(
    strategy: tf.distribute.Strategy, model: keras.Model, tasks: Sequence[Task], config: Config
) -> TrainingStep:
    """The step, with the optimiser and the averages of a run; in the scope of the strategy.

    A single task leaves nothing to balance.
    """
    optimizer = build_optimizer(config.optim, rate_factors_of(config.optim, model))
    optimizer.build(model.trainable_variables)
    kind = BalancedStep if config.balance.balances and len(tasks) > 1 else TrainingStep
    return kind(strategy, model, optimizer, tasks, config, Averaging(strategy, model, config.train))
