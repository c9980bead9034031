"""Aggregators that remember: averages of rows, weights that are learned, and those of two batches."""

import dataclasses

from mtl_tf.balancing import solvers
from mtl_tf.balancing.aggregators import clipped
from mtl_tf.balancing.lazy import tf
from mtl_tf.balancing.methods import Aggregator, Slot
from mtl_tf.balancing.rows import scaled, squares
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option


class _OnSimplex(Aggregator):
    """One that remembers weights of sum 1."""

    @property
    def state(self):
        """The weights."""
        return {"weights": Slot((self.count,), 1.0 / self.count)}


class _BySteps(_OnSimplex):
    """One whose weights make a gradient step at each call, by `gamma`, and decay by `rho`."""

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """See `Aggregator.weights`."""
        options = self.options
        now = _on_simplex(state["weights"], active)
        slope = tf.linalg.matvec(gramian, now) + options.rho * now
        moved = solvers.project_simplex(now - options.gamma * slope, active)
        return moved, {**state, "weights": _put_back(state["weights"], moved, active)}


class MoCo(_BySteps):
    """Weights by gradient steps on averages of the rows: Fernando et al., ICLR 2023."""

    input = "rows"

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of moco."""

        beta: float = option(0.1, "how much a step counts in the average of the rows", minimum=0.0, maximum=1.0)
        gamma: float = option(0.1, "step of the weights; not scale-free", minimum=0.0)
        rho: float = option(0.1, "decay of the weights towards equal ones", minimum=0.0)
        bias_correction: bool = option(
            False, "averages over what they have seen, so that the first is a whole gradient"
        )

    @property
    def state(self):
        """The averages, the weights, and how many steps each average has seen."""
        slots = {"rows": Slot(like_rows=True)} | super().state
        return slots | ({"steps": Slot((self.count,), dtype="int64")} if self.options.bias_correction else {})

    def track(self, state, rows, active, losses):
        """See `Aggregator.track`."""
        kept = averaged(state["rows"], rows, active, self.options.beta)
        state = {**state, "rows": kept}
        if self.options.bias_correction:
            state["steps"] = state["steps"] + tf.cast(active, tf.int64)
            seen = 1.0 - (1.0 - self.options.beta) ** tf.cast(state["steps"], tf.float64)
            kept = scaled(kept, 1.0 / tf.where(seen > 0.0, seen, 1.0))
        return kept, state


class MoDo(_BySteps):
    """As MoCo, by the products of two independent batches' rows: Chen et al., JMLR 2024, eq. 2.9.

    Here the batches are the two halves of one, each a mean of its own: an adaptation that costs no second batch.
    """

    batches = 2
    smooths = True

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of modo."""

        gamma: float = option(0.1, "step of the weights; not scale-free", minimum=0.0)
        rho: float = option(0.1, "decay of the weights towards equal ones", minimum=0.0)


