"""`python -m tests.faults.kills 50`: a run that is killed with -9 so often ends as one that was let alone.

A kill comes at a random moment: of the whole process, its start included ("any"), of training, some steps after the
last checkpoint ("training"), or some steps later while a checkpoint or the best weights are being written ("saving");
as often of each kind. In the end weights, averaged ones, optimiser, all other state, scores and every row of the tables
must be the same bit for bit. A run that is done before all kills are is compared, and another begun.
"""

import argparse
import collections
import contextlib
import dataclasses
import os
import pathlib
import random
import signal
import subprocess
import tempfile
import time

from tests.helpers import TINY, assert_same_run, last_step, start_command, write_dataset

CHECKPOINT_EVERY = 2
# Options with state of their own, or with a step that changes on the way.
OPTIONS = (
    *TINY,
    f"--train.checkpoint_every={CHECKPOINT_EVERY}",
    "--train.average=ema",
    "--train.freeze_encoder=2",
    "--train.skip_non_finite=1",
    "--augment.reflect",
    "--augment.scale_max=1.3",
    "--data.crop_size=32,32",
    "--optim.clip_norm=2",
    "--optim.warmup_epochs=1.5",
    "--log.panels_every=0",
)
MOMENTS = ("any", "training", "saving")
SAVES = ("a checkpoint", "best weights")


@dataclasses.dataclass
class Kill:
    """What a kill met.

    Attributes:
        moment: how it was chosen; one of `MOMENTS`.
        seconds: of the process' life.
        saving: what was found half written, "" for nothing.
        step: the last that was in steps.csv.
        saved: the last of which there is a checkpoint.
    """

    moment: str
    seconds: float
    saving: str
    step: int
    saved: int


class Harness:
    """Runs of one configuration.

    Args:
        folder: for data and runs.
        epochs: of each run, of four steps.
        seed: of the moments.
    """

    def __init__(self, folder: pathlib.Path, epochs: int, seed: int):
        self._folder, self._epochs, self._random = folder, epochs, random.Random(seed)
        self._dataset = write_dataset(folder / "data", {"train": 8, "val": 2})
        self._moments: list[str] = []  # of the kills to come
        self._start_up = 10.0  # seconds until the first step, measured anew with each run

    def start(self, run_dir: pathlib.Path) -> subprocess.Popen:
        """Starts the training command."""
        own = [f"--data.root={self._dataset}", f"--run_dir={run_dir}", f"--train.epochs={self._epochs}"]
        return start_command("train", *OPTIONS, *own)

    def finish(self, run_dir: pathlib.Path):
        """Lets the command run to its end."""
        began, process = time.time_ns(), self.start(run_dir)
        self._steps(process, run_dir, began, 1)
        _, errors = process.communicate()
        assert process.returncode == 0, errors

    def kill(self, run_dir: pathlib.Path) -> Kill | None:
        """Starts the command and kills it; None where it was done before."""
        if not self._moments:
            self._moments = self._random.sample(MOMENTS, len(MOMENTS))
        moment = self._moments[-1]
        wait = {"any": self._any_time, "training": self._in_training, "saving": self._at_a_save}[moment]
        began, process = time.time_ns(), self.start(run_dir)
        wait(process, run_dir, began)
        process.kill()
        seconds = (time.time_ns() - began) / 1e9
        _, errors = process.communicate()
        if process.returncode == 0:
            return None
        assert process.returncode == -9, errors
        self._moments.pop()
        return Kill(moment, seconds, _half_written(run_dir, began), last_step(run_dir), _saved_step(run_dir))

    def _any_time(self, process, run_dir, began):
        _wait(process, self._random.uniform(0, 1.5 * self._start_up))

    def _in_training(self, process, run_dir, began):
        self._steps(process, run_dir, began, self._random.randint(1, 6))
        _wait(process, self._random.uniform(0, 1))

    def _at_a_save(self, process, run_dir, began):
        """Stops the process, to see whether it is still writing; else it goes on to the next save."""
        self._steps(process, run_dir, began, 1 + CHECKPOINT_EVERY * self._random.randint(0, 3))
        while process.poll() is None:
            if _half_written(run_dir, began) in SAVES:
                _wait(process, self._random.uniform(0, 0.01))
                process.send_signal(signal.SIGSTOP)
                if _half_written(run_dir, began) in SAVES:
                    return
                process.send_signal(signal.SIGCONT)
            time.sleep(0.0005)

    def _steps(self, process, run_dir, began, count):
        """Waits for so many steps after the last that was saved, and measures how long the first of them took."""
        first = _saved_step(run_dir) + 1
        _reach(process, run_dir, began, first)
        self._start_up = (time.time_ns() - began) / 1e9
        _reach(process, run_dir, began, first + count - 1)


