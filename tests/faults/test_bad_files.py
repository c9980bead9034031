"""One file in a hundred is damaged: with data.skip_bad a run trains to the end and counts them right."""

import json

import numpy as np
import pytest
from PIL import Image

from mtl_tf.commands import main
from tests.faults import small
from tests.helpers import write_dataset


@pytest.mark.slow
def test_one_percent_of_damaged_files(tmp_path, capsys):
    """Six of 600 files, each damaged in another way; the run is stopped on the way, and the count is that of all."""
    dataset = write_dataset(tmp_path / "data", {"train": 160, "val": 40})
    bad = ["train/rgb/3.png", "train/rgb/77.png", "train/depth/120.png", "train/depth/159.png"]
    bad += ["val/rgb/0.png", "val/depth/39.png"]
    cut, garbage, empty, sized, other, missing = (dataset / name for name in bad)
    cut.write_bytes(cut.read_bytes()[:-200])
    garbage.write_bytes(np.random.default_rng(0).bytes(500))
    empty.write_bytes(b"")
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(sized)
    Image.fromarray(np.zeros((32, 48), bool)).save(other)
    missing.unlink()
    missing.symlink_to("nowhere.png")
    options = ["--train.batch_size=8", "--train.epochs=2", "--data.image_size=32,48", "--data.skip_bad"]
    with small.after_step(25, small.ask_to_stop):
        assert small.train(dataset, tmp_path / "run", *options) == 4
    assert small.train(dataset, tmp_path / "run", *options) == 0
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    pictures = {str(dataset / name.replace("depth", "rgb")) for name in bad}
    assert set(metrics["bad_files"]) == pictures
    assert metrics["steps"] == 40 and metrics["final"]["num_images"] == 38
    assert "skipped 6 bad files" in capsys.readouterr().out


def test_without_it_the_first_ends_the_run(tmp_path, capsys):
    dataset = write_dataset(tmp_path / "data", {"train": 20, "val": 2})
    bad = dataset / "train/depth/7.png"
    bad.write_bytes(b"")
    assert main(["train", *small.OPTIONS, f"--data.root={dataset}", f"--run_dir={tmp_path / 'run'}"]) == 2
    assert str(bad) in capsys.readouterr().err.splitlines()[-1]
