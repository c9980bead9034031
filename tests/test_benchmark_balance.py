"""tools/benchmark_balance.py: what is counted, and a small run of the tool."""

import csv
import subprocess
import sys

import pytest

from mtl_tf import config as configuration
from mtl_tf.tasks import cityscapes_tasks
from tests.helpers import ROOT, tool_module

benchmark = tool_module("benchmark_balance")
as_many = tool_module("_benchmark.work").as_many


@pytest.mark.parametrize(
    ("architecture", "tasks", "rows"), [("joint", 3, 2.33), ("branched", 2, 1.24), ("distilled", 2, 1.45)]
)
def test_counted_costs_are_those_of_the_specification(architecture, tasks, rows):
    """Backward passes of ResNet34 at 256x256; with features a step is as dear as a plain one."""
    options = {"model.architecture": architecture, "data.crop_size": (256, 256)}
    counted = benchmark.counted_costs(configuration.from_values(options), as_many(cityscapes_tasks(), tasks))
    assert counted["rows"] == pytest.approx(rows, abs=0.006)
    assert counted["meta"] == pytest.approx(rows + 1, abs=0.006)
    assert ("features" in counted) == (architecture != "distilled")
    assert counted.get("features", 1.0) == pytest.approx(1.0, abs=0.001)


@pytest.mark.slow
def test_a_small_run(tmp_path):
    options = ["--architectures=branched", "--task_counts=2", "--kinds=rows", "--rounds=1", "--seconds=0.01"]
    options += ["--model.encoder=resnet18", "--data.crop_size=32,32", "--train.batch_size=2", f"--output={tmp_path}"]
    command = [sys.executable, str(ROOT / "tools" / "benchmark_balance.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "balance.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows] == ["plain", "rows"]
    assert rows[0]["ratio"] == "1.0" and all(float(row["ratio"]) > 0 for row in rows)
    assert all(100 < float(row["peak_memory_mb"]) < 8000 for row in rows)


def test_an_output_is_asked_for():
    command = [sys.executable, str(ROOT / "tools" / "benchmark_balance.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "--output=FOLDER is missing" in done.stderr
