"""Every family the whole way: trained in 16 bits with activations computed again, exported, and on several devices."""

import concurrent.futures
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import mtl_tf
from mtl_tf.commands import main
from mtl_tf.training.run_directory import read_table
from tests.helpers import ROOT, write_dataset
from tests.models.test_families import FAMILIES
from tests.models.tiny import small_options
from tests.training.test_step import assert_same_steps

# Those with layers of their own kind: attention, outputs with a loss of their own. Tracing all takes too long.
ON_DEVICES = ("atrc", "dselect_k")
# Of families that differ in where features go only (nddr; mmoe, cgc, ple) one goes the whole way.
WHOLE_WAY = [family for family in FAMILIES if family not in ("nddr", "mmoe", "cgc", "ple")]
TINY = ("--data.name=folder", f"--plugin={ROOT / 'tests/models/tiny.py'}", "--model.encoder=tiny")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("families") / "data", {"train": 4, "val": 2})


@pytest.mark.slow
@pytest.mark.parametrize("family", WHOLE_WAY)
def test_a_family_is_trained_and_exported(family, root, tmp_path):
    run = tmp_path / "run"
    options = ("--train.precision=mixed_bfloat16", "--model.recompute", "--train.epochs=1", "--train.batch_size=2")
    options += tuple(f"--{name}={value}" for name, value in small_options(family).items())
    options += ("--log.observed=1", f"--model.architecture={family}", f"--data.root={root}", "--data.image_size=32,48")
    assert main(["train", *TINY, *options, f"--run_dir={run}"]) == 0
    (row,) = read_table(run / "metrics.csv")
    assert np.isfinite(float(row["val_loss"]))
    assert main(["export", f"--run_dir={run}"]) == 0
    image = np.asarray(Image.open(root / "val/rgb/1.png"))
    trained, exported = mtl_tf.load(run), mtl_tf.load(run / "export")
    for size in (image, image[:29, :41]):
        ours, theirs = trained(size), exported(size)
        assert ours.depth.shape == size.shape[:2]
        np.testing.assert_allclose(theirs.depth, ours.depth, rtol=1e-3)
        assert (theirs.semseg == ours.semseg).mean() > 0.995


@pytest.mark.slow
def test_devices_equal_one(tmp_path):
    """Steps that combine the gradients of the tasks, of two devices and of one, a process each."""

    def steps(devices):
        path = tmp_path / f"{devices}.npz"
        command = [sys.executable, ROOT / "tests/models/family_steps.py", str(devices), path, *ON_DEVICES]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        assert subprocess.run(command, env=environment, timeout=1200).returncode == 0
        return np.load(path)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        one, two = pool.map(steps, (1, 2))
    for family in ON_DEVICES:
        assert_same_steps(_Of(one, family), _Of(two, family), "upgrad")


class _Of:
    """The answers of a family among those of all, as a file of their own.

    Without what moves by rounding alone: a bias before batch norm.
    """

    def __init__(self, answers, family):
        self._answers, self._family = answers, family
        names = [name.removeprefix(f"{family}/") for name in answers.files if name.startswith(f"{family}/")]
        moved = {name: np.linalg.norm(self[name]) for name in names if name.startswith("change/")}
        self.files = [name for name in names if moved.get(name, np.inf) > 1e-7 * max(moved.values())]

    def __getitem__(self, name):
        return self._answers[f"{self._family}/{name}"]
