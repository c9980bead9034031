"""NaN in a batch, a gradient or a weight: the run stops and says where it is, or passes over it and counts."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from mtl_tf.tasks import cityscapes_tasks
from mtl_tf.training import step as step_module
from mtl_tf.training.nonfinite import broken_sample
from mtl_tf.training.run_directory import read_table
from tests.faults import small
from tests.faults.poison import poisoned
from tests.faults.small import EPOCHS, STEPS
from tests.helpers import ROOT, assert_same_run, state_of, tool_module

SAMPLE = 5  # poisoned: it is in one batch of each epoch


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return small.small_dataset(tmp_path_factory.mktemp("nan") / "data")


@pytest.fixture
def train(dataset, tmp_path):
    def run(*more, name="run"):
        return small.train(dataset, tmp_path / name, *more)

    return run


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    """The run that nothing happened to."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    assert small.train(dataset, run_dir) == 0
    return run_dir


def skipped(run_dir):
    return [(int(row["step"]), row["reason"]) for row in read_table(run_dir / "skipped.csv")]


def result(run_dir):
    return json.loads((run_dir / "metrics.json").read_text())


def test_depth_that_is_nan_is_no_label_and_not_blamed():
    batch = {"image": np.zeros((2, 4, 4, 3)), "depth": np.full((2, 4, 4), np.nan), "index": np.arange(2)}
    assert broken_sample(batch, ["a", "b"]) == ""
    assert not np.asarray(cityscapes_tasks()[1].valid(batch["depth"])).any()
    batch["image"][1, 0, 0, 0] = np.inf
    assert broken_sample(batch, ["a", "b"]) == "image of sample b"


@pytest.mark.slow
@pytest.mark.parametrize(("where", "named"), [("batch", f"image of sample {SAMPLE}"), ("gradient", "gradient of enc")])
def test_stops_names_it_and_the_same_command_goes_on(train, whole, tmp_path, capsys, where, named):
    run_dir = tmp_path / "run"
    with poisoned(where, SAMPLE):
        assert train() == 3
    error = capsys.readouterr().err.splitlines()[-1]
    found = json.loads((run_dir / "diverged.json").read_text())
    assert named in error and named in found["reason"] and f"at step {found['step']}" in error
    assert str(SAMPLE) in found["samples"]
    assert state_of(run_dir)["state/.ATTRIBUTES/VARIABLE_VALUE"][0] == found["step"] - 1
    assert train() == 0  # the step is tried again
    assert_same_run(run_dir, whole)
    assert not (run_dir / "diverged.json").exists()


