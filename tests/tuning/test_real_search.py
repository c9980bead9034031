"""A search with real trainings, killed in the middle of one."""

import json
import shutil

import pytest

from mtl_tf.config import values
from mtl_tf.flags import parse, read_run_flags
from mtl_tf.tuning.space import read_space
from tests.helpers import ROOT, TINY, assert_same_run, command
from tests.tuning.common import arguments, rows, start, wait_until

SPACE = '"optim.learning_rate" = [0.001, 1e30]\n"model.dilation" = ["0,0,1", "0,1,1"]'


@pytest.mark.slow
def test_a_search_that_is_killed_in_a_training_ends_as_one_that_is_not(tiny_dataset, tmp_path):
    """Also a trial that really diverges, tuple options, HParams, and that best.flags repeats the best trial."""
    options = [*TINY, f"--data.root={tiny_dataset}", "--train.checkpoint_every=1", "--algorithm=grid"]
    given = arguments(tmp_path / "s", SPACE, *options)
    search = start(given, stubbed=False)
    # Four of six steps, and the first epoch's checkpoint is behind.
    wait_until(lambda: any(_lines(file) >= 5 for file in (tmp_path / "s" / "trials").glob("0000*/steps.csv")))
    search.kill()
    search.communicate()
    (first,) = (tmp_path / "s" / "trials").iterdir()
    stopped = {name: file.stat().st_mtime_ns for name, file in _checkpoints(first).items()}
    assert stopped and not (first / "outcome.json").exists()
    out, error = start(given, stubbed=False).communicate(timeout=400)
    assert "continues after step" in out, error
    table = rows(tmp_path / "s")
    assert [row["status"] for row in table] == ["done", "done", "diverged", "diverged"]
    assert {row["model.dilation"] for row in table[:2]} == {"0,0,1", "0,1,1"}
    assert "non-finite loss at step" in table[-1]["message"]
    assert all(float(row["multiply_adds"]) > 0 and float(row["seconds"]) > 0 for row in table[:2])

    # The trial that was killed ended as the same training without a search.
    flag_file = tmp_path / "whole.flags"
    shutil.copy(first / "run.flags", flag_file)
    done = command("train", f"--flagfile={flag_file}", f"--run_dir={tmp_path / 'whole'}")
    assert done.returncode == 0, done.stderr
    assert_same_run(first, tmp_path / "whole")

    best = read_run_flags(tmp_path / "s" / "best.flags")
    assert ",".join(map(str, values(best)["model.dilation"])) == table[0]["model.dilation"]
    scores = json.loads((tmp_path / "s" / "trials" / table[0]["trial"] / "evaluation_val.json").read_text())
    assert scores["total"] == pytest.approx(float(table[0]["total"]))


def _lines(file):
    return file.read_text().count("\n")


def _checkpoints(run_dir):
    return {file.name: file for file in (run_dir / "checkpoints").glob("*.index")}


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "tune").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_spaces_fit_their_flags(path):
    text = path.read_text()
    assert text.startswith("# ") and "Command:" in text
    base = parse([f"--flagfile={path.with_suffix('.flags')}"]).config
    space = read_space(str(path))
    first = {
        dimension.name: dimension.values[0] if dimension.values else dimension.low for dimension in space.dimensions
    }
    assert space.apply(base, first) != base
