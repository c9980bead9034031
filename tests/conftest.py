"""Fixtures that all tests share: a clean Keras, the real data where they are, a tiny data set."""

import gc
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

from tests import resident
from tests.helpers import TINY, forget_graphs, write_dataset

_memory = resident.Watch()


def pytest_collection_finish():
    """Takes what the imports made out of the garbage collection that `clean_keras` ends in: half a second a test."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def bounded_pool():
    """Bounds what TensorFlow keeps of memory."""
    resident.bound_the_pool()


@pytest.fixture(autouse=True)
def bounded_memory(bounded_pool):
    """Fails a test that takes the process over the limit; asked when all that it used is gone."""
    yield
    fault = _memory.fault()
    assert not fault, fault


@pytest.fixture(autouse=True)
def clean_keras(bounded_memory):
    """Undoes what a test does to Keras' global state, and frees the graphs that TensorFlow would keep for ever."""
    yield
    if "keras" in sys.modules:
        import keras

        keras.config.set_dtype_policy("float32")
        forget_graphs()


@pytest.fixture
def by_operation():
    """Runs what is compiled operation by operation: compiling a small step takes longer than to make it."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of real data and weights."""
    folder = os.environ.get("MTL_TF_SHARED", "")
    if not folder or not pathlib.Path(folder).is_dir():
        pytest.skip("MTL_TF_SHARED does not name the folder of real data and weights")
    return pathlib.Path(folder).resolve()


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory) -> pathlib.Path:
    """A folder data set with 6 training and 3 validation samples of 32x48 pixels."""
    return write_dataset(tmp_path_factory.mktemp("tiny") / "data", {"train": 6, "val": 3})


@pytest.fixture(scope="session")
def tiny_run(tiny_dataset, tmp_path_factory) -> pathlib.Path:
    """A finished run of the tiny network; tests must not change it (copy it)."""
    from mtl_tf.commands import main

    run_dir = tmp_path_factory.mktemp("run") / "tiny"
    arguments = [f"--data.root={tiny_dataset}", "--data.image_size=32,48", f"--run_dir={run_dir}"]
    assert main(["train", *TINY, *arguments, "--log.panels_every=3"]) == 0
    return run_dir


@pytest.fixture(scope="session")
def field(tmp_path_factory) -> pathlib.Path:
    """Small data sets as people have them, a folder each, and truth.npz; tests must not change them (copy them)."""
    from tests.field.generator import write_all

    return write_all(tmp_path_factory.mktemp("field"))
