"""A way of balancing of your own: rows of equal length, by the lengths that they have had on average.

`main.py train --plugin=docs/examples/balancer.py --balance.aggregator=even --balance.memory=0.99 ...`
"""

import dataclasses

import mtl_tf


@mtl_tf.register
class Even(mtl_tf.Aggregator):
    """d = n sum_k p_k g_k / n_k, n_k being the average of |g_k| over the steps, and n that of all n_k.

    An average keeps what a single step cannot say: a gradient that is long today still counts for more.
    """

    name = "even"
    prefers = True

    @dataclasses.dataclass(frozen=True)
    class Options(mtl_tf.Section):
        """`--balance.memory`."""

        memory: float = mtl_tf.option(
            0.9, "how much of the average of the lengths is kept in a step", minimum=0.0, maximum=0.999999
        )

    @property
    def state(self):
        """The averages, and of which tasks there is one."""
        return {"lengths": mtl_tf.Slot((self.count,)), "known": mtl_tf.Slot((self.count,), dtype="bool")}

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """The weights of the rows, float64 (K,), and the new state; what takes no part keeps its own."""
        import tensorflow as tf

        now = tf.sqrt(tf.linalg.diag_part(gramian))
        held, memory = tf.cast(state["lengths"], now.dtype), self.options.memory
        average = tf.where(state["known"], memory * held + (1.0 - memory) * now, now)
        lengths = tf.where(active, average, 1.0)
        kept = tf.where(active, tf.cast(average, state["lengths"].dtype), state["lengths"])
        found = share * tf.reduce_sum(share * lengths) / lengths
        return found, {"lengths": kept, "known": state["known"] | active}
