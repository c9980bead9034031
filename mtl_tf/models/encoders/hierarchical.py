"""What transformers share: the rates of stochastic depth; and hierarchical ones: norms and attention.

Their layers are called as the modules of the public checkpoints, with "_" for ".", below "encoder/".
"""

import keras
from keras import ops

from mtl_tf.models.layers import DropPath

EPSILON = 1e-5  # of layer norms
STRIDES = (4, 8, 16, 32)
EXPANSION = 4  # of the inner layer of a block


def norm(name: str) -> keras.Layer:
    """Layer norm of every position."""
    return keras.layers.LayerNormalization(epsilon=EPSILON, name=name)


def add_branch(x, branch, rate: float, name: str):
    """x and a residual branch, which is left out for a share of the images while training."""
    if rate:
        branch = DropPath(rate, name=f"{name}_drop")(branch)
    return keras.layers.Add(name=f"{name}_add")([x, branch])


def drop_rates(largest: float, depths: tuple[int, ...]) -> list[list[float]]:
    """The rate of stochastic depth of every block, by stages: from 0 in the first to the largest in the last."""
    last = max(sum(depths) - 1, 1)
    rates = [largest * number / last for number in range(sum(depths))]
    return [[rates.pop(0) for _ in range(depth)] for depth in depths]


def attend(query, key, value, bias=None):
    """softmax(q . k / sqrt d + bias) v, whose scores and softmax are float32.

    Args:
        query: (..., N, heads, d).
        key, value: (..., M, heads, d).
        bias: added to the scores; goes with (..., heads, N, M).

    Returns:
        (..., N, heads, d).
    """
    scores = ops.cast(ops.einsum("...qhd,...khd->...hqk", query * query.shape[-1] ** -0.5, key), "float32")
    if bias is not None:
        scores = scores + bias
    # In three axes: oneDNN's kernel takes at most five.
    weights = ops.reshape(ops.softmax(ops.reshape(scores, (-1, *ops.shape(scores)[-2:]))), ops.shape(scores))
    return ops.einsum("...hqk,...khd->...qhd", ops.cast(weights, value.dtype), value)
