"""The rows of the Jacobian: the gradients of the K losses by each shared variable.

As a list of [K, ...], one of each variable, or as they come from a tape: for each variable the gradients of the losses
that reach it, by the number of the task. The latter are not put together, which would take their memory twice.
"""

from mtl_tf.balancing.lazy import tf

_NOTHING = 1e-30  # the square of a norm that is zero; of unscaled float32 gradients
_NEGLIGIBLE = 1e-14  # the same, over the largest: below what float32 resolves beside it


def masked(rows: list, active) -> list:
    """The rows, 0 where a task takes no part: what it has there may be anything, also not finite."""
    return [tf.where(_per_row(active, row), row, tf.zeros_like(row)) for row in rows]


def gramian(rows: list, others: list | None = None):
    """The inner products of the rows, or of two batches' rows, J1 J2'.

    Summed over a variable in the type of the rows, over the variables in float64; not as a matrix product, which
    TensorFlow rounds to 10 bits on some GPUs.

    Args:
        rows: a list of [K, ...].
        others: the same of another batch; None = the same rows.

    Returns:
        float64 [K, K].
    """
    total = 0.0
    for one, other in zip(rows, rows if others is None else others, strict=True):
        one, other = _flat(one), _flat(other)
        products = [tf.reduce_sum(one[k] * other, axis=1) for k in range(one.shape[0])]
        total += tf.cast(tf.stack(products), tf.float64)
    return total


def squares(rows: list):
    """The squares of the norms of the rows, float64 [K]."""
    return tf.add_n([tf.cast(tf.reduce_sum(tf.square(_flat(row)), axis=1), tf.float64) for row in rows])


def taking_part(norms_squared, present):
    """Which tasks an aggregator is given: those present whose gradient is not zero, bool [K].

    One that is not finite takes part, so that the direction is not finite either.
    """
    finite = tf.math.is_finite(norms_squared)
    least = tf.maximum(_NEGLIGIBLE * tf.reduce_max(tf.where(present & finite, norms_squared, 0.0)), _NOTHING)
    # Of NaN asked for by name: TensorFlow turns "not at most" into "more" when it optimises a graph.
    return present & ((norms_squared > least) | ~finite)


def combine(rows: list, weights) -> list:
    """The weighted sums of the rows, a list of [...].

    Args:
        rows: a list of [K, ...].
        weights: float [K]; a row of weight 0 adds nothing, whatever it is.
    """
    rows = masked(rows, weights != 0.0)
    return [tf.reduce_sum(_per_row(tf.cast(weights, row.dtype), row) * row, axis=0) for row in rows]


def scaled(rows: list, factors) -> list:
    """The rows, each times its factor, [K]."""
    return [_per_row(tf.cast(factors, row.dtype), row) * row for row in rows]


def _flat(row):
    return tf.reshape(row, [row.shape[0], -1])


def _per_row(values, row):
    return tf.reshape(values, [-1] + [1] * (len(row.shape) - 1))


# === As they come from a tape ===


def products(gradients: dict, count: int, others: dict | None = None):
    """The inner products of the gradients by one variable, float64 [K, K]; see `gramian`.

    Args:
        gradients: number of the task -> tensor [...].
        count: of the tasks, K.
        others: the same of another batch; None = the same.
    """
    symmetric = others is None
    found = {}
    for k, one in gradients.items():
        for m, other in (gradients if symmetric else others).items():
            if symmetric and (m, k) in found:
                found[k, m] = found[m, k]
            elif symmetric and m == k:
                found[k, k] = tf.cast(2.0 * tf.nn.l2_loss(one), tf.float64)
            else:
                found[k, m] = tf.cast(tf.reduce_sum(one * other), tf.float64)
    zero = tf.zeros([], tf.float64)
    return tf.stack([[found.get((k, m), zero) for m in range(count)] for k in range(count)])


def weighted_sum(gradients: dict, weights):
    """The weighted sum of the gradients by one variable; one of weight 0 adds nothing, whatever it is.

    Args:
        gradients: see `products`.
        weights: float [K].
    """
    dtype = next(iter(gradients.values())).dtype
    wide = tf.float32 if dtype in (tf.float16, tf.bfloat16) else dtype  # a weight may be too large for 16 bits
    weights = tf.cast(weights, wide)
    parts = [tf.math.multiply_no_nan(tf.cast(gradient, wide), weights[k]) for k, gradient in gradients.items()]
    return tf.cast(tf.add_n(parts), dtype)


def stacked(gradients: dict, count: int):
    """The same as one tensor [K, ...], with zeros for what is not there."""
    known = next(iter(gradients.values()))
    return tf.stack([gradients.get(k, tf.zeros_like(known)) for k in range(count)])
