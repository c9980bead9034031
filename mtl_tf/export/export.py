"""Exports of a run: made, compared with the run, and put into their place if they answer as it does."""

import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from mtl_tf.atomic import swapping_folder, write_bytes
from mtl_tf.config import Config, replace
from mtl_tf.data.pipeline import EvaluationData
from mtl_tf.data.sets import open_split
from mtl_tf.errors import UsageError
from mtl_tf.evaluation import rounded
from mtl_tf.export import card, checking, litert, onnx_file, saved_model
from mtl_tf.export.options import ExportOptions
from mtl_tf.inference.answering import folded_run, module_of
from mtl_tf.inference.described import tasks_to_json
from mtl_tf.inference.predictor import Predictor, load, predictor_of_file
from mtl_tf.inference.resizing import resize_antialiased
from mtl_tf.inference.runs import TrainedRun
from mtl_tf.training.trained_run import epoch_of_weights, is_saved_model

_ENDINGS = {"litert": ".tflite", "onnx": ".onnx"}
_NOISE = 4  # random pictures, where there are no validation pictures


def export_run(config: Config, own: ExportOptions) -> str:
    """Exports the best (or averaged) weights of a run.

    Args:
        config: of the run; `weights`; `precision`; `scale`; `output`, by default RUN_DIR/export, with the ending of
            the format.
        own: what is written.

    Returns:
        What was written where, and how it compares with the run.

    Raises:
        UsageError: the run has no weights, options contradict each other, a library is missing, the output cannot be
            written, or the answers of the export differ by more than the bounds allow.
    """
    own.check(config)
    output = _output(config, own)
    model, run = folded_run(pathlib.Path(config.run_dir), config.weights, config.precision)
    size = _size(run, own)
    pictures = _pictures(run, size, own)
    module = module_of(model, run)
    expected = _traced(module.function(config.scale, size), run)
    making = _Making(model, run, own, config, size, pictures)
    try:
        if own.format == "saved_model":
            with swapping_folder(output) as folder:
                saved_model.save(module, making.description(), folder)
                content = making.check(expected, load(folder))
        else:
            file = making.file()
            content = making.check(expected, predictor_of_file(output, file))
            write_bytes(output, file)
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise UsageError(f"cannot write {output}: {reason}") from None
    files = [output] if output.is_file() else [file for file in output.rglob("*") if file.is_file()]
    content["size_mib"] = sum(file.stat().st_size for file in files) / 2**20
    card.write(output, content)
    return f"exported to {output} ({content['size_mib']:.0f} MiB)\n{card.table(content)}"


class _Pictures(NamedTuple):
    """What an export is compared on: batches of one sample, and what they are, for people."""

    batches: Sequence[dict]
    what: str


class _Making(NamedTuple):
    """An export that is being made."""

    model: keras.Model
    run: TrainedRun
    own: ExportOptions
    config: Config
    size: tuple
    pictures: _Pictures

    def description(self) -> str:
        """What travels with an export."""
        return tasks_to_json(
            self.run.tasks,
            format=self.own.format,
            quantize=self.own.quantize,
            scale=self.config.scale,
            size=[side or None for side in self.size],
            image_size=self.run.config.data.image_size,
            weights=self.config.weights,
            epoch=epoch_of_weights(self.config),
            precision=self.config.precision,
            answers={name: what for task in self.run.tasks for name, what in task.units.items()},
        )

    def file(self) -> bytes:
        """A LiteRT or ONNX file."""
        module = module_of(self.model, self.run, resize_antialiased)
        function, quantize = module.function(self.config.scale, self.size), self.own.quantize
        inputs = [rounded(batch["image"]) for batch in self.pictures.batches]
        if self.own.format == "litert":
            content = litert.convert(self.model, module, function, quantize, inputs)
            return litert.described(content, self.description())
        content = onnx_file.convert(self.model, function, quantize, inputs, self.own.opset)
        return onnx_file.described(content, self.description())

    def check(self, expected: Callable, export: Predictor) -> dict:
        """What the card says of the export beside the run.

        Raises:
            UsageError: it is worse than the bounds allow, and --export.force is not given.
        """
        tasks, batches = self.run.tasks, self.pictures.batches

        def answer(image):
            return export(image, self.config.scale)

        found = checking.compare(tasks, expected, answer, batches)
        faults = found.faults(tasks, self.own.quantize == "int8")
        if faults and not self.own.export.force:
            raise UsageError(
                f"the export differs from {self.config.run_dir} on {self.pictures.what}: {'; '.join(faults)}; nothing "
                "was written: --export.force writes it anyway"
            )
        picture = rounded(batches[0]["image"])
        about = {
            "compared_on": self.pictures.what,
            "beyond_bounds": faults,
            "latency_ms": checking.latency(answer, picture),
            "timed_at": "x".join(map(str, picture.shape[1:3])),
        }
        return card.contents(self.own, self.run, found, about)


def _output(config, own):
    """Where it is to be written, which must not hold anything else."""
    if own.format == "saved_model":
        output = pathlib.Path(config.output or pathlib.Path(config.run_dir) / "export")
        if output.exists() and not is_saved_model(output) and (not output.is_dir() or any(output.iterdir())):
            raise UsageError(f"--output={output} exists and is no SavedModel; choose an empty or new folder")
        return output
    ending, quantized = _ENDINGS[own.format], "" if own.quantize == "none" else f"_{own.quantize}"
    output = pathlib.Path(config.output or pathlib.Path(config.run_dir) / f"export{quantized}{ending}")
    if output.suffix != ending:
        raise UsageError(f"--output={output} takes the name of a {ending} file for --format={own.format}")
    if output.is_dir():
        raise UsageError(f"--output={output} is a folder; choose the name of a file")
    return output


def _size(run, own):
    """Height and width of the pictures that the export takes; None = any."""
    trained_at = run.config.data.image_size
    if own.format != "litert" or own.size:
        return own.size or (None, None)
    if not trained_at:
        raise UsageError("--size=H,W is missing: the run was trained at any size, and a LiteRT file takes one")
    return trained_at


def _traced(function, run):
    """The function, after it was found to take pictures of its size."""
    try:
        function.get_concrete_function()
    except (ValueError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split("\n\n")[-1].split())[:200]
        raise UsageError(f"--size: {run.config.model.encoder} takes no pictures of this size ({reason})") from None
    return function


def _pictures(run, size, own) -> _Pictures:
    """Validation pictures at the size of the export; noise where they are not there."""
    config = run.config if None in size else replace(run.config, data__image_size=size)
    split = config.data.val_split
    try:
        data = EvaluationData(open_split(config, split, run.descriptor), config, run.descriptor)
        batches = data.observed(own.export.samples)
    except UsageError as error:
        if own.quantize == "int8":
            raise UsageError(f"--quantize=int8 is calibrated on validation pictures: {error}") from None
        height, width = config.data.image_size or (256, 256)
        noise = np.random.default_rng(0).integers(0, 256, (_NOISE, 1, height, width, 3)).astype(np.uint8)
        return _Pictures([{"image": image} for image in noise], f"{_NOISE} random pictures ({error})")
    return _Pictures(batches, f"{len(batches)} pictures of {split}")
