"""What the tests of the networks share: random weights of sensible size, refused weights, NumPy convolutions."""

import pathlib
import re

import keras
import numpy as np
import pytest

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models.weights import load_encoder_weights


def unfilled_variables():
    """A context in which variables have names, shapes and types only: a large network takes neither memory nor time."""
    return keras.StatelessScope(initialize_variables=False)


def skip_where_sums_are_imprecise(dtype: str):
    """Skips a test of how sixteen bits round on a CPU that sums in them; a run says so there."""
    from mtl_tf.kernels import on_tensorflow  # which other backends do without

    if not on_tensorflow.sums_in_float32(dtype):
        pytest.skip(f"this CPU sums {dtype} in {dtype}")


def randomise(model, seed: int = 0):
    """Draws every variable anew, running statistics too, so that no term of the network is 0 or 1 by default."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        name, shape = variable.name, tuple(variable.shape)
        if name == "kernel" and shape[-1] == 1 and re.search("depthwise|dwconv", variable.path):
            value = random.normal(0.0, np.sqrt(2.0 / np.prod(shape[:2])), shape)
        elif name == "kernel":
            value = random.normal(0.0, np.sqrt(2.0 / np.prod(shape[:-1])), shape)
        elif name in ("gamma", "moving_variance"):
            value = random.uniform(0.4, 1.2, shape)
        else:
            value = random.normal(0.0, 0.2, shape)
        variable.assign(value.astype(np.float32))


def pictures(*shape: int, seed: int = 0) -> np.ndarray:
    """Random images 0..255, float32."""
    return np.random.default_rng(seed).uniform(0, 255, (*shape, 3)).astype(np.float32)


def difference(found, expected) -> float:
    """Largest difference over the largest expected value."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    assert np.isfinite(found).all() and expected.std() > 1e-3 * np.abs(expected).max() > 0
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def convolve(images, kernel, stride: int = 1, dilation: int = 1) -> np.ndarray:
    """Convolution by its definition, padded with dilation * (size // 2) zeros on every side, in float64."""
    padding = dilation * (kernel.shape[0] // 2)
    padded = np.pad(np.asarray(images, np.float64), ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    reach = dilation * (kernel.shape[0] - 1)
    rows = range(0, padded.shape[1] - reach, stride)
    columns = range(0, padded.shape[2] - reach, stride)
    result = np.zeros((len(padded), len(rows), len(columns), kernel.shape[3]))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            window = padded[:, row : row + reach + 1 : dilation, column : column + reach + 1 : dilation]
            result[:, i, j] = np.tensordot(window, np.asarray(kernel, np.float64), 3)
    return result


def refused(encoder: keras.Model, config: ModelConfig) -> str:
    """The message with which an encoder's weights are refused, after checking that it changed nothing."""
    before = encoder.get_weights()
    with pytest.raises(UsageError) as error:
        load_encoder_weights(encoder, config)
    for value, old in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)
    return str(error.value)


def golden_module(shared: pathlib.Path, name: str) -> dict[str, np.ndarray]:
    """What a published module has and computes: "weight/NAME", "in/NAME" and "out/NAME", the latter as (B, h, w, C)."""
    with np.load(shared / "goldens" / "modules.npz") as file:
        found = {key.removeprefix(f"{name}/"): file[key] for key in file.files if key.startswith(f"{name}/")}
    return {key: value if key.startswith("weight/") else value.transpose(0, 2, 3, 1) for key, value in found.items()}


def take_weight(variable: keras.Variable, module: str, golden: dict[str, np.ndarray]):
    """Gives a variable of a convolution, dense layer or batch norm the value that PyTorch has under MODULE.NAME."""
    names = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"}
    names |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
    value = golden[f"weight/{module}.{names[variable.name]}"]
    if variable.name == "kernel":
        value = value.reshape((*value.shape, 1, 1)[:4]).transpose(2, 3, 1, 0)
    variable.assign(value)
