"""Objects that training code saves beside the weights do not keep a file from being read, and are never made."""

import argparse
import collections
import datetime
import io
import pathlib
import pickle
import types

import numpy as np
import pytest

from mtl_tf.models.weights import pickles, torch_files
from mtl_tf.models.weights.tensors import UnreadableError
from tests.models.weights.torch_writer import Pickle, write_zip

BESIDE = {
    "counter": collections.Counter("abca"),
    "by name": collections.defaultdict(list, {"a": [1]}),
    "arguments": argparse.Namespace(lr=0.1, folder=pathlib.PurePosixPath("/data")),
    "namespace": types.SimpleNamespace(epochs=3),
    "path": pathlib.Path("runs"),
    "windows": pathlib.PureWindowsPath("C:/runs"),
    "best": np.float64(0.5),
    "array": np.arange(3),
    "when": datetime.datetime(2020, 1, 2),
    "classes": {"road", "sky"},
    "frozen": frozenset({"road"}),
    "queue": collections.deque([1, 2]),
    "complex": 1 + 2j,
}


def read(content: bytes):
    return pickles.load(io.BytesIO(content))


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("protocol", [2, 4])
def test_each_is_inert_and_what_stands_beside_it_is_read(name, protocol):
    found = read(pickle.dumps({"before": 1, name: BESIDE[name], "after": ["text", 2.5]}, protocol=protocol))
    assert found == {"before": 1, name: pickles.INERT, "after": ["text", 2.5]}


def test_a_device_is_inert():
    content = Pickle()(pickle.EMPTY_DICT).text("device").name("torch", "device")(pickle.MARK).text("cuda").number(0)
    assert read(content(pickle.TUPLE, pickle.REDUCE, pickle.SETITEM).end()) == {"device": pickles.INERT}


def test_the_tensors_of_such_a_file_are_read(tmp_path):
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    content = Pickle()(pickle.EMPTY_DICT, pickle.MARK).text("arguments").name("argparse", "Namespace")
    content(pickle.EMPTY_TUPLE, pickle.NEWOBJ, pickle.EMPTY_DICT).text("lr").number(1)(pickle.SETITEM, pickle.BUILD)
    content.text("state_dict")(pickle.EMPTY_DICT).text("conv.weight").tensor("0", weight, legacy=False)
    write_zip(tmp_path / "a.pth", {"conv.weight": weight}, content(pickle.SETITEM, pickle.SETITEMS).end())
    with torch_files.open_zip(tmp_path / "a.pth") as tensors:
        np.testing.assert_array_equal(tensors["state_dict.conv.weight"].read(), weight)


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "builtins.getattr", "subprocess.Popen", "mine.Model"])
def test_other_objects_are_refused(name):
    module, _, function = name.rpartition(".")
    content = Pickle().name(module, function)(pickle.MARK).text("x")(pickle.TUPLE, pickle.REDUCE).end()
    with pytest.raises(UnreadableError, match=f"asks for {name}, which is no part of a tensor, and is not trusted"):
        read(content)
