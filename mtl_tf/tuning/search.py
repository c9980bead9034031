"""The tuner: Keras Tuner's search loop around trials that run in processes and directories of their own."""

import math
import pathlib
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.errors import FailedTrialError, FatalError

from mtl_tf import config as configuration
from mtl_tf.atomic import write_json
from mtl_tf.config import Config
from mtl_tf.errors import StoppedError, UsageError
from mtl_tf.options import format_value
from mtl_tf.plain_paths import plain_path
from mtl_tf.training.run_directory import hold
from mtl_tf.training.stopping import StopSignal
from mtl_tf.tuning import distributed
from mtl_tf.tuning import trial as trials
from mtl_tf.tuning.oracles import tidy

STATE = "search"  # folder of Keras Tuner's files in the search directory
POLL_SECONDS = 1.0  # between questions of a worker for which there is nothing to do yet


class _SearchStoppedError(FatalError, StoppedError):
    """A signal, in the form that Keras Tuner lets pass."""


class TrialTuner(BaseTuner):
    """Runs the trials of an oracle.

    Args:
        oracle: a `SafeOracle`.
        directory: search directory; Keras Tuner's files are in its `search`, runs in its `trials`.
        config_of: the configuration of a trial from its values (floats come with six digits); where that names no run
            directory, the trial gets `trials/NUMBER-VALUES`. A UsageError of it makes the trial a failed one.
        objective: the score by which the oracle chooses.
        split: on which trials are scored.
    """

    def __init__(
        self,
        oracle,
        directory: str | pathlib.Path,
        config_of: Callable[[dict[str, Any]], Config],
        objective: str,
        split: str = "val",
    ):
        self.config_of, self.objective, self.split = config_of, objective, split
        self.stop: StopSignal | None = None
        self._resumed = self._asked = False
        self.folder = pathlib.Path(directory)
        self.folder.mkdir(parents=True, exist_ok=True)
        super().__init__(oracle=oracle, directory=plain_path(self.folder), project_name=STATE)

    # === The loop ===

    def resume(self, keep_ongoing: bool = False):
        """Reads where an earlier search stood, once; see `SafeOracle.resume`."""
        if not self._resumed and not self._is_worker():
            self.oracle.resume(keep_ongoing)
        self._resumed = True

    def search(self, *arguments, **options):
        self.resume()
        super().search(*arguments, **options)

    def pre_create_trial(self):
        if self._asked:
            time.sleep(POLL_SECONDS)  # the oracle had nothing to give
        if self.stop:
            self.stop.leave_if_asked(f"between trials of {self.folder}; the same command continues")
        self._asked = True

    def on_trial_begin(self, trial):
        self._asked = False

    def _try_run_and_update_trial(self, trial, *arguments, **options):
        # Only a trial that ended badly is one: a full disk, a lost chief or a mistake here ends the search.
        try:
            self.oracle.update_trial(trial.trial_id, self.run_trial(trial))
            trial.status = TrialStatus.COMPLETED
        except FailedTrialError as error:
            trial.status, trial.message = TrialStatus.FAILED, str(error)

    def run_trial(self, trial, *arguments, **options) -> dict[str, float]:
        """Trains and scores one trial.

        Raises:
            FailedTrialError: it diverged, failed, has no such score, or its values do not go together.
            StoppedError: a signal came.
        """
        values = tidy(trial.hyperparameters.values)
        past = values.get("tuner/trial_id")
        if past and self.oracle.get_trial(past).status == TrialStatus.FAILED:
            self._fail(trial, {}, trials.FAILED, f"the shorter trial {past} of these values failed")
        try:
            config = self.config_of(values)
            if not config.run_dir:
                folder = self.folder / "trials" / trial_name(trial.trial_id, values)
                config = configuration.replace(config, run_dir=str(folder))
        except UsageError as error:
            self._fail(trial, {}, trials.FAILED, str(error))
        own = configuration.values(config)
        shown = {name: _shown(own.get(name, value)) for name, value in values.items() if not name.startswith("tuner/")}
        try:
            outcome = trials.run_trial(config, self.split, shown)
        except StoppedError as error:
            raise _SearchStoppedError(str(error)) from None
        described = {
            "run_dir": config.run_dir,
            "options": {name: format_value(value) for name, value in own.items()},
            "scores": outcome.scores,
            "costs": outcome.costs,
        }
        if outcome.status != trials.DONE:
            self._fail(trial, described, outcome.status, outcome.message)
        value = outcome.scores.get(self.objective)
        if value is None or not math.isfinite(value):
            self._fail(trial, described, trials.FAILED, f"has no finite {self.objective}")
        self._write(trial, described | {"status": trials.DONE, "message": "", "objective": value})
        return {self.objective: value}

    def _fail(self, trial, described, status, message):
        self._write(trial, described | {"status": status, "message": message, "objective": None})
        raise FailedTrialError(message or status)

    def _write(self, trial, result):
        """What the table is made of; it is there before the oracle hears of the end."""
        values = tidy(trial.hyperparameters.values)
        header = {"trial": trial.trial_id, "name": trial_name(trial.trial_id, values), "values": values}
        write_json(pathlib.Path(self.get_trial_dir(trial.trial_id)) / "result.json", header | result)

    # The oracle saves itself whenever its state changes; the tuner has none.

    def save(self):
        pass

    def _get_tuner_fname(self):
        return str(pathlib.Path(self.project_dir) / "no-state-of-the-tuner.json")


