"""The networks, the losses and a training step under JAX, without TensorFlow, against TensorFlow."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.helpers import ROOT

pytestmark = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")


def run(backend, *arguments):
    """A process of its own: the backend is chosen when Keras is imported."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.models.other_backend", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [
        ("distilled", "tiny"),
        ("dselect_k", "tiny"),
        ("mtan", "segnet"),
        ("joint", "tiny_vit"),
        ("joint", "tiny_swin"),
    ],
)
def test_jax_computes_what_tensorflow_does(architecture, encoder, tmp_path):
    """Answers, every loss, and the change of every variable in a step of SGD: the gradients and batch statistics."""
    weights, files = tmp_path / "weights.npz", [tmp_path / "tensorflow.npz", tmp_path / "jax.npz"]
    for backend, file in zip(("tensorflow", "jax"), files, strict=True):
        run(backend, architecture, encoder, weights, file)
    with np.load(files[0]) as expected, np.load(files[1]) as found:
        assert set(found) == set(expected)
        assert {name for name in expected if name.startswith("trained")} == {
            "trained loss",
            "trained loss_semseg",
            "trained loss_depth",
        }
        assert (found["decoded semseg"] == expected["decoded semseg"]).mean() > 0.999
        moved = [name for name in expected if name.startswith("change") and "moving" in name]
        changed = [name for name in expected if name.startswith("change") and "moving" not in name]
        for name, value in expected.items():
            if name not in changed + moved and name != "decoded semseg":
                assert distance(found[name], value, np.max) < 1e-4, name
        # What cancels almost, such as a shift before another batch norm, is rounding for a larger part: such a change
        # may differ by a hundred-thousandth of all changes. The pooled branch, where batch norm divides by the spread
        # of three numbers, is held with all others only.
        for names, alone in ((changed, 1e-2), (moved, 1e-3)):
            together = [np.concatenate([file[name].ravel() for name in names]) for file in (found, expected)]
            assert distance(*together, np.linalg.norm) < 1e-4
            whole = np.linalg.norm(together[1])
            for name in (name for name in names if "/aspp/pool_" not in name):
                difference = np.linalg.norm(found[name] - expected[name])
                assert difference < alone * np.linalg.norm(expected[name]) + 1e-5 * whole, name


def distance(found, expected, size) -> float:
    """The size of the difference over that of what is expected."""
    assert size(np.abs(expected)) > 0
    return float(size(np.abs(found - expected)) / size(np.abs(expected)))
