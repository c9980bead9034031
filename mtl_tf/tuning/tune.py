"""`main.py tune`: a search over options, from its space file to its table of trials."""

import dataclasses
import pathlib
import shlex
import time

from mtl_tf import config as configuration
from mtl_tf.config import Config, replace
from mtl_tf.data.sets import describe
from mtl_tf.data.sets.settle import settled
from mtl_tf.errors import UsageError
from mtl_tf.options import coerce, format_value
from mtl_tf.progress import format_seconds
from mtl_tf.report.scores import Board
from mtl_tf.selection import found_by
from mtl_tf.tuning import distributed, oracles
from mtl_tf.tuning.directory import SearchDirectory, continued, join
from mtl_tf.tuning.objectives import check_objective, check_one_scale, direction
from mtl_tf.tuning.options import TuneOptions
from mtl_tf.tuning.results import read_results, results_table, write_results
from mtl_tf.tuning.search import TrialTuner, run_search
from mtl_tf.tuning.space import Space, read_space

_TRIALS = 20  # of an endless search for which nobody says how many


def tune(config: Config, own: TuneOptions):
    """Searches, or continues to, and writes trials.csv and best.flags.

    Raises:
        UsageError: the space, the objective, the configuration or the directory is wrong, or no trial has a score.
        StoppedError: a signal stopped it; the same command continues.
    """
    space = read_space(own.space)
    config = settled(config, continued(config))
    tasks = _check(config, own, space)
    way = direction(own.objective, tasks)
    leading = Board(tasks).leading
    settings = _settings(own, space)
    base = replace(config, run_dir="", train__fresh=False, train__resume=True)
    directory = pathlib.Path(config.run_dir)

    def make_tuner():
        oracle = make_oracle(config, own, space, way)
        oracle.after_trial = _Show(oracle, directory, _names(space, own), own, way, leading)
        return TrialTuner(oracle, directory, lambda values: space.apply(base, values), own.objective)

    if distributed.role().kind == "worker":
        join(config, settings, own.patience)
        run_search(make_tuner, own.workers, (), own.patience)
        return
    with SearchDirectory(config, settings):
        run_search(make_tuner, own.workers, worker_arguments("tune", config, own), own.patience)
        results = _write(directory, _names(space, own), own, way, leading)
        print(results_table(results, _names(space, own), own.objective))
        if not results or results[0]["objective"] is None:
            raise UsageError(
                f"no trial of {directory} has a score ({results[0]['message'] if results else 'there was none'}); "
                "see trials.csv, change the space, and start with --train.fresh"
            )
        best = shlex.quote(str(directory / "best.flags"))
        print(f"all in {directory / 'trials.csv'}; the best is repeated by --flagfile={best}")


def make_oracle(config: Config, own: TuneOptions, space: Space, way: str) -> oracles.SafeOracle:
    """The algorithm that the options name; `way` is "max" or "min", of the objective."""
    limit = own.max_trials
    if own.algorithm == "grid":
        return oracles.DeclaredOracle(own.objective, way, list(space.combinations()), limit=limit)
    more = {"hyperparameters": space.hyperparameters()}
    if own.algorithm == "hyperband":
        more |= {"max_epochs": config.train.epochs, "factor": own.hyperband_factor}
        return oracles.HyperbandOracle(own.objective, way, limit, config.seed, **more)
    limit = limit or _TRIALS
    limit = min(limit, space.size) if space.size else limit
    kind = oracles.RandomOracle if own.algorithm == "random" else oracles.BayesianOracle
    return kind(own.objective, way, limit, config.seed, max_trials=None, **more)


def worker_arguments(command: str, config: Config, own) -> list[str]:
    """The arguments of main.py that make a process a worker of this search: every option that it takes, spelt out."""
    of = {name: field.metadata["of"] for name, field in configuration.leaves().items()}
    named = configuration.values(replace(config, train__fresh=False, train__resume=True))
    named = {name: value for name, value in named.items() if not of[name] or command in of[name]}
    named |= {field.name: getattr(own, field.name) for field in dataclasses.fields(own)} | {"workers": 0}
    return [command, *(f"--{name}={format_value(value)}" for name, value in named.items())]


def _check(config, own, space):
    """The tasks that are searched, of all trials; raises a UsageError where the search makes no sense."""
    dimensions = {dimension.name: dimension for dimension in space.dimensions}
    tasks = dimensions.get("tasks")
    field = configuration.leaves()["tasks"]
    task_sets = [coerce(field, text) for text in tasks.values] if tasks else [config.tasks]
    every = tuple(dict.fromkeys(name for names in task_sets for name in names))
    found = describe(config.data).tasks(replace(config, tasks=every, train__best_metric="total"))
    check_objective(own.objective, found, task_sets)
    for names in task_sets:
        found_by(config.train.best_metric, [task for task in found if task.name in names])
    check_one_scale(own.objective, space.names)
    if own.algorithm == "grid":
        next(space.combinations())
    if own.algorithm == "hyperband":
        if "train.epochs" in dimensions:
            raise UsageError(
                "Hyperband chooses the epochs, up to --train.epochs; leave train.epochs out of the space, or use "
                "another --algorithm"
            )
        if config.train.epochs < own.hyperband_factor:
            raise UsageError(
                f"Hyperband needs --train.epochs of at least --hyperband_factor={own.hyperband_factor}, "
                f"got {config.train.epochs}"
            )
    return found


def _settings(own, space):
    """What makes a search another one; a space that is written otherwise but is the same is the same."""
    free = {field.name for field in dataclasses.fields(own) if field.metadata["free"]}
    if own.algorithm != "hyperband":
        free.add("hyperband_factor")
    named = {
        f"--{field.name}": format_value(getattr(own, field.name))
        for field in dataclasses.fields(own)
        if field.name not in free and field.name != "space"
    }
    if own.objective == "val_loss":
        named["the sum in val_loss"] = "weighted"  # by an earlier version plain
    return named | {f"space of {dimension.name}": dimension.text() for dimension in space.dimensions}


def _names(space, own):
    follows = ("train.epochs",) if own.algorithm == "hyperband" else ()
    return tuple(dict.fromkeys((*space.names, *follows)))


def _write(directory, names, own, way, leading):
    results = read_results(directory, way)
    write_results(directory, results, names, own.objective, leading)
    return results


class _Show:
    """After every trial: one line of progress, and the tables as they are by then."""

    def __init__(self, oracle: oracles.SafeOracle, directory: pathlib.Path, names, own, way, leading):
        self._oracle, self._directory, self._own = oracle, directory, own
        self._written = names, own, way, leading
        self._start, self._ended = time.monotonic(), 0

    def __call__(self, trial):
        self._ended += 1
        results = _write(self._directory, *self._written)
        this = next(result for result in results if result["trial"] == trial.trial_id)
        ended, expected = len(self._oracle.end_order), self._oracle.expected
        each = (time.monotonic() - self._start) / self._ended
        score = f"{self._own.objective} {this['objective']:.5g}" if this["status"] == "done" else this["message"]
        best = f"best {results[0]['objective']:.5g}; " if results[0]["objective"] is not None else ""
        left = format_seconds(each * max(expected - ended, 0))
        print(f"trial {ended} of {expected}: {this['name']}: {this['status']}, {score}; {best}{left} left", flush=True)
