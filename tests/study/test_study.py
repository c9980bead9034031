"""`main.py study` as a user runs it: to the end, killed and continued, side by side, and asked wrongly."""

import csv
import json
import os
import signal
import subprocess
import sys

import pytest

from tests.helpers import ROOT, TINY, children_of, command, one_line_error, wait_until

SMALL = """
[start]
model = {skip = false}

[[table]]
name = "T1"
title = "Rates"
rows = [
  {name = "good", set = {optim.learning_rate = 0.01}, published = {total = 44.0}},
  {name = "too fast", set = {optim.learning_rate = 1e20}, published = {status = "failed"}},
]

[[table]]
name = "T2"
title = "Chosen rate"
choose_from = ["T1"]
pinned = "T1/good"

[[table]]
name = "T3"
title = "Architectures"
rows = [
  {name = "joint", seeds = "architectures", published = {total = 60.0, hours = 1}},
  {name = "pretrained", like = "T3/joint", set = {model.encoder_weights = "given"}, published = {total = 61.0}},
]

[[table]]
name = "single"
title = "Single tasks"
baseline = true
rows = [
  {name = "semseg", like = "T3/joint", set = {tasks = "semseg"}},
  {name = "depth", like = "T3/joint", set = {tasks = "depth"}},
]

[[figure]]
name = "figure1"
title = "Rates"
tables = ["T1"]
metrics = ["loss", "miou"]
"""


@pytest.fixture
def arguments(tiny_dataset, tmp_path):
    """The arguments of a study of five runs."""
    (tmp_path / "small.toml").write_text(SMALL)
    return [
        "study",
        *TINY,
        "--train.epochs=1",
        f"--data.root={tiny_dataset}",
        "--data.image_size=32,48",
        f"--experiments={tmp_path / 'small.toml'}",
        "--architecture_seeds=2",
        f"--run_dir={tmp_path / 'study'}",
    ]


def rows_of(study, name):
    with open(study / "results" / f"{name}.csv", encoding="utf-8", newline="") as file:
        return {row["row"]: row for row in csv.DictReader(file)}


def check_finished(study):
    """All that the small study must have made."""
    rates = rows_of(study, "T1")
    assert rates["good"]["status"] == "done" and float(rates["good"]["total"])
    assert rates["too fast"]["status"].startswith("failed: non-finite loss at step ")
    architectures = rows_of(study, "T3")
    assert "±" in architectures["joint"]["total"] and architectures["joint"]["seeds"] == "2"
    assert architectures["joint"]["run time, published"] == "1:00:00"
    assert architectures["joint"]["delta_m, %"]
    assert architectures["pretrained"]["status"] == "no weights"
    assert set(rows_of(study, "single")) == {"semseg", "depth"}
    text = (study / "results" / "tables.md").read_text()
    assert "Published total: good > too fast. The ordering holds here" in text
    assert "Not comparable: pretrained (no weights)" in text
    assert (study / "results" / "figure1.png").stat().st_size > 10_000
    page = (study / "study.html").read_text()
    assert "too fast" in page and "http://" not in page.replace("http://www.w3.org", "")
    runs = list((study / "runs").iterdir())
    assert len(runs) == 5
    return {run.name: (run / "outcome.json").read_text() for run in runs}


