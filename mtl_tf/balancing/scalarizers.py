"""Scalarizers that learn nothing: weights from fixed numbers, from this step's losses, from epochs, or at random."""

import dataclasses

from mtl_tf.balancing.lazy import tf
from mtl_tf.balancing.methods import Scalarizer, Slot
from mtl_tf.options import Section, option

LEAST = 1e-8  # loss that is told from 0


class Fixed(Scalarizer):
    """The fixed weights of the tasks, on any scale; `Balance` multiplies them in."""

    scaling = "each"

    def weights(self, state, losses, present, share, draws=None):
        """See `Scalarizer.weights`."""
        return tf.ones_like(losses)


class UwSo(Scalarizer):
    """Softmax of the inverse losses: Kirchdorfer et al., arXiv 2408.07985."""

    needs_losses = True
    positive = True
    scaling = "total"

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of uw_so."""

        temperature: float = option(1.0, "T of 1 / (T L); more = more equal weights", minimum=1e-6)

    def weights(self, state, losses, present, share, draws=None):
        """See `Scalarizer.weights`."""
        return softmax(1.0 / (self.options.temperature * tf.maximum(losses, LEAST)), present)


class Dwa(Scalarizer):
    """More weight to losses that fell less from one epoch to the next: Liu, Johns, Davison, CVPR 2019."""

    scaling = "each"

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of dwa."""

        temperature: float = option(2.0, "T of exp(r / T); more = more equal weights", minimum=1e-6)

    @property
    def state(self):
        """Sums of this epoch and over how many batches, the means of the last two, and how many epochs there were."""
        each = (self.count,)
        return {
            "loss_sum": Slot(each, dtype="float64"),
            "batches": Slot(each, dtype="int64"),
            "previous": Slot((2, self.count), dtype="float64"),
            "epochs": Slot(dtype="int64"),
        }

    def weights(self, state, losses, present, share, draws=None):
        """See `Scalarizer.weights`."""
        last, before = state["previous"][0], state["previous"][1]
        known = (before > 0.0) & (state["epochs"] >= 2)
        ratio = tf.where(known, last / tf.where(known, before, 1.0), 1.0)
        ratio = tf.cast(ratio / self.options.temperature, losses.dtype)
        return number_of(present, losses.dtype) * softmax(ratio, present)

    def update(self, state, losses, present, norms=None, losses_after=None, meta=None):
        """See `Scalarizer.update`."""
        return added(state, losses, present)

    def epoch_end(self, state):
        """See `Scalarizer.epoch_end`; of a task that the epoch lacked the means stay."""
        seen, mean = means(state)
        previous = tf.where(seen, tf.stack([mean, state["previous"][0]]), state["previous"])
        return emptied({**state, "previous": previous, "epochs": state["epochs"] + 1})


class Rlw(Scalarizer):
    """Random weights: Lin et al., TMLR 2022, Alg. 2."""

    scaling = "each"

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of rlw."""

        distribution: str = option(
            "normal",
            "softmax of normal numbers, or uniform over the simplex",
            choices=("normal", "dirichlet"),
        )

    def draws(self, seed, shapes=()):
        """Normal numbers, or exponential ones of mean 1, float64 [K]."""
        if self.options.distribution == "normal":
            return tf.random.stateless_normal([self.count], seed, dtype=tf.float64, alg="philox")
        uniform = tf.random.stateless_uniform([self.count], seed, dtype=tf.float64, alg="philox")
        return -tf.math.log(1.0 - uniform)

    def weights(self, state, losses, present, share, draws=None):
        """See `Scalarizer.weights`."""
        draws = tf.cast(draws, losses.dtype)
        return softmax(draws if self.options.distribution == "normal" else tf.math.log(draws), present)


class Gls(Scalarizer):
    """The geometric mean of the losses: Chennupati et al., CVPR workshops 2019."""

    needs_losses = True
    positive = True

    def weights(self, state, losses, present, share, draws=None):
        """See `Scalarizer.weights`."""
        safe = tf.maximum(losses, LEAST)
        number = tf.maximum(number_of(present, losses.dtype), 1.0)
        mean = tf.exp(tf.reduce_sum(tf.where(present, tf.math.log(safe), 0.0)) / number)
        return tf.where(losses >= LEAST, mean / (number * safe), 0.0)


class Log(Scalarizer):
    """The sum of the logarithms of the losses: Navon et al., ICML 2022 (scale-invariant)."""

    needs_losses = True
    positive = True

    def weights(self, state, losses, present, share, draws=None):
        """See `Scalarizer.weights`."""
        return 1.0 / tf.maximum(losses, LEAST)


def softmax(logits, present):
    """Over the present tasks; 0 elsewhere, also where there is none."""
    top = tf.reduce_max(tf.where(present, logits, logits.dtype.min))
    parts = tf.where(present, tf.exp(tf.where(present, logits - top, 0.0)), 0.0)
    return parts / tf.maximum(tf.reduce_sum(parts), LEAST)


def number_of(present, dtype):
    """How many tasks are present."""
    return tf.reduce_sum(tf.cast(present, dtype))


def added(state, losses, present):
    """The state with the losses of a batch in its sums `loss_sum` and `batches`."""
    more = tf.cast(tf.where(present, losses, 0.0), tf.float64)
    batches = state["batches"] + tf.cast(present, tf.int64)
    return {**state, "loss_sum": state["loss_sum"] + more, "batches": batches}


def means(state):
    """Of which tasks the epoch had a batch, bool [K], and the means of their losses, float64 [K]."""
    seen = state["batches"] > 0
    return seen, state["loss_sum"] / tf.cast(tf.maximum(state["batches"], 1), tf.float64)


def emptied(state):
    """The state with the sums of a new epoch."""
    return {name: tf.zeros_like(value) if name in ("loss_sum", "batches") else value for name, value in state.items()}
