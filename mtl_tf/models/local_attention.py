"""Attention to the neighbours of each position, one neighbour after another: never all of their features at once."""

import math

import keras
from keras import ops

WINDOW = 9  # positions along each side


@keras.saving.register_keras_serializable("mtl_tf")
class LocalAttention(keras.layers.Layer):
    """softmax(q . k / sqrt d) v over the 9x9 positions around each; keys and values beyond the border are zeros.

    As in Bruggemann et al., ICCV 2021, in float32. Besides its inputs it keeps one weight for each neighbour.
    """

    def call(self, query, key, value):
        """From three of (B, h, w, d) to the same."""
        query, key, value = (ops.cast(each, "float32") for each in (query, key, value))
        return ops.cast(_attend(query * query.shape[-1] ** -0.5, key, value), self.compute_dtype)

    def compute_output_shape(self, query_shape, key_shape, value_shape):
        return query_shape

    def multiply_adds(self, query_shape, key_shape, value_shape):
        """Of one pass."""
        return 2 * math.prod(query_shape) * WINDOW**2


def _attend(query, key, value):
    """softmax(q . k) v, whose gradient goes through the neighbours one after another too."""

    @ops.custom_gradient
    def attend(query, key, value):
        weights = ops.softmax(_products(query, key), axis=0)

        def gradient(upstream):
            of_weights = _products(upstream, value)
            of_scores = weights * (of_weights - ops.sum(weights * of_weights, axis=0, keepdims=True))
            return _sums(of_scores, key), _spread(of_scores, query), _spread(weights, upstream)

        return _sums(weights, value), gradient

    return attend(query, key, value)


def _products(one, other):
    """The product of each position of one with each neighbour in the other: (WINDOW^2, B, h, w)."""
    padded, shape = _padded(other), ops.shape(other)
    return ops.map(
        lambda number: ops.sum(one * _neighbour(padded, number, shape), axis=-1), ops.arange(WINDOW**2, dtype="int32")
    )


def _sums(weights, other):
    """The weighted sum of each position's neighbours: (B, h, w, d)."""
    padded, shape = _padded(other), ops.shape(other)
    return _over_neighbours(lambda number: weights[number][..., None] * _neighbour(padded, number, shape), other)


def _spread(weights, one):
    """What each position gets where it is a neighbour: from each of those around it its weighted feature."""
    shape, last = ops.shape(one), WINDOW**2 - 1
    return _over_neighbours(
        lambda number: _neighbour(_padded(weights[number][..., None] * one), last - number, shape), one
    )


def _over_neighbours(term, like):
    return ops.fori_loop(0, WINDOW**2, lambda number, total: total + term(number), ops.zeros_like(like))


def _padded(feature):
    margin = WINDOW // 2
    return ops.pad(feature, ((0, 0), (margin, margin), (margin, margin), (0, 0)))


def _neighbour(padded, number, shape):
    """Of each position the neighbour of a number, row by row from the upper left."""
    return ops.slice(padded, (0, number // WINDOW, number % WINDOW, 0), shape)
