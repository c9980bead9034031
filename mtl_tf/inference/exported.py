"""Exported files as functions: LiteRT by its interpreter, ONNX by ONNX Runtime."""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.extras import demand

METADATA = "mtl_tf"  # the name of the description in a file


class Opened(NamedTuple):
    """An exported file.

    Attributes:
        described: what it says of itself, as JSON.
        answer: from pictures, uint8 (B, H, W, 3), to all answers by name.
        size: height and width of the pictures that it takes; None = any.
    """

    described: str
    answer: Callable[[np.ndarray], dict[str, np.ndarray]]
    size: tuple[int | None, int | None]


def open_export(path: pathlib.Path, content: bytes, threads: int = 0) -> Opened:
    """Opens a .tflite or .onnx file that `main.py export` wrote.

    Args:
        path: of the file, for its ending and for messages.
        content: of the file.
        threads: of its runtime; 0 = as many as the runtime chooses.

    Raises:
        UsageError: a library is missing, the file is damaged, or something else wrote it.
    """
    opened = {".tflite": _open_litert, ".onnx": _open_onnx}[path.suffix](path, content, threads)
    if not opened.described:
        raise UsageError(f"{path} has no description of its tasks; expected a file that `main.py export` wrote")
    return opened


def _open_litert(path, content, threads):
    demand(str(path), "litert", ("ai_edge_litert",))
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter

    try:
        runner = Interpreter(model_content=content, num_threads=threads or None).get_signature_runner()
    except (ValueError, RuntimeError) as error:
        raise _damaged(path, error) from None
    model, described = schema.Model.GetRootAs(content, 0), b""
    for place in range(model.MetadataLength()):
        if model.Metadata(place).Name() == METADATA.encode():
            described = model.Buffers(model.Metadata(place).Buffer()).DataAsNumpy().tobytes()
    details = runner.get_input_details()["image"]
    size = tuple(details["shape_signature"][1:3].tolist())
    return Opened(described.decode("utf-8"), lambda image: runner(image=_of_size(path, image, size)), size)


def _open_onnx(path, content, threads):
    demand(str(path), "onnx", ("onnxruntime",))
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common base below this one
        raise _damaged(path, error) from None
    names = [output.name for output in session.get_outputs()]
    size = tuple(side if isinstance(side, int) else None for side in session.get_inputs()[0].shape[1:3])

    def answer(image):
        found = session.run(names, {"image": _of_size(path, image, size)})
        return dict(zip(names, found, strict=True))

    return Opened(session.get_modelmeta().custom_metadata_map.get(METADATA, ""), answer, size)


def _of_size(path, image, size):
    """The pictures; raises a UsageError where the file takes another size."""
    if any(side not in (None, given) for side, given in zip(size, image.shape[1:3], strict=True)):
        raise UsageError(
            f"{path} takes pictures of {size[0]}x{size[1]} (height x width), got {image.shape[1]}x{image.shape[2]}; "
            "resize them, or export with another --size"
        )
    return image


def _damaged(path, error):
    reason = " ".join(str(error).split())[:160]
    return UsageError(f"{path} is damaged or no {path.suffix} file ({reason}); export it again")
