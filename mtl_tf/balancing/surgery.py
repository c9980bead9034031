"""Aggregators that take conflicting parts out of the rows, in a random order or at random."""

import dataclasses

from mtl_tf.balancing import solvers
from mtl_tf.balancing.lazy import tf
from mtl_tf.balancing.methods import Aggregator, DirectionAggregator, Slot
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option

_VARIABLES = 2**32  # tells the draws of one variable from those of another, at this and any other step


class PcGrad(Aggregator):
    """Each row without its components against the others, summed: Yu et al., NeurIPS 2020, Alg. 1."""

    def factor(self, number):
        """See `Aggregator.factor`."""
        return number

    def draws(self, seed, shapes=()):
        """The order in which row i meets the others, int32 [K, K - 1]."""
        places = tf.random.stateless_uniform([self.count] * 2, seed, alg="philox")
        return tf.argsort(tf.linalg.set_diag(places, tf.fill([self.count], 2.0)))[:, :-1]

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """See `Aggregator.weights`."""
        squares = tf.linalg.diag_part(gramian)
        rows = tf.eye(self.count, dtype=tf.float64)
        for other, met in _meetings(draws, active):
            inner = tf.reduce_sum(tf.linalg.matmul(rows, gramian) * other, 1)
            over = tf.where(met, tf.linalg.matvec(other, squares), 1.0)
            rows -= tf.where(inner < 0.0, inner / over, 0.0)[:, None] * other
        return _summed(rows, active), state


class GradVac(PcGrad):
    """Rows moved towards the cosines that they had on average: Wang et al., ICLR 2021."""

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of gradvac."""

        beta: float = option(0.5, "how much a step counts in the average of the cosines", minimum=0.0, maximum=1.0)
        eps: float = option(1e-8, "added to what is divided by", minimum=0.0)

    @property
    def state(self):
        """The average cosine of row i, as others left it, with row j."""
        return {"phi": Slot((self.count, self.count))}

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """See `Aggregator.weights`."""
        beta, eps = self.options.beta, self.options.eps
        lengths = solvers.norms(gramian)
        phi = tf.cast(state["phi"], tf.float64)
        rows = tf.eye(self.count, dtype=tf.float64)
        for other, met in _meetings(draws, active):
            products = tf.linalg.matmul(rows, gramian)
            own = tf.sqrt(tf.maximum(tf.reduce_sum(products * rows, 1), 0.0))
            theirs = tf.linalg.matvec(other, lengths)
            cosine = tf.reduce_sum(products * other, 1) / _positive(own * theirs + eps)
            cosine = tf.clip_by_value(cosine, -1.0, 1.0)
            aim = tf.clip_by_value(tf.reduce_sum(phi * other, 1), -1.0 + 1e-6, 1.0 - 1e-6)
            sine = tf.sqrt(1.0 - aim**2)
            change = own * (aim * tf.sqrt(1.0 - cosine**2) - cosine * sine) / _positive(theirs * sine + eps)
            rows += tf.where(met & (cosine < aim), change, 0.0)[:, None] * other
            phi += tf.where(met, beta * (cosine - tf.reduce_sum(phi * other, 1)), 0.0)[:, None] * other
        return _summed(rows, active), {**state, "phi": tf.cast(phi, state["phi"].dtype)}


class GradDrop(DirectionAggregator):
    """Of every element the rows of one sign, drawn by its share: Chen et al., NeurIPS 2020, Alg. 1."""

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of graddrop."""

        leak: tuple[float, ...] = option(
            (0.0,), "how much of each row is never dropped, one number or one a task", minimum=0.0, maximum=1.0
        )

    def __init__(self, count, options=None, **others):
        super().__init__(count, options, **others)
        if count and len(self.options.leak) not in (1, count):
            raise UsageError(f"leak takes one number or {count}, one a task; got {len(self.options.leak)}")

    def factor(self, number):
        """See `Aggregator.factor`."""
        return number

    def draws(self, seed, shapes=()):
        """Uniform numbers, one an element: a list of float32 [...], one of each variable."""
        seed = tf.cast(seed, tf.int64)
        return [
            tf.random.stateless_uniform(shape, seed + tf.constant([_VARIABLES * place, 0], tf.int64), alg="philox")
            for place, shape in enumerate(shapes)
        ]

    def direction(self, rows, active, draws):
        """See `DirectionAggregator.direction`."""
        return [self._dropped(row, tf.cast(uniform, row.dtype)) for row, uniform in zip(rows, draws, strict=True)]

    def _dropped(self, row, uniform):
        size = tf.reduce_sum(tf.abs(row), 0)
        purity = 0.5 * (1.0 + tf.reduce_sum(row, 0) / tf.where(size > 0.0, size, 1.0))
        kept = tf.where(row > 0.0, purity > uniform, (row < 0.0) & (purity < uniform))
        leak = tf.reshape(tf.constant(self.options.leak, row.dtype), [-1] + [1] * (len(row.shape) - 1))
        return tf.reduce_sum(tf.where(kept, row, leak * row), 0)


def _meetings(orders, active):
    """Of each turn, whom every row meets, one-hot [K, K], and whether it does: both take part, bool [K]."""
    count = active.shape[0]
    for turn in range(count - 1):
        other = tf.one_hot(orders[:, turn], count, dtype=tf.float64)
        yield other, active & tf.gather(active, orders[:, turn])


def _summed(rows, active):
    return tf.reduce_sum(tf.where(active[:, None], rows, 0.0), 0)


def _positive(values):
    return tf.where(values > 0.0, values, 1.0)
