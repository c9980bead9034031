"""Exports run wherever TensorFlow does: in its own loader, which C, C++, Java, Go and Serving use, as in Python."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import mtl_tf
from mtl_tf.commands import main
from mtl_tf.config import Config, replace
from mtl_tf.data import descriptors
from mtl_tf.inference.predictor import Predictor
from mtl_tf.models import build_model
from mtl_tf.tasks import cityscapes_tasks
from mtl_tf.training.checkpoints import save_weights
from mtl_tf.training.run_directory import RunDirectory
from tests.models.common import randomise

pytestmark = pytest.mark.slow

ARCHITECTURES = {"joint": "stretch", "branched": "pad", "distilled": "crop"}  # and how pictures are brought to size
FAST = [("joint", "float32"), ("distilled", "mixed_bfloat16")]
SLOW = [("distilled", "float32"), ("branched", "float32"), ("joint", "mixed_bfloat16"), ("branched", "mixed_bfloat16")]
CASES = [*FAST, *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW)]
KINDS = {"semseg": np.int32, "semseg_probability": np.float32, "depth": np.float32}


@pytest.fixture(scope="session")
def runner(tmp_path_factory) -> pathlib.Path:
    """tests/export/run_saved_model.c, compiled against the library in TensorFlow's wheel."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler")
    home = pathlib.Path(tf.sysconfig.get_lib())
    libraries = [next(home.glob(f"libtensorflow_{name}.*"), None) for name in ("cc", "framework")]
    if None in libraries:
        pytest.skip(f"{home} holds no library of TensorFlow's C API")
    program = tmp_path_factory.mktemp("runner") / "run_saved_model"
    source = pathlib.Path(__file__).with_name("run_saved_model.c")
    command = [compiler, source, "-o", program, f"-I{tf.sysconfig.get_include()}", *libraries, f"-Wl,-rpath,{home}"]
    subprocess.run(command, check=True)
    return program


class Case(NamedTuple):
    """An export, the predictor of the run that it is of, and pictures (2, H, W, 3) to answer for."""

    export: pathlib.Path
    precision: str
    predictor: Predictor
    pictures: np.ndarray


@pytest.fixture(scope="module")
def runs(tiny_dataset, tmp_path_factory):
    """A run of each architecture, with random weights in the place of trained ones."""
    made = {}
    descriptor = descriptors.read(tiny_dataset)
    for architecture, fit in ARCHITECTURES.items():
        config = replace(
            Config(),
            run_dir=str(tmp_path_factory.mktemp("runs") / architecture),
            data__name="folder",
            data__root=str(tiny_dataset),
            data__image_size=(32, 48),
            data__fit=fit,
            model__encoder="resnet18",
            model__architecture=architecture,
            model__aspp_rates=(3,),
            tasks=("semseg", "depth"),
        )
        with RunDirectory(config) as directory:
            directory.claim(descriptor)
        model = build_model(config.model, descriptor.tasks(config))
        randomise(model, seed=1)
        save_weights(model, directory.path / "best" / "weights.h5")
        made[architecture] = directory.path
    return made


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request, runs, tmp_path_factory) -> Case:
    """The export of a run, by the command, and answers for pictures of another size and aspect than its training's."""
    architecture, precision = request.param
    export = tmp_path_factory.mktemp("export") / "model"
    assert main(["export", f"--run_dir={runs[architecture]}", f"--output={export}", f"--precision={precision}"]) == 0
    pictures = np.random.default_rng(0).integers(0, 256, (2, 45, 90, 3)).astype(np.uint8)
    return Case(export, precision, mtl_tf.load(runs[architecture], precision=precision), pictures)


def graph_of(export):
    """The one graph of a SavedModel."""
    (graph,) = SavedModel.FromString((export / "saved_model.pb").read_bytes()).meta_graphs
    return graph


