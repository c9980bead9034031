"""A run that was stopped, in whatever way, ends as the run that was not."""

import dataclasses
import json
import os
import signal
import time
from unittest import mock

import pytest
import tensorflow as tf

from mtl_tf.commands import main
from mtl_tf.config import OptimConfig
from mtl_tf.errors import UsageError
from mtl_tf.training.averaging import Averaging
from mtl_tf.training.checkpoints import Checkpoints
from mtl_tf.training.run_directory import read_table
from mtl_tf.training.schedules import learning_rate_at
from tests.helpers import TINY, assert_same_run, start_command, write_dataset

STEPS = 12


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Eight training samples: four steps an epoch."""
    return write_dataset(tmp_path_factory.mktemp("resume") / "data", {"train": 8, "val": 3})


def _arguments(dataset, run_dir):
    return [
        "train",
        *TINY,
        f"--data.root={dataset}",
        f"--run_dir={run_dir}",
        "--train.epochs=3",
        "--train.checkpoint_every=2",
        "--augment.reflect",
        "--augment.scale_max=1.3",
        "--data.crop_size=32,32",
        "--log.panels_every=0",
        # State of its own, or a step that changes on the way.
        "--train.average=ema",
        "--train.freeze_encoder=1",
        "--optim.clip_norm=2",
        "--optim.encoder_rate=0.5",
        "--optim.warmup_epochs=1.5",
    ]


@pytest.fixture(scope="module")
def uninterrupted(dataset, tmp_path_factory):
    """The run that nothing happened to."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    assert main(_arguments(dataset, run_dir)) == 0
    return run_dir


def _start(dataset, run_dir):
    return start_command(*_arguments(dataset, run_dir))


def _wait_for_step(process, run_dir, step, seconds=240):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        path = run_dir / "steps.csv"
        if path.exists() and path.read_text().count("\n") > step:
            return
        time.sleep(0.002)
    raise AssertionError(f"step {step} was not reached: {process.stderr.read()}")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves_with_status_4(dataset, uninterrupted, tmp_path, number):
    run_dir = tmp_path / "run"
    process = _start(dataset, run_dir)
    _wait_for_step(process, run_dir, 3)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 4
    assert f"stopped by {signal.Signals(number).name} after step" in stderr and "Traceback" not in stderr
    # As if the session before had taken an hour: its time counts, as far as its work was kept.
    (run_dir / "timing.json").write_text('{"seconds": 3600.0, "peak_memory": 1}')
    assert main(_arguments(dataset, run_dir)) == 0
    assert_same_run(run_dir, uninterrupted)
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert 3600 < metrics["seconds"] < 3900 and metrics["peak_memory_mb"] > 100


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_a_signal_while_the_average_is_validated(dataset, uninterrupted, tmp_path, kind):
    """Its weights are in place of the trained ones then, and must not be saved as those; no epoch is taken twice."""
    arguments, whole = _arguments(dataset, tmp_path / "run"), uninterrupted
    if kind == "swa":
        more = ("--train.average=swa", "--train.swa_start=0.34")
        arguments, whole = [*arguments, *more], tmp_path / "whole"
        assert main([*_arguments(dataset, whole), *more]) == 0
    swapped_in, asked = Averaging.swapped_in, []

    def ask_and_swap(self):
        if not asked:
            asked.append(os.kill(os.getpid(), signal.SIGTERM))
        return swapped_in(self)

    with mock.patch.object(Averaging, "swapped_in", ask_and_swap):
        assert main(arguments) == 4
    assert main(arguments) == 0
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.slow
def test_a_finished_run_says_so_and_is_left_alone(dataset, uninterrupted, capsys):
    before = {file: file.stat().st_mtime_ns for file in uninterrupted.rglob("*") if "environment" not in file.name}
    assert main(_arguments(dataset, uninterrupted)) == 0
    assert "is finished" in capsys.readouterr().out
    after = {file: file.stat().st_mtime_ns for file in uninterrupted.rglob("*") if "environment" not in file.name}
    assert after == before


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_is_passed_over(dataset, uninterrupted, tmp_path, capsys):
    """The run says so and goes on from the one before it, with the same end."""
    import shutil

    run_dir = tmp_path / "run"
    shutil.copytree(uninterrupted, run_dir)
    (run_dir / "metrics.json").unlink()
    newest = max((run_dir / "checkpoints").glob("*.index"), key=lambda file: int(file.stem.split("-")[1]))
    newest.with_suffix(".data-00000-of-00001").write_bytes(b"half a fi")
    assert main(_arguments(dataset, run_dir)) == 0
    assert f"warning: {newest.with_suffix('')} cannot be read (" in capsys.readouterr().out
    assert_same_run(run_dir, uninterrupted)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (MemoryError(), "out of memory"),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"), "out of memory"),
        (tf.errors.DataLossError(None, None, "{{node x}} Checksum does not match"), "Checksum does not match"),
    ],
)
def test_why_no_checkpoint_can_be_read(error, why, tmp_path, monkeypatch, capsys):
    checkpoints = Checkpoints(tmp_path / "checkpoints", 2, value=tf.Variable(1.0))
    checkpoints.save()

    def fail(*args):
        raise error

    monkeypatch.setattr(tf.train.Checkpoint, "restore", fail)
    with pytest.raises(UsageError, match=rf"none of the checkpoints in .* can be read \(the newest: {why}\)"):
        checkpoints.restore()
    assert f"ckpt-1 cannot be read ({why})" in capsys.readouterr().out


