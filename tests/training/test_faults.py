"""What can go wrong while a run trains: one clear line, the right status, and nothing lost."""

import json
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mtl_tf.commands import main
from mtl_tf.training.run_directory import read_table
from tests.faults import small
from tests.helpers import ROOT, TINY, assert_same_run, command, one_line_error, state_of, write_dataset


def _train(dataset, run_dir, *more):
    return main(["train", *TINY, f"--data.root={dataset}", f"--run_dir={run_dir}", "--log.panels_every=0", *more])


def test_a_non_finite_loss_stops_with_status_3_and_says_where(tiny_dataset, tmp_path, capsys):
    status = _train(tiny_dataset, tmp_path / "run", "--optim.learning_rate=1e30", "--train.checkpoint_every=1")
    error = capsys.readouterr().err.splitlines()[-1]
    assert status == 3
    found = json.loads((tmp_path / "run" / "diverged.json").read_text())
    assert f"at step {found['step']}" in error and "--optim.learning_rate" in error
    assert len(found["samples"]) == 2 and all(name in error for name in found["samples"])
    # Every earlier step was good, and what it had learnt is saved, with finite weights and running statistics.
    assert found["step"] >= 2
    assert len(read_table(tmp_path / "run" / "steps.csv")) == found["step"] - 1
    state = state_of(tmp_path / "run")
    assert all(np.isfinite(value).all() for name, value in state.items() if name.startswith("model"))


def test_a_bad_file_in_the_middle_of_an_epoch_is_named(tmp_path, capsys):
    dataset = write_dataset(tmp_path / "data", {"train": 6, "val": 2})
    bad = dataset / "train" / "rgb" / "3.png"
    bad.write_bytes(bad.read_bytes()[:60])
    assert _train(dataset, tmp_path / "run") == 2
    error = capsys.readouterr().err.strip()
    assert error.splitlines()[-1].startswith("error: ") and str(bad) in error and "Traceback" not in error


@pytest.mark.slow
def test_skip_bad_trains_on_and_counts(tmp_path, capsys):
    dataset = write_dataset(tmp_path / "data", {"train": 6, "val": 3})
    for bad in (dataset / "train" / "rgb" / "3.png", dataset / "val" / "semseg" / "1.png"):
        bad.write_bytes(b"not a picture")
    assert _train(dataset, tmp_path / "run", "--data.skip_bad") == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert len(metrics["bad_files"]) == 2
    assert metrics["final"]["num_images"] == 2
    assert "skipped 2 bad files" in capsys.readouterr().out


def test_labels_out_of_range_are_named(tmp_path, capsys):
    dataset = write_dataset(tmp_path / "data", {"train": 4, "val": 2})
    Image.fromarray(np.full((32, 48), 77, np.uint8)).save(dataset / "train" / "semseg" / "2.png")
    assert _train(dataset, tmp_path / "run") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "semseg/2.png" in error and "77" in error


def test_sizes_that_differ_within_a_sample_are_named(tmp_path, capsys):
    dataset = write_dataset(tmp_path / "data", {"train": 4, "val": 2})
    Image.fromarray(np.zeros((30, 48), np.uint8)).save(dataset / "train" / "semseg" / "2.png")
    assert _train(dataset, tmp_path / "run") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "semseg/2.png" in error and "48x30" in error and "48x32" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data.root=/nowhere/at/all"], ["/nowhere/at/all"]),
        (["--train.batch_size=99"], ["99", "6", "--train.batch_size"]),
        (["--data.train_split=trian"], ["trian", "train", "val"]),
        (["--model.encoder_weights=/no/file.h5"], ["/no/file.h5"]),
        (["--tasks=semseg", "--model.architecture=distilled"], ["distilled", "joint"]),
    ],
)
def test_wrong_options_for_the_data_at_hand(tiny_dataset, tmp_path, capsys, arguments, words):
    error = one_line_error(_train(tiny_dataset, tmp_path / "run", *arguments), capsys.readouterr().err)
    assert all(word in error for word in words), error


def test_more_devices_than_there_are(tiny_dataset, tmp_path):
    arguments = (f"--data.root={tiny_dataset}", f"--run_dir={tmp_path / 'run'}", "--train.devices=2000")
    done = command("train", *TINY, *arguments)
    assert "devices" in one_line_error(done.returncode, done.stderr)


def test_an_empty_data_folder_and_a_split_without_images(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert _train(tmp_path / "empty", tmp_path / "run") == 2
    assert "dataset.json" in capsys.readouterr().err
    dataset = write_dataset(tmp_path / "data", {"train": 2, "val": 2})
    shutil.rmtree(dataset / "val" / "rgb")
    (dataset / "val" / "rgb").mkdir()
    assert _train(dataset, tmp_path / "run") == 2
    assert "val/rgb" in capsys.readouterr().err


@pytest.mark.slow
def test_a_second_process_on_a_run_directory_is_refused_and_the_first_unharmed(
    tiny_dataset, tiny_run, tmp_path, capsys
):
    options = [f"--data.root={tiny_dataset}", "--data.image_size=32,48", f"--run_dir={tmp_path}"]
    arguments = ["train", *TINY, *options, "--log.panels_every=3"]

    def intrude(_):
        assert main(arguments) == 2
        assert "another process is using" in capsys.readouterr().err
        done = command(*arguments, "--train.fresh")
        assert "another process is using" in one_line_error(done.returncode, done.stderr)

    with small.after_step(2, intrude):
        assert main(arguments) == 0
    assert_same_run(tmp_path, tiny_run)


@pytest.mark.slow
def test_a_full_disk_while_saving_keeps_the_last_good_checkpoint(tiny_dataset, tmp_path):
    """No file may grow beyond a limit, which strikes as a full disk does: first small enough to train, then not."""
    run_dir = tmp_path / "run"
    arguments = ["train", *TINY, f"--data.root={tiny_dataset}", f"--run_dir={run_dir}", "--log.panels_every=0"]
    assert main([*arguments, "--train.epochs=1", "--train.checkpoint_every=1"]) == 0
    before = state_of(run_dir)
    # The same run, one epoch longer, as if it had been stopped after the first.
    flag_file = run_dir / "run.flags"
    flag_file.write_text(flag_file.read_text().replace("--train.epochs=1", "--train.epochs=2"))
    (run_dir / "metrics.json").unlink()

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))

    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *arguments, "--train.checkpoint_every=1"],
        capture_output=True,
        text=True,
        preexec_fn=small_files,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    error = one_line_error(done.returncode, done.stderr)
    assert "cannot save a checkpoint" in error and "the last good one is ckpt-" in error
    after = state_of(run_dir)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)
    assert main([*arguments, "--train.checkpoint_every=1"]) == 0
    assert tf.train.latest_checkpoint(str(run_dir / "checkpoints"))
    assert len(read_table(run_dir / "metrics.csv")) == 2
