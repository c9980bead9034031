"""`main.py study`: runs what a declaration holds, or goes on with it, and writes tables, figures and the page."""

import dataclasses
import hashlib
import pathlib
import time

from mtl_tf.config import Config, replace
from mtl_tf.data.sets.settle import settled
from mtl_tf.errors import StoppedError, UsageError
from mtl_tf.options import format_value
from mtl_tf.progress import format_seconds
from mtl_tf.study.declaration import Declaration, read
from mtl_tf.study.options import StudyOptions
from mtl_tf.study.oracle import OBJECTIVE, RUN, StudyOracle, config_of
from mtl_tf.study.plan import PAGE, RESULTS, RUNS, Plan
from mtl_tf.training.run_directory import existing_path
from mtl_tf.tuning import distributed
from mtl_tf.tuning.directory import SearchDirectory, continued, join
from mtl_tf.tuning.search import TrialTuner, run_search
from mtl_tf.tuning.trial import DONE, read_outcome
from mtl_tf.tuning.tune import worker_arguments


def study(config: Config, own: StudyOptions) -> str:
    """Runs a study, or continues it; what is finished is not run again.

    Args:
        config: what all rows share; `run_dir` is the study's folder.
        own: how the study is run.

    Returns:
        What was written where.

    Raises:
        UsageError: the declaration, the configuration or the folder is wrong.
        StoppedError: a signal stopped it; the results so far are written, the same command continues.
    """
    directory = existing_path(config)
    declaration = read(own.experiments)
    settings = _settings(declaration, own)
    config = _with_weights(settled(config, continued(config)))
    plan = Plan(declaration, replace(config, train__fresh=False, train__resume=True), own)

    def make_tuner():
        oracle = StudyOracle(plan)
        oracle.after_trial = _Show(plan)
        return TrialTuner(oracle, directory, lambda values: config_of(plan, values), OBJECTIVE, config.data.split)

    if distributed.role().kind == "worker":
        join(config, settings, own.patience)
        run_search(make_tuner, own.workers, (), own.patience)
        return "the study has no more work for this worker"
    with SearchDirectory(config, settings, outputs=(RUNS, RESULTS, PAGE)):
        try:
            run_search(make_tuner, own.workers, worker_arguments("study", config, own), own.patience)
        except StoppedError:
            _write(plan, 0)
            raise
        page = _write(plan, own.pictures)
    return f"tables and figures in {directory / RESULTS}, page {page}"


def _write(plan: Plan, pictures: int) -> pathlib.Path:
    from mtl_tf.study.write import write_results  # brings matplotlib, which the runs do not need

    return write_results(plan, pictures)


def _settings(declaration: Declaration, own: StudyOptions) -> dict[str, str]:
    """What makes a study another one, besides what all rows share."""
    named = {
        f"--{field.name}": format_value(getattr(own, field.name))
        for field in dataclasses.fields(own)
        if not field.metadata["free"] and field.name != "experiments"
    }
    return named | {"the experiments": hashlib.sha256(declaration.told.encode()).hexdigest()[:12]}


def _with_weights(config: Config) -> Config:
    """The configuration, without ImageNet weights where they cannot be had: the study goes on without that row."""
    if config.model.encoder_weights == "none":
        return config
    from mtl_tf.models.encoders import build_encoder
    from mtl_tf.models.weights import load_encoder_weights

    try:
        load_encoder_weights(build_encoder(config.model.encoder), config.model)
    except UsageError as error:
        if config.model.encoder_weights != "imagenet":
            raise
        print(f"no weights: {error}; the rows that ask for them are left out", flush=True)
        return replace(config, model__encoder_weights="none")
    return config


class _Show:
    """One line after every run: how it ended, how far the study is and how long it will take."""

    def __init__(self, plan: Plan):
        self._plan, self._start, self._ended = plan, time.monotonic(), 0

    def __call__(self, trial):
        name = trial.hyperparameters.values[RUN]
        outcome = read_outcome(pathlib.Path(self._plan.base.run_dir) / RUNS / name)
        runs = self._plan.all_runs()
        ended = sum(run.outcome is not None for run in runs)
        self._ended += 1
        left = (time.monotonic() - self._start) / self._ended * (len(runs) - ended)
        if outcome is None:
            how = trial.message or "failed"
        elif outcome.status == DONE:
            columns = self._plan.columns
            shown = [(columns.all[name], outcome.scores.get(name)) for name in columns.main]
            how = ", ".join(f"{column.said} {column.show(value)}" for column, value in shown if value is not None)
        else:
            how = f"failed: {outcome.message}"
        print(f"run {ended} of {len(runs)}: {name}: {how}; {format_seconds(left)} left", flush=True)
