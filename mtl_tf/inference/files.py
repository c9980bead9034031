"""Predictions as files: the data and pictures of each task."""

import pathlib

import numpy as np
import tensorflow as tf

from mtl_tf import pictures
from mtl_tf.atomic import WriteError, below, replacing
from mtl_tf.config import Config
from mtl_tf.errors import UsageError, is_out_of_memory
from mtl_tf.inference.inputs import inputs_of
from mtl_tf.inference.outputs import Output, own_folder
from mtl_tf.inference.predictor import Prediction, load
from mtl_tf.progress import Progress
from mtl_tf.tasks import Task
from mtl_tf.training.trained_run import is_export


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
    warning = _told_beyond(beyond, predictor.tasks)
    if bad:
        shown = "; ".join(bad[:5])
        raise UsageError(f"{len(bad)} of {len(names)} pictures cannot be predicted: {shown} ({done} done){warning}")
    return f"{done} pictures predicted: {output.folder}/{{{','.join(_folders(predictor.tasks))}}}{warning}"


def _told_beyond(beyond: dict[str, dict[str, int]], tasks) -> str:
    """Of each task of which 16 bits do not hold some pixels, how many; empty where they hold all."""
    told = ""
    for task in tasks:
        found = {name: counts[task.name] for name, counts in beyond.items() if counts[task.name]}
        if found:
            told += (
                f"; warning: {sum(found.values())} pixels of {len(found)} pictures (first: {next(iter(found))}) lie "
                f"beyond {task.most_in_files}, more than 16-bit files hold, and are 0 (invalid) in {task.name}; "
                "mtl_tf.load answers them in full"
            )
    return told


def write_prediction(
    folder: pathlib.Path, name: str, image: np.ndarray, answer: Prediction, tasks: tuple[Task, ...]
) -> dict[str, int]:
    """Writes one prediction.

    Args:
        folder: gets a folder of each kind of file (`Task.folders`).
        name: of the files, without suffix.
        image: uint8 (H, W, 3).
        answer: the predictor's, of this image.
        tasks: the predictor's.

    Returns:
        Task name -> number of pixels whose value a file does not hold (depth beyond 655.35 m); they are invalid there.

    Raises:
        UsageError: the name leads out of the folder.
    """
    beyond = {}
    endings = _folders(tasks)
    for task in tasks:
        files = task.files(image, answer[task.name])
        for file in files:
            path = below(folder / file.folder, f"{name}{endings[file.folder]}")
            if path.suffix == ".npy":
                with replacing(path) as stream:
                    np.save(stream, file.pixels)
            else:
                pictures.write_png(path, file.pixels, file.palette)
        beyond[task.name] = sum(file.beyond for file in files)
    return beyond


def _folders(tasks):
    """The folders of the predictions, with the ending of their files."""
    found = {folder: ".png" for task in tasks for folder in task.folders}
    return found | {task.folders[0]: task.data_ending for task in tasks}


def _output(config, inputs, tasks):
    """The folder, claimed for these inputs."""
    if config.output:
        return Output(pathlib.Path(config.output), inputs.what, _folders(tasks), inputs.names)
    if is_export(pathlib.Path(config.run_dir)):
        raise UsageError("--output=FOLDER is missing: an export has no run directory to write predictions to")
    folder = pathlib.Path(config.run_dir) / "predictions" / ("input" if config.input else config.data.split)
    if config.input:
        folder = own_folder(folder, inputs.what, _folders(tasks))
    return Output(folder, inputs.what, _folders(tasks), inputs.names, ours=not config.input)
