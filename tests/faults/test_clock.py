"""A wall clock that is set back and forth while a run trains."""

import json
import random
import time

import pytest

from mtl_tf.progress import Progress
from mtl_tf.training.run_directory import read_table
from tests.faults import small


class Clock:
    """Tells the time wrong: off by up to ten years, another way each time it is asked."""

    def __init__(self):
        self.asked, self._right, self._random = 0, time.time, random.Random(3)

    def __call__(self):
        self.asked += 1
        return max(self._right() + self._random.uniform(-3e8, 3e8), 0.0)


@pytest.mark.slow
def test_no_time_is_taken_by_it(tmp_path, monkeypatch):
    dataset = small.small_dataset(tmp_path / "data")
    clock, began = Clock(), time.monotonic()
    monkeypatch.setattr(time, "time", clock)
    assert small.train(dataset, tmp_path / "run", "--train.checkpoint_every=1") == 0
    took = time.monotonic() - began
    assert clock.asked  # by TensorFlow's list of checkpoints
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert 0 < metrics["seconds"] <= took and 0 <= metrics["data_wait_share"] < 1
    rows = read_table(tmp_path / "run/steps.csv")
    assert all(0 <= float(row["wait_ms"]) <= float(row["step_ms"]) <= took * 1e3 for row in rows)
    assert sum(float(row["step_ms"]) for row in rows) <= took * 1e3
    # The newest checkpoints are kept, whatever the time that they say they are from.
    kept = {int(file.stem.split("-")[1]) for file in (tmp_path / "run/checkpoints").glob("*.index")}
    assert kept == {small.EPOCHS * small.STEPS - number for number in range(3)}


def test_what_is_shown_of_the_time_left(monkeypatch, capsys):
    monkeypatch.setattr(time, "time", Clock())
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress = Progress("training", 40)
    now[0] += 16
    progress.advance(8)
    line = capsys.readouterr().err
    assert "8/40" in line and "0.5 images/s" in line and "1:04 left" in line
