"""What a task finds in the features of another: Bruggemann et al., "Exploring Relational Context", ICCV 2021 (ATRC)."""

import math
from collections.abc import Sequence

import keras
from keras import ops

from mtl_tf.models.layers import BatchNorm, Conv2D, SpatialDropout, scope
from mtl_tf.models.local_attention import LocalAttention


@keras.saving.register_keras_serializable("mtl_tf")
class RegionVectors(keras.layers.Layer):
    """The mean feature of every region: over the positions, weighted by the softmax of its logits over them.

    In float32, since a probability is about one over the number of positions.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.autocast = False

    def call(self, logits, feature):
        """From (B, h, w, K) and (B, h, w, D) to (B, K, 1, D), a map that 1x1 convolutions take."""
        logits, feature = (
            ops.reshape(ops.cast(each, "float32"), (ops.shape(each)[0], -1, each.shape[-1]))
            for each in (logits, feature)
        )
        vectors = ops.einsum("bnk,bnd->bkd", ops.softmax(logits, axis=1), feature)
        return ops.cast(vectors[:, :, None], self.compute_dtype)

    def compute_output_shape(self, logits_shape, feature_shape):
        return (feature_shape[0], logits_shape[-1], 1, feature_shape[-1])

    def multiply_adds(self, logits_shape, feature_shape):
        """Of one pass."""
        return math.prod(feature_shape) * logits_shape[-1]


@keras.saving.register_keras_serializable("mtl_tf")
class RegionAttention(keras.layers.Layer):
    """softmax(q . k / sqrt d) v over the regions."""

    def call(self, query, key, value):
        """From (B, h, w, d) and two of (B, K, 1, d) to (B, h, w, d)."""
        scores = ops.einsum("bhwd,bkd->bhwk", query, key[:, :, 0])
        weights = ops.softmax(ops.cast(scores, "float32") * query.shape[-1] ** -0.5)
        return ops.einsum("bhwk,bkd->bhwd", ops.cast(weights, value.dtype), value[:, :, 0])

    def compute_output_shape(self, query_shape, key_shape, value_shape):
        return query_shape

    def multiply_adds(self, query_shape, key_shape, value_shape):
        """Of one pass."""
        return 2 * math.prod(query_shape) * key_shape[1]


@keras.saving.register_keras_serializable("mtl_tf")
class LinearAttention(keras.layers.Layer):
    """(v k^T) q / (1^T k . q) over all positions, for q and k that are positive.

    Katharopoulos et al., "Transformers are RNNs", ICML 2020: its cost grows with the positions, not with their square.
    In float32, since it sums over all positions.
    """

    def call(self, query, key, value):
        """From three of (B, h, w, d) to the same."""
        query, key, value = (ops.cast(each, "float32") for each in (query, key, value))
        sums = ops.einsum("bhwc,bhwd->bcd", value, key)
        total = ops.einsum("bd,bhwd->bhw", ops.sum(key, axis=(1, 2)), query)
        found = ops.einsum("bcd,bhwd->bhwc", sums, query) / ops.maximum(total, 1e-12)[..., None]
        return ops.cast(found, self.compute_dtype)

    def compute_output_shape(self, query_shape, key_shape, value_shape):
        return query_shape

    def multiply_adds(self, query_shape, key_shape, value_shape):
        """Of one pass."""
        return math.prod(query_shape) * (2 * query_shape[-1] + 1)


def build_context(kind: str, channels: int, path: str) -> keras.Model:
    """What one task finds in another.

    Args:
        kind: "global" or "local": attention to the other's feature; "s-label" or "t-label": to region vectors.
        channels: D of each feature.
        path: where its variables stand, e.g. "semseg/context/depth" for what segmentation finds in depth.

    Returns:
        A model [(B, h, w, D) of the target, (B, h, w, D) or (B, K, 1, D) of the source] -> (B, h, w, D // 2).
    """
    target, source = (keras.Input((None, None, channels), name=name) for name in ("target", "source"))
    width, last = channels // 2, "softplus" if kind == "global" else "relu"
    with scope(path):
        query = _projected(_projected(target, width, "query1"), width, "query2", last)
        key = _projected(_projected(source, width, "key1"), width, "key2", last)
        value = _projected(source, width, "value")
        attention = {"global": LinearAttention, "local": LocalAttention}.get(kind, RegionAttention)
        found = attention(name="attention")(query, key, value)
    return keras.Model([target, source], found, name=path.replace("/", "_"))


def build_joined(widths: Sequence[int], dropout: float, path: str) -> keras.Model:
    """The feature of a task together with what it has found: they add nothing in the beginning.

    Args:
        widths: channels of the task's feature, D, and of each context.
        dropout: share of channels that are left out while training.
        path: where its variables stand, e.g. "semseg/joined".

    Returns:
        A model [(B, h, w, width) of each] -> (B, h, w, D).
    """
    inputs = [keras.Input((None, None, width), name=f"feature{number}") for number, width in enumerate(widths)]
    feature, *contexts = inputs
    with scope(path):
        found = keras.layers.Concatenate(name="contexts")(contexts) if len(contexts) > 1 else contexts[0]
        found = _conv(found, widths[0], "found")
        found = BatchNorm(gamma_initializer="zeros", name="found_bn")(found)
        x = _projected(keras.layers.Concatenate(name="concat")([feature, found]), widths[0], "fuse")
        x = SpatialDropout(dropout, name="dropout")(x)
    return keras.Model(inputs, x, name=path.replace("/", "_"))


def _projected(x, width, name, activation="relu"):
    """A 1x1 convolution, batch norm and an activation."""
    x = BatchNorm(name=f"{name}_bn")(_conv(x, width, name))
    return keras.layers.Activation(activation, name=f"{name}_{activation}")(x)


def _conv(x, width, name):
    return Conv2D(width, 1, use_bias=False, kernel_initializer="glorot_uniform", name=f"{name}_conv")(x)
