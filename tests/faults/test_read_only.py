"""A run directory that cannot be written to, from the start or from some moment on."""

import contextlib
import ctypes
import os
import subprocess
import sys

import pytest

from mtl_tf.atomic import WriteError
from mtl_tf.training.usage import Usage
from tests.faults import small
from tests.helpers import ROOT, one_line_error, wait_until

_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE = 24, 1  # linux/prctl.h, linux/capability.h


def as_anyone():
    """In a child process: what it starts obeys file modes, even where the tests run as root."""
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0):
        os._exit(99)


def start(dataset, run_dir, *more):
    arguments = ["train", *small.OPTIONS, f"--data.root={dataset}", f"--run_dir={run_dir}", *more]
    return subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=as_anyone,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def error_of(process):
    _, stderr = process.communicate(timeout=300)
    if process.returncode == 99:
        pytest.skip("this system lets root write everywhere")
    return one_line_error(process.returncode, stderr)


@contextlib.contextmanager
def read_only(*folders):
    for folder in folders:
        folder.chmod(0o555)
    try:
        yield
    finally:
        for folder in folders:
            folder.chmod(0o755)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return small.small_dataset(tmp_path_factory.mktemp("read_only") / "data")


@pytest.mark.slow
@pytest.mark.parametrize("there", [True, False])
def test_from_the_start(dataset, tmp_path, there):
    run_dir = tmp_path / "run"
    if there:
        run_dir.mkdir()
    with read_only(run_dir if there else tmp_path):
        error = error_of(start(dataset, run_dir))
    assert f"{run_dir}" in error and "Permission denied" in error and "choose another folder" in error


def test_between_a_checkpoint_and_the_note_of_its_time(dataset, tmp_path, monkeypatch):
    """Nothing of the training is lost by that, so that it goes on, to the next checkpoint at least."""

    def refuse(self, bad):
        raise WriteError("cannot write timing.json")

    monkeypatch.setattr(Usage, "write", refuse)
    assert small.train(dataset, tmp_path / "run", "--train.epochs=1") == 0
    assert (tmp_path / "run/metrics.json").exists()


@pytest.mark.slow
def test_while_it_trains(dataset, tmp_path):
    run_dir = tmp_path / "run"
    process = start(dataset, run_dir, "--train.epochs=60", "--train.checkpoint_every=1")
    wait_until(lambda: len(list((run_dir / "checkpoints").glob("*.index"))) > 1 or process.poll() is not None)
    with read_only(run_dir, run_dir / "checkpoints"):
        error = error_of(process)
        again = error_of(start(dataset, run_dir, "--train.epochs=60", "--train.checkpoint_every=1"))
    assert f"cannot write to {run_dir}: it is read-only" in again
    assert "cannot save a checkpoint" in error and "the last good one is ckpt-" in error
    process = start(dataset, run_dir, "--train.epochs=60", "--train.checkpoint_every=1")
    wait_until(lambda: (run_dir / "steps.csv").read_text().count("\n") > 40 or process.poll() is not None)
    process.kill()
    assert "Traceback" not in process.communicate()[1]