@pytest.mark.slow
def test_the_tables_hold_what_the_contract_says(uninterrupted):
    epochs = read_table(uninterrupted / "metrics.csv")
    assert [int(row["epoch"]) for row in epochs] == [1, 2, 3]
    for row in epochs:  # the rate that the optimiser had in the epoch's last step
        rate = learning_rate_at(OptimConfig(warmup_epochs=1.5), int(row["step"]) - 1, STEPS // 3, 3)
        assert float(row["learning_rate"]) == pytest.approx(rate, rel=1e-6)
    wanted = {
        "train_loss",
        "val_loss",
        "val_loss_unweighted",
        "total",
        "grader",
        "semseg.iou.left",
        "depth.si_log_rmse",
    }
    assert wanted <= epochs[0].keys()
    first = epochs[0]
    # Both losses are the weighted sum; the original's validation total is the plain one.
    for part in ("train", "val"):
        plain = float(first[f"{part}_loss_semseg"]) + float(first[f"{part}_loss_depth"])
        assert float(first[f"{part}_loss"]) == pytest.approx(plain / 2, rel=1e-5)
    assert float(first["val_loss_unweighted"]) == pytest.approx(plain)
    metrics = json.loads((uninterrupted / "metrics.json").read_text())
    totals = [float(row["total"]) for row in epochs]
    assert metrics["best"]["total"] == max(totals) and metrics["final"]["total"] == totals[-1]
    assert metrics["steps"] == STEPS
    assert len(list((uninterrupted / "checkpoints").glob("*.index"))) == 3


def test_status_2_when_the_configuration_changed(dataset, uninterrupted, capsys):
    assert main([*_arguments(dataset, uninterrupted), "--optim.learning_rate=0.5"]) == 2
    assert "--optim.learning_rate was 0.01, now 0.5" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_the_best_loss_of_an_older_run_is_compared_as_the_sum_of_today(tiny_dataset, tmp_path, monkeypatch):
    """A run that was begun when its best loss was the plain sum, and its table was named so."""
    from mtl_tf.training.validation import Validation

    measure = Validation._measure

    def worse_and_worse(self, label, after_batch):
        found = measure(self, label, after_batch)
        return dataclasses.replace(found, losses=dict.fromkeys(found.losses, float(label.split()[-1])))

    monkeypatch.setattr(Validation, "_measure", worse_and_worse)
    given = ["train", *TINY, f"--data.root={tiny_dataset}", "--train.best_metric=loss", "--log.panels_every=0"]
    whole, run_dir = tmp_path / "whole", tmp_path / "run"
    assert main([*given, f"--run_dir={whole}"]) == 0
    with monkeypatch.context() as before:
        before.setattr(Validation, "_loss", lambda self, evaluation: sum(evaluation.losses.values()) + 100)
        assert main([*given, f"--run_dir={run_dir}"]) == 0
    for file in (run_dir / "checkpoints").glob("ckpt-2.*"):
        file.unlink()
    (run_dir / "metrics.json").unlink()
    rows = (whole / "metrics.csv").read_text().splitlines()[:2]
    rows[0] = rows[0].replace("val_loss,val_loss_unweighted", "val_loss_weighted,val_loss")
    (run_dir / "metrics.csv").write_text("\n".join(rows) + "\n")
    assert main([*given, f"--run_dir={run_dir}"]) == 0
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (whole, run_dir)]
    assert metrics[0]["best_epoch"] == metrics[1]["best_epoch"] == 1
    assert read_table(run_dir / "metrics.csv") == read_table(whole / "metrics.csv")
