"""Runs of single tasks as the start of networks with an encoder for each task: --arch.cross_stitch.runs."""

import re

import keras
import numpy as np
import pytest

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models import build_model
from mtl_tf.models.encoder_layers import in_encoder
from mtl_tf.models.weights.single_runs import load_single_runs
from mtl_tf.tasks import cityscapes_tasks
from tests.helpers import TINY, in_this_process, one_line_error, weights_of, write_dataset
from tests.models.common import unfilled_variables

pytestmark = pytest.mark.slow

NAMES = "semseg", "depth"
OPTION = "--arch.cross_stitch.runs"


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """Of the shortest training there is, a step of two images."""
    data = write_dataset(tmp_path_factory.mktemp("pair") / "data", {"train": 2, "val": 1})
    return *TINY, f"--data.root={data}", "--data.image_size=32,48", "--train.epochs=1"


@pytest.fixture(scope="module")
def runs(arguments, tmp_path_factory):
    """A run of each task alone."""
    found = [tmp_path_factory.mktemp("single") / name for name in NAMES]
    for name, run in zip(NAMES, found, strict=True):
        done = in_this_process("train", *arguments, "--model.architecture=hps", f"--tasks={name}", f"--run_dir={run}")
        assert done.returncode == 0, done.stderr
    return found


def tasks_of(run):
    """Those of the tiny data set: three classes, and depth."""
    semseg, depth = cityscapes_tasks()
    classes = weights_of(run)["semseg/head/conv/bias"].size
    return type(semseg)(semseg.classes[:classes], semseg.palette[:classes]), depth


def crossed(tasks, encoder="tiny"):
    return build_model(ModelConfig(architecture="cross_stitch", encoder=encoder), tasks)


def floats(model):
    return [variable for variable in model.variables if keras.backend.is_float_dtype(variable.dtype)]


def test_each_encoder_and_head_starts_as_that_of_its_run(runs):
    model = crossed(tasks_of(runs[0]))
    units = {variable.path: variable.numpy() for variable in model.variables if variable.path.startswith("exchange/")}
    said = load_single_runs(model, tasks_of(runs[0]), list(map(str, runs)), OPTION)
    assert said == f"encoders and heads start as those of single tasks: semseg from {runs[0]}, depth from {runs[1]}"
    stored = {name: weights_of(run) for name, run in zip(NAMES, runs, strict=True)}
    for variable in floats(model):
        name = variable.path.partition("/")[0]
        if name == "exchange":
            expected = units.pop(variable.path)
        else:
            expected = stored[name].pop(in_encoder(variable.path) or variable.path)
        np.testing.assert_array_equal(variable.numpy(), expected, err_msg=variable.path)
    assert not units and not any(stored.values())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            (1, 0),
            r"is no run of semseg alone with this encoder and head: .* it has nothing; train one with --tasks=semseg",
        ),
        ((0,), r"takes 2 runs, in the order of the tasks \(semseg, depth\), or none; got 1$"),
        ((0, 1, 1), r"takes 2 runs, in the order of the tasks \(semseg, depth\), or none; got 3$"),
        ((0, None), "names no such file: it is a folder, and not that of a run"),
    ],
)
def test_other_runs_are_refused(runs, given, told, tmp_path):
    tasks = tasks_of(runs[0])
    with unfilled_variables():
        model = crossed(tasks)
    paths = [str(tmp_path if number is None else runs[number]) for number in given]
    with pytest.raises(UsageError, match=f"^{re.escape(OPTION)}.*{told}"):
        load_single_runs(model, tasks, paths, OPTION)


def test_runs_of_another_encoder_are_refused(runs):
    tasks = tasks_of(runs[0])
    with unfilled_variables():
        model = crossed(tasks, "resnet34")
    told = (
        rf"^{re.escape(OPTION)}: {runs[0]} is no run of semseg alone with this encoder and head: of encoder/layer1_0_"
    )
    with pytest.raises(UsageError, match=told):
        load_single_runs(model, tasks, list(map(str, runs)), OPTION)


CROSSED = "--model.architecture=cross_stitch", "--optim.learning_rate=0"


def test_a_training_says_in_a_line_why_it_does_not_start(arguments, runs, tmp_path):
    given = f"{OPTION}={runs[0]},{tmp_path}", f"--run_dir={tmp_path / 'run'}"
    done = in_this_process("train", *arguments, *CROSSED, *given)
    assert f"{OPTION}: {tmp_path} names no such file" in one_line_error(done.returncode, done.stderr)


def test_a_training_starts_from_them(arguments, runs, tmp_path):
    """Without a learning rate what was loaded is what the run ends with."""
    given = f"{OPTION}={','.join(map(str, runs))}", f"--run_dir={tmp_path / 'run'}"
    done = in_this_process("train", *arguments, *CROSSED, *given)
    assert done.returncode == 0, done.stderr
    assert "encoders and heads start as those of single tasks" in done.stdout
    stored = {name: weights_of(run) for name, run in zip(NAMES, runs, strict=True)}
    for path, value in weights_of(tmp_path / "run").items():
        name = path.partition("/")[0]
        if name in stored and "moving" not in path:  # running statistics move without any rate
            np.testing.assert_array_equal(value, stored[name][in_encoder(path) or path], path)
