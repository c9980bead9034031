"""Mistakes that need no TensorFlow are answered before it is imported, which takes seconds."""

import json
import subprocess
import sys

import pytest

from tests.helpers import ROOT, write_dataset

# Command lines with {data} and {tmp}, and what the one line says.
MISTAKES = {
    "train": "--run_dir=FOLDER is missing",
    "train --run_dir={tmp}/run --data.name=folder --data.root={tmp}/absent": "absent/dataset.json: no such file",
    "train --run_dir={tmp}/run --data.root={data}": "would not be read, since --data.name=synthetic has no files",
    "train --run_dir={tmp}/run --data.name=folder --data.root={data} --tasks=semsg": "no semsg labels; did you mean",
    "train --run_dir={tmp}/run --data.name=folder --data.root={data} --data.train_split=trian": "trian",
    "train --run_dir={tmp}/run --data.image_size=240x320": "takes height,width, as in 240,320; got '240x320'",
    "evaluate": "--run_dir=FOLDER is missing",
    **{f"{name} --run_dir={{tmp}}/absent": "absent is no run" for name in ("evaluate", "predict", "export", "report")},
    "evaluate --run_dir={tmp}/absent --train.epohs=3": "unknown flag --train.epohs",
}
# Importing TensorFlow fails, as if it were not there.
SCRIPT = """
import contextlib, io, json, sys
sys.modules["tensorflow"] = sys.modules["keras"] = None
from mtl_tf.commands import main
found = []
for words in json.load(sys.stdin):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        found.append([main(words), said.getvalue()])
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Status and error of every command line, all in one process."""
    tmp = tmp_path_factory.mktemp("mistakes")
    data = write_dataset(tmp / "data", {"train": 2, "val": 1})
    words = [line.format(data=data, tmp=tmp).split() for line in MISTAKES]
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(words), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(MISTAKES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("line", MISTAKES)
def test_it_is_answered_in_one_line_without_tensorflow(line, answers):
    status, said = answers[line]
    assert status == 2 and said.count("\n") == 1, said
    assert MISTAKES[line] in said
