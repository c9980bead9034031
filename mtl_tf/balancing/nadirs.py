"""Scalarizers that measure losses by those of an early epoch."""

import dataclasses

from mtl_tf.balancing.lazy import tf
from mtl_tf.balancing.methods import Scalarizer, Slot
from mtl_tf.balancing.scalarizers import LEAST, added, emptied, means, number_of, softmax
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option


class _Measured(Scalarizer):
    """1 / L up to the end of an epoch, then |S| softmax(f(L / base)) / L, base being the mean losses of that epoch."""

    needs_losses = True
    positive = True

    def _epoch(self):
        raise NotImplementedError

    def _logits(self, ratio):
        raise NotImplementedError

    @property
    def state(self):
        """Sums of this epoch and over how many batches, base and whether it is known, how many epochs there were."""
        each = (self.count,)
        return {
            "loss_sum": Slot(each, dtype="float64"),
            "batches": Slot(each, dtype="int64"),
            "base": Slot(each, 1.0),
            "ready": Slot(each, dtype="bool"),
            "epochs": Slot(dtype="int64"),
        }

    def weights(self, state, losses, present, share, draws=None):
        """See `Scalarizer.weights`."""
        safe = tf.maximum(losses, LEAST)
        base = tf.where(state["ready"], tf.cast(state["base"], losses.dtype), safe)
        parts = number_of(present, losses.dtype) * softmax(self._logits(safe / base), present)
        return tf.where(state["epochs"] > self._epoch(), parts, 1.0) / safe

    def update(self, state, losses, present, norms=None, losses_after=None, meta=None):
        """See `Scalarizer.update`; what that epoch lacked is measured by its first later loss."""
        late = present & ~state["ready"] & (state["epochs"] > self._epoch())
        base = tf.where(late, tf.maximum(tf.cast(losses, state["base"].dtype), LEAST), state["base"])
        return added({**state, "base": base, "ready": state["ready"] | late}, losses, present)

    def epoch_end(self, state):
        """See `Scalarizer.epoch_end`."""
        seen, mean = means(state)
        fixed = seen & (state["epochs"] == self._epoch())
        base = tf.where(fixed, tf.cast(tf.maximum(mean, LEAST), state["base"].dtype), state["base"])
        return emptied({**state, "base": base, "ready": state["ready"] | fixed, "epochs": state["epochs"] + 1})


class Stch(_Measured):
    """A smooth maximum of the losses (Tchebycheff): Lin et al., ICML 2024; variant mtl as in its authors' code."""

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of stch."""

        variant: str = option(
            "static",
            "static: of p (L - z); mtl: of log(L / its mean in an epoch), 1 / L before",
            choices=("static", "mtl"),
        )
        mu: float = option(1.0, "how smooth the maximum is", minimum=1e-6)
        reference: tuple[float, ...] = option((), "z of static, one number a task; none = 0")
        warmup_epoch: int = option(4, "the epoch of mtl, from 0", minimum=0)

    def __init__(self, count, options=None, rate=None):
        super().__init__(count, options, rate)
        if count and self.options.reference and len(self.options.reference) != count:
            raise UsageError(f"reference takes {count} numbers, one a task; got {len(self.options.reference)}")
        self._static = self.options.variant == "static"
        self.positive = not self._static

    @property
    def state(self):
        """None of static."""
        return {} if self._static else super().state

    def _epoch(self):
        return self.options.warmup_epoch

    def _logits(self, ratio):
        return tf.math.log(ratio) / self.options.mu

    def weights(self, state, losses, present, share, draws=None):
        """See `Scalarizer.weights`."""
        if not self._static:
            return super().weights(state, losses, present, share)
        above = losses - (tf.constant(self.options.reference, losses.dtype) if self.options.reference else 0.0)
        return share * softmax(share * above / self.options.mu, present)

    def update(self, state, losses, present, norms=None, losses_after=None, meta=None):
        """See `Scalarizer.update`."""
        return state if self._static else super().update(state, losses, present)

    def epoch_end(self, state):
        """See `Scalarizer.epoch_end`."""
        return state if self._static else super().epoch_end(state)


class Igb(_Measured):
    """More weight to losses that fell least since an epoch, by improvable gap: Dai et al., UAI 2023 (IGBv1)."""

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of igb."""

        base_epoch: int = option(0, "the epoch whose mean losses are the measure, from 0", minimum=0)

    def _epoch(self):
        return self.options.base_epoch

    def _logits(self, ratio):
        return ratio
