"""Scalarizers whose weights are learned beside the network, by gradients that are known in closed form."""

import dataclasses

from mtl_tf.balancing.lazy import tf
from mtl_tf.balancing.methods import Scalarizer, Slot
from mtl_tf.balancing.scalarizers import LEAST, number_of, softmax
from mtl_tf.options import Section, option

_FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-8  # of Adam
_BOUND = 10.0  # of logarithms of weights


def _optimizer():
    return option("adam", "what the weights are learned by, without decay", choices=("adam", "sgd"))


class _Learned(Scalarizer):
    """One vector, called `learned`, that an optimiser of its own moves; that of absent tasks stays, slots and all."""

    rate = 0.025
    learned: str

    @property
    def initial(self):
        """The vector in the beginning."""
        return getattr(self.options, "init", 0.0)

    @property
    def state(self):
        """The vector and the slots of Adam, each with the number of its steps."""
        each = (self.count,)
        slots = {self.learned: Slot(each, self.initial)}
        if self._by_adam():
            slots |= {"m": Slot(each), "v": Slot(each), "steps": Slot(each, dtype="int64")}
        return slots

    def _by_adam(self):
        return getattr(self.options, "optimizer", "adam") == "adam"

    def _moved(self, state, gradient, moving, bounds=None):
        """The state after a step against the gradient of the tasks that move (Adam: Kingma and Ba 2015)."""
        value = state[self.learned]
        gradient = tf.cast(gradient, value.dtype)
        state = dict(state)
        if self._by_adam():
            steps = state["steps"] + tf.cast(moving, tf.int64)
            first = _FIRST * state["m"] + (1.0 - _FIRST) * gradient
            second = _SECOND * state["v"] + (1.0 - _SECOND) * gradient**2
            ages = tf.cast(tf.maximum(steps, 1), value.dtype)
            size = tf.sqrt(second / (1.0 - _SECOND**ages)) + _EPSILON
            gradient = first / (1.0 - _FIRST**ages) / size
            state["m"] = tf.where(moving, first, state["m"])
            state["v"] = tf.where(moving, second, state["v"])
            state["steps"] = steps
        moved = value - self.rate * gradient
        moved = tf.clip_by_value(moved, *bounds) if bounds else moved
        state[self.learned] = tf.where(moving, moved, value)
        return state


class Uw(_Learned):
    """Homoscedastic uncertainty: 0.5 exp(-s) L + 0.5 s, Kendall, Gal, Cipolla, CVPR 2018, eq. 10."""

    learned = "log_var"
    positive = True

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of uw."""

        init: float = option(0.0, "s in the beginning")
        half: bool = option(True, "false: exp(-s) L + 0.5 s, as for classes")
        optimizer: str = _optimizer()

    def weights(self, state, losses, present, share, draws=None):
        """See `Scalarizer.weights`."""
        return (0.5 if self.options.half else 1.0) * tf.exp(-tf.cast(state[self.learned], losses.dtype))

    def update(self, state, losses, present, norms=None, losses_after=None, meta=None):
        """See `Scalarizer.update`."""
        gradient = 0.5 - self.weights(state, losses, present, None) * losses
        return self._moved(state, gradient, present, (-_BOUND, _BOUND))


class ImtlL(_Learned):
    """exp(s) L - s, which makes all weighted losses 1: Liu et al., ICLR 2021."""

    learned = "log_scale"
    positive = True

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of imtl_l."""

        init: float = option(0.0, "s in the beginning")
        optimizer: str = _optimizer()

    def weights(self, state, losses, present, share, draws=None):
        """See `Scalarizer.weights`."""
        return tf.exp(tf.cast(state[self.learned], losses.dtype))

    def update(self, state, losses, present, norms=None, losses_after=None, meta=None):
        """See `Scalarizer.update`."""
        gradient = self.weights(state, losses, present, None) * losses - 1.0
        return self._moved(state, gradient, present, (-_BOUND, _BOUND))


