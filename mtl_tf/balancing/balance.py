"""A scalarizer and an aggregator together: what a training step does with the losses and gradients of its tasks."""

from mtl_tf.balancing import AGGREGATORS, SCALARIZERS
from mtl_tf.balancing.lazy import tf
from mtl_tf.balancing.methods import FLOAT32, DirectionAggregator, made
from mtl_tf.balancing.rows import combine, gramian, masked, scaled, squares, taking_part
from mtl_tf.balancing.scalarizers import Fixed
from mtl_tf.balancing.smoothed import Smoothed
from mtl_tf.errors import UsageError

SCALES = ("mean", "own")
# Two of them would be two controllers of one quantity.
_CONTROLLERS = ("gradnorm", "db_mtl", "excess", "moco", "famo")

_PURPOSE = 2**20  # tells the draws of the aggregator from those of the scalarizer


class Balance:
    """L -> a (scalarizer) -> rows a_k g_k -> w (aggregator) -> d = sum_k w_k a_k g_k.

    Args:
        count: of the tasks, K; None = not known yet, which does for checking all but that.
        scalarizer, aggregator: names in `SCALARIZERS` and `AGGREGATORS`.
        scalarizer_options, aggregator_options: theirs, by name.
        preference: p, the fixed weight of each task; None = 1 over the number of tasks present.
        scale: "mean": a direction as long as that of sum_k p_k L_k where all gradients are the same, so that its
            learning rate stays usable; "own": as the method's authors have it.
        smooth: how much of the average of the aggregator's weights is kept (CR-MOGM); 0 = they are not averaged.
        rate: learning rate of a scalarizer's weights; None = as published (0.025; auto_lambda 1e-4).
        epsilon: the relative rounding error of the rows.

    Attributes:
        aggregates: whether there is an aggregator.
        preference: p, or None.

    Raises:
        UsageError: a name, an option or a value that is none, or methods that do not go together.
    """

    def __init__(
        self,
        count: int | None,
        scalarizer: str = "fixed",
        aggregator: str = "none",
        *,
        scalarizer_options: dict | None = None,
        aggregator_options: dict | None = None,
        preference: tuple[float, ...] | None = None,
        scale: str = "mean",
        smooth: float = 0.0,
        rate: float | None = None,
        epsilon: float = FLOAT32,
    ):
        if scale not in SCALES:
            raise UsageError(f"scale takes one of {', '.join(SCALES)}; got {scale!r}")
        if scalarizer in _CONTROLLERS and aggregator in _CONTROLLERS:
            raise UsageError(
                f"scalarizer {scalarizer} and aggregator {aggregator} control one quantity, the balance of the tasks; "
                "take one of them, with fixed or none as the other"
            )
        self.count, self._scale, self._scalarizer_name = count, scale, scalarizer
        self.preference = _checked(preference, count)
        self.scalarizer = made(SCALARIZERS, scalarizer, count, scalarizer_options or {}, rate=rate)
        if rate is not None and not type(self.scalarizer).rate:
            able = ", ".join(name for name in SCALARIZERS if SCALARIZERS[name].rate)
            raise UsageError(
                f"rate is that of learned weights, and {scalarizer} learns none; leave it out, or take {able}"
            )
        if rate is not None and not 0 < rate < float("inf"):
            raise UsageError(f"rate takes a number above 0, got {rate}")
        self.aggregator = made(AGGREGATORS, aggregator, count, aggregator_options or {}, epsilon=epsilon)
        self.aggregates = aggregator != "none"
        if not 0 <= smooth < 1:
            raise UsageError(f"smooth takes a number from 0 to below 1, got {smooth}")
        if smooth and not self.aggregator.smooths:
            able = [name for name in AGGREGATORS if AGGREGATORS[name].smooths]
            raise UsageError(f"smooth averages no weights of {aggregator}; set smooth=0, or take {', '.join(able)}")
        if smooth:
            self.aggregator = Smoothed(self.aggregator, smooth)

    @property
    def state(self) -> dict:
        """{"scalarizer": ..., "aggregator": ...}, `Slot`s by name; as tensors it is handed to the methods below."""
        return {"scalarizer": self.scalarizer.state, "aggregator": self.aggregator.state}

    def draws(self, seed, shapes=()) -> dict:
        """The random numbers of a step.

        Args:
            seed: int32 [2], another for each step.
            shapes: of the shared variables.
        """
        other = seed + tf.constant([0, _PURPOSE], seed.dtype)
        return {"scalarizer": self.scalarizer.draws(seed), "aggregator": self.aggregator.draws(other, shapes)}

    def row_weights(self, state, losses, present, draws=None):
        """a, the weight of each loss; 0 of absent tasks.

        Before an aggregator the rows are those of the raw losses times the scalarizer's own weights: the preference is
        the aggregator's matter, and is not multiplied in twice.

        Args:
            state: tensors by the names of `state`.
            losses: of the global batch, float [K].
            present: which tasks have labels in it, bool [K].
            draws: what `draws` gave.

        Returns:
            [K], of the type of the losses.
        """
        return self._weights_of_losses(state, losses, present, draws, self.aggregates)

    def loss_weights(self, state, losses, present, draws=None):
        """The weight of each loss as it would be without an aggregator; see `row_weights`."""
        return self._weights_of_losses(state, losses, present, draws, False)

    def _weights_of_losses(self, state, losses, present, draws, aggregated):
        number = tf.cast(present, losses.dtype)
        preference = number if aggregated else tf.cast(self._preferences(present), losses.dtype)
        share = preference / _or_one(tf.reduce_sum(preference))
        losses = tf.where(present, losses, 1.0)
        drawn = draws["scalarizer"] if draws else None
        found = self.scalarizer.weights(state["scalarizer"], losses, present, share, drawn)
        found = tf.where(present, found, 0.0)
        scaling = self.scalarizer.scaling if self._scale == "mean" else ""
        if isinstance(self.scalarizer, Fixed):
            found = preference
        elif scaling == "each":
            found *= preference * tf.reduce_sum(number) / _or_one(tf.reduce_sum(found))
        elif scaling == "total":
            found *= tf.reduce_sum(preference)
        return tf.stop_gradient(found)

    def gramian_weights(self, state, gramian, present, row_weights, losses=None, draws=None):
        """The weight of each raw row in the direction, of an aggregator whose `input` is a Gramian.

        Args:
            state, present, draws: see `row_weights`.
            gramian: of the raw rows, float64 [K, K]; of two batches if the aggregator's `batches` is 2.
            row_weights: a, [K].
            losses: float [K], if the aggregator needs them.

        Returns:
            float64 [K], 0 of absent tasks, and the new state.
        """
        factors = tf.cast(row_weights, tf.float64)
        gramian = factors[:, None] * factors[None, :] * gramian
        # The diagonal of two batches' products says nothing of the length of a row.
        one = self.aggregator.batches == 1
        active = self._active(tf.linalg.diag_part(gramian), present) if one else present
        losses = None if losses is None else tf.cast(tf.where(present, losses, 1.0), tf.float64)
        weights, new = self._weights(state, gramian, active, present, losses, draws)
        return factors * weights, _kept(state, new, active)

    def direction(self, state, rows, present, row_weights, losses=None, second=None, draws=None):
        """The direction that the shared variables are moved against.

        Args:
            state, present, draws: see `row_weights`.
            rows: of the raw losses, a list of [K, ...], one of each shared variable.
            row_weights: a, [K].
            losses: float [K], if the aggregator needs them.
            second: the same of a second batch, if its `batches` is 2.

        Returns:
            A list of [...]; the weights of the raw rows (of the tracked ones, where rows are averaged), float64 [K], or
            None where the direction is no weighted sum; the new state.
        """
        rows = scaled(masked(rows, present), row_weights)
        second = None if second is None else scaled(masked(second, present), row_weights)
        products = gramian(rows, second)
        if second is None:
            active = self._active(tf.linalg.diag_part(products), present)
        else:
            active = self._active(squares(rows), present) & self._active(squares(second), present)
        if isinstance(self.aggregator, DirectionAggregator):
            found = self.aggregator.direction(rows, active, draws["aggregator"])
            factor = self._factor(active, self._preferences(present))
            return [tf.cast(factor, each.dtype) * each for each in found], None, state
        losses = None if losses is None else tf.cast(tf.where(present, losses, 1.0), tf.float64)
        new, tracks = state, self.aggregator.input == "rows" and self.count > 1
        if tracks:  # of one task the row itself is the direction
            rows, own = self.aggregator.track(state["aggregator"], rows, active, losses)
            products, new = gramian(rows), {**state, "aggregator": own}
        weights, new = self._weights(new, products, active, present, losses, draws)
        if second is not None:
            rows = [(one + other) / 2.0 for one, other in zip(rows, second, strict=True)]
        shown = weights if tracks else tf.cast(row_weights, tf.float64) * weights
        return combine(rows, weights), shown, _kept(state, new, active)

    def update(self, state, losses, present, norms=None, losses_after=None, meta=None) -> dict:
        """The state after a step that was applied; see `Scalarizer.update`."""
        losses = tf.where(present, losses, 1.0)
        if losses_after is not None:
            losses_after = tf.where(present, losses_after, 1.0)
        if norms is not None:
            norms = tf.where(present, norms, 0.0)
        own = self.scalarizer.update(state["scalarizer"], losses, present, norms, losses_after, meta)
        return {**state, "scalarizer": own}

    def allowed(self, losses, present):
        """Whether the scalarizer can take the losses of a step, bool."""
        if self.scalarizer.floor is None:
            return tf.constant(True)
        return tf.reduce_all(~present | ~(losses < self.scalarizer.floor))  # of NaN others tell

    def demand_allowed(self, losses: dict[str, float]) -> None:
        """Raises a UsageError if the scalarizer cannot take a loss, by the name of its task."""
        floor = self.scalarizer.floor
        for name, loss in losses.items():
            if floor is not None and loss < floor:
                raise UsageError(
                    f"the loss of {name} is {loss:g}, but balance.scalarizer={self._scalarizer_name} takes losses of "
                    f"at least {floor:g}; start a new run with fixed, dwa or rlw, which take any"
                )

    def epoch_end(self, state) -> dict:
        """The state after an epoch."""
        return {**state, "scalarizer": self.scalarizer.epoch_end(state["scalarizer"])}

    def _active(self, norms_squared, present):
        """Who takes part; a gradient of 0 is one like another as long as nothing is solved."""
        return taking_part(norms_squared, present) if self.aggregates else present

    def _weights(self, state, gramian, active, present, losses, draws):
        preference = self._preferences(present)
        share = tf.where(active, preference, 0.0) / _or_one(tf.reduce_sum(preference))
        gramian = tf.where(active[:, None] & active[None, :], gramian, 0.0)
        # Such a step is not applied; a solver would end it with an error.
        finite = tf.reduce_all(tf.math.is_finite(gramian))
        gramian = tf.where(finite, gramian, tf.eye(self.count, dtype=tf.float64))
        drawn = draws["aggregator"] if draws else None
        if self.count == 1:
            found, own = tf.ones_like(share), state["aggregator"]
        else:
            found, own = self.aggregator.weights(state["aggregator"], gramian, active, share, drawn, losses)
        found = tf.where(active, self._factor(active, preference) * found, 0.0)
        found = tf.where(finite, found, float("nan"))
        return tf.stop_gradient(found), {**state, "aggregator": own}

    def _factor(self, active, preference):
        """What brings the direction to the scale that is asked for, a scalar."""
        number = tf.reduce_sum(tf.cast(active, tf.float64))
        factor = self.aggregator.factor(number) if self.count > 1 else 1.0
        if not self.aggregates or self._scale == "own" or factor is None:
            return tf.ones_like(number)
        # Where the preference enters, a task whose gradient is 0 takes its part of it along.
        part = preference if self.aggregator.prefers else tf.where(active, preference, 0.0)
        return tf.reduce_sum(part) / _or_one(tf.convert_to_tensor(factor, tf.float64))

    def _preferences(self, present):
        """p over the present tasks, float64 [K]."""
        part = tf.cast(present, tf.float64)
        if self.preference is None:
            return part / _or_one(tf.reduce_sum(part))
        return part * tf.constant(self.preference, tf.float64)


def _kept(old, new, active):
    """The new state, the old one where no task takes part."""
    moved = tf.reduce_any(active)
    return tf.nest.map_structure(lambda one, other: tf.where(moved, other, one), old, new)


def _or_one(value):
    """The value, 1 for 0."""
    return tf.where(value == 0.0, tf.ones_like(value), value)


def _checked(preference, count):
    if preference is None:
        return None
    preference = tuple(float(each) for each in preference)
    if len(preference) != count or not all(0 <= each < float("inf") for each in preference) or not sum(preference):
        raise UsageError(f"preference takes {count} numbers, one a task, none below 0 and not all 0; got {preference}")
    return preference
