"""Aggregators that need only the Gramian of the rows, and remember nothing: w of d = J'w."""

import dataclasses

from mtl_tf.balancing import solvers
from mtl_tf.balancing.lazy import tf
from mtl_tf.balancing.methods import Aggregator
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option


class Unbalanced(Aggregator):
    """The sum of the rows, which the scalarizer weighs, as without balancing."""

    specific = "weighted"

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """See `Aggregator.weights`."""
        return tf.ones_like(share), state


class Mgda(Aggregator):
    """The shortest convex combination: Desideri 2012; Sener and Koltun, NeurIPS 2018, Alg. 2."""

    smooths = True
    specific = "weighted"

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of mgda."""

        normalisation: str = option(
            "none",
            "by what rows are divided to find the weights, which then stand for the raw rows: nothing, their norms, "
            "the losses or both",
            choices=("none", "l2", "loss", "loss+"),
        )

    @property
    def needs_losses(self):
        """See `Aggregator`."""
        return self.options.normalisation.startswith("loss")

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """See `Aggregator.weights`."""
        how = self.options.normalisation
        size = tf.ones_like(share)
        if how in ("l2", "loss+"):
            size *= solvers.norms(gramian)
        if self.needs_losses:
            size *= tf.maximum(losses, 1e-8)
        size = tf.where(active, size, 1.0)
        return solvers.min_norm(gramian / (size[:, None] * size[None, :]), active), state


class ImtlG(Aggregator):
    """Equal projections on all rows, weights of sum 1: Liu et al., ICLR 2021.

    Where the published form points against every row, its sign is that of ConFIG.
    """

    smooths = True

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """See `Aggregator.weights`."""
        lengths = solvers.norms(gramian)
        inverse, rank = solvers.pseudo_inverse(_correlations(gramian, active), self.epsilon)
        equal = _over(tf.reduce_sum(inverse, 1), lengths, active)
        # Of dependent rows the published weights are those of the Gramian's own pseudo-inverse.
        of_gramian = tf.linalg.matvec(solvers.pseudo_inverse(gramian, self.epsilon)[0], lengths)
        full = rank == tf.reduce_sum(tf.cast(active, tf.float64))
        found = tf.where(full, equal, of_gramian)
        total = tf.reduce_sum(found)
        total = tf.where(tf.reduce_sum(equal) <= 0.0, tf.abs(total), total)
        # |d| grows without bound near stationary rows.
        size = solvers.length(found, gramian)
        least = size / tf.maximum(tf.reduce_max(lengths), 1e-300)
        total = tf.where(tf.abs(total) < least, tf.where(total < 0.0, -least, least), total)
        return found / tf.where(total != 0.0, total, 1.0), state


class CaGrad(Aggregator):
    """The best worst case near the mean: Liu et al., NeurIPS 2021, Alg. 1."""

    prefers = True
    smooths = True

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of cagrad."""

        c: float = option(0.4, "radius of the ball around the mean gradient, in its length", minimum=0.0)
        rescale: int = option(
            0,
            "what the direction is divided by: 0 nothing, 1 1 + c^2, 2 1 + c (scale=own)",
            choices=(0, 1, 2),
        )

    def _divisor(self):
        c = self.options.c
        return (1.0, 1.0 + c * c, 1.0 + c)[self.options.rescale]

    def factor(self, number):
        """See `Aggregator.factor`."""
        return (1.0 + self.options.c) / self._divisor()

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """See `Aggregator.weights`."""
        return solvers.cagrad(gramian, self.options.c, active, share) / self._divisor(), state


class Nash(Aggregator):
    """The bargaining solution G w = 1 / w: Navon et al., ICML 2022. Its direction has the length sqrt(K)."""

    smooths = True

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of nash."""

        max_norm: float = option(1.0, "longest direction; 0 = any", minimum=0.0)

    alpha = 1.0

    def factor(self, number):
        """See `Aggregator.factor`."""
        return None

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """See `Aggregator.weights`."""
        found = solvers.fair(gramian, self.alpha, active)
        return clipped(found, gramian, self.options.max_norm), state


class FairGrad(Nash):
    """alpha-fair: G w = w^(-1/alpha): Ban and Ji, ICML 2024. Smaller gradients give longer steps if alpha > 1."""

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of fairgrad."""

        alpha: float = option(2.0, "1 = bargaining, more = the worst task counts more; above 0", minimum=0.0)
        max_norm: float = option(1.0, "longest direction; 0 = any", minimum=0.0)

        def __post_init__(self):
            super().__post_init__()
            if self.alpha == 0:
                raise UsageError("alpha must be above 0, got 0, which is the mean; use the aggregator none")

    @property
    def alpha(self):
        """Of the fairness."""
        return self.options.alpha


