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


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [
        ("joint", "resnet18"),
        pytest.param("branched", "resnet18", marks=pytest.mark.slow),
        pytest.param("distilled", "resnet34", marks=pytest.mark.slow),
        pytest.param("joint", "mobilenetv2", marks=pytest.mark.slow),
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
        for name, value in expected.items():
            scale = np.abs(value).max()
            if name == "decoded semseg":
                assert (found[name] == value).mean() > 0.999
                continue
            assert scale > 0 or name.startswith("change"), name
            np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-4 * scale + 1e-9, err_msg=name)
