"""What can be worked out beforehand: the same answers from fewer operations, for inference only.

Batch norm goes into the convolution before it: gamma (k * x - mean) / s + beta = (k gamma / s) * x + (beta - mean
gamma / s), with s = sqrt(variance + epsilon). A low-rank adapter goes into the projection beside it: x w + (x down) up
= x (w + down up).
"""

import collections

import keras
import numpy as np

from mtl_tf.models.layers import BatchNorm
from mtl_tf.models.projections import Adapter, is_sum, merged_kernel
from mtl_tf.models.reach import calls_of, node_of
from mtl_tf.models.upsampled import UpsampledConv2D

_FOLDABLE = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, UpsampledConv2D)


def fold(model: keras.Model) -> keras.Model:
    """The same network without the batch norms that follow a convolution, and without low-rank adapters.

    A batch norm stays where its input is no convolution's, or is used elsewhere too, or passes an activation. Layers
    that stay are shared with `model`; weights are those of now.

    Args:
        model: functional, built without `recompute`; models inside it are folded too.

    Returns:
        A functional model with the name, inputs and outputs of `model`; what is folded is kept in the dtype that it
        computes in.
    """
    pairs, adapters = _pairs(model), _adapters(model)
    norms = {norm.name for norm in pairs.values()}
    folded = {}

    def replace(layer):
        if isinstance(layer, keras.Model):
            return fold(layer)
        given = {**layer.get_config(), "dtype": layer.compute_dtype} if layer.name in {*pairs, *adapters} else {}
        if layer.name in pairs:
            # A bias is what batch norm adds; the kernel keeps its name and shape. Sixteen-bit arithmetic would round
            # its float32 weights at every call.
            given["use_bias"] = True
        if given:
            folded[layer.name] = type(layer).from_config(given)
        return folded.get(layer.name, layer)

    def call(layer, *args, **kwargs):
        if is_sum(layer):
            return args[0][0]
        # What an adapter gives is not used any more.
        return args[0] if layer.name in norms or isinstance(layer, Adapter) else layer(*args, **kwargs)

    found = keras.models.clone_model(model, clone_function=replace, call_function=call)
    for name, norm in pairs.items():
        folded[name].set_weights(_weights(model.get_layer(name), norm))
    for name, adapter in adapters.items():
        kernel, *bias = model.get_layer(name).get_weights()
        folded[name].set_weights([merged_kernel(kernel, *adapter.get_weights()), *bias])
    return found


def _adapters(model) -> dict[str, keras.layers.Layer]:
    """Name of a projection -> its adapter."""
    found = {}
    for call in calls_of(model):
        if is_sum(call.operation):
            projection, adapter = (node_of(tensor).operation for tensor in call.input_tensors)
            found[projection.name] = adapter
    return found


def _pairs(model) -> dict[str, keras.layers.Layer]:
    """Name of a convolution -> the batch norm that it is folded with."""
    calls = calls_of(model)  # a layer may be one of other models too
    uses = collections.Counter(id(tensor) for call in calls for tensor in call.input_tensors)
    uses.update(id(tensor) for tensor in keras.tree.flatten(model.outputs))
    makers = {id(call.outputs[0]): call.operation for call in calls if isinstance(call.operation, _FOLDABLE)}
    times = collections.Counter(call.operation.name for call in calls)
    linear = keras.activations.linear
    found = {}
    for call in calls:
        norm, source = call.operation, id(call.input_tensors[0]) if call.input_tensors else None
        maker = makers.get(source) if isinstance(norm, BatchNorm) else None
        if maker is None or uses[source] > 1 or getattr(maker, "activation", linear) is not linear:
            continue
        if times[norm.name] == times[maker.name] == 1:
            found[maker.name] = norm
    return found


def _weights(convolution, norm) -> list[np.ndarray]:
    """Kernel and bias of both in one, worked out in float64."""
    gamma, beta, mean, variance = (
        np.asarray(keras.ops.convert_to_numpy(variable), np.float64)
        for variable in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    scale = gamma / np.sqrt(variance + norm.epsilon)
    kernel, *bias = (np.asarray(keras.ops.convert_to_numpy(variable), np.float64) for variable in convolution.weights)
    before = bias[0] if bias else 0.0
    # The last axis of a kernel is its outputs; that of each channel by itself has (h, w, channels, multiplier).
    by_output = scale
    if isinstance(convolution, keras.layers.DepthwiseConv2D):
        by_output = scale.reshape(kernel.shape[2:])
    return [kernel * by_output, beta + (before - mean) * scale]
