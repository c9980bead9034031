"""The quickest training run there is, for tests that break it."""

import os
import pathlib
import signal
from unittest import mock

from mtl_tf.commands import main
from mtl_tf.training import trainer
from tests.helpers import TINY, write_dataset

SAMPLES, EPOCHS, STEPS = 8, 3, 4  # steps an epoch
OPTIONS = (
    *TINY,
    "--tasks=depth",
    "--nomodel.skip",
    f"--train.epochs={EPOCHS}",
    "--log.observed=0",
    "--log.panels_every=0",
)


def small_dataset(folder: pathlib.Path) -> pathlib.Path:
    """Writes the data set that `train` is meant for."""
    return write_dataset(folder, {"train": SAMPLES, "val": 2})


def train(dataset: pathlib.Path, run_dir: pathlib.Path, *more: str) -> int:
    """Trains in this process; returns the exit status."""
    return main(["train", *OPTIONS, f"--data.root={dataset}", f"--run_dir={run_dir}", *more])


def after_step(step: int, act):
    """A context in which `act` is called, once, at the end of a step, before anything is saved."""
    log_step = trainer._Training._log_step

    def log_and_act(self, *arguments):
        log_step(self, *arguments)
        if self.step == step:
            act(self)

    return mock.patch.object(trainer._Training, "_log_step", log_and_act)


def ask_to_stop(_=None):
    """What the system does that wants a run to stop."""
    os.kill(os.getpid(), signal.SIGTERM)
