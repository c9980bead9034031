"""What a finished run has on disk: its configuration, and where its weights are. Nothing here needs TensorFlow."""

import hashlib
import pathlib

from mtl_tf import config as configuration
from mtl_tf import flags
from mtl_tf.config import Config
from mtl_tf.data.sets.settle import demand_root_is_read
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, format_value
from mtl_tf.parsing import parse_json

EXPORTED = (".tflite", ".onnx")  # the endings of exported files


def configuration_of_run(parsed: flags.Parsed, argv: list[str], own: type[Section] | None = None) -> Config:
    """The configuration of the run in --run_dir, with the options that the command line adds.

    Raises:
        UsageError: there is no run, or the command line names an option that a trained run cannot change.
    """
    folder = pathlib.Path(_run_dir(parsed.config))
    if is_export(folder):
        return parsed.config
    trained = read_configuration(folder)
    config = flags.parse(argv, own, base=trained).config
    changed = configuration.differences(trained, config)
    refused = [name for name in changed if name not in configuration.CHOSEN_AGAIN]
    if refused:
        name, (old, _) = refused[0], changed[refused[0]]
        raise UsageError(f"--{name} is fixed by the run in {folder} ({format_value(old) or 'empty'}); leave it out")
    if "data.root" in parsed.given:
        demand_root_is_read(config.data)
    return config


def read_configuration(folder: pathlib.Path) -> Config:
    """The configuration that a run directory was made with."""
    if not (folder / "run.flags").is_file():
        known = sorted(path.parent for path in folder.glob("*/run.flags")) if folder.is_dir() else []
        hint = f"did you mean {known[0]}?" if known else "train one first (main.py train)"
        raise UsageError(f"--run_dir={folder} is no run: it has no run.flags; {hint}")
    return flags.read_run_flags(folder / "run.flags")


def weights_file(config: Config) -> pathlib.Path:
    """The file of the weights that `config.weights` names."""
    name = {"best": "weights.h5", "averaged": "averaged_weights.h5"}[config.weights]
    return pathlib.Path(config.run_dir) / "best" / name


def epoch_of_weights(config: Config) -> int | None:
    """The epoch that the weights which `config.weights` names are of; None where nothing (readable) says so."""
    file = weights_file(config)
    try:
        return parse_json(file.with_name(file.name.replace("weights.h5", "metrics.json")).read_text("utf-8"))["epoch"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def weights_checksum(config: Config) -> str:
    """The sha256 of that file, by which scores are known to be of these weights."""
    with open(weights_file(config), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_saved_model(folder: pathlib.Path) -> bool:
    """Whether a folder is a SavedModel."""
    return (folder / "saved_model.pb").is_file()


def is_export(path: pathlib.Path) -> bool:
    """Whether a path is an exported network: a SavedModel, or a file of another format."""
    return is_saved_model(path) or (path.suffix in EXPORTED and path.is_file())


def _run_dir(config):
    if not config.run_dir:
        raise UsageError("--run_dir=FOLDER is missing: the run whose best weights are used")
    return config.run_dir
