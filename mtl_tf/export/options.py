"""The options that only `main.py export` has, and what they may be together."""

import dataclasses

from mtl_tf.config import Config
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option

FORMATS = ("saved_model", "litert", "onnx")
QUANTIZE = ("none", "float16", "int8")


@dataclasses.dataclass(frozen=True)
class CheckOptions(Section):
    """How an export is compared with its run."""

    samples: int = option(
        64, "Validation pictures that an export is compared with its run on, and that int8 is calibrated on.", minimum=1
    )
    force: bool = option(False, "Write an export even if its answers are worse than the bound, and say so.")


@dataclasses.dataclass(frozen=True)
class ExportOptions(Section):
    """What is written."""

    format: str = option("saved_model", "SavedModel folder, LiteRT (.tflite) or ONNX (.onnx) file.", choices=FORMATS)
    size: tuple[int, ...] = option(
        (),
        "H,W in pixels of the pictures that a LiteRT or ONNX file takes; empty = data.image_size (LiteRT), any (ONNX).",
        minimum=8,
        lengths=(0, 2),
    )
    quantize: str = option(
        "none", "float16 weights, or int8 weights and activations (heads stay float32).", choices=QUANTIZE
    )
    opset: int = option(18, "ONNX: version of the operator set.", minimum=17, maximum=18)
    export: CheckOptions = CheckOptions()

    def check(self, config: Config) -> None:
        """Raises a UsageError where options contradict each other."""
        if self.format == "saved_model":
            for name, given in (("size", self.size), ("quantize", self.quantize != "none")):
                if given:
                    raise UsageError(f"--{name} is an option of --format=litert and onnx; a SavedModel takes any size")
            if config.scale != "fit":
                raise UsageError("--scale is an option of --format=litert and onnx; a SavedModel has both signatures")
        elif config.precision != "float32":
            raise UsageError(
                f"--precision={config.precision} is an option of --format=saved_model; use --quantize=float16 for "
                f"{self.format}"
            )
