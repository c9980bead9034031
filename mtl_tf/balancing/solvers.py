"""The small problems behind the aggregators, solved exactly in TensorFlow, in float64 and on the CPU.

K is at most `LARGEST` where subsets are enumerated. Tasks that take no part (`active` is False; by default all take
part) have rows and columns of 0. Shapes are static and nothing is gathered: what takes no part gets safe values that
do not touch the rest.
"""

import functools

import numpy as np

from mtl_tf.balancing.lazy import tf
from mtl_tf.errors import UsageError

LARGEST = 8  # tasks whose subsets are enumerated: 256 systems of 8 x 8
_TINY = 1e-300
_NEWTON_STEPS = 40
_FAIR_RIDGE = 1e-8
_BISECTIONS = 45
_REST = 3e-8  # length, of |J|, that float64 products of rows do not tell from 0


def _on_cpu(solver):
    """Many tiny kernels are slower on a GPU than the copy of K x K numbers."""

    @functools.wraps(solver)
    def placed(*args, **kwargs):
        with tf.device("CPU:0"):
            return solver(*args, **kwargs)

    return placed


def _compiled(solver):
    """The same for one that iterates: its graph is built once for each number of tasks, so that numbers are tensors."""
    graph = functools.cache(lambda: tf.function(solver, autograph=False))

    @functools.wraps(solver)
    def run(gramian, number, *others):
        return graph()(gramian, tf.constant(number, tf.float64), *others)

    return _on_cpu(run)


def _subsets(count):
    """All subsets of the tasks, bool [2^K, K]; the first is empty."""
    if count > LARGEST:
        raise UsageError(
            f"balancing by subsets of tasks takes at most {LARGEST} tasks, got {count}; choose a method that solves "
            "no such problem, as none, pcgrad, nash or aligned"
        )
    return np.arange(2**count)[:, None] >> np.arange(count) & 1 == 1


def _systems(matrix, inside):
    """The matrix restricted to each subset [S, K, K]: rows and columns of identity elsewhere."""
    pairs = inside[:, :, None] & inside[:, None, :]
    return tf.where(pairs, matrix, 0.0) + tf.linalg.diag(tf.cast(~inside, matrix.dtype))


def _active(gramian, active):
    return tf.ones([gramian.shape[0]], tf.bool) if active is None else active


def norms(gramian):
    """The norms of the rows, [K]."""
    return tf.sqrt(tf.maximum(tf.linalg.diag_part(gramian), 0.0))


def _safe(values, active):
    """The values, 1 where a task takes no part."""
    return tf.where(active, values, 1.0)


def cosines(gramian, active):
    """The cosines between the rows [K, K]; of a task that takes no part 1 with itself, 0 with others."""
    lengths = norms(gramian)
    lengths = _safe(lengths, active & (lengths > 0.0))
    pairs = active[:, None] & active[None, :]
    found = tf.where(pairs, gramian / (lengths[:, None] * lengths[None, :]), 0.0)
    return tf.linalg.set_diag(found, tf.ones_like(lengths))


@_on_cpu
def min_norm(gramian, active=None):
    """The shortest vector of the convex hull of the rows: argmin w'Gw over the simplex (Desideri 2012).

    Every support is solved; the best that is no less than 0 stands.

    Args:
        gramian: float64 [K, K].
        active: which tasks take part, bool [K].

    Returns:
        float64 [K], of sum 1.
    """
    active = _active(gramian, active)
    supports = _subsets(gramian.shape[0])[1:]
    inside = supports & active
    trace = tf.linalg.trace(gramian)
    matrix = gramian / tf.where(trace > 0.0, trace, 1.0)
    # Beside each row's own length, so that short rows are seen beside long ones.
    squares = tf.linalg.diag_part(matrix)
    matrix += 1e-13 * tf.linalg.diag(_safe(squares, squares > 0.0))
    solved = tf.linalg.solve(_systems(matrix, inside), tf.cast(inside, tf.float64)[:, :, None])[:, :, 0]
    solved = tf.where(inside, solved, 0.0)
    sums = tf.reduce_sum(solved, 1, keepdims=True)
    weights = solved / tf.where(sums != 0.0, sums, 1.0)
    possible = tf.reduce_all(weights >= 0.0, 1) & tf.reduce_all(active | ~supports, 1)
    values = tf.einsum("sk,kl,sl->s", weights, matrix, weights)
    return weights[tf.argmin(tf.where(possible, values, np.inf))]


