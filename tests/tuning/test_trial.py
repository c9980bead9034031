"""A trial in a process of its own: done, diverged, failed, stopped, and gone with its parent."""

import dataclasses
import functools
import json
import pathlib
import signal
import subprocess
import sys

import pytest

from mtl_tf import flags
from mtl_tf.errors import StoppedError
from mtl_tf.tuning import trial
from mtl_tf.tuning.trial import Outcome, read_outcome, run_trial
from tests.helpers import ROOT, TINY, children_of, wait_until


def tiny(dataset, run_dir, *arguments):
    given = [*TINY, "--train.epochs=1", f"--data.root={dataset}", "--data.image_size=32,48", f"--run_dir={run_dir}"]
    return flags.parse([*given, *arguments]).config


@pytest.mark.slow
def test_done_is_read_and_not_repeated(tiny_dataset, tmp_path):
    config = tiny(tiny_dataset, tmp_path / "run")
    outcome = run_trial(config, hyperparameters={"optim.name": "sgd"})
    assert outcome.status == "done" and outcome.final and not outcome.message
    best = json.loads((tmp_path / "run" / "best" / "metrics.json").read_text())
    assert outcome.scores["semseg.miou"] == pytest.approx(best["semseg"]["miou"], abs=1e-6)
    assert outcome.scores["score"] == pytest.approx(best["total"], abs=1e-6)
    assert outcome.scores["val_loss"] > 0 and outcome.scores["train_loss"] > 0
    costs = outcome.costs
    # Weights and momentum, 4 bytes each; the statistics of batch norm add little.
    assert costs["checkpoint_mib"] == pytest.approx(8 * costs["parameters"] / 2**20, rel=0.02)
    assert costs["seconds"] > 0 and costs["peak_memory_mib"] > 100 and costs["images_per_second"] > 0
    when = (tmp_path / "run" / "outcome.json").stat().st_mtime_ns
    assert run_trial(config) == outcome
    assert (tmp_path / "run" / "outcome.json").stat().st_mtime_ns == when


@pytest.mark.slow
def test_divergence_is_an_outcome_and_a_single_task_has_a_score(tiny_dataset, tmp_path):
    outcome = run_trial(tiny(tiny_dataset, tmp_path / "wild", "--optim.learning_rate=1e20"))
    assert outcome.status == "diverged" and outcome.message == "non-finite loss at step 2"
    assert read_outcome(tmp_path / "wild") == outcome and outcome.final
    outcome = run_trial(tiny(tiny_dataset, tmp_path / "depth", "--tasks=depth"))
    assert outcome.scores["total"] is None
    assert outcome.scores["score"] == -outcome.scores["depth.si_log_rmse"]


@pytest.mark.slow
def test_a_mistake_is_a_failed_outcome_that_is_tried_again(tiny_dataset, tmp_path):
    outcome = run_trial(tiny(tmp_path / "nothing", tmp_path / "run"))
    assert outcome.status == "failed" and not outcome.final and "nothing" in outcome.message
    outcome = run_trial(tiny(tiny_dataset, tmp_path / "run"))
    assert outcome.status == "done"


@pytest.mark.slow
def test_a_stopped_trial_is_saved_and_the_child_of_a_killed_parent_ends(tiny_dataset, tmp_path):
    script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from tests.tuning.test_trial import tiny
from mtl_tf.errors import exit_status
from mtl_tf.tuning.trial import run_trial
config = tiny({str(tiny_dataset)!r}, {str(tmp_path / "run")!r}, "--train.epochs=400", "--train.checkpoint_every=1")
sys.exit(exit_status(lambda: print(run_trial(config))))
"""
    run = tmp_path / "run"
    for number, expected in ((signal.SIGTERM, 4), (signal.SIGKILL, -9)):
        process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
        steps = functools.partial(_steps_beyond, run, _last_step(run))
        wait_until(steps)
        (child,) = children_of(process.pid)
        process.send_signal(number)
        assert process.wait(60) == expected
        wait_until(functools.partial(_is_gone, child))
        assert read_outcome(run) is None


def _last_step(run):
    return max((int(file.stem.partition("-")[2]) for file in run.glob("checkpoints/ckpt-*.index")), default=0)


def _steps_beyond(run, step):
    return _last_step(run) > step


def _is_gone(pid):
    return not pathlib.Path(f"/proc/{pid}").exists()


def test_an_outcome_that_was_half_written_is_none(tmp_path):
    assert read_outcome(tmp_path) is None
    (tmp_path / "outcome.json").write_text('{"status": "do')
    assert read_outcome(tmp_path) is None
    old = Outcome("done", scores={"val_loss": 2.0, "val_loss_weighted": 1.0})
    (tmp_path / "outcome.json").write_text(json.dumps(dataclasses.asdict(old)))
    assert read_outcome(tmp_path).scores == {"val_loss_unweighted": 2.0, "val_loss": 1.0}
    (tmp_path / "outcome.json").write_text('{"status": "done", "colour": 1}')
    assert read_outcome(tmp_path) is None
    (tmp_path / "outcome.json").write_text('{"status": "done"}')
    assert read_outcome(tmp_path) == Outcome("done")


class _Process:
    """Stands in for the child."""

    def __init__(self, returncode):
        self.returncode = returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def poll(self):
        return self.returncode


@pytest.mark.parametrize(("status", "words"), [(-9, "signal 9 (out of memory?)"), (-11, "signal 11"), (1, "status 1")])
def test_a_process_that_dies_is_a_failed_outcome(tmp_path, monkeypatch, status, words):
    monkeypatch.setattr(trial.subprocess, "Popen", lambda *_, **__: _Process(status))
    outcome = run_trial(tiny(tmp_path, tmp_path / "run"))
    assert outcome.status == "failed" and outcome.message == f"the process ended with {words}"


def test_a_child_that_was_stopped_stops_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr(trial.subprocess, "Popen", lambda *_, **__: _Process(4))
    with pytest.raises(StoppedError, match="the same command continues"):
        run_trial(tiny(tmp_path, tmp_path / "run"))