@pytest.mark.parametrize("where", ["batch", pytest.param("gradient", marks=pytest.mark.slow)])
def test_passes_over_and_counts(train, tmp_path, capsys, where):
    with poisoned(where, SAMPLE):
        assert train("--train.skip_non_finite=1") == 0
    run_dir = tmp_path / "run"
    steps = [step for step, _ in skipped(run_dir)]
    assert [(step - 1) // STEPS for step in steps] == list(range(EPOCHS))  # one in each epoch
    assert all(str(SAMPLE) in row["samples"].split(", ") for row in read_table(run_dir / "skipped.csv"))
    assert result(run_dir)["skipped_steps"] == {"non_finite": EPOCHS, "loss_scale": 0}
    assert result(run_dir)["steps"] == EPOCHS * STEPS
    assert capsys.readouterr().out.count("passed over: non-finite") == EPOCHS
    # The epoch's loss is the mean of the steps that count, and each row says how many did not.
    rows = read_table(run_dir / "steps.csv")
    assert [int(row["skipped"]) for row in rows] == [sum(step <= n + 1 for step in steps) for n in range(len(rows))]
    for epoch, row in enumerate(read_table(run_dir / "metrics.csv")):
        there = [r for r in rows[epoch * STEPS : (epoch + 1) * STEPS] if int(r["step"]) not in steps]
        assert float(row["train_loss"]) == pytest.approx(np.mean([float(r["loss"]) for r in there]))
    assert all(np.isfinite(value).all() for name, value in state_of(run_dir).items() if name.startswith("model"))


@pytest.mark.slow
def test_a_step_passed_over_changes_nothing_and_stopping_after_it_neither(train, tmp_path):
    with poisoned("batch", SAMPLE):
        assert train(name="stopped") == 3
        step = json.loads((tmp_path / "stopped/diverged.json").read_text())["step"]
        before = state_of(tmp_path / "stopped")
        with small.after_step(step, small.ask_to_stop):
            assert train("--train.skip_non_finite=1", name="stopped") == 4
        after = state_of(tmp_path / "stopped")
        for name, value in before.items():
            if name.startswith(("model", "optimizer")) and "learning_rate" not in name:
                np.testing.assert_array_equal(after[name], value, err_msg=name)
        assert train("--train.skip_non_finite=1", name="stopped") == 0
        assert train("--train.skip_non_finite=1", name="whole") == 0
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")
    assert (tmp_path / "stopped/skipped.csv").read_text() == (tmp_path / "whole/skipped.csv").read_text()
    assert result(tmp_path / "stopped")["skipped_steps"] == {"non_finite": EPOCHS, "loss_scale": 0}


def test_more_in_a_row_than_allowed_stop(train, tmp_path, monkeypatch):
    monkeypatch.setattr(step_module, "loss_weight", lambda config, task: np.nan)  # at every step
    assert train("--train.skip_non_finite=2") == 3
    assert skipped(tmp_path / "run") == [(1, "loss"), (2, "loss")]
    assert json.loads((tmp_path / "run/diverged.json").read_text())["step"] == 3


@pytest.mark.slow
def test_a_weight_stops_even_so_and_is_never_saved(train, whole, tmp_path, capsys):
    with poisoned("weight", 6):
        assert train("--train.checkpoint_every=5", "--train.skip_non_finite=9") == 3
    error = capsys.readouterr().err.splitlines()[-1]
    assert "encoder/" in error and "/kernel (" in error and "after step 6" in error and "of step 5" in error
    assert state_of(tmp_path / "run")["state/.ATTRIBUTES/VARIABLE_VALUE"][0] == 5
    assert train() == 0
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize(("step", "kept"), [(3, 2), pytest.param(STEPS, 3, marks=pytest.mark.slow)])
def test_a_weight_broken_just_before_it_would_be_saved(train, tmp_path, step, kept):
    """No step meets it: what would be saved is looked at, at the end of an epoch the best weights too."""
    with poisoned("weight", step):
        assert train("--train.checkpoint_every=1") == 3
    assert not (tmp_path / "run/best").exists()
    assert len(list((tmp_path / "run/checkpoints").glob("*.index"))) == kept


@pytest.mark.slow
def test_devices_and_processes_pass_over_what_one_does(tmp_path):
    """The second process reads the poisoned sample in some batch, and alone a damaged validation file."""
    dataset = small.small_dataset(tmp_path / "data")
    damaged = dataset / "val" / "rgb" / "1.png"
    damaged.write_bytes(b"not a picture")
    found = []
    for devices, workers in ((1, 1), (2, 1), (1, 2)):
        run_dir = tmp_path / f"{devices}_{workers}"
        options = [*small.OPTIONS, f"--data.root={dataset}", f"--run_dir={run_dir}", f"--train.devices={devices}"]
        command = [sys.executable, "-m", "tests.faults.poison", "batch", str(SAMPLE), "train", *options]
        command += ["--train.skip_non_finite=1", "--data.skip_bad"]
        addresses = [f"127.0.0.1:{port}" for port in tool_module("local_cluster").free_ports(workers)]
        tasks = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": n}} for n in range(workers)]
        processes = [
            subprocess.Popen(command, cwd=ROOT, env=os.environ | {"TF_CONFIG": json.dumps(task)}) for task in tasks
        ]
        assert [process.wait(300) for process in processes] == [0] * workers
        assert list(result(run_dir)["bad_files"]) == [str(damaged)]
        found.append((read_table(run_dir / "skipped.csv"), result(run_dir)["skipped_steps"]))
    rows, counts = found[0]
    assert found == [(rows, counts)] * 3 and len(rows) == EPOCHS
    assert {row["reason"] for row in rows} == {f"image of sample {SAMPLE}"}
    assert str(SAMPLE) in [row["samples"].split(", ")[1] for row in rows]


@pytest.mark.slow
def test_what_float16_skips_for_its_loss_scale_is_counted_apart(train, tmp_path, monkeypatch):
    monkeypatch.setattr(step_module, "FIRST_LOSS_SCALE", 2.0**127)
    with poisoned("batch", SAMPLE):
        assert train("--train.precision=mixed_float16", "--train.skip_non_finite=1") == 0
    reasons = [reason for _, reason in skipped(tmp_path / "run")]
    assert reasons.count("loss scale") > EPOCHS and reasons.count(f"image of sample {SAMPLE}") == EPOCHS
    counts = result(tmp_path / "run")["skipped_steps"]
    assert counts == {"non_finite": EPOCHS, "loss_scale": reasons.count("loss scale")}
    # A batch that is not finite says nothing about the scale.
    scale = state_of(tmp_path / "run")["loss_scale/.ATTRIBUTES/VARIABLE_VALUE"]
    assert scale == 2.0 ** (127 - counts["loss_scale"])