class Famo(_Learned):
    """All logarithms of losses fall alike: Liu, Feng, Stone, Liu, NeurIPS 2023, Alg. 2."""

    learned = "logits"
    needs_losses = True
    needs_after = True
    positive = True
    scaling = "total"

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of famo."""

        gamma: float = option(1e-3, "decay of the logits, added to their gradient", minimum=0.0)
        base: float = option(0.0, "what every loss is above; below 0 where losses may be negative")

    @property
    def floor(self):
        """See `Scalarizer.floor`."""
        return self.options.base

    def _gaps(self, losses):
        gap = losses - self.options.base
        return gap > 0.0, tf.maximum(gap + LEAST, LEAST)

    def weights(self, state, losses, present, share, draws=None):
        """See `Scalarizer.weights`."""
        above, gap = self._gaps(losses)
        parts = softmax(tf.cast(state[self.learned], losses.dtype), present) / gap
        parts = tf.where(above & present, parts, 0.0)
        total = tf.reduce_sum(parts)
        return parts / tf.where(total > 0.0, total, 1.0)

    def update(self, state, losses, present, norms=None, losses_after=None, meta=None):
        """See `Scalarizer.update`."""
        (above, gap), (above_after, after) = self._gaps(losses), self._gaps(losses_after)
        fell = tf.where(present & above & above_after, tf.math.log(gap) - tf.math.log(after), 0.0)
        logits = tf.cast(state[self.learned], losses.dtype)
        parts = softmax(logits, present)
        gradient = parts * (fell - tf.reduce_sum(parts * fell)) + self.options.gamma * logits
        return self._moved(state, gradient, present)


class GradNorm(_Learned):
    """Gradients as long as the tasks' relative progress asks for: Chen et al., ICML 2018, Alg. 1."""

    learned = "weights"
    initial = 1.0
    needs_norms = True
    scaling = "each"

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of gradnorm."""

        alpha: float = option(1.5, "how strongly slow tasks are pulled", minimum=0.0)
        optimizer: str = _optimizer()

    @property
    def state(self):
        """That of what is learned, the first losses, and of which tasks they are known."""
        each = (self.count,)
        return super().state | {"first_losses": Slot(each, 1.0), "known": Slot(each, dtype="bool")}

    def weights(self, state, losses, present, share, draws=None):
        """See `Scalarizer.weights`."""
        return _of_mean_one(tf.cast(state[self.learned], losses.dtype), present)

    def update(self, state, losses, present, norms=None, losses_after=None, meta=None):
        """See `Scalarizer.update`."""
        fresh = present & ~state["known"] & (losses > 0.0)
        known = state["known"] | fresh
        first = tf.where(fresh, tf.cast(losses, state["first_losses"].dtype), state["first_losses"])
        part = present & known
        number = tf.maximum(number_of(part, losses.dtype), 1.0)
        lengths = self.weights(state, losses, present, None) * norms
        progress = tf.where(part, losses / tf.cast(first, losses.dtype), 0.0)
        relative = progress / tf.maximum(tf.reduce_sum(progress) / number, LEAST)
        mean = tf.reduce_sum(tf.where(part, lengths, 0.0)) / number
        target = mean * tf.maximum(relative, 0.0) ** self.options.alpha
        gradient = tf.sign(lengths - target) * norms
        state = self._moved({**state, "first_losses": first, "known": known}, gradient, part, (1e-3, float(self.count)))
        value = state[self.learned]
        return {**state, self.learned: tf.where(present, _of_mean_one(value, present), value)}


class AutoLambda(_Learned):
    """Weights by the losses of a second batch after a virtual step: Liu, James, Davison, Johns, TMLR 2022.

    The gradient of the weights is `meta_gradient`; the steps around it are those of the training.
    """

    rate = 1e-4
    learned = "lambda"
    needs_meta = True

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of auto_lambda."""

        init: float = option(0.1, "weights in the beginning", minimum=0.0, maximum=10.0)

    def weights(self, state, losses, present, share, draws=None):
        """See `Scalarizer.weights`."""
        return tf.cast(state[self.learned], losses.dtype)

    def update(self, state, losses, present, norms=None, losses_after=None, meta=None):
        """See `Scalarizer.update`."""
        return self._moved(state, meta, present, (0.0, 10.0))


def virtual(value, direction, buffer, rate, momentum: float = 0.9, decay: float = 0.0):
    """A variable after a step of SGD with momentum that is not made.

    Args:
        value: of the variable.
        direction: that it is moved against.
        buffer: of the momentum, a sum of gradients.
        rate, momentum, decay: of the optimiser.
    """
    return value - rate * (momentum * buffer + direction + decay * value)


def meta_gradient(rows: list, after: list, rates: list, count: int):
    """The gradient of the weights: -rate <g_k, grad F>, exact where F is taken at the virtual step.

    Args:
        rows: of the training batch, of each variable {number of the task: gradient [...]}.
        after: of each variable the gradient [...] at the virtual step of the primary tasks' losses on the second batch.
        rates: of the virtual step, of each variable.
        count: of the tasks, K.

    Returns:
        [K].
    """
    found = [[] for _ in range(count)]
    for gradients, other, rate in zip(rows, after, rates, strict=True):
        for k, gradient in gradients.items():
            found[k].append(-rate * tf.reduce_sum(gradient * other))
    return tf.stack([tf.add_n(parts) for parts in found])


def _of_mean_one(values, present):
    total = tf.reduce_sum(tf.where(present, values, 0.0))
    return values * number_of(present, values.dtype) / tf.where(total > 0.0, total, 1.0)