class Aligned(Aggregator):
    """Rows of equal length at right angles, nearest to the given ones: Senushkin et al., CVPR 2023, Alg. 1."""

    prefers = True
    smooths = True

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of aligned."""

        scale_mode: str = option(
            "min", "which of the singular values the rows get as their length", choices=("min", "median", "rmse")
        )

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """See `Aggregator.weights`."""
        values, vectors, kept = solvers.spectrum(gramian, self.epsilon)
        number = tf.reduce_sum(tf.cast(kept, tf.int32))
        safe = tf.where(kept, values, 1.0)
        if self.options.scale_mode == "rmse":
            length = tf.reduce_sum(tf.where(kept, values, 0.0)) / tf.cast(tf.maximum(number, 1), tf.float64)
        else:  # eigenvalues ascend; of two in the middle the lower
            ahead = 0 if self.options.scale_mode == "min" else (number - 1) // 2
            length = values[tf.minimum(self.count - number + ahead, self.count - 1)]
        roots = tf.where(kept, tf.sqrt(tf.maximum(length, 0.0)) / tf.sqrt(safe), 0.0)
        return tf.linalg.matvec(vectors * roots, tf.linalg.matvec(vectors, share, transpose_a=True)), state


class UpGrad(Aggregator):
    """The sum of the rows, each projected so that no task loses: Quinton and Rey, arXiv 2406.16232, eq. 3."""

    prefers = True
    smooths = True

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """Of upgrad and dualproj."""

        ridge: str = option(
            "exact",
            "torchjd: as TorchJD regularises, blind to short rows and to all that are below 0.01; for comparisons only",
            choices=("exact", "torchjd"),
        )

    def _bounds(self, share):
        return tf.linalg.diag(share)

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """See `Aggregator.weights`."""
        bounds = self._bounds(share)
        if self.options.ridge == "torchjd":
            trace = tf.linalg.trace(gramian)
            regular = tf.where(trace < 1e-4, tf.zeros_like(gramian), gramian / tf.where(trace > 0.0, trace, 1.0))
            return tf.reduce_sum(solvers.dual_cone(bounds, regular, 1e-4), 0), state
        # The cone knows no lengths; of cosines the problem is well conditioned whatever the rows.
        lengths = tf.where(active, solvers.norms(gramian), 1.0)
        found = solvers.dual_cone(bounds * lengths, solvers.cosines(gramian, active))
        return tf.reduce_sum(found / lengths, 0), state


class DualProj(UpGrad):
    """The weighted sum, projected so that no task loses: Lopez-Paz and Ranzato (GEM), NeurIPS 2017, eq. 11."""

    def _bounds(self, share):
        return share[None, :]


class ConFig(Aggregator):
    """Equal angles to all rows, as long as the sum of its projections: Liu, Chu, Thuerey, ICLR 2025, eq. 2."""

    prefers = True
    smooths = True

    def factor(self, number):
        """See `Aggregator.factor`."""
        return number

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """See `Aggregator.weights`."""
        inverse, _ = solvers.pseudo_inverse(_correlations(gramian, active), self.epsilon)
        along = _over(tf.linalg.matvec(inverse, share), solvers.norms(gramian), active)
        size = solvers.length(along, gramian)
        moves = size > 1e-7 * solvers.length(tf.abs(along), tf.linalg.diag(tf.linalg.diag_part(gramian)))
        along = tf.where(moves, along / tf.where(moves, size, 1.0), 0.0)
        return tf.maximum(tf.reduce_sum(tf.linalg.matvec(gramian, along)), 0.0) * along, state


def clipped(weights, gramian, max_norm: float):
    """The weights, less where the direction would be longer than `max_norm`; 0 = as they are."""
    if not max_norm:
        return weights
    return weights * tf.minimum(max_norm / tf.maximum(solvers.length(weights, gramian), 1e-300), 1.0)


def _correlations(gramian, active):
    """The cosines, 0 also on the diagonal of a task that takes no part, so that it adds no eigenvalue."""
    return tf.where(active[:, None] & active[None, :], solvers.cosines(gramian, active), 0.0)


def _over(values, lengths, active):
    return tf.where(active, values / tf.where(active, lengths, 1.0), 0.0)
