"""An aggregator around another."""

from mtl_tf.balancing.lazy import tf
from mtl_tf.balancing.methods import Aggregator, Slot


class Smoothed(Aggregator):
    """The weights of another, averaged over the steps (CR-MOGM): Zhou et al., NeurIPS 2022.

    Args:
        inner: the other.
        alpha: how much of the average is kept, below 1.
    """

    def __init__(self, inner: Aggregator, alpha: float):
        super().__init__(inner.count, inner.options, inner.epsilon)
        self.inner, self.alpha = inner, alpha
        self.prefers, self.specific, self.needs_losses = inner.prefers, inner.specific, inner.needs_losses
        self.batches = inner.batches

    def draws(self, seed, shapes=()):
        """Those of the other."""
        return self.inner.draws(seed, shapes)

    @property
    def state(self):
        """That of the other, the average, and of which tasks there is one."""
        each = (self.count,)
        return self.inner.state | {"smoothed": Slot(each), "smoothed_ready": Slot(each, dtype="bool")}

    def factor(self, number):
        """See `Aggregator.factor`."""
        return self.inner.factor(number)

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """See `Aggregator.weights`."""
        found, state = self.inner.weights(state, gramian, active, share, draws, losses)
        held, ready = state["smoothed"], state["smoothed_ready"]
        mixed = self.alpha * tf.cast(held, tf.float64) + (1.0 - self.alpha) * found
        found = tf.where(active, tf.where(ready, mixed, found), 0.0)
        held = tf.where(active, tf.cast(found, held.dtype), held)
        return found, {**state, "smoothed": held, "smoothed_ready": ready | active}
