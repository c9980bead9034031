"""tools/benchmark.py: every part in a process of its own, on the smallest network. Nothing is asserted about speed."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from mtl_tf.models.encoders import build_encoder
from mtl_tf.tasks import cityscapes_tasks
from tests.helpers import ROOT, TINY, command, one_line_error, tool_module

NUMBERS = (
    *(f"{name}{suffix}" for name in ("images_per_second", "step_ms") for suffix in ("", "_best", "_worst")),
    "steps",
    "seconds",
    "peak_memory_mb",
)


SMALL = ("--data.crop_size=32,32", "--model.encoder=resnet18")


def benchmark(*arguments, **options):
    """Runs the tool."""
    command = [sys.executable, str(ROOT / "tools" / "benchmark.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def result_of(tmp_path, *arguments, **options):
    """What the tool writes, after checking what every result has."""
    file = tmp_path / "result.json"
    done = benchmark("--seconds=1", f"--json={file}", "--train.batch_size=2", *arguments, **options)
    assert done.returncode == 0, done.stderr
    assert "images/s" in done.stdout and str(file) in done.stdout
    result = json.loads(file.read_text(encoding="utf-8"))
    assert all(result[name] > 0 for name in NUMBERS), result
    assert result["images_per_second_worst"] <= result["images_per_second"] <= result["images_per_second_best"]
    assert result["images_per_second"] == pytest.approx(result["batch_size"] / result["step_ms"] * 1e3, rel=1e-3)
    assert 0 <= result["wait_share"] <= 1
    assert result["devices"] and result["versions"]["packages"]["keras"]
    return result


@pytest.mark.parametrize("part", ["train", "inference"])
def test_random_data(part, tmp_path):
    result = result_of(tmp_path, f"--part={part}", *SMALL)
    assert (result["part"], result["data"], result["size"]) == (part, "random", [32, 32])
    assert result["parameters"] > 11_000_000
    assert_rate(result)


def test_more_tasks_than_there_are(tmp_path):
    tool_module("benchmark")
    from _benchmark.work import as_many, parameters_of

    tasks = cityscapes_tasks()
    assert as_many(tasks, 0) == tasks and as_many(tasks, 1) == tasks[:1]
    assert [task.name for task in as_many(tasks, 5)] == ["semseg", "depth", "semseg2", "depth2", "semseg3"]
    assert as_many(tasks, 5)[4].weight == "semseg_weight"
    options = (*SMALL, "--model.architecture=branched", "--norate")
    two, three = (
        result_of(tmp_path, "--part=train", *options, *more)["parameters"] for more in ((), ("--task_count=3",))
    )
    alone = result_of(tmp_path, "--part=train", *options, "--tasks=semseg")["parameters"]
    # A third task, another segmentation, adds what one adds to an encoder.
    assert three - two == alone - parameters_of(build_encoder("resnet18"))
    done = benchmark("--part=inference", "--task_count=3")
    assert "--part=train" in one_line_error(done.returncode, done.stderr)


def assert_rate(result):
    """The floating-point rate: two operations a multiply-add, beside the machine's."""
    expected = 2 * result["gmacs_per_image"] * result["images_per_second"]
    assert result["gflops_per_second"] == pytest.approx(expected, rel=1e-2)
    assert result["machine_share"] == pytest.approx(
        result["gflops_per_second"] / result["machine_gflops"]["float32"], rel=1e-2
    )


# A module that keeps a process from importing TensorFlow, as if it were not installed.
BLOCKER = """
import sys
sys.modules["tensorflow"] = None
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_jax_without_tensorflow(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    blocked = [sys.executable, "-c", "import tensorflow"]
    assert "ModuleNotFoundError" in subprocess.run(blocked, env=environment, capture_output=True, text=True).stderr
    options = ("--backend=jax", *SMALL, "--nomodel.aspp")
    result = result_of(tmp_path, "--part=train", *options, env=environment)
    assert (result["backend"], result["devices"]) == ("jax", ["CPU:0"])
    assert_rate(result)
    done = benchmark("--part=data", "--backend=jax", env=environment)
    assert "train, inference" in one_line_error(done.returncode, done.stderr)


@pytest.mark.slow
def test_latency_and_inference_of_an_export(tmp_path, tiny_run):
    export = tmp_path / "export"
    done = command("export", f"--run_dir={tiny_run}", f"--output={export}")
    assert done.returncode == 0, done.stderr
    file = tmp_path / "result.json"
    done = benchmark("--part=latency", f"--export={export}", "--seconds=0", f"--json={file}")
    assert done.returncode == 0, done.stderr
    latency = json.loads(file.read_text(encoding="utf-8"))["latency"]
    assert list(latency) == ["256x256", "512x1024"]
    for found in latency.values():
        assert 0 < found["best_ms"] <= found["median_ms"] <= found["p95_ms"] and found["answers"] >= 5
    assert latency["256x256"]["peak_memory_mb"] <= latency["512x1024"]["peak_memory_mb"]
    result = result_of(tmp_path, "--part=inference", f"--export={export}", "--data.crop_size=32,32")
    assert result["export"] == str(export) and "machine_share" not in result


@pytest.mark.slow
def test_a_whole_run(tmp_path, tiny_dataset):
    options = (*TINY, f"--data.root={tiny_dataset}", "--data.image_size=32,48")
    result = result_of(tmp_path, "--part=run", *options)
    assert (result["part"], result["data"]) == ("run", "folder")
    assert 0 < result["startup_seconds"] < result["seconds"]
    assert result["steps"] == 2 * 3 - 3  # two epochs of three steps, the first three not counted
    assert result["whole_images_per_second"] > 0


@pytest.mark.slow
def test_turns_are_one_window_a_line(tmp_path):
    done = benchmark("--turns", "--seconds=0.1", "--part=inference", *SMALL, "--train.batch_size=2", input="\n\n")
    assert done.returncode == 0, done.stderr
    windows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(windows) == 2
    for window in windows:
        assert window["images"] >= 2 and window["seconds"] >= 0.1 and window["cpu_seconds"] > 0


@pytest.mark.parametrize("part", ["train", "inference", "data"])
def test_a_data_set(part, tmp_path, tiny_dataset):
    result = result_of(tmp_path, f"--part={part}", *TINY, f"--data.root={tiny_dataset}", "--norate")
    assert result["first_batch_seconds"] > 0
    assert (result["part"], result["data"], result["batch_size"]) == (part, "folder", 2)
    assert (result["parameters"] > 0) == (part != "data")


def test_wrong_usage_is_one_line():
    for arguments, hint in (
        ("--part=trian", "train, inference, latency, data, run"),
        ("--export=x", "--part=inference"),
        ("--second=3", "--seconds"),
    ):
        done = benchmark(arguments)
        assert hint in one_line_error(done.returncode, done.stderr)
        assert len(done.stderr.splitlines()) == 1


def test_a_data_set_that_is_not_there(tmp_path):
    done = benchmark("--part=data", "--data.name=folder", f"--data.root={tmp_path / 'nowhere'}")
    assert "nowhere" in one_line_error(done.returncode, done.stderr)