class SdmGrad(_OnSimplex):
    """As MoDo, by several steps near the preference: Xiao, Ban, Ji, NeurIPS 2023."""

    batches = 2
    prefers = True
    smooths = True

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of sdmgrad."""

        lam: float = option(0.3, "how much the preference counts beside the weights", minimum=0.0)
        niter: int = option(20, "steps of the weights in a step of training", minimum=1)
        inner_rate: float = option(10.0, "learning rate of the niter steps", minimum=0.0)
        momentum: float = option(0.5, "of the niter steps, from 0 each time", minimum=0.0, maximum=1.0)
        max_norm: float = option(0.0, "longest direction, by the products of the two batches; 0 = any", minimum=0.0)

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """See `Aggregator.weights`."""
        options = self.options
        number = tf.maximum(tf.reduce_sum(tf.cast(active, tf.float64)), 1.0)
        size = tf.reduce_sum(solvers.norms(gramian)) / number
        products = gramian / (size**2 + 1e-8)
        now = _on_simplex(state["weights"], active)

        def step(now, velocity):
            velocity = options.momentum * velocity + tf.linalg.matvec(products, now + options.lam * share)
            return solvers.project_simplex(now - options.inner_rate * velocity, active), velocity

        start = (now, tf.zeros_like(now))
        now, _ = tf.while_loop(lambda *_: True, step, start, maximum_iterations=options.niter)
        found = clipped((now + options.lam * share) / (1.0 + options.lam), gramian, options.max_norm)
        return found, {**state, "weights": _put_back(state["weights"], now, active)}


class Excess(Aggregator):
    """More weight where more loss is left to gain, by the rows' second moments: He et al., ICML 2024, eq. 6 to 9."""

    input = "rows"
    specific = "weighted"

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of excess."""

        eta: float = option(0.01, "how fast weights follow the excess risk", minimum=0.0)

    @property
    def state(self):
        """Sums of squares, the risk of now and of the first time, the weights."""
        each = (self.count,)
        return {
            "squares": Slot(like_rows=True),
            "risk": Slot(each),
            "first_risk": Slot(each),
            "weights": Slot(each, 1.0),
        }

    def factor(self, number):
        """See `Aggregator.factor`."""
        return number

    def track(self, state, rows, active, losses):
        """The rows stay; the squares and the risk move."""
        part = [tf.reshape(active, [-1] + [1] * (len(row.shape) - 1)) for row in rows]
        added = [tf.where(a, tf.square(row), 0.0) for a, row in zip(part, rows, strict=True)]
        sums = [one + tf.cast(more, one.dtype) for one, more in zip(state["squares"], added, strict=True)]
        # The product of J and J / sqrt(V), as a sum of squares.
        roots = [
            tf.where(a, row, 0.0) / tf.cast(total + 1e-7, row.dtype) ** 0.25
            for a, row, total in zip(part, rows, sums, strict=True)
        ]
        return rows, {**state, "squares": sums, "risk": tf.cast(squares(roots), state["risk"].dtype)}

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """See `Aggregator.weights`."""
        risk, first, held = (tf.cast(state[name], tf.float64) for name in ("risk", "first_risk", "weights"))
        known = active & (first > 0.0)
        logits = tf.math.log(held) + tf.where(known, self.options.eta * risk / _nonzero(first), 0.0)
        number = tf.reduce_sum(tf.cast(active, tf.float64))
        moved = number * tf.nn.softmax(tf.where(active, logits, -1e300))
        moved = tf.where(tf.reduce_any(known), moved, held)
        first = tf.where(~known & (risk > 0.0), risk, first)  # without part the risk is 0
        state = {
            **state,
            "first_risk": tf.cast(first, state["first_risk"].dtype),
            "weights": tf.cast(tf.where(active, moved, held), state["weights"].dtype),
        }
        return tf.where(active, moved, 0.0), state


class DbMtl(Aggregator):
    """Rows of the losses' logarithms, brought to the longest one's length: Lin et al., arXiv 2308.12029."""

    needs_losses = True
    specific = "log"

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of db_mtl."""

        beta: float = option(
            0.0, "how much of the average of the rows is kept; 0 = no average, 0.9 published", minimum=0.0
        )
        sigma: float = option(0.0, "beta falls as the number of the step to this power", minimum=0.0)

        def __post_init__(self):
            super().__post_init__()
            if self.beta >= 1:
                raise UsageError(f"beta must be below 1, got {self.beta}")

    @property
    def input(self):
        """Rows if they are averaged."""
        return "rows" if self.options.beta else "gramian"

    @property
    def state(self):
        """The averages, and how many steps each has seen."""
        averages = {"rows": Slot(like_rows=True), "steps": Slot((self.count,), dtype="int64")}
        return averages if self.options.beta else {}

    def factor(self, number):
        """See `Aggregator.factor`."""
        return None

    def track(self, state, rows, active, losses):
        """See `Aggregator.track`."""
        if not self.options.beta:
            return rows, state
        steps = state["steps"] + tf.cast(active, tf.int64)
        part = 1.0 - self.options.beta / tf.maximum(tf.cast(steps, tf.float64), 1.0) ** self.options.sigma
        kept = averaged(state["rows"], scaled(rows, _over_loss(losses, active)), active, part)
        return kept, {**state, "rows": kept, "steps": steps}

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """See `Aggregator.weights`."""
        factors = tf.ones_like(share) if self.options.beta else tf.cast(_over_loss(losses, active), tf.float64)
        lengths = solvers.norms(gramian) * factors
        found = factors * tf.reduce_max(tf.where(active, lengths, 0.0)) / (lengths + 1e-8)
        return tf.where(active, found, 0.0), state


