"""Which trial comes next: Keras Tuner's oracles, made to survive a kill at any moment and the loss of a worker.

Keras Tuner 1.4 writes its state in place, forgets the state of a grid search, takes the seed 0 for none, lets failed
trials block Hyperband and ends a worker while trials of others may still come back. The classes here mend that and
leave the algorithms as they are.
"""

import json
import math
import pathlib
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner import oracles
from keras_tuner.engine.trial import TrialStatus

from mtl_tf.atomic import write_json
from mtl_tf.errors import UsageError

_NO_LIMIT = 10**9


class SafeOracle(keras_tuner.Oracle):
    """An oracle whose state is written atomically and reloaded so that nothing finished is repeated.

    Subclasses define `populate_space`, as for any oracle of Keras Tuner.

    Args:
        objective: name of the score.
        direction: "max" or "min".
        limit: trials at most; 0 = until `populate_space` says STOPPED.
        seed: of what is random.
        more: arguments of Keras Tuner's oracle.

    Attributes:
        expected: how many trials there will be at most, 0 where nobody knows.
        after_trial: called with a trial whenever one has ended (in the process that holds the oracle).
        guard: held while the state changes.
    """

    def __init__(self, objective: str, direction: str, limit: int = 0, seed: int = 0, **more):
        super().__init__(
            objective=keras_tuner.Objective(objective, direction),
            seed=seed + 1,  # Keras Tuner draws a seed of its own for 0
            max_consecutive_failed_trials=_NO_LIMIT,
            **more,
        )
        self.limit = self.expected = limit
        self.after_trial: Callable[[Any], None] = lambda trial: None
        self.guard = threading.RLock()
        self.verbose = 0

    @property
    def finished(self) -> bool:
        """Whether every trial that there will be has ended."""
        return 0 < self.expected <= len(self.end_order)

    def create_trial(self, tuner_id):
        with self.guard:
            full = self.limit and len(self.trials) >= self.limit and not self._retry_queue
            if full and tuner_id not in self.ongoing_trials:
                trial = keras_tuner.engine.trial.Trial(self.get_space(), trial_id="none", status=TrialStatus.STOPPED)
                self.tuner_ids.discard(tuner_id)
            else:
                trial = super().create_trial(tuner_id)
            if trial.status == TrialStatus.STOPPED and self.ongoing_trials:
                # The trial of a worker that is lost comes back: somebody must be there to take it.
                trial.status = TrialStatus.IDLE
                self.tuner_ids.add(tuner_id)
            return trial

    def update_trial(self, trial_id, metrics, step=0):
        with self.guard:
            return super().update_trial(trial_id, metrics, step)

    def end_trial(self, trial):
        with self.guard:
            known = self.trials[trial.trial_id]
            if trial.trial_id not in self.end_order:
                # On the way from a worker floats lose digits.
                trial.hyperparameters = known.hyperparameters
                self._retry_queue = [waiting for waiting in self._retry_queue if waiting != trial.trial_id]
                super().end_trial(trial)
            self._forget(trial.trial_id)
            self.save()
            self.after_trial(known)

    def reclaim(self, tuner_id: str) -> str | None:
        """Gives the trial of a lost worker to the next that asks; returns the trial's id, None where it had none."""
        with self.guard:
            self.tuner_ids.discard(tuner_id)
            trial = self.ongoing_trials.pop(tuner_id, None)
            if trial is None:
                return None
            self._retry_queue.append(trial.trial_id)
            self.save()
            return trial.trial_id

    def _forget(self, trial_id):
        for tuner_id in [name for name, trial in self.ongoing_trials.items() if trial.trial_id == trial_id]:
            del self.ongoing_trials[tuner_id]

    # === State on disk ===

    def save(self):
        with self.guard:
            write_json(self._get_oracle_fname(), self.get_state())

    def _save_trial(self, trial):
        write_json(pathlib.Path(self._get_trial_dir(trial.trial_id)) / "trial.json", trial.get_state())

    def resume(self, keep_ongoing: bool):
        """Goes on from the state on disk, if there is any.

        Args:
            keep_ongoing: whether the workers that had trials may be there still (else the trials are given out again).
        """
        folder = pathlib.Path(self._project_dir)
        if not (folder / "oracle.json").exists():
            return
        if not _readable(folder):
            # Every trial has the same values when it comes again, and those that are finished are only read.
            aside = folder.with_name(f"{folder.name}.damaged-{int(time.time())}")
            folder.rename(aside)
            print(f"the state of the search was damaged (now {aside}); it is made again from the trials", flush=True)
            return
        state = json.loads((folder / "oracle.json").read_text(encoding="utf-8"))
        try:
            self.reload()
        except (RuntimeError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{folder} is not the state of this search ({error}); delete that folder and run again: finished "
                "trials are not repeated"
            ) from None
        # A trial that was killed before its id was written does not count: its id is given again.
        self.trials = {trial_id: self.trials[trial_id] for trial_id in self.start_order}
        waiting = sorted(set(self._retry_queue) - set(self.end_order), reverse=True)  # taken from the end
        if keep_ongoing:
            ongoing = {name: trial_id for name, trial_id in state["ongoing_trials"].items() if trial_id in waiting}
            self.ongoing_trials = {name: self.trials[trial_id] for name, trial_id in ongoing.items()}
            waiting = [trial_id for trial_id in waiting if trial_id not in ongoing.values()]
        self._retry_queue = waiting


