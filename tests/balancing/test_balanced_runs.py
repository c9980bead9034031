"""Runs with balancing, as a user makes them: what they write down, and that one that was killed ends as any other."""

import csv
import itertools
import math
import shutil
import signal

import pytest

from mtl_tf.commands import main
from mtl_tf.training.journal import Journal
from tests.balancing.step import register
from tests.helpers import (
    TINY,
    as_built_in,
    assert_same_run,
    events_of,
    in_this_process,
    one_line_error,
    start_command,
    state_of,
    steps_of,
    write_dataset,
)

# Makes the tiny network known, and kills the process when the row of a step is written.
PLUGIN = """
import os, signal
from mtl_tf.training.journal import Journal
from tests.balancing.step import register

register()
last = int(os.environ.get("KILLED_AFTER", 0))
write = Journal.step

def step(self, *args):
    write(self, *args)
    if self._state.step == last:
        os.kill(os.getpid(), signal.SIGKILL)

Journal.step = step
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Eight training samples: four steps an epoch."""
    return write_dataset(tmp_path_factory.mktemp("balanced") / "data", {"train": 8, "val": 2})


@pytest.fixture(autouse=True)
def tiny_network():
    """Makes it known, as the plugin does."""
    with as_built_in():
        register()
        yield


def _arguments(dataset, run_dir, *options):
    chosen = ["--model.encoder=two_stages", "--model.architecture=tiny_joint", "--log.panels_every=0"]
    return ["train", *TINY, f"--data.root={dataset}", f"--run_dir={run_dir}", *chosen, *options]


def _rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# === What a run writes down ===


def test_a_run_writes_weights_lengths_and_conflicts_of_its_gradients(dataset, tmp_path):
    run_dir = tmp_path / "run"
    assert main(_arguments(dataset, run_dir, "--train.epochs=1", "--balance.aggregator=mgda")) == 0
    rows = steps_of(run_dir)
    assert len(rows) == 4
    for row in rows:
        weights, norms = ([float(row[f"{what}_{name}"]) for name in ("semseg", "depth")] for what in ("weight", "norm"))
        cosine = float(row["cosine_semseg_depth"])
        assert sum(weights) == pytest.approx(1.0, abs=1e-5) and min(weights) >= 0 and min(norms) > 0
        assert row["conflicts"] == str(int(cosine < 0))
        # Of the shortest convex combination: the longer row has the smaller weight.
        inner, (one, other) = cosine * math.prod(norms), (norm**2 for norm in norms)
        first = min(max((other - inner) / (one + other - 2 * inner), 0.0), 1.0)
        assert weights[0] == pytest.approx(first, abs=1e-3)
    conflicts = _rows(run_dir / "conflicts.csv")
    parts = ("encoder/stage1", "encoder/stage2", "shared/shared_coarse_conv", "shared/shared_coarse_bn")
    assert [(row["step"], row["part"]) for row in conflicts] == list(itertools.product("1234", parts))
    assert all(-1 <= float(row["cosine_semseg_depth"]) <= 1 for row in conflicts)
    tags = {tag for _, tag in events_of(run_dir)}
    columns = {"weight_semseg", "weight_depth", "norm_semseg", "norm_depth", "cosine_semseg_depth", "conflicts"}
    assert {tag for tag in tags if tag.startswith("balance/")} == {f"balance/{name}" for name in columns}
    assert in_this_process("report", f"--run_dir={run_dir}").returncode == 0
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    assert "cosine_semseg_depth" in page or "semseg and depth" in page


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--tasks=depth"], "a single task: balance.* has nothing to balance"),
        (
            ["--model.architecture=tiny_branched", "--train.freeze_encoder=-1"],
            "no trained parameter is shared: balance.aggregator has nothing to combine",
        ),
    ],
)
def test_a_run_with_nothing_to_combine_says_so_and_trains(dataset, tmp_path, capsys, options, told):
    run_dir = tmp_path / "run"
    assert main(_arguments(dataset, run_dir, "--train.epochs=1", "--balance.aggregator=mgda", *options)) == 0
    assert told in capsys.readouterr().out.splitlines()
    assert all(math.isfinite(float(row["loss"])) for row in steps_of(run_dir))
    assert not any(float(row.get("cosine_semseg_depth") or 0) for row in steps_of(run_dir))


# === Runs that are continued ===


def test_other_options_of_balancing_are_refused_and_runs_older_than_these_go_on(dataset, tmp_path, capsys):
    given, run_dir = _arguments(dataset, tmp_path / "run"), tmp_path / "run"
    assert main(given) == 0
    whole = shutil.copytree(run_dir, tmp_path / "whole")
    for option, told in (
        ("--balance.aggregator=mgda", "--balance.aggregator was none, now mgda"),
        ("--balance.scalarizer=uw", "--balance.scalarizer was fixed, now uw"),
    ):
        assert told in one_line_error(main([*given, option]), capsys.readouterr().err)
    # As such a run was: without any option of balancing, at its first epoch.
    flags = (run_dir / "run.flags").read_text().splitlines()
    older = [line for line in flags if not line.startswith("--balance.")]
    assert len(older) < len(flags)
    (run_dir / "run.flags").write_text("\n".join(older) + "\n")
    for file in (*(run_dir / "checkpoints").glob("ckpt-2.*"), run_dir / "metrics.json"):
        file.unlink()
    assert main(given) == 0
    assert "continues after step 4" in capsys.readouterr().out
    assert_same_run(run_dir, whole)


STATEFUL = {
    "dwa": ["--balance.scalarizer=dwa"],
    "famo": ["--balance.scalarizer=famo"],
    "auto_lambda": ["--balance.scalarizer=auto_lambda", "--balance.rate=0.03"],
    "gradvac": ["--balance.aggregator=gradvac"],
    "moco": ["--balance.aggregator=moco"],
    "nash": ["--balance.aggregator=nash", "--balance.every=3"],
    "graddrop": ["--balance.scalarizer=gradnorm", "--balance.aggregator=graddrop"],
}


@pytest.mark.slow
@pytest.mark.parametrize("method", STATEFUL)
def test_a_killed_run_ends_as_one_that_was_not(dataset, tmp_path, monkeypatch, method):
    """Killed within an epoch, a step after a checkpoint; bit for bit, with the state of balancing and conflicts.csv."""
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)
    options = ["--train.epochs=3", "--train.checkpoint_every=2", *STATEFUL[method]]
    whole, run_dir = tmp_path / "whole", tmp_path / "run"
    assert main(_arguments(dataset, whole, *options)) == 0
    monkeypatch.setenv("KILLED_AFTER", "7")
    monkeypatch.setattr(Journal, "step", Journal.step)  # what the plugin changes, which the run names
    killed = start_command(*_arguments(dataset, run_dir, *options), f"--plugin={plugin}")
    _, told = killed.communicate(timeout=240)
    assert killed.returncode == -signal.SIGKILL, told
    monkeypatch.delenv("KILLED_AFTER")
    assert len(steps_of(run_dir)) == 7 and not (run_dir / "metrics.json").exists()
    assert main(_arguments(dataset, run_dir, *options)) == 0
    assert_same_run(run_dir, whole)
    one, other = (_conflicts(folder) for folder in (run_dir, whole))
    assert one == other and bool(one) == ("--balance.aggregator" in str(options))
    assert any("balance/" in name for name in state_of(run_dir))


def _conflicts(run_dir):
    path = run_dir / "conflicts.csv"
    return path.read_text() if path.exists() else ""
