"""tools/benchmark_cost.py: exponents by hand, points that do not fit, a small run of the tool."""

import csv
import importlib
import itertools
import subprocess
import sys
import time

import pytest

from tests.helpers import ROOT, one_line_error, tool_module

cost = tool_module("benchmark_cost")


def row(work, ms, axis="size", curve="step"):
    return {"axis": axis, "curve": curve, "work": work, "ms": ms, "exponent": None}


def test_exponents_are_of_neighbours_on_a_curve():
    rows = [row(100, 10.0), row(200, 20.0), row(7, 5.0, curve="other"), row(400, None), row(800, 320.0), row(7, 1.0)]
    cost.add_exponents(rows[:-1])
    found = [each["exponent"] for each in rows]
    # Twice the work, twice the cost; four times the work, sixteen times the cost.
    assert found == [None, 1.0, None, None, 2.0, None]


@pytest.mark.parametrize("window", [0.0, 0.02])
def test_no_cost_rests_on_fewer_than_five_windows(window, monkeypatch):
    measuring = importlib.import_module("_benchmark.measuring")
    work = importlib.import_module("_benchmark.work")
    monkeypatch.setattr(measuring, "WINDOW", window)
    endless = work.Work(itertools.repeat(None), lambda batch: time.sleep(0.01), batch_size=1, devices=())
    found = measuring.measure(endless, seconds=0.0, label="nothing", begun=time.perf_counter())
    assert found["windows"] == 5 and found["steps"] >= 5


def test_a_point_that_takes_too_much_is_ended_and_said():
    found = cost._measured(["--part=train", "--seconds=0", "--data.crop_size=32,32"], limit=0.05)
    assert found == {"note": "does not fit 0.05 GiB"}
    assert "train, inference" in cost._measured(["--part=trian"], limit=8)["note"]


@pytest.mark.slow
def test_reading_of_two_sizes(tmp_path):
    options = ("--axes=samples", "--samples=100,200", "--seconds=0", f"--output={tmp_path}")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "benchmark_cost.py"), *options], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "cost.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(each["curve"], each["work"]) for each in rows] == [
        ("first batch", "100"),
        ("image", "100"),
        ("first batch", "200"),
        ("image", "200"),
    ]
    assert all(float(each["ms"]) > 0 for each in rows)
    assert [each["windows"] for each in rows[::2]] == ["1", "1"] and all(
        int(each["windows"]) >= 5 for each in rows[1::2]
    )
    assert rows[0]["exponent"] == "" and rows[2]["exponent"] != ""
    assert (tmp_path / "cost.png").stat().st_size > 10_000 and (tmp_path / "cost.json").exists()


@pytest.mark.parametrize(("options", "hint"), [((), "--output=FOLDER"), (("--axes=width", "--output=x"), "samples")])
def test_wrong_usage_is_one_line(options, hint):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "benchmark_cost.py"), *options], capture_output=True, text=True
    )
    assert hint in one_line_error(done.returncode, done.stderr)
