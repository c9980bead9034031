"""ONNX: an .onnx file for ONNX Runtime, TensorRT and others."""

import contextlib
import logging
import pathlib
import re
import tempfile
from collections.abc import Sequence

import numpy as np

from mtl_tf.export.parts import head_pattern, network_pattern
from mtl_tf.extras import demand
from mtl_tf.inference.exported import METADATA

NEEDS = ("onnx", "onnxruntime", "tf2onnx")
_QUANTIZED = ("Conv", "Gemm", "MatMul", "Add", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool")


def convert(model, function, quantize: str, pictures: Sequence[np.ndarray], opset: int) -> bytes:
    """The file of a function of pictures.

    Args:
        model: the network inside, for the names of its parts.
        function: of `AnswerModule.function`, at a known or at any size.
        quantize: "none", "float16" (all but input and answers) or "int8" (weights by channel and activations; heads in
            float32).
        pictures: uint8 (1, H, W, 3) to calibrate int8 on.
        opset: version of the operator set.

    Raises:
        UsageError: a library is missing.
    """
    demand("--format=onnx", "onnx", NEEDS)
    import tf2onnx

    with _quiet("tf2onnx"):
        proto, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=opset)
    _pad_explicitly(proto)
    if quantize == "float16":
        return _in_float16(proto)
    return _in_int8(proto, model, pictures) if quantize == "int8" else proto.SerializeToString()


def _pad_explicitly(proto):
    """States the padding of convolutions that keep the size: ONNX Runtime refuses "SAME" together with dilation."""
    import onnx

    for node in proto.graph.node:
        given = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        kernel, strides = given.get("kernel_shape", ()), given.get("strides", (1, 1))
        if node.op_type != "Conv" or given.get("auto_pad") != b"SAME_UPPER" or max(strides) > 1:
            continue
        if all(side % 2 for side in kernel):
            dilations = given.get("dilations", [1] * len(kernel))
            before = [rate * (side // 2) for rate, side in zip(dilations, kernel, strict=True)]
            kept = [entry for entry in node.attribute if entry.name not in ("auto_pad", "pads")]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("pads", [*before, *before])])


def _in_float16(proto):
    from onnxruntime.transformers import float16

    # Of a Resize without scales the converter makes one with an input too many.
    kept = [*float16.DEFAULT_OP_BLOCK_LIST, "Resize"]
    return float16.convert_float_to_float16(proto, keep_io_types=True, op_block_list=kept).SerializeToString()


def _in_int8(proto, model, pictures):
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        """Pictures, one after another."""

        def __init__(self):
            self._left = iter(pictures)

        def get_next(self):
            picture = next(self._left, None)
            return None if picture is None else {proto.graph.input[0].name: picture}

    network, heads = re.compile(network_pattern(model)), re.compile(head_pattern(model))
    proto = onnx.shape_inference.infer_shapes(proto)
    # Operations that the converter has made have two underscores in their names, and belong to the network as a rule.
    names = [node.name for node in proto.graph.node]
    kept = [name for name in names if heads.search(name) or not (network.search(name) or "__" in name)]
    with tempfile.TemporaryDirectory() as folder, _quiet(""):
        file = pathlib.Path(folder, "int8.onnx")
        quantize_static(
            proto,
            file,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTIZED),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=kept,
        )
        return file.read_bytes()


def described(content: bytes, description: str) -> bytes:
    """The same file with a description in its metadata."""
    import onnx

    proto = onnx.load_from_string(content)
    onnx.helper.set_model_props(proto, {METADATA: description})
    return proto.SerializeToString()


@contextlib.contextmanager
def _quiet(name):
    """Without the messages of a library, which reports every step, and as errors optimisations that it leaves out."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