@pytest.mark.slow
def test_killed_and_continued_it_repeats_nothing_and_ends_alike(arguments, tmp_path):
    study = tmp_path / "study"
    process = subprocess.Popen(
        [sys.executable, ROOT / "main.py", *arguments], stdout=subprocess.DEVNULL, start_new_session=True
    )
    wait_until(lambda: len(list(study.glob("runs/*/outcome.json"))) >= 2)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in study.glob("runs/*/outcome.json")}
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    finished = check_finished(study)
    for path, when in before.items():
        assert path.stat().st_mtime_ns == when, path
    # Once more: nothing is left to do, and the tables are the same.
    tables = (study / "results" / "tables.md").read_text()
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    assert check_finished(study) == finished
    assert (study / "results" / "tables.md").read_text() == tables
    # The event files hold what the HParams page shows.
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = next(study.glob("runs/T1-good-*"))
    events = EventAccumulator(str(run / "events"))
    events.Reload()
    (content,) = events.PluginTagToContent("hparams").values()
    assert b"T1/good" in content and b"model.skip" in content
    # Another configuration is refused.
    refused = command(*arguments, "--train.batch_size=3")
    assert "--train.batch_size was 2, now 3" in one_line_error(refused.returncode, refused.stderr)


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed(arguments, tmp_path):
    study = tmp_path / "study"
    process = subprocess.Popen(
        [sys.executable, ROOT / "main.py", *arguments, "--workers=2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: list(study.glob("runs/*/checkpoints")))
    worker = children_of(process.pid)[0]
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: process.poll() is not None, 400)
    assert process.poll() == 0, process.stderr.read()
    check_finished(study)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--tables=T9"], ["no table 'T9'"]),
        (["--experiments=/no/such.toml"], ["/no/such.toml", "No such file"]),
        (["--carry=bset"], ["--carry", "report, best"]),
        (["--model.encoder_weights=/no/such.h5"], ["/no/such.h5"]),
        (["--seeds=0"], ["at least 1"]),
    ],
)
def test_wrong_questions(arguments, extra, words, capsys):
    from mtl_tf.commands import main

    assert main([*arguments, *extra]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and all(word in error for word in words), error


def test_every_shipped_study_is_a_plan(tmp_path):
    from mtl_tf import flags
    from mtl_tf.study.declaration import read
    from mtl_tf.study.options import StudyOptions
    from mtl_tf.study.plan import Plan

    for file in sorted((ROOT / "configs" / "study").glob("*.flags")):
        parsed = flags.parse([f"--flagfile={file}", "--model.encoder_weights=none"], StudyOptions)
        plan = Plan(read(parsed.own.experiments), parsed.config, parsed.own)
        assert plan.all_runs() and not plan.waits(), file
        json.dumps([run.name for run in plan.all_runs()])


def test_the_published_study_shares_runs(tmp_path):
    """.4/.6 of T6 is the plain row of T8; the joint rows of all tables are one; batch 4 is SGD 0.05."""
    from mtl_tf import flags
    from mtl_tf.study.declaration import read
    from mtl_tf.study.options import StudyOptions
    from mtl_tf.study.plan import Plan

    parsed = flags.parse([f"--flagfile={ROOT / 'configs/study/quick.flags'}"], StudyOptions)
    plan = Plan(read(), parsed.config, parsed.own)

    def runs(key):
        return plan.runs_of(plan.declaration.row(key))

    assert runs("T4/4") == runs("T2/0.05") == runs("T6/.5/.5")
    assert runs("T8/plain") == runs("T6/.4/.6") == runs("solutions/plain")
    assert runs("T9/joint") == runs("T10/joint") == runs("T11/joint") and len(runs("T9/joint")) == 3
    assert runs("best/distilled") == runs("T12/distilled")
    assert [run.config.train.epochs for key in ("T4/2", "T4/8", "T4/16") for run in runs(key)] == [2, 8, 16]
    last = runs("best/+ dilation 0,1,1")[0].config
    assert last.model.squeeze_excitation and last.model.skip_strides == (8, 4, 2) and last.task["depth"].space == "log"
    assert last.model.architecture == "distilled" and last.model.dilation == (0, 1, 1)


def test_curves_are_told_apart():
    """A row has one colour and marker, its seeds differ in their lines; no two curves look alike."""
    from mtl_tf.study.write import _looks

    labels = [f"row {row}, seed {seed}" for row in range(12) for seed in range(3)]
    looks = _looks([*labels, "alone"])
    assert len(set(looks.values())) == len(looks) == 37
    assert {looks[f"row 3, seed {seed}"][:2] for seed in range(3)} == {("C3", "o")}
    assert looks["row 10, seed 0"] == ("C0", "s", "-") and looks["alone"] == ("C2", "s", "-")