def tidy(values: dict[str, Any]) -> dict[str, Any]:
    """Values with six digits, by name: a worker gets them in 32 bits and in any order."""
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in sorted(values.items())
    }


class _Sampling(SafeOracle):
    """An oracle that draws values."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self._max_collisions = 2000  # so that the last combination of a small space is found

    def populate_space(self, trial_id):
        response = super().populate_space(trial_id)
        if response.get("values"):
            response["values"] = tidy(response["values"])
        return response


def _readable(folder: pathlib.Path) -> bool:
    """Whether the oracle's file is whole, and that of every trial that it names."""
    try:
        state = json.loads((folder / "oracle.json").read_text(encoding="utf-8"))
        for trial_id in state["start_order"]:
            json.loads((folder / f"trial_{trial_id}" / "trial.json").read_text(encoding="utf-8"))
        for file in folder.glob("trial_*/trial.json"):
            json.loads(file.read_text(encoding="utf-8"))  # Keras Tuner reads those that it does not name as well
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


class DeclaredOracle(SafeOracle):
    """Runs a list of trials in its order: a grid, or whatever somebody declares.

    Args:
        declared: the values of each trial: strings, numbers or booleans by name.
    """

    def __init__(self, objective: str, direction: str, declared: Sequence[dict[str, Any]], limit: int = 0, **more):
        super().__init__(objective, direction, limit, **more)
        self.declared = declared
        self.expected = min(limit, len(declared)) if limit else len(declared)

    def populate_space(self, trial_id):
        number = len(self.trials)
        if number >= len(self.declared):
            return {"status": TrialStatus.STOPPED}
        return {"status": TrialStatus.RUNNING, "values": dict(self.declared[number])}


class RandomOracle(_Sampling, oracles.RandomSearchOracle):
    """Random search."""


class BayesianOracle(_Sampling, oracles.BayesianOptimizationOracle):
    """Gaussian process, upper confidence bound."""

    def populate_space(self, trial_id):
        # Drawn from the number of the trial, a search that was stopped goes the same way as one that was not.
        self._random_state = np.random.RandomState((self.seed + 7919 * len(self.trials)) % 2**32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the bounds of the kernel's length scale
            response = super().populate_space(trial_id)
        if response["status"] == TrialStatus.RUNNING and self._duplicate(response["values"]):
            response = self._random_populate_space()  # a trial that was made tells nothing new
        return response


class HyperbandOracle(_Sampling, oracles.HyperbandOracle):
    """Hyperband; `tuner/epochs` among the values says for how long a trial is trained."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        brackets = range(self._get_num_brackets())
        trials = sum(self._get_size(bracket, turn) for bracket in brackets for turn in range(bracket + 1))
        self.expected = min(self.limit, trials) if self.limit else trials

    def populate_space(self, trial_id):
        # A failed trial is the worst of its round; left out, it would keep the others from going on.
        failed = [trial for trial in self.trials.values() if trial.status == TrialStatus.FAILED]
        worst = -math.inf if self.objective.direction == "max" else math.inf
        for trial in failed:
            trial.status, trial.score = TrialStatus.COMPLETED, worst
        try:
            return super().populate_space(trial_id)
        finally:
            for trial in failed:
                trial.status, trial.score = TrialStatus.FAILED, None
