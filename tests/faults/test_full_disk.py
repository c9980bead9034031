"""A disk that is really full: a small file system in memory."""

import contextlib
import errno
import os
import pathlib
import subprocess

import pytest

from tests.faults import small
from tests.helpers import assert_same_run, state_of

SIZE = "48m"  # holds three checkpoints of the network, its best weights and events
CHECKPOINT = "; the last good one is ckpt-2: "


@contextlib.contextmanager
def small_disk(folder: pathlib.Path):
    """A path to a file system of `SIZE`, in a namespace of its own, so that nobody else sees it."""
    folder.mkdir()
    script = f"mount -t tmpfs -o size={SIZE} tmpfs '{folder}' && echo mounted && exec cat"
    for unshare in (["unshare", "-Urm"], ["unshare", "-m"]):
        holder = subprocess.Popen([*unshare, "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if holder.stdout.readline():
            break
        holder.communicate()
    else:
        pytest.skip("this system lets nobody mount a file system, in a namespace of its own either")
    try:
        yield pathlib.Path(f"/proc/{holder.pid}/root{folder}")
    finally:
        holder.communicate()


def fill(disk):
    """Leaves no room at all; returns the file to remove."""
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    with pytest.raises(OSError) as error, open(disk / "more", "wb") as file:
        file.write(b"1")
    assert error.value.errno == errno.ENOSPC
    os.unlink(disk / "more")
    return ballast


@pytest.mark.slow
def test_nothing_is_lost_and_the_same_command_goes_on_once_there_is_room(tmp_path, capsys):
    dataset = small.small_dataset(tmp_path / "data")
    options = ["--model.encoder=mobilenetv3_small", "--train.keep_checkpoints=2", "--log.panels_every=1"]

    def train(run_dir, *more):
        status = small.train(dataset, run_dir, *options, *more)
        return status, "".join(capsys.readouterr().err.splitlines()[-1:])

    assert train(tmp_path / "whole")[0] == 0
    with small_disk(tmp_path / "disk") as disk:
        run_dir = disk / "run"
        for more, told in (([], f"cannot write events to {run_dir}"), (["--nolog.tensorboard"], CHECKPOINT)):

            def act(training):
                fill(disk)
                # More than there is room for in the last page of the file.
                training.journal.summaries.scalars({str(number): 0.0 for number in range(200)}, 3)

            with small.after_step(3, act):
                status, error = train(run_dir, "--train.checkpoint_every=1", *more)
            assert status == 2 and told in error and "No space left on device" in error and "make room" in error
            assert state_of(run_dir)["state/.ATTRIBUTES/VARIABLE_VALUE"][0] == 2
            status, error = train(run_dir)  # nor does it begin
            assert status == 2 and f"cannot write {run_dir}/steps.csv (No space left" in error and "make room" in error
            (disk / "ballast").unlink()
        assert train(run_dir)[0] == 0
        assert_same_run(run_dir, tmp_path / "whole")
