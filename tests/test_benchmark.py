"""tools/benchmark.py: every part in a process of its own, on the smallest network. Nothing is asserted about speed."""

import json
import subprocess
import sys

import pytest

from tests.helpers import ROOT, TINY, one_line_error

NUMBERS = (
    *(f"{name}{suffix}" for name in ("images_per_second", "step_ms") for suffix in ("", "_best", "_worst")),
    "steps",
    "seconds",
    "peak_memory_mb",
)


def benchmark(*arguments):
    """Runs the tool."""
    command = [sys.executable, str(ROOT / "tools" / "benchmark.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def result_of(tmp_path, *arguments):
    """What the tool writes, after checking what every result has."""
    file = tmp_path / "result.json"
    done = benchmark("--seconds=1", f"--json={file}", "--train.batch_size=2", *arguments)
    assert done.returncode == 0, done.stderr
    assert "images/s" in done.stdout and str(file) in done.stdout
    result = json.loads(file.read_text(encoding="utf-8"))
    assert all(result[name] > 0 for name in NUMBERS), result
    assert result["images_per_second_worst"] <= result["images_per_second"] <= result["images_per_second_best"]
    assert result["images_per_second"] == pytest.approx(result["batch_size"] / result["step_ms"] * 1e3, rel=1e-3)
    assert 0 <= result["wait_share"] <= 1
    assert result["devices"] and result["versions"]["packages"]["tensorflow"]
    return result


@pytest.mark.parametrize("part", ["train", "inference"])
def test_random_data(part, tmp_path):
    result = result_of(tmp_path, f"--part={part}", "--data.crop_size=32,32", "--model.encoder=resnet18")
    assert (result["part"], result["data"], result["size"]) == (part, "random", [32, 32])
    assert result["parameters"] > 11_000_000


@pytest.mark.parametrize("part", ["train", "inference", "data"])
def test_a_data_set(part, tmp_path, tiny_dataset):
    result = result_of(tmp_path, f"--part={part}", *TINY, f"--data.root={tiny_dataset}")
    assert (result["part"], result["data"], result["batch_size"]) == (part, "folder", 2)
    assert (result["parameters"] > 0) == (part != "data")


def test_wrong_usage_is_one_line():
    for arguments, hint in (("--part=trian", "train, inference, data"), ("--second=3", "--seconds")):
        done = benchmark(arguments)
        assert hint in one_line_error(done.returncode, done.stderr)
        assert len(done.stderr.splitlines()) == 1


def test_a_data_set_that_is_not_there(tmp_path):
    done = benchmark("--part=data", "--data.name=folder", f"--data.root={tmp_path / 'nowhere'}")
    assert "nowhere" in one_line_error(done.returncode, done.stderr)
