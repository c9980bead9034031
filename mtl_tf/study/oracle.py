"""The study as a search of Keras Tuner: an oracle that gives out the plan's runs in their order."""

from typing import Any

from keras_tuner.engine.trial import TrialStatus

from mtl_tf.config import Config
from mtl_tf.options import format_value
from mtl_tf.study.plan import Plan
from mtl_tf.tuning.oracles import SafeOracle

OBJECTIVE = "score"
RUN = "run"


class StudyOracle(SafeOracle):
    """Gives out every run of a plan that has no final outcome yet.

    What is finished is read from the runs' own folders, so that a study goes on even where the tuner's files are lost.

    Args:
        plan: of the study.
    """

    def __init__(self, plan: Plan):
        super().__init__(OBJECTIVE, "max")
        self.plan = plan
        self._given: set[str] = set()  # a failed run is tried again in the next session, not in this one
        self.expected = len(plan.all_runs())

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be given out and nothing is being run."""
        return not self.ongoing_trials and not self._retry_queue and self._next() is None

    def _next(self):
        busy = {trial.hyperparameters.values[RUN] for trial in self.trials.values() if self._is_open(trial)}
        for run in self.plan.all_runs():
            if run.name in self._given or run.name in busy:
                continue
            outcome = run.outcome
            if outcome is None or not outcome.final:
                return run
        return None

    def _is_open(self, trial):
        return trial.trial_id not in self.end_order

    def populate_space(self, trial_id):
        """The next run; IDLE while the rest depends on runs that are not finished."""
        run = self._next()
        self.expected = len(self.plan.all_runs())
        if run is not None:
            self._given.add(run.name)
            return {"status": TrialStatus.RUNNING, "values": {RUN: run.name} | self._about(run)}
        open_trials = any(self._is_open(trial) for trial in self.trials.values())
        return {"status": TrialStatus.IDLE if open_trials and self.plan.waits() else TrialStatus.STOPPED}

    def _about(self, run) -> dict[str, str]:
        """What the run is about, for TensorBoard's HParams page: its row, and what it changes of the shared options."""
        changed = self.plan.changes(run)
        return {"row": run.row, **{name: format_value(value) for name, value in changed.items()}}


def config_of(plan: Plan, values: dict[str, Any]) -> Config:
    """The configuration of a trial that the oracle gave out, in any process of the study."""
    return next(run.config for run in plan.all_runs() if run.name == values[RUN])
