"""tools/benchmark.py: every part in a process of its own, on the smallest network. Nothing is asserted about speed."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from mtl_tf.config import ModelConfig
from mtl_tf.models import build_model
from mtl_tf.models.encoders import build_encoder
from mtl_tf.tasks import cityscapes_tasks
from tests.helpers import ROOT, TINY, command, one_line_error, tool_module

NUMBERS = (
    *(f"{name}{suffix}" for name in ("images_per_second", "step_ms") for suffix in ("", "_best", "_worst")),
    "steps",
    "seconds",
    "peak_memory_mb",
)

SLOW = pytest.mark.slow
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
    return checked(json.loads(file.read_text(encoding="utf-8")))


def checked(result):
    """A result, after checking what each has."""
    assert all(result[name] > 0 for name in NUMBERS), result
    assert result["images_per_second_worst"] <= result["images_per_second"] <= result["images_per_second_best"]
    assert result["images_per_second"] == pytest.approx(result["batch_size"] / result["step_ms"] * 1e3, rel=1e-3)
    assert 0 <= result["wait_share"] <= 1
    assert result["devices"] and result["versions"]["packages"]["keras"]
    return result


def check_latency(latency, sizes=("256x256", "512x1024")):
    assert tuple(latency) == sizes
    for found in latency.values():
        assert 0 < found["best_ms"] <= found["median_ms"] <= found["p95_ms"] and found["answers"] >= 5
    assert 0 < latency[sizes[0]]["peak_memory_mb"] <= latency[sizes[-1]]["peak_memory_mb"]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["train", "inference"])
def test_random_data(part, tmp_path):
    result = result_of(tmp_path, f"--part={part}", *SMALL)
    assert (result["part"], result["data"], result["size"]) == (part, "random", [32, 32])
    assert result["parameters"] > 11_000_000
    assert_rate(result)


@pytest.mark.slow
def test_every_kind_of_task_is_measured_and_named(tmp_path):
    options = ("--tasks=normals,edges", "--task_count=3", "--norate", "--seconds=0")
    result = result_of(tmp_path, "--part=train", *SMALL, *options)
    assert result["tasks"] == ["normals", "edges", "normals2"]


@pytest.mark.slow
def test_more_tasks_than_there_are(tmp_path):
    tool_module("benchmark")
    from _benchmark.work import as_many, parameters_of

    tasks = cityscapes_tasks()
    assert as_many(tasks, 0) == tasks and as_many(tasks, 1) == tasks[:1]
    assert [task.name for task in as_many(tasks, 5)] == ["semseg", "depth", "semseg2", "depth2", "semseg3"]
    assert as_many(tasks, 5)[4].kind == "classes"
    options = ("--model.architecture=branched", "--task_count=3", "--norate")
    measured = result_of(tmp_path, "--part=train", *SMALL, *options)["parameters"]
    config = ModelConfig(encoder="resnet18", architecture="branched")
    two, alone = (parameters_of(build_model(config, tasks[:count])) for count in (2, 1))
    # A third task, another segmentation, adds what one adds to an encoder.
    assert measured - two == alone - parameters_of(build_encoder("resnet18"))
    done = benchmark("--part=inference", "--task_count=3")
    assert "--part=train" in one_line_error(done.returncode, done.stderr)


def assert_rate(result):
    """The floating-point rate: two operations a multiply-add, beside the machine's."""
    expected = 2 * result["gmacs_per_image"] * result["images_per_second"]
    assert result["gflops_per_second"] == pytest.approx(expected, rel=1e-2)
    assert result["machine_share"] == pytest.approx(
        result["gflops_per_second"] / result["machine_gflops"]["float32"], rel=1e-2
    )


# Parts of the tool in one process, in which importing TensorFlow fails as if it were not installed.
WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None
sys.path[:0] = ["tools"]
import benchmark
from _benchmark import measuring
measuring.LATENCY_SIZES = ((32, 32),)
*options, folder = sys.argv[1:]
for part in ("train", "inference", "latency", "data"):
    more = f"--part={part}", f"--json={folder}/{part}.json", f"--rate={part == 'train'}"
    print(benchmark.run_tool(benchmark.benchmark, benchmark.Options, [*options, *more]))
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_jax_without_tensorflow(tmp_path):
    options = ("--backend=jax", *SMALL, "--nomodel.aspp", "--train.batch_size=2", "--seconds=0")
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, *options, str(tmp_path)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert [line for line in done.stdout.splitlines() if line.isdigit()] == ["0", "0", "0", "2"], done.stderr
    assert "train, inference" in one_line_error(2, done.stderr)
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.glob("*.json")}
    assert set(results) == {"train", "inference", "latency"}
    for part, result in results.items():
        assert (result["part"], result["backend"], result["devices"]) == (part, "jax", ["CPU:0"])
    assert "data and run are left out" in tool_module("benchmark").table_of_parts(results)
    check_latency(results.pop("latency")["latency"], ("32x32",))
    assert_rate(checked(results["train"]))
    assert "machine_share" not in checked(results["inference"])


