"""Predictions as files: colour overlay, class PNG, depth PNG, depth picture with a metre bar."""

import glob
import os
import pathlib

import numpy as np
import tensorflow as tf

from mtl_tf import pictures
from mtl_tf.atomic import WriteError, below
from mtl_tf.config import Config
from mtl_tf.data.codecs import encode_inverse_uint8
from mtl_tf.data.descriptors import read as read_descriptor
from mtl_tf.data.pixels import read_rgb
from mtl_tf.data.sets import open_split
from mtl_tf.errors import UsageError, is_out_of_memory
from mtl_tf.inference.predictor import Prediction, load
from mtl_tf.inference.runs import is_saved_model
from mtl_tf.progress import Progress
from mtl_tf.tasks import DEPTH_UNITS, Segmentation, Task

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm")


def predict_files(config: Config) -> str:
    """Predicts what `input` names, or the whole `data.split`, into folders by kind under `output`.

    Returns:
        A line that says what was written where.

    Raises:
        UsageError: nothing to predict; or some pictures could not be read, after all others were written.
    """
    predictor = load(config.run_dir, config.weights, config.precision)
    names, read = _inputs(config)
    output = pathlib.Path(config.output or _default_output(config))
    progress, bad, beyond = Progress("predicting", len(names)), [], {}
    for position, name in enumerate(names):
        try:
            image = read(position)
            beyond[name] = write_prediction(output, name, image, predictor(image, config.scale), predictor.tasks)
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
    done = len(names) - len(bad)
    warning = _told_beyond({name: count for name, count in beyond.items() if count}, predictor.tasks)
    if bad:
        shown = "; ".join(bad[:5])
        raise UsageError(f"{len(bad)} of {len(names)} pictures cannot be predicted: {shown} ({done} done){warning}")
    return f"{done} pictures predicted: {output}/{{{','.join(_folders(predictor.tasks))}}}{warning}"


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


def _default_output(config):
    if is_saved_model(pathlib.Path(config.run_dir)):
        raise UsageError("--output=FOLDER is missing: a SavedModel has no run directory to write predictions to")
    kind = "input" if config.input else config.data.split
    return f"{config.run_dir}/predictions/{kind}"


def _inputs(config):
    """Names of the predictions, and a function from position to picture."""
    if not config.input:
        if is_saved_model(pathlib.Path(config.run_dir)):
            raise UsageError("--input=PICTURE, FOLDER or GLOB is missing: a SavedModel has no data set of its own")
        source = open_split(config, config.data.split, read_descriptor(config.run_dir))
        return source.ids, lambda position: source.read(position)["image"]
    files = _files(config.input)
    return _names(files), lambda position: read_rgb(str(files[position]))


def _files(given):
    path = pathlib.Path(given)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in PICTURES)
        if not files:
            raise UsageError(f"--input={given} holds no pictures ({', '.join(PICTURES)})")
        return files
    files = (
        [path]
        if path.exists()
        else [pathlib.Path(found) for found in sorted(glob.glob(_pattern(given), recursive=True))]
    )
    if not files:
        raise UsageError(f"--input={given}: there is no such file, folder or match")
    return files


def _pattern(given):
    """A pattern, of which the folders that it begins with and that there are count as they are written."""
    literal, parts = pathlib.Path(), pathlib.Path(given).parts
    while parts and (literal / parts[0]).exists():
        literal, parts = literal / parts[0], parts[1:]
    return os.path.join(glob.escape(str(literal)), *parts)


def _names(files):
    """Names by which no two pictures are told alike: with folders below the common one, with the suffix if need be."""
    files = [pathlib.Path(os.path.abspath(file)) for file in files]  # no name with ".."
    common = pathlib.Path(*_common_parts([file.parent.parts for file in files]))
    names = [str(file.relative_to(common).with_suffix("")) for file in files]
    if len(set(names)) < len(names):
        names = [str(file.relative_to(common)) for file in files]
    return names


def _common_parts(paths):
    first, last = min(paths), max(paths)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length]
