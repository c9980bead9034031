"""Predictions as files: colour overlay, class PNG, depth PNG, depth picture with a metre bar."""

import pathlib

import numpy as np
import tensorflow as tf

from mtl_tf import pictures
from mtl_tf.atomic import WriteError, below
from mtl_tf.config import Config
from mtl_tf.data.codecs import encode_inverse_uint8
from mtl_tf.errors import UsageError, is_out_of_memory
from mtl_tf.inference.inputs import inputs_of
from mtl_tf.inference.outputs import Output, own_folder
from mtl_tf.inference.predictor import Prediction, load
from mtl_tf.inference.runs import is_saved_model
from mtl_tf.progress import Progress
from mtl_tf.tasks import DEPTH_UNITS, Segmentation, Task


def predict_files(config: Config) -> str:
    """Predicts what `input` names, or the whole `data.split`, into folders by kind under `output`.

    Returns:
        A line that says what was written where.

    Raises:
        UsageError: nothing to predict; or some pictures could not be read, after all others were written.
    """
    predictor = load(config.run_dir, config.weights, config.precision)
    inputs = inputs_of(config)
    names, output = inputs.names, _output(config, inputs, predictor.tasks)
    if inputs.told:
        print(inputs.told, flush=True)
    progress, bad, beyond = Progress("predicting", len(names)), [], {}
    for position, name in enumerate(names):
        try:
            image = inputs.read(position)
            beyond[name] = write_prediction(output.folder, name, image, predictor(image, config.scale), predictor.tasks)
        except WriteError:
            raise
        except UsageError as error:
            bad.append(str(error))
        except (MemoryError, tf.errors.OpError) as error:
            if not is_out_of_memory(error):
                raise
            smaller = "--scale=fit, or a smaller picture" if config.scale == "native" else "a smaller picture"
            bad.append(f"{name}: memory does not suffice; use {smaller}")
        progress.advance()
    progress.close()
    output.finish(beyond)
    done = len(names) - len(bad)
    warning = _told_beyond({name: count for name, count in beyond.items() if count}, predictor.tasks)
    if bad:
        shown = "; ".join(bad[:5])
        raise UsageError(f"{len(bad)} of {len(names)} pictures cannot be predicted: {shown} ({done} done){warning}")
    return f"{done} pictures predicted: {output.folder}/{{{','.join(_folders(predictor.tasks))}}}{warning}"


def _told_beyond(beyond: dict[str, int], tasks) -> str:
    """That 16 bits do not hold the depth of some pixels; empty where they hold all."""
    if not beyond:
        return ""
    (unit,) = (DEPTH_UNITS[task.unit] for task in tasks if not isinstance(task, Segmentation))
    return (
        f"; warning: {sum(beyond.values())} pixels of {len(beyond)} pictures (first: {next(iter(beyond))}) lie beyond "
        f"{unit.step * 65535:g}{unit.symbol}, more than 16-bit files hold, and are 0 (invalid) in depth; "
        "mtl_tf.load answers them in full"
    )


def write_prediction(
    folder: pathlib.Path, name: str, image: np.ndarray, answer: Prediction, tasks: tuple[Task, ...]
) -> int:
    """Writes one prediction.

    Args:
        folder: gets a folder of each kind: overlay, semseg (class ids, palette PNG), depth (16-bit PNG, 0.01 m a
            step, or the step of the task's unit), depth_picture, and for Miniscapes' codec depth_codec (uint8 PNG).
        name: of the files, without suffix.
        image: uint8 (H, W, 3).
        answer: the predictor's, of this image.
        tasks: the predictor's.

    Returns:
        The number of pixels whose depth lies beyond what a 16-bit file holds (655.35 m); they are invalid there.

    Raises:
        UsageError: the name leads out of the folder.
    """
    beyond = 0

    def path(kind):
        return below(folder / kind, f"{name}.png")

    for task in tasks:
        if isinstance(task, Segmentation):
            pictures.write_png(path("overlay"), pictures.overlay(image, answer.semseg, task.palette))
            pictures.write_png(path("semseg"), answer.semseg.astype(np.uint8), task.palette)
            continue
        unit = DEPTH_UNITS[task.unit]
        beyond += pictures.write_depth_png16(path("depth"), answer.depth, unit.step)
        bar = pictures.depth_with_bar(answer.depth, *pictures.depth_range(answer.depth), unit.symbol)
        pictures.write_png(path("depth_picture"), bar)
        if task.codec == "inverse_uint8":
            codes = encode_inverse_uint8(answer.depth, task.minimum, task.maximum, clamp=True)
            pictures.write_png(path("depth_codec"), codes)
    return beyond


def _folders(tasks):
    found = []
    for task in tasks:
        if isinstance(task, Segmentation):
            found += ["overlay", "semseg"]
        else:
            found += ["depth", "depth_picture"] + (["depth_codec"] if task.codec == "inverse_uint8" else [])
    return found


def _output(config, inputs, tasks):
    """The folder, claimed for these inputs."""
    if config.output:
        return Output(pathlib.Path(config.output), inputs.what, _folders(tasks), inputs.names)
    if is_saved_model(pathlib.Path(config.run_dir)):
        raise UsageError("--output=FOLDER is missing: a SavedModel has no run directory to write predictions to")
    folder = pathlib.Path(config.run_dir) / "predictions" / ("input" if config.input else config.data.split)
    if config.input:
        folder = own_folder(folder, inputs.what)
    return Output(folder, inputs.what, _folders(tasks), inputs.names, ours=not config.input)
