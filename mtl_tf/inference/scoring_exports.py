"""Scores of an exported network on a split of its run's data set."""

import hashlib
import pathlib
from collections.abc import Iterator

from mtl_tf.atomic import write_json
from mtl_tf.config import Config, replace
from mtl_tf.data.descriptors import read as read_descriptor
from mtl_tf.data.pipeline import EvaluationData
from mtl_tf.data.sets import named_splits, open_split
from mtl_tf.errors import UsageError
from mtl_tf.evaluation import evaluate_answers
from mtl_tf.inference.predictor import load
from mtl_tf.inference.scored import data_suffix, scored
from mtl_tf.inference.scoring import Scores
from mtl_tf.training.run_directory import write_table
from mtl_tf.training.trained_run import is_export


def evaluate_export(config: Config, path: str) -> Iterator[Scores]:
    """Evaluates an export on each split that `data.split` names.

    Writes NAME.evaluation_SPLIT.json and NAME.per_image_SPLIT.csv beside it. Pictures and labels are brought to the
    size that the export takes, else to data.image_size, as `evaluate_run` has them; pictures are rounded to whole
    numbers.

    Args:
        config: of the run.
        path: of a SavedModel, a .tflite or an .onnx file.

    Yields:
        What the export is worth on each split, as soon as it is written.

    Raises:
        UsageError: the path is none of these, its tasks are not those of the run, or a split is not there.
    """
    export = pathlib.Path(path)
    if not is_export(export):
        raise UsageError(f"--export={path} is no export: expected a SavedModel folder, a .tflite or an .onnx file")
    predictor, descriptor = load(export), read_descriptor(config.run_dir)
    if None not in predictor.size:
        config = replace(config, data__image_size=predictor.size)
    names = tuple(task.name for task in predictor.tasks)
    if set(names) - set(config.tasks):
        raise UsageError(
            f"--export={path} answers {', '.join(names)}, but the run in {config.run_dir} is of "
            f"{', '.join(config.tasks)}: name the run that it was exported from"
        )
    configs = [replace(config, data__split=split) for split in named_splits(config.data)]
    sources = [open_split(each, each.data.split, descriptor) for each in configs]
    for each, source in zip(configs, sources, strict=True):
        yield _evaluate_split(each, EvaluationData(source, each, descriptor), predictor, export)


def _evaluate_split(config, data, predictor, export):
    split, scale = config.data.split, predictor.scales[0]
    with data.naming_errors():
        batches = data.dataset(1).as_numpy_iterator()
        found, images = evaluate_answers(
            lambda image: predictor(image, scale), predictor.tasks, batches, data.steps(1), f"evaluating {export.name}"
        )
    stated = scored(config, data.source) | {"weights": export.name, "weights_sha256": _checksum(export)}
    scores = {"split": split, "scored": stated, **found}
    rows = [{"id": data.source.ids[row.pop("index")], **row} for row in images]
    suffix = data_suffix(config)
    write_json(export.with_name(f"{export.name}.evaluation_{suffix}.json"), scores)
    write_table(export.with_name(f"{export.name}.per_image_{suffix}.csv"), rows)
    return Scores(predictor.tasks, scores, None)


def _checksum(export):
    """The SHA-256 of a file, or of the weights of a SavedModel."""
    files = [export] if export.is_file() else sorted((export / "variables").glob("*"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