def check(found, expected):
    assert len(np.unique(expected.semseg)) > 1 and expected.depth.std() > 0.01
    np.testing.assert_array_equal(found["semseg"], expected.semseg)
    np.testing.assert_allclose(found["depth"], expected.depth, rtol=1e-5)


def test_every_variable_is_exported_once(case):
    """The loader restores what has a tensor in the file; a handle more would have no value."""
    nodes = [node for node in graph_of(case.export).graph_def.node if node.op == "VarHandleOp"]
    handles = sum(node.attr["dtype"].type != tf.string.as_datatype_enum for node in nodes)  # the asset's path is text
    names = [name for name, _ in tf.train.list_variables(str(case.export / "variables" / "variables"))]
    names.remove("_CHECKPOINTABLE_OBJECT_GRAPH")
    assert handles == len(names) > 50


def test_the_c_api_gives_the_answers_of_the_run(case, runner, tmp_path):
    signature = graph_of(case.export).signature_def["serving_default"]
    (tmp_path / "pictures").write_bytes(case.pictures.tobytes())
    files = {name: tmp_path / name for name in signature.outputs}
    outputs = [part for name, file in files.items() for part in (signature.outputs[name].name, file)]
    size = case.pictures.shape[:3]
    inputs = [*map(str, size), tmp_path / "pictures", signature.inputs["image"].name]
    done = subprocess.run([runner, case.export, *inputs, *outputs], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {name: np.frombuffer(file.read_bytes(), KINDS[name]).reshape(size) for name, file in files.items()}
    check(found, case.predictor(case.pictures))


@pytest.mark.parametrize(
    "case",
    [
        ("joint", "float32"),
        ("distilled", "mixed_bfloat16"),
        pytest.param(("branched", "float32"), marks=pytest.mark.slow),
    ],
    indirect=True,
    ids="-".join,
)
def test_python_gives_the_answers_of_the_run(case):
    exported = mtl_tf.load(case.export)
    for scale in ("fit", "native"):
        found, expected = exported(case.pictures, scale), case.predictor(case.pictures, scale)
        check(found, expected)
        np.testing.assert_allclose(found.semseg_probability, expected.semseg_probability, atol=1e-5)


def test_the_signature_and_the_description_are_the_contract(case):
    signature = graph_of(case.export).signature_def["serving_default"]
    assert {name: info.dtype for name, info in signature.inputs.items()} == {"image": tf.uint8.as_datatype_enum}
    assert {name: tf.as_dtype(info.dtype) for name, info in signature.outputs.items()} == KINDS
    described = json.loads((case.export / "assets" / "tasks.json").read_text())
    assert described["precision"] == case.precision and list(described["tasks"]) == ["semseg", "depth"]


@pytest.mark.parametrize("case", [("joint", "float32")], indirect=True, ids="-".join)
def test_saved_model_cli_gives_the_answers_of_the_run(case, tmp_path):
    np.save(tmp_path / "image.npy", case.pictures)
    signature = ["--dir", case.export, "--tag_set", "serve", "--signature_def", "serving_default"]
    data = ["--inputs", f"image={tmp_path / 'image.npy'}", "--outdir", tmp_path]
    tool = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "run"]
    done = subprocess.run([*tool, *signature, *data], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check({name: np.load(tmp_path / f"{name}.npy") for name in KINDS}, case.predictor(case.pictures))


def test_answers_stand_in_the_order_of_the_tasks():
    names = ("depth_2_sure", "semseg_probability", "depth_2", "semseg")  # as a SavedModel may give them
    tasks = [
        dataclasses.replace(task, name=name)
        for task, name in zip(cityscapes_tasks(), ("semseg", "depth_2"), strict=True)
    ]
    given = {name: tf.zeros((1, 2, 2)) for name in names}
    answer = Predictor({"fit": lambda image: given}, tuple(tasks), None)(np.zeros((2, 2, 3), np.uint8))
    assert list(answer) == ["semseg", "semseg_probability", "depth_2", "depth_2_sure"]
