"""LiteRT: a .tflite file of built-in operations."""

import contextlib
import io
import warnings
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mtl_tf.export.parts import head_pattern, network_pattern
from mtl_tf.extras import demand
from mtl_tf.inference.exported import METADATA

# Products of activations lose most of their accuracy in int8 (half of all pixels changed class on a network of ours
# when BATCH_MATMUL was among these), and what only moves values gains nothing alone.
_QUANTIZED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MAX_POOL_2D", "AVERAGE_POOL_2D", "PAD")
NEEDS = ("ai_edge_litert",)
NEEDS_INT8 = ("ai_edge_litert", "ai_edge_quantizer")


def convert(model, module: tf.Module, function, quantize: str, pictures: Sequence[np.ndarray]) -> bytes:
    """The file of a function of pictures.

    Args:
        model: the network inside, for the names of its parts.
        module: holds its variables.
        function: of `AnswerModule.function`, at a known size.
        quantize: "none", "float16" (weights) or "int8" (weights by channel and activations; heads in float32).
        pictures: uint8 (1, H, W, 3) to calibrate int8 on.

    Raises:
        UsageError: a library is missing.
    """
    demand("--format=litert", "litert", NEEDS_INT8 if quantize == "int8" else NEEDS)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module)
    if quantize == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    content = converter.convert()
    return _in_int8(content, model, pictures) if quantize == "int8" else content


def _in_int8(content, model, pictures):
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.quantizer import Quantizer

    quantizer = Quantizer(content)
    for name in _QUANTIZED:
        operation = qtyping.TFLOperationName[name]
        quantizer.add_static_config(network_pattern(model), operation, activation_num_bits=8, weight_num_bits=8)
        quantizer.update_quantization_recipe(head_pattern(model), operation, algorithm_key=AlgorithmName.NO_QUANTIZE)
    with _quiet():
        found = quantizer.calibrate({"serving_default": [{"image": picture} for picture in pictures]})
        return bytes(quantizer.quantize(found).quantized_model)


def described(content: bytes, description: str) -> bytes:
    """The same file with a description in its metadata."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(description.encode("utf-8"), np.uint8)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


@contextlib.contextmanager
def _quiet():
    """Without the progress bars and sizes that the quantiser prints, and its warning that it keeps all tensors."""
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