@pytest.mark.slow
def test_latency_and_inference_of_an_export(tmp_path, tiny_run):
    export = tmp_path / "export"
    done = command("export", f"--run_dir={tiny_run}", f"--output={export}")
    assert done.returncode == 0, done.stderr
    file = tmp_path / "result.json"
    done = benchmark("--part=latency", f"--export={export}", "--seconds=0", f"--json={file}")
    assert done.returncode == 0, done.stderr
    check_latency(json.loads(file.read_text(encoding="utf-8"))["latency"])
    result = result_of(tmp_path, "--part=inference", f"--export={export}", "--data.crop_size=32,32")
    assert result["export"] == str(export) and "machine_share" not in result


@pytest.mark.slow
def test_all_parts_a_whole_run_among_them(tmp_path):
    scenes = ("--data.synthetic_train=8", "--data.synthetic_val=2", "--data.image_size=32,48", "--noaugment.reflect")
    options = ("--train.batch_size=2", "--model.encoder=resnet18", "--nomodel.aspp", "--seconds=0", "--norate")
    file = tmp_path / "all.json"
    done = benchmark("--part=all", *scenes, *options, f"--json={file}")
    assert done.returncode == 0, done.stderr
    parts = json.loads(file.read_text(encoding="utf-8"))["parts"]
    assert {part: result["data"] for part, result in parts.items()} == {
        "data": "synthetic",
        "train": "random",
        "run": "synthetic",
        "inference": "random",
        "latency": "random",
    }
    check_latency(parts.pop("latency")["latency"])
    for part, result in parts.items():
        assert checked(result)["part"] == part and result["size"] == [32, 48] and result["batch_size"] == 2
        assert result.get("windows", 5) >= 5
    run = parts["run"]
    assert 0 < run["startup_seconds"] < run["seconds"] and run["whole_images_per_second"] > 0
    assert run["steps"] == 4 - 3  # an epoch of four steps, the first three not counted
    rows = [line.split("  ")[0] for line in done.stdout.splitlines()[2:]]
    assert rows[:4] == ["data, synthetic data", "train, random data", "run, synthetic data", "inference, random data"]
    assert rows[4:6] == ["one picture of 256x256", "one picture of 512x1024"] and str(file) in rows[6]


@pytest.mark.slow
def test_turns_are_one_window_a_line(tmp_path):
    done = benchmark("--turns", "--seconds=0.1", "--part=inference", *SMALL, "--train.batch_size=2", input="\n\n")
    assert done.returncode == 0, done.stderr
    windows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(windows) == 2
    for window in windows:
        assert window["images"] >= 2 and window["seconds"] >= 0.1 and window["cpu_seconds"] > 0


@pytest.mark.parametrize("part", ["data", pytest.param("train", marks=SLOW), pytest.param("inference", marks=SLOW)])
def test_a_data_set(part, tmp_path, tiny_dataset):
    result = result_of(tmp_path, f"--part={part}", *TINY, f"--data.root={tiny_dataset}", "--norate")
    assert result["first_batch_seconds"] > 0
    assert (result["part"], result["data"], result["batch_size"]) == (part, "folder", 2)
    assert (result["parameters"] > 0) == (part != "data")


def test_wrong_usage_is_one_line():
    for arguments, hint in (
        ("--part=trian", "train, inference, latency, data, run, all"),
        ("--export=x", "--part=inference"),
        ("--second=3", "--seconds"),
    ):
        done = benchmark(arguments)
        assert hint in one_line_error(done.returncode, done.stderr)
        assert len(done.stderr.splitlines()) == 1


def test_a_data_set_that_is_not_there(tmp_path):
    done = benchmark("--part=data", "--data.name=folder", f"--data.root={tmp_path / 'nowhere'}")
    assert "nowhere" in one_line_error(done.returncode, done.stderr)
