"""Files and folders that appear whole or not at all; what a killed process leaves is removed, what lives is not."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from mtl_tf import atomic
from mtl_tf.errors import exit_status
from tests.helpers import ROOT


def killed(script: str, path: pathlib.Path):
    """Runs a script, to which `path` is known, in a process that kills itself."""
    head = f"import os, pathlib\nfrom mtl_tf import atomic\npath = pathlib.Path({str(path)!r})\n"
    end = "\n    os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", head + script + end], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL


@pytest.fixture
def fresh(monkeypatch):
    """As in a process that has written nothing yet."""
    monkeypatch.setattr(atomic, "_swept", set())


HALF_A_FILE = "with atomic.replacing(path) as file:\n    file.write(b'half')\n    file.flush()"
HALF_A_FOLDER = "with atomic.swapping_folder(path) as new:\n    new.mkdir()\n    (new / 'half').touch()"


def names(folder) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_half_a_file_of_a_killed_process_goes_with_the_next_one(tmp_path, fresh):
    (tmp_path / ".theirs.tmp").touch()
    killed(HALF_A_FILE, tmp_path / "a")
    assert len(names(tmp_path)) == 2
    atomic.write_text(tmp_path / "b", "whole")
    assert names(tmp_path) == [".theirs.tmp", "b"]


def test_a_file_that_somebody_writes_stays(tmp_path, fresh, monkeypatch):
    with atomic.replacing(tmp_path / "a") as file:
        file.write(b"a")
        monkeypatch.setattr(atomic, "_swept", set())
        atomic.write_text(tmp_path / "b", "b")
    assert names(tmp_path) == ["a", "b"] and (tmp_path / "a").read_bytes() == b"a"


def test_a_name_as_long_as_names_may_be(tmp_path):
    atomic.write_text(tmp_path / ("a" * 255), "whole")
    assert names(tmp_path) == ["a" * 255]


def test_half_a_folder_of_a_killed_process_goes_with_the_next_one(tmp_path):
    theirs = tmp_path / ".export-of-mine"
    theirs.mkdir()
    (theirs / "precious").touch()
    killed(HALF_A_FOLDER, tmp_path / "export")
    assert len(names(tmp_path)) == 2
    with atomic.swapping_folder(tmp_path / "export") as new:
        new.mkdir()
        (new / "whole").touch()
    assert names(tmp_path) == [".export-of-mine", "export"] and names(theirs) == ["precious"]
    assert names(tmp_path / "export") == ["whole"]


def test_a_folder_that_somebody_writes_stays(tmp_path):
    with atomic.swapping_folder(tmp_path / "a") as first:
        first.mkdir()
        with atomic.swapping_folder(tmp_path / "b") as second:
            second.mkdir()
    assert names(tmp_path) == ["a", "b"]


def test_killed_within_the_exchange_the_old_folder_comes_back(tmp_path):
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "old").touch()
    kill = "os.replace = lambda a, b, replace=os.replace: (replace(a, b), os.kill(os.getpid(), 9))\n"
    killed(kill + HALF_A_FOLDER + "\nif True:", tmp_path / "export")
    assert not (tmp_path / "export").exists()
    atomic.remove_abandoned_folders(tmp_path)
    assert names(tmp_path) == ["export"] and names(tmp_path / "export") == ["old"]


def test_an_exchange_that_fails_leaves_the_old_folder(tmp_path, monkeypatch):
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "old").touch()
    with pytest.raises(OSError), atomic.swapping_folder(tmp_path / "export"):
        pass  # there is no new one
    assert names(tmp_path) == ["export"] and names(tmp_path / "export") == ["old"]


@pytest.mark.parametrize("write", [atomic.replacing, atomic.swapping_folder])
def test_sigterm_leaves_nothing(write, tmp_path, capsys):
    def job():
        with write(tmp_path / "a"):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)

    before = signal.getsignal(signal.SIGTERM)
    assert exit_status(job) == 4
    assert capsys.readouterr().err == "error: interrupted\n" and names(tmp_path) == []
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_a_killed_export_leaves_nothing_behind_the_next(tiny_run, tmp_path):
    """Killed while TensorFlow writes."""
    script = f"""
import os, sys
import tensorflow as tf
from mtl_tf.commands import main
save = tf.saved_model.save
tf.saved_model.save = lambda *given, **named: (save(*given, **named), os.kill(os.getpid(), int(sys.argv[1])))
main(["export", "--run_dir={tiny_run}", "--output={tmp_path / "export"}"])
"""
    for number in (signal.SIGKILL, signal.SIGTERM):
        subprocess.run([sys.executable, "-c", script, str(int(number))], cwd=ROOT, capture_output=True)
        assert len(names(tmp_path)) == (number == signal.SIGKILL)
    assert names(tmp_path) == []