class Pcd(Aggregator):
    """One main task, turned so far that the others gain too: TMLR 2026, arXiv 2606.29521."""

    smooths = True

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of pcd."""

        tau: float = option(0.02, "how much every other task has to gain, of its own squared length", minimum=0.0)
        beta: float = option(0.999, "how much of the average of squared lengths is kept", minimum=0.0, maximum=0.999999)
        primary: int = option(0, "index of the main task", minimum=0)

    def __init__(self, count, options=None, **others):
        super().__init__(count, options, **others)
        if count and self.options.primary >= count:
            raise UsageError(f"primary is the index of a task, 0 to {count - 1}; got {self.options.primary}")

    @property
    def state(self):
        """The averages of squared lengths, and how many steps each has seen."""
        return {"squares": Slot((self.count,), dtype="float64"), "steps": Slot((self.count,), dtype="int64")}

    def factor(self, number):
        """See `Aggregator.factor`."""
        return None

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """See `Aggregator.weights`."""
        options = self.options
        now = tf.linalg.diag_part(gramian)
        kept = tf.where(active, options.beta * state["squares"] + (1.0 - options.beta) * now, state["squares"])
        steps = state["steps"] + tf.cast(active, tf.int64)
        corrected = kept / _nonzero(1.0 - options.beta ** tf.cast(steps, tf.float64))
        lengths = tf.sqrt(corrected + 1e-8)
        normal = gramian / (lengths[:, None] * lengths[None, :])
        found = solvers.priority(normal, options.tau, active, options.primary) / lengths
        length = solvers.length(found, gramian)
        found *= tf.sqrt(now[options.primary]) / _nonzero(length)
        mean = tf.cast(active, tf.float64) / tf.maximum(tf.reduce_sum(tf.cast(active, tf.float64)), 1.0)
        found = tf.where(active[options.primary], found, mean)
        return found, {**state, "squares": kept, "steps": steps}


def averaged(kept, rows, active, part):
    """kept + part (rows - kept) of the tasks that take part; of the others what is kept.

    Args:
        kept, rows: lists of [K, ...].
        active: bool [K].
        part: a number, or [K].
    """
    part = tf.where(active, tf.convert_to_tensor(part, tf.float64), 0.0)
    changes = scaled([row - tf.cast(one, row.dtype) for one, row in zip(kept, rows, strict=True)], part)
    return [one + tf.cast(change, one.dtype) for one, change in zip(kept, changes, strict=True)]


def _on_simplex(held, active):
    """What is kept of weights of sum 1, brought to that sum for the tasks that take part; equal ones where it is 0."""
    parts = tf.where(active, tf.cast(held, tf.float64), 0.0)
    parts = tf.where(active & (tf.reduce_sum(parts) <= 0.0), tf.ones_like(parts), parts)
    return parts / tf.maximum(tf.reduce_sum(parts), 1e-300)


def _put_back(held, moved, active):
    """The weights to keep: those that moved share what they had together, the others stay."""
    had = tf.reduce_sum(tf.where(active, held, 0.0))
    return tf.where(active, had * tf.cast(moved, held.dtype), held)


def _over_loss(losses, active):
    return 1.0 / (tf.where(active, losses, 1.0) + 1e-8)


def _nonzero(values):
    return tf.where(values == 0.0, tf.ones_like(values), values)