def _shown(value):
    """What TensorBoard's HParams page takes: numbers, booleans, text."""
    return value if isinstance(value, (bool, int, float, str)) else format_value(value)


def trial_name(trial_id: str, values: dict[str, Any]) -> str:
    """The folder of a trial: its number and values, in characters that are safe everywhere."""
    named = dict(values)
    epochs = named.get("tuner/epochs")
    parts = [
        f"{name.rpartition('.')[2]}={format_value(value)}"
        for name, value in sorted(named.items())
        if not name.startswith("tuner/")
    ]
    parts += [f"epochs={epochs}"] if epochs else []
    text = "-".join([trial_id, *parts])
    return re.sub(r"[^A-Za-z0-9._=+-]", "_", text)[:100].rstrip("-_=.")


def run_search(
    make_tuner: Callable[[], TrialTuner],
    workers: int = 0,
    arguments: Sequence[str] = (),
    patience: float = 120.0,
) -> TrialTuner:
    """Runs a search to its end, in the role that this process has.

    Alone it runs the trials itself; with `workers` it is the chief of processes that it starts on this machine; with
    Keras Tuner's environment variables it is chief or worker of processes that somebody else starts.

    Args:
        make_tuner: makes the tuner; the process that is not a worker must hold the search directory.
        workers: how many worker processes to start; 0 = none.
        arguments: of main.py, which make a process a worker of the same search.
        patience: seconds after which a silent worker, or chief, counts as lost.

    Returns:
        The tuner; its `oracle` knows the trials, except in a worker.

    Raises:
        UsageError: the chief's port is in use, or the environment variables are not whole.
        StoppedError: a signal came, or the chief or all workers are lost; the same command continues.
    """
    me = distributed.role()
    if workers and me.kind != "alone":
        raise UsageError(
            f"workers={workers} starts a chief and workers of its own, but KERASTUNER_TUNER_ID makes this process a "
            f"{me.kind}; leave one of them out"
        )
    with StopSignal() as stop:
        tuner = make_tuner()
        tuner.stop = stop
        if me.kind == "worker":
            lock = pathlib.Path(tuner.project_dir) / "workers" / f"{me.name}.lock"
            with hold(lock, f"another worker is {me.name}"), distributed.working(tuner, me, patience):
                tuner.search()
        elif me.kind == "chief":
            tuner.resume(keep_ongoing=True)
            with distributed.Chief(tuner.oracle, me.address, patience) as chief:
                print(f"chief at {chief.address}; waiting for workers", flush=True)
                chief.serve(stop)
        elif workers:
            tuner.resume(keep_ongoing=True)
            if not tuner.oracle.finished:
                logs = pathlib.Path(tuner.project_dir) / "workers"
                # The chief is there until the last worker has gone.
                with (
                    distributed.Chief(tuner.oracle, "127.0.0.1:0", patience) as chief,
                    distributed.LocalWorkers(workers, list(arguments), chief, logs) as local,
                ):
                    print(f"{workers} workers; what they print is in {logs}", flush=True)
                    chief.serve(stop, local.tick)
        else:
            tuner.search()
    return tuner