@_on_cpu
def dual_cone(bounds, matrix, ridge: float = 1e-10):
    """argmin v'Cv subject to v >= u, for several u: projections onto the dual cone (Quinton and Rey 2024, Prop. 1).

    Every set of active bounds is solved; the best that is feasible stands.

    Args:
        bounds: u, float64 [M, K].
        matrix: C, float64 [K, K], with rows and columns of identity, or of 0, where u is 0 for a task without part.
        ridge: added to the diagonal of C.

    Returns:
        float64 [M, K].
    """
    free = tf.constant(_subsets(matrix.shape[0]))[:, :, None]
    matrix = matrix + ridge * tf.eye(matrix.shape[0], dtype=tf.float64)
    bounds = tf.transpose(bounds)[None]  # 1, K, M
    held = tf.where(~free, bounds, 0.0)
    right = tf.where(free, -tf.einsum("kl,slm->skm", matrix, held), held)
    found = tf.linalg.solve(_systems(matrix, free[:, :, 0]), right)
    found = tf.where(free, found, held)  # exactly
    values = tf.einsum("skm,kl,slm->sm", found, matrix, found)
    best = tf.argmin(tf.where(tf.reduce_all(found >= bounds, 1), values, np.inf), 0)
    return tf.gather(tf.transpose(found, [2, 0, 1]), best, batch_dims=1)


@_compiled
def fair(gramian, alpha: float, active=None):
    """w > 0 with G w = w^(-1/alpha) (Ban and Ji 2024; alpha 1: the bargaining of Navon et al. 2022).

    A damped Newton iteration on the cosines: with beta_k = |g_k| w_k, C beta = q beta^(-1/alpha). Rows of which a
    positive combination vanishes have no solution, so that C gets a ridge, which is taken away again if that changes
    the solution little.

    Args:
        gramian, active: see `min_norm`.
        alpha: > 0.

    Returns:
        float64 [K].
    """
    active = _active(gramian, active)
    lengths = norms(gramian)
    active &= lengths > 0.0
    number = _number(active)
    lengths = _safe(lengths, active)
    matrix = cosines(gramian, active)
    logs = (1.0 / alpha - 1.0) * tf.math.log(lengths)  # of q; 0 for a task without part
    middle = tf.reduce_sum(logs) / number
    q = _safe(tf.exp(logs - middle), active)
    start = _safe(tf.fill([gramian.shape[0]], number ** (-alpha / (alpha + 1.0))), active)
    regular = _newton(matrix + _FAIR_RIDGE * tf.eye(gramian.shape[0], dtype=tf.float64), q, start, 1.0 / alpha)
    exact = _newton(matrix, q, regular, 1.0 / alpha, leaving=1e-3)
    near = tf.reduce_all(tf.abs(exact / regular - 1.0) < 1e-3)
    beta = tf.where(near, exact, regular)
    return tf.where(active, beta * tf.exp(middle * alpha / (alpha + 1.0)) / lengths, 0.0)


def _newton(matrix, q, start, power, leaving=np.inf):
    """beta > 0 with C beta = q beta^-power, the minimum of a convex function; ends when it leaves the start so far."""

    def objective(beta):  # [N, K]
        rest = tf.where(power == 1.0, tf.ones_like(power), 1.0 - power)
        gain = tf.where(power == 1.0, tf.math.log(beta), beta**rest / rest)
        return 0.5 * tf.einsum("nk,kl,nl->n", beta, matrix, beta) - tf.reduce_sum(q * gain, 1)

    def residual(beta):
        return tf.linalg.matvec(matrix, beta) - q * beta**-power

    def unsolved(_, beta):
        near = tf.reduce_all(tf.abs(beta / start - 1.0) < leaving)
        return near & (tf.reduce_max(tf.abs(residual(beta)) * beta**power / q) >= 1e-12)

    def step(count, beta):
        hessian = matrix + tf.linalg.diag(q * power * beta ** (-power - 1.0))
        change = -tf.linalg.solve(hessian, residual(beta)[:, None])[:, 0]
        tried = beta + 0.5 ** tf.range(24, dtype=tf.float64)[:, None] * change
        allowed = tf.reduce_all(tried > 0.0, 1)
        values = tf.where(allowed, objective(tf.where(allowed[:, None], tried, 1.0)), np.inf)
        # The longest of those that rounding cannot tell from the best, so that the last steps are whole ones.
        best = tf.reduce_min(values)
        good = values <= best + 1e-13 * (1.0 + tf.abs(best))
        return count + 1, tried[tf.argmax(good)]

    return tf.while_loop(unsolved, step, (0, start), maximum_iterations=_NEWTON_STEPS)[1]


