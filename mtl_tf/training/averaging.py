"""Averages of the weights over training, kept beside the weights that are trained.

EMA: an exponential moving average after every step; SWA: the mean of the weights at the end of the last epochs
(Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018).
"""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from mtl_tf.config import TrainConfig


class Averaging:
    """The averaged weights of a model.

    Batch norm's running statistics are averaged like weights; with SWA the trainer measures them anew, since the mean
    of statistics is not that of the mean network.

    Args:
        strategy: where the model was made.
        model: the network.
        config: `average`, `ema_decay`, `swa_start` and `epochs`.

    Attributes:
        on: whether anything is averaged.
        state: name -> variables that a checkpoint must hold; empty where nothing is averaged.
    """

    def __init__(self, strategy: tf.distribute.Strategy, model: keras.Model, config: TrainConfig):
        self._strategy, self._model, self._config = strategy, model, config
        self.on = config.average != "none"
        self.state: dict = {}
        if self.on:
            with strategy.scope():
                self._averages = [
                    tf.Variable(
                        variable.value,
                        trainable=False,
                        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
                        name=f"average_{number}",
                    )
                    for number, variable in enumerate(model.variables)
                ]
                self._count = tf.Variable(0, dtype=tf.int64, trainable=False, name="averaged")
            self.state = {"averages": self._averages, "averaged": self._count}

    @property
    def variables(self) -> list:
        """The averages; none where nothing is averaged."""
        return self.state.get("averages", [])

    def start(self):
        """Begins with the model's current weights."""
        for average, variable in zip(self._averages if self.on else (), self._model.variables, strict=False):
            average.assign(variable.value)

    @property
    def after_each_step(self) -> bool:
        """Whether `add` belongs into the training step."""
        return self._config.average == "ema"

    def takes_epoch(self, epoch: int) -> bool:
        """Whether the weights at the end of this epoch (from 1) enter the average, and have not yet.

        They have where a run was stopped while the average was validated.
        """
        first = min(1 + int(self._config.swa_start * self._config.epochs), self._config.epochs)
        return self._config.average == "swa" and int(self._count.numpy()) <= epoch - first

    def there_is_one(self) -> bool:
        """Whether anything has been averaged yet."""
        return self.on and int(self._count.numpy()) > 0

    def add(self):
        """Takes the current weights into the average (in the cross-replica context; may be traced).

        EMA: a = d a + (1 - d) w with d = min(ema_decay, (1 + n) / (10 + n)) after n steps, so that a short run is not
        an average of its random start. SWA: the mean.
        """
        count = tf.cast(self._count.read_value(), tf.float32)
        if self._config.average == "ema":
            keep = tf.minimum(self._config.ema_decay, (1.0 + count) / (10.0 + count))
        else:
            keep = count / (count + 1.0)

        def move():
            for average, variable in zip(self._averages, self._model.variables, strict=True):
                value = tf.convert_to_tensor(variable.value)
                if value.dtype.is_floating:
                    value = average * tf.cast(keep, value.dtype) + value * tf.cast(1.0 - keep, value.dtype)
                average.assign(value)

        self._strategy.run(move)
        self._count.assign_add(1)

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Inside, the model has the averaged weights; afterwards those that are trained again, bit for bit."""
        parts = tf.train.TrackableView(self._model).descendants()
        # What is drawn inside must not change what training draws afterwards.
        variables = [*self._model.variables, *(part.draws for part in parts if hasattr(part, "draws"))]
        trained = [variable.numpy() for variable in variables]
        for variable, average in zip(self._model.variables, self._averages, strict=True):
            variable.assign(average.numpy())
        try:
            yield
        finally:
            for variable, value in zip(variables, trained, strict=True):
                variable.assign(value)
