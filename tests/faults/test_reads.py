"""A file system that is slow, fails for a moment, or for good."""

import errno
import json
import os
import threading
import time

import pytest

from mtl_tf import config as configuration
from mtl_tf.data.fingerprint import difference, fingerprint
from mtl_tf.data.sets import open_split
from mtl_tf.errors import UsageError
from mtl_tf.storage import files
from mtl_tf.storage.pixels import read_rgb, size_of
from mtl_tf.training.run_directory import read_table
from tests.faults import small
from tests.helpers import assert_same_run, state_of

_STAT = os.stat


class Disk:
    """Opens files for `mtl_tf.storage.files` as the built-in does, and looks at them, and fails as often as it is told.

    Attributes:
        faults: end of a path -> [number of the error, how many times]; `seconds` each file takes.
        opened: how often each file was opened or looked at.
    """

    def __init__(self):
        self.faults, self.seconds, self.opened = {}, 0.0, {}
        self._lock = threading.Lock()

    def open(self, path, *arguments):
        time.sleep(self.seconds)
        self._fail(path)
        return open(path, *arguments)

    def stat(self, path, *arguments, **options):
        self._fail(path)
        return _STAT(path, *arguments, **options)

    def _fail(self, path):
        with self._lock:
            self.opened[path] = self.opened.get(path, 0) + 1
            for end, fault in self.faults.items():
                if str(path).endswith(end) and fault[1]:
                    fault[1] -= 1
                    raise OSError(fault[0], os.strerror(fault[0]), path)


@pytest.fixture
def disk(monkeypatch):
    disk = Disk()
    monkeypatch.setattr(files, "open", disk.open, raising=False)
    monkeypatch.setattr(os, "stat", disk.stat)
    monkeypatch.setattr(files, "PAUSES", (0.001, 0.002, 0.003))
    return disk


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return small.small_dataset(tmp_path_factory.mktemp("reads") / "data")


def test_what_fails_for_a_moment_is_tried_again_after_growing_pauses(disk, dataset, monkeypatch, capsys):
    path, slept = str(dataset / "train/rgb/0.png"), []
    right = read_rgb(path)
    monkeypatch.setattr(files.time, "sleep", slept.append)
    disk.faults = {"rgb/0.png": [errno.EIO, 2]}
    assert (read_rgb(path) == right).all()
    assert [pause for pause in slept if pause] == [0.001, 0.002]
    assert f"{path}: Input/output error; trying again in 0.001 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "tries", "text"),
    [
        (errno.EIO, 4, "cannot be read (Input/output error, in 4 tries)"),
        (errno.ESTALE, 4, "cannot be read (Stale file handle, in 4 tries)"),
        (errno.EACCES, 1, "no permission to read it"),
        (errno.ENOENT, 1, "no such file"),
        (errno.EISDIR, 1, "cannot be read (Is a directory)"),
    ],
)
def test_what_fails_for_good_is_named(disk, dataset, number, tries, text):
    path = str(dataset / "train/rgb/1.png")
    disk.faults = {"rgb/1.png": [number, 99]}
    with pytest.raises(UsageError) as error:
        read_rgb(path)
    assert str(error.value).startswith(f"{path}: ") and text in str(error.value)
    assert disk.opened[path] == tries


LOOKS = [files.size, files.is_file, files.is_folder, size_of]


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_at_a_file_is_tried_again_too(disk, dataset, look):
    path = str(dataset / ("train/rgb" if look is files.is_folder else "train/rgb/2.png"))
    right = look(path)
    disk.faults = {path: [errno.EIO, 3]}
    assert look(path) == right
    assert disk.opened[path] == 5
    disk.faults[path][1] = 99
    if look is size_of:
        assert look(path) is None  # what reads it names it
        return
    with pytest.raises(OSError, match="Input/output error") as error:
        look(path)
    assert error.value.filename == path


@pytest.mark.parametrize("look", LOOKS[1:])
def test_what_is_not_there_is_looked_for_once(disk, dataset, look):
    for path in (str(dataset / "train/rgb/none.png"), str(dataset / "train/rgb/0.png/none")):
        assert not look(path)
        assert disk.opened[path] == 1
    assert not look("\0")


def test_a_momentary_failure_does_not_change_what_is_known_of_the_samples(disk, dataset):
    config = configuration.replace(configuration.Config(), data__name="folder", data__root=str(dataset))
    source = open_split(config, "train")
    before = fingerprint(source)
    disk.faults = {"rgb/2.png": [errno.EIO, 1], "depth/4.png": [errno.ESTALE, 3]}
    assert difference(before, fingerprint(source)) == ""
    assert not any(left for _, left in disk.faults.values())
    disk.faults = {"rgb/2.png": [errno.EIO, 99]}
    with pytest.raises(OSError) as error:
        fingerprint(source)
    assert error.value.filename.endswith("train/rgb/2.png")


def test_a_remote_file_system_that_is_not_there_for_a_moment(disk, monkeypatch):
    import tensorflow as tf

    with tf.io.gfile.GFile("ram://patience", "wb") as file:
        file.write(b"content")
    left = [2]

    class Away:
        @staticmethod
        def GFile(*arguments):  # noqa: N802 (TensorFlow's name)
            if left[0]:
                left[0] -= 1
                raise tf.errors.UnavailableError(None, None, "503 from the server")
            return tf.io.gfile.GFile(*arguments)

    monkeypatch.setattr(files, "_gfile", lambda: Away)
    assert files.read("ram://patience") == b"content"
    left[0] = 99
    with pytest.raises(OSError, match="503 from the server"):
        files.read("ram://patience")


@pytest.mark.slow
def test_training_goes_on_through_slow_reads_and_momentary_failures(disk, dataset, tmp_path):
    assert small.train(dataset, tmp_path / "whole") == 0
    disk.seconds = 0.05
    disk.faults = {"3.png": [errno.EIO, 3], "val/depth/1.png": [errno.ETIMEDOUT, 2]}
    assert small.train(dataset, tmp_path / "slow", "--data.workers=1") == 0
    assert not any(left for _, left in disk.faults.values())
    assert_same_run(tmp_path / "slow", tmp_path / "whole")
    # Nothing is trained on while the four files of the first step are read.
    steps = read_table(tmp_path / "slow/steps.csv")
    share = json.loads((tmp_path / "slow/metrics.json").read_text())["data_wait_share"]
    waited, whole = (sum(float(row[name]) for row in steps) for name in ("wait_ms", "step_ms"))
    assert float(steps[0]["wait_ms"]) > 4 * 50 and share == pytest.approx(waited / whole, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["train/depth/3.png", "val/depth/1.png"])
def test_a_failure_for_good_names_the_file_and_loses_nothing(disk, dataset, tmp_path, capsys, end):
    """In the second epoch: what was trained until then is saved, and the repaired disk gives the same end."""
    assert small.train(dataset, tmp_path / "whole") == 0

    def break_disk(_):
        disk.faults = {end: [errno.EIO, 999]}

    with small.after_step(small.STEPS + 1, break_disk):
        assert small.train(dataset, tmp_path / "run", "--data.prefetch=1", "--data.workers=1") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert end in error and "Input/output error" in error
    assert state_of(tmp_path / "run")["state/.ATTRIBUTES/VARIABLE_VALUE"][0] >= small.STEPS + 1
    disk.faults = {}
    assert small.train(dataset, tmp_path / "run") == 0
    assert_same_run(tmp_path / "run", tmp_path / "whole")