@_compiled
def cagrad(gramian, c: float, active=None, share=None):
    """max_d min_k g_k'd subject to |d - g0| <= c |g0|, g0 = J' share (Liu et al. 2021, by its dual).

    For t = c |g0| / |g_w| the dual is the shortest vector of the rows g_k + g0 / t; t |g_w(t)| does not fall with t,
    so that bisection finds t.

    Args:
        gramian, active: see `min_norm`.
        c: >= 0.
        share: float64 [K]; None = that of the mean row.

    Returns:
        float64 [K]: d = J'w.
    """
    active = _active(gramian, active)
    share = tf.cast(active, tf.float64) / _number(active) if share is None else share
    trace = tf.linalg.trace(gramian)
    matrix = gramian / tf.where(trace > 0.0, trace, 1.0)
    shift = tf.linalg.matvec(matrix, share)
    square = tf.maximum(tf.tensordot(share, shift, 1), 0.0)
    radius = c * tf.sqrt(square)

    def at(log_t):
        t = tf.exp(log_t)
        shifted = matrix + (shift[:, None] + shift[None, :]) / t + square / t**2
        pairs = active[:, None] & active[None, :]
        weights = min_norm(tf.where(pairs, shifted, 0.0), active)
        return weights, tf.sqrt(tf.maximum(_form(weights, matrix), 0.0))

    def halve(count, low, high):
        middle = (low + high) / 2.0
        enough = tf.exp(middle) * at(middle)[1] >= radius
        return count + 1, tf.where(enough, low, middle), tf.where(enough, middle, high)

    ends = (0, tf.constant(-20.0, tf.float64), tf.constant(20.0, tf.float64))
    _, low, high = tf.while_loop(lambda *_: True, halve, ends, maximum_iterations=_BISECTIONS)
    weights, length = at((low + high) / 2.0)
    at_rest = length < _REST
    moved = share + weights * radius / tf.where(~at_rest, length, 1.0)
    return tf.where(at_rest, tf.where(c >= 1.0, tf.zeros_like(share), share), moved)


@_on_cpu
def project_simplex(point, active=None):
    """The nearest point of the simplex over the tasks that take part (Duchi et al. 2008), float64 [K]."""
    active = tf.ones_like(point, tf.bool) if active is None else active
    ordered = tf.sort(tf.where(active, point, -1e30), direction="DESCENDING")
    places = tf.range(1, point.shape[0] + 1, dtype=point.dtype)
    levels = (tf.cumsum(ordered) - 1.0) / places
    last = tf.maximum(tf.reduce_sum(tf.cast(ordered > levels, tf.int32)), 1)
    return tf.where(active, tf.maximum(point - levels[last - 1], 0.0), 0.0)


@_on_cpu
def priority(gramian, tau: float, active=None, primary: int = 0):
    """The nearest to row `primary` whose inner product with each other row j is at least tau |g_j|^2.

    Every set of active constraints is solved; where the constraints contradict each other the row itself stands.

    Args:
        gramian, active: see `min_norm`.
        tau: > 0.
        primary: index of the row.

    Returns:
        float64 [K], 1 for `primary` and no less than 0 for others.
    """
    active = _active(gramian, active)
    count = gramian.shape[0]
    subsets = _subsets(count)
    subsets = subsets[~subsets[:, primary]]
    others = tf.constant(np.arange(count) != primary) & active
    inside = subsets & active
    squares = tf.linalg.diag_part(gramian)
    lacking = tau * squares - gramian[primary]
    matrix = gramian + 1e-12 * tf.linalg.diag(_safe(squares, squares > 0.0))
    solved = tf.linalg.solve(_systems(matrix, inside), tf.where(inside, lacking, 0.0)[:, :, None])[:, :, 0]
    slack = tf.linalg.matmul(solved, gramian) - lacking
    enough = tf.reduce_all((slack >= -1e-9 * squares) | ~others, 1)
    possible = enough & tf.reduce_all(solved >= 0.0, 1) & tf.reduce_all(active | ~subsets, 1)
    values = tf.where(possible, tf.einsum("sk,kl,sl->s", solved, gramian, solved), np.inf)
    found = tf.where(tf.reduce_any(possible), solved[tf.argmin(values)], 0.0)
    return found + tf.one_hot(primary, count, dtype=tf.float64)


@_on_cpu
def spectrum(matrix, epsilon: float):
    """Eigenvalues [K] and eigenvectors [K, K] of a Gramian, and which of them are more than rounding errors, bool [K].

    Args:
        matrix: symmetric, float64 [K, K].
        epsilon: relative error of the rows that it is of.
    """
    values, vectors = tf.linalg.eigh(matrix)
    least = 10.0 * matrix.shape[0] * epsilon * tf.reduce_max(values)
    return values, vectors, values > tf.maximum(least, _TINY)


def pseudo_inverse(matrix, epsilon: float):
    """The pseudo-inverse of a Gramian, and its rank."""
    values, vectors, kept = spectrum(matrix, epsilon)
    inverse = tf.where(kept, 1.0 / tf.where(kept, values, 1.0), 0.0)
    return tf.matmul(vectors * inverse, vectors, transpose_b=True), _number(kept)


def _number(active):
    return tf.reduce_sum(tf.cast(active, tf.float64))


def _form(weights, matrix):
    """w'Gw."""
    return tf.tensordot(weights, tf.linalg.matvec(matrix, weights), 1)


def length(weights, gramian):
    """The norm of J'w, a scalar."""
    return tf.sqrt(tf.maximum(_form(weights, gramian), 0.0))