def run(kills: int, folder: pathlib.Path, epochs: int, seed: int, tell=print) -> list[Kill]:
    """Kills a run so often, resumes it each time, and compares what it has become.

    Args:
        kills: how many.
        folder: empty; for data and runs.
        epochs: of a run.
        seed: of the moments.
        tell: is called with lines of progress.

    Raises:
        AssertionError: something differs, or a command failed.
    """
    harness, found, begun = Harness(folder, epochs, seed), [], time.monotonic()
    whole, run_dir = folder / "whole", folder / "run1"
    harness.finish(whole)
    tell(f"uninterrupted: {last_step(whole)} steps in {time.monotonic() - begun:.0f} s")

    def compare():
        harness.finish(run_dir)
        assert_same_run(run_dir, whole)
        tell(f"{run_dir.name}: the same as uninterrupted")

    while len(found) < kills:
        kill = harness.kill(run_dir)
        if kill is None:
            compare()
            run_dir = folder / f"run{int(run_dir.name[3:]) + 1}"
            continue
        found.append(kill)
        each = (time.monotonic() - begun) / len(found)
        tell(
            f"kill {len(found)}/{kills} ({kill.moment}) after {kill.seconds:.1f} s, step {kill.step}, saved "
            f"{kill.saved}{', in the middle of ' + kill.saving if kill.saving else ''}; about "
            f"{each * (kills - len(found)):.0f} s left"
        )
    compare()
    return found


def summary(kills: list[Kill]) -> str:
    """A table of what the kills met."""
    lost = [max(kill.step - kill.saved, 0) for kill in kills]
    writing = collections.Counter(sorted(kill.saving for kill in kills if kill.saving))
    rows = {
        "kills with -9, each followed by a resume": len(kills),
        **{f"... in the middle of writing {what}": count for what, count in writing.items()},
        "different steps at which they came": len({kill.step for kill in kills}),
        "steps computed again after a kill, at most": max(lost),
        "... in the mean": f"{sum(lost) / len(lost):.2f}",
        f"... allowed by --train.checkpoint_every={CHECKPOINT_EVERY}": CHECKPOINT_EVERY,
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _reach(process, run_dir, began, step):
    """Waits for a step; rows of steps that were not saved are cut off before new ones come."""
    while process.poll() is None:
        if last_step(run_dir) >= step and (run_dir / "steps.csv").stat().st_mtime_ns > began:
            return
        time.sleep(0.01)


def _wait(process, seconds):
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _saved_step(run_dir):
    import tensorflow as tf

    indices = list((run_dir / "checkpoints").glob("ckpt-*.index"))
    if not indices:
        return 0
    newest = max(indices, key=lambda file: int(file.stem.split("-")[1]))
    return int(tf.train.load_variable(str(newest.with_suffix("")), "state/.ATTRIBUTES/VARIABLE_VALUE")[0])


def _half_written(run_dir, since):
    """What is being written, or was when the process died: one of `SAVES`, another file, or "".

    Nothing that lay there before `since` (nanoseconds), left by a process that was killed earlier.
    """
    names = _written(run_dir / "checkpoints", since)
    whole = {name.removesuffix(".index") for name in names if name.endswith(".index")}
    if any(name.startswith("ckpt-") and name.partition(".")[0] not in whole for name in names):
        return SAVES[0]
    for folder, what in ((run_dir / "best", SAVES[1]), (run_dir, "")):
        if half := [name for name in _written(folder, since) if name.startswith(".") and name.endswith(".tmp")]:
            return what or half[0].split(".")[2]
    return ""


def _written(folder, since):
    """The names of what has been written in a folder since then."""
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.stat().st_mtime_ns > since:
                    found.append(entry.name)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kills", type=int)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="mtl_tf_kills_") as name:
        kills = run(
            options.kills, pathlib.Path(name), options.epochs, options.seed, lambda line: print(line, flush=True)
        )
    print(summary(kills))
