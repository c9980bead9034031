"""The commands: each reads the configuration, does its one job and says where its results are.

Start-up only: what a command needs is imported when it runs, so that `--help` and wrong usage answer at once.
"""

import dataclasses
from collections.abc import Callable

from mtl_tf import flags
from mtl_tf.config import CHOSEN_AGAIN, OF_A_RUN, Config
from mtl_tf.errors import UsageError, did_you_mean, exit_status
from mtl_tf.export.options import ExportOptions
from mtl_tf.options import Section, option
from mtl_tf.quiet import start_tensorflow
from mtl_tf.study.options import StudyOptions
from mtl_tf.tuning.options import TuneOptions


@dataclasses.dataclass(frozen=True)
class EvaluateOptions(Section):
    """Options of `evaluate`."""

    export: str = option("", "An export of the run to score instead: SavedModel folder, .tflite or .onnx file.")


@dataclasses.dataclass(frozen=True)
class EncodersOptions(Section):
    """Options of `encoders`."""

    measure: bool = option(False, "Build and measure the encoders that have no figures yet.", free=True)


def train(config: Config):
    """Train a network, or continue a run."""
    from mtl_tf.training.trainer import train as run

    run(config)


def evaluate(config: Config, own: EvaluateOptions):
    """Score the best weights of a run, or an export of it, on splits: evaluation_SPLIT.json, per_image_SPLIT.csv."""
    from mtl_tf.inference.scored import told
    from mtl_tf.inference.scoring import evaluate_splits
    from mtl_tf.inference.scoring_exports import evaluate_export
    from mtl_tf.report.scores import results_table

    for tasks, scores, baseline in evaluate_export(config, own.export) if own.export else evaluate_splits(config):
        print(f"{': '.join(told(scores))} of {config.run_dir}")
        print(results_table(tasks, scores, baseline or {}), flush=True)


def predict(config: Config):
    """Answer for pictures with the best weights of a run, or with a SavedModel: overlays, class maps, depth."""
    from mtl_tf.inference.files import predict_files

    print(predict_files(config))


def export(config: Config, own: ExportOptions):
    """Write the best weights of a run for other runtimes: SavedModel, LiteRT or ONNX, compared with the run."""
    from mtl_tf.export.export import export_run

    print(export_run(config, own))


def report(config: Config):
    """Write an offline HTML page of a run: scores, curves, the worst, median and best images."""
    from mtl_tf.report.run import report_run

    print(report_run(config))


def tune(config: Config, own: TuneOptions):
    """Search over options of `train`: trials.csv and best.flags; continues a search that was stopped."""
    from mtl_tf.tuning.tune import tune as run

    run(config, own)


def study(config: Config, own: StudyOptions):
    """Run every table and figure of a study, or go on with one: results/ and study.html."""
    from mtl_tf.study.study import study as run

    print(run(config, own))


def encoders(config: Config, own: EncodersOptions):
    """List all encoders: parameters, multiply-adds, features, input, weights; and all checkpoints with licences."""
    from mtl_tf.models.encoders import table
    from mtl_tf.models.weights import checkpoints, imagenet_source

    if own.measure:
        table.measure_missing()
    tables = (table.markdown(imagenet_source), checkpoints.markdown())
    print(table.put_into(config.output, *tables) if config.output else "\n\n".join(tables))


COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "export": export,
    "report": report,
    "tune": tune,
    "study": study,
    "encoders": encoders,
}

# The commands that have options of their own, which they take besides the configuration.
OWN_OPTIONS: dict[str, type[Section]] = {
    "evaluate": EvaluateOptions,
    "tune": TuneOptions,
    "study": StudyOptions,
    "encoders": EncodersOptions,
    "export": ExportOptions,
}


def takes(command: str) -> flags.Takes:
    """Which options a command takes."""
    return lambda name, field: command in (field.metadata["of"] or (command,))


def listed(command: str) -> flags.Takes:
    """Which options its help lists: a trained run fixes all but those of its data that are free."""
    taken = takes(command)

    def shown(name, field):
        section = name.rpartition(".")[0]
        free = (field.metadata["free"] and section in ("", "data")) or name in CHOSEN_AGAIN
        return taken(name, field) and (command not in OF_A_RUN or free)

    return shown


def main(argv: list[str]) -> int:
    """Runs a command and returns its exit status; `argv` is the command and its options."""
    return exit_status(lambda: _run(argv))


def _run(argv):
    if not argv or argv[0].lstrip("-") in ("help", "h", "helpshort", "helpfull"):
        print(_overview())
        return
    name, rest = argv[0], argv[1:]
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS) or f"the commands are {', '.join(COMMANDS)}"
        raise UsageError(f"unknown command {name!r}; {hint}")
    own = OWN_OPTIONS.get(name)
    parsed = flags.parse(rest, own, takes=takes(name))
    if parsed.help:
        print(flags.help_text(f"main.py {name} --option=value ...\n\n{COMMANDS[name].__doc__}", own, listed(name)))
        return
    config = _ready(name, parsed, rest)
    if name != "evaluate" and "," in config.data.split:
        _demand_one_split(name, config)
    start_tensorflow()
    if own:
        COMMANDS[name](config, parsed.own)
    else:
        COMMANDS[name](config)


def _ready(name, parsed, argv):
    """The configuration of a command, after what can be refused without TensorFlow, which takes seconds to import."""
    if name in OF_A_RUN:
        from mtl_tf.training.trained_run import configuration_of_run

        return configuration_of_run(parsed, argv, OWN_OPTIONS.get(name))
    if name == "train":
        from mtl_tf.data.sets import describe_training
        from mtl_tf.data.sets.settle import settled
        from mtl_tf.training.run_directory import continued

        config = settled(parsed.config, continued(parsed.config))
        describe_training(config.data).assumed.tasks(config)
        return config
    return parsed.config


def _demand_one_split(name, config):
    from mtl_tf.data.sets import named_splits

    if len(named_splits(config.data)) > 1:
        raise UsageError(f"{name} takes one split, got --data.split={config.data.split}; run it once for each")


def _overview():
    lines = ["main.py COMMAND --option=value ...", ""]
    lines += [f"  {name:<10}{command.__doc__}" for name, command in COMMANDS.items()]
    return "\n".join([*lines, "", "main.py COMMAND --helpshort lists the options of a command."])
