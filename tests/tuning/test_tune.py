"""`main.py tune` in one process with stubbed trials: order, completeness, resuming, failures, results."""

import contextlib
import json
import math
import os

import pytest

from mtl_tf.commands import main
from mtl_tf.config import values
from mtl_tf.errors import StoppedError, UsageError
from mtl_tf.flags import read_run_flags
from mtl_tf.tuning import trial
from mtl_tf.tuning.objectives import check_one_scale
from tests.study.four_tasks import four_tasks
from tests.tuning.common import arguments, ran, rows, statuses
from tests.tuning.stub import stub_trials

SMALL = '"optim.learning_rate" = [0.1, 0.01, 0.001]\n"loss.depth_weight" = [0.5, 1.0]'
RATE = '"optim.learning_rate" = {low = 1e-4, high = 1e-1, scale = "log"}'
RANGES = """
"optim.learning_rate" = {low = 1e-4, high = 1e-1, scale = "log"}
"loss.depth_weight" = {low = 0.1, high = 1.0}
"train.batch_size" = {low = 2, high = 16}
"optim.name" = ["sgd", "adam"]
"""


@pytest.fixture(autouse=True)
def stubbed(monkeypatch):
    """No trial trains, no question waits."""
    monkeypatch.setattr(trial, "run_trial", stub_trials.run_trial)
    monkeypatch.setattr("mtl_tf.tuning.search.POLL_SECONDS", 0.0)


def error_of(capsys, given):
    assert main(given) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: ")
    return lines[-1]


def test_a_grid_runs_every_combination_in_its_order(tmp_path, capsys):
    run_dir = tmp_path / "s"
    assert main(arguments(run_dir, SMALL, "--algorithm=grid")) == 0
    assert ran(run_dir) == [
        f"000{2 * i + j}-depth_weight={weight}-learning_rate={rate}"
        for i, rate in enumerate((0.1, 0.01, 0.001))
        for j, weight in enumerate((0.5, 1.0))
    ]
    table = rows(run_dir)
    totals = [float(row["total"]) for row in table]
    assert totals == sorted(totals, reverse=True) and len(totals) == 6
    best = read_run_flags(run_dir / "best.flags")
    assert values(best)["optim.learning_rate"] == float(table[0]["optim.learning_rate"]) in (0.01, 0.001)
    shown = capsys.readouterr().out
    assert "trial 6 of 6" in shown and "left" in shown and "0 of them without a score" in shown


@pytest.mark.parametrize("name", ["[1]", "*", os.fsdecode(b"\xff?"), 'a\nb "c" $d'])
def test_a_search_in_a_folder_of_any_name_goes_on(tmp_path, name):
    (tmp_path / "1" / "search" / "trial_9").mkdir(parents=True)
    (tmp_path / "1" / "search" / "trial_9" / "trial.json").write_text("of another search")
    run_dir = tmp_path / name
    given = arguments(run_dir, SMALL, "--algorithm=random")
    assert main([*given, "--max_trials=2"]) == 0
    assert main([*given, "--max_trials=4"]) == 0
    assert len(ran(run_dir)) == len(set(ran(run_dir))) == 4
    assert set(statuses(run_dir).values()) == {"COMPLETED"} and len(rows(run_dir)) == 4
    assert not (tmp_path / "proc").exists()
    assert json.loads(next((run_dir / "search").glob("*/result.json")).read_text())["run_dir"].startswith(str(run_dir))


def test_the_least_of_a_loss_is_the_best(tmp_path):
    assert main(arguments(tmp_path / "s", SMALL, "--algorithm=grid", "--objective=val_loss_unweighted")) == 0
    losses = [float(row["val_loss_unweighted"]) for row in rows(tmp_path / "s")]
    assert losses == sorted(losses)


@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_algorithms_stay_in_their_ranges_and_repeat_nothing(tmp_path, algorithm):
    run_dir = tmp_path / "s"
    assert main(arguments(run_dir, RANGES, f"--algorithm={algorithm}", "--max_trials=13")) == 0
    table = rows(run_dir)
    assert len(table) == len(set(ran(run_dir))) == 13
    for row in table:
        assert 1e-4 <= float(row["optim.learning_rate"]) <= 0.1 and 2 <= int(row["train.batch_size"]) <= 16
        assert 0.1 <= float(row["loss.depth_weight"]) <= 1 and row["optim.name"] in ("sgd", "adam")


def test_a_gaussian_process_finds_the_optimum(tmp_path):
    assert main(arguments(tmp_path / "s", RATE, "--algorithm=bayesian", "--max_trials=9", "--seed=1")) == 0
    assert abs(math.log10(float(rows(tmp_path / "s")[0]["optim.learning_rate"])) + 2.5) < 0.1


@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_a_small_space_is_used_up_and_the_search_ends(tmp_path, algorithm):
    run_dir = tmp_path / "s"
    assert main(arguments(run_dir, SMALL, f"--algorithm={algorithm}")) == 0
    assert len({name.partition("-")[2] for name in ran(run_dir)}) == len(ran(run_dir)) == 6


def test_hyperband_gives_more_epochs_to_the_better(tmp_path):
    run_dir = tmp_path / "s"
    given = arguments(run_dir, RANGES, "--algorithm=hyperband", "--train.epochs=9")
    assert main(given) == 0
    table = rows(run_dir)
    epochs = [int(row["train.epochs"]) for row in table]
    assert set(epochs) == {1, 3, 9} and epochs.count(1) > epochs.count(3)
    first = [row for row in table if row["train.epochs"] == "1"]
    promoted = [row["optim.learning_rate"] for row in table if row["train.epochs"] == "3"]
    # Those that go on from one epoch to three are the best of the first round.
    assert set(row["optim.learning_rate"] for row in first[:2]) <= set(promoted)
    assert main(given) == 0 and len(ran(run_dir)) == len(table)  # finished: nothing is repeated


def test_failed_trials_do_not_block_hyperband(tmp_path, monkeypatch):
    monkeypatch.setenv("STUB_LIMIT", "0.005")
    run_dir = tmp_path / "s"
    assert main(arguments(run_dir, RANGES, "--algorithm=hyperband", "--train.epochs=9")) == 0
    table = rows(run_dir)
    assert any(row["status"] == "diverged" for row in table)
    assert any(row["train.epochs"] == "9" and row["status"] == "done" for row in table)


def test_a_trial_that_diverges_is_a_row_and_the_search_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STUB_LIMIT", "0.005")
    run_dir = tmp_path / "s"
    assert main(arguments(run_dir, SMALL, "--algorithm=grid")) == 0
    table = rows(run_dir)
    assert [row["status"] for row in table] == ["done"] * 2 + ["diverged"] * 4
    assert table[-1]["message"] == "non-finite loss at step 7" and table[-1]["optim.learning_rate"] == "0.01"
    assert list(statuses(run_dir).values()) == ["FAILED"] * 4 + ["COMPLETED"] * 2
    assert "diverged: non-finite loss at step 7" in capsys.readouterr().out


def test_values_that_do_not_go_together_are_a_failed_row(tmp_path):
    space = '"augment.scale_min" = [0.5, 1.5]\n"augment.scale_max" = [1.0, 2.0]'
    assert main(arguments(tmp_path / "s", space, "--algorithm=grid")) == 0
    (failed,) = [row for row in rows(tmp_path / "s") if row["status"] == "failed"]
    assert "is above augment.scale_max" in failed["message"] and failed["augment.scale_min"] == "1.5"


def test_status_2_when_no_trial_has_a_score(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STUB_LIMIT", "0")
    error = error_of(capsys, arguments(tmp_path / "s", SMALL, "--algorithm=grid"))
    assert "no trial" in error and "non-finite loss at step 7" in error
    assert len(rows(tmp_path / "s")) == 6


# === Stopping and going on ===


class _Killed(BaseException):
    """What kill -9 looks like from inside: nothing more is written."""


@pytest.mark.parametrize(
    "algorithm", ["random", *(pytest.param(name, marks=pytest.mark.slow) for name in ("grid", "bayesian", "hyperband"))]
)
@pytest.mark.parametrize("moment", ["_save_trial", "save", "update_trial", "end_trial", "run_trial"])
def test_a_search_that_is_killed_anywhere_ends_as_one_that_is_not(tmp_path, monkeypatch, algorithm, moment):
    """Killed at every third call of a function, before it or after it, until it is through."""
    from mtl_tf.tuning.oracles import SafeOracle
    from mtl_tf.tuning.search import TrialTuner

    owner = TrialTuner if moment == "run_trial" else SafeOracle
    original = getattr(owner, moment)
    calls = 0

    def killed(*given, **named):
        nonlocal calls
        calls += 1
        if calls % 6 == 3:
            raise _Killed
        answer = original(*given, **named)
        if calls % 6 == 0:
            raise _Killed
        return answer

    more = [f"--algorithm={algorithm}", "--train.epochs=4", f"--max_trials={5 if algorithm == 'bayesian' else 8}"]
    space = {"grid": SMALL, "bayesian": RATE}.get(algorithm, RANGES)  # of one option the first three are random
    assert main(arguments(tmp_path / "whole", space, *more)) == 0
    monkeypatch.setattr(owner, moment, killed)
    for _ in range(40):
        try:
            assert main(arguments(tmp_path / "killed", space, *more)) == 0
            break
        except _Killed:
            continue
    assert ran(tmp_path / "killed") == ran(tmp_path / "whole")  # the same trials, each run once
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


@pytest.mark.parametrize("file", ["oracle.json", "trial_0001/trial.json"])
def test_a_half_written_state_is_made_again_from_the_trials(tmp_path, file, capsys):
    given = arguments(tmp_path / "s", RANGES, "--max_trials=5")
    assert main(given) == 0
    before = rows(tmp_path / "s"), ran(tmp_path / "s")
    path = tmp_path / "s" / "search" / file
    path.write_text(path.read_text()[:40])
    assert main(given) == 0
    assert "damaged" in capsys.readouterr().out
    assert (rows(tmp_path / "s"), ran(tmp_path / "s")) == before


def test_a_finished_search_says_so_again_and_more_trials_extend_it(tmp_path, capsys):
    given = arguments(tmp_path / "s", RANGES)
    assert main([*given, "--max_trials=4"]) == 0
    first = ran(tmp_path / "s")
    assert main([*given, "--max_trials=4"]) == 0 and ran(tmp_path / "s") == first
    assert main([*given, "--max_trials=6"]) == 0
    assert ran(tmp_path / "s")[:4] == first and len(rows(tmp_path / "s")) == 6


def test_a_stop_signal_leaves_with_status_4_and_the_trial_is_run_again(tmp_path, monkeypatch, capsys):
    def stopped(config, split="val", hyperparameters=None):
        if "0002" in config.run_dir:
            raise StoppedError("stopped by SIGTERM")
        return stub_trials.run_trial(config)

    given = arguments(tmp_path / "s", SMALL, "--algorithm=grid")
    with monkeypatch.context() as patch:
        patch.setattr(trial, "run_trial", stopped)
        assert main(given) == 4
    assert "error: stopped by SIGTERM" in capsys.readouterr().err
    assert main(given) == 0
    assert [name[:4] for name in ran(tmp_path / "s")] == [f"000{i}" for i in range(6)]


# === Wrong usage ===


def test_another_search_is_refused_and_fresh_deletes(tmp_path, capsys):
    run_dir = tmp_path / "s"
    given = arguments(run_dir, SMALL, "--algorithm=grid")
    assert main(given) == 0
    for changed, words in (
        ("--optim.name=adam", ["--optim.name was sgd, now adam"]),
        ("--algorithm=random", ["--algorithm was grid, now random"]),
        ("--objective=val_loss_unweighted", ["--objective was total, now val_loss_unweighted"]),
        ("--train.resume=false", ["--train.resume is false"]),
    ):
        error = error_of(capsys, [*given, changed])
        assert all(word in error for word in words), error
    other = arguments(run_dir, '"loss.depth_weight" = [0.5]', "--algorithm=grid")
    error = error_of(capsys, other)
    assert "space of optim.learning_rate was 0.1 | 0.01 | 0.001, now not there" in error
    assert main([*other, "--train.fresh"]) == 0
    assert len(rows(run_dir)) == 1 and len(list((run_dir / "trials").iterdir())) == 1


def test_a_folder_of_something_else_is_left_alone(tmp_path, capsys):
    run_dir = tmp_path / "s"
    run_dir.mkdir()
    (run_dir / "run.flags").write_text("--seed=1\n")
    assert "no search.json" in error_of(capsys, arguments(run_dir, SMALL, "--train.fresh"))
    assert [file.name for file in run_dir.iterdir() if not file.name.startswith(".")] == ["run.flags"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--objective=miou"], ["did you mean semseg.miou?", "depth.si_log_rmse"]),
        (["--objective=train_loss"], ["no validation metric", "val_loss"]),
        (["--tasks=semseg", "--objective=total"], ["tasks=semseg", "semseg.miou"]),
        (["--tasks=semseg", "--objective=depth.rmse"], ["tasks=semseg"]),
        (["--algorithm=grid"], ["range without a step", "--algorithm=random"]),
        (["--algorithm=hyperband", "--train.epochs=2"], ["--train.epochs of at least --hyperband_factor=3"]),
        (["--algorithm=simplex"], ["one of random, grid, bayesian, hyperband"]),
        (["--max_trials=-1"], ["at least 0"]),
        (["--spcae=x"], ["did you mean --space"]),
        (["--run_dir="], ["--run_dir=FOLDER is missing"]),
    ],
)
def test_wrong_questions(tmp_path, capsys, more, words):
    error = error_of(capsys, arguments(tmp_path / "s", RANGES, *more))
    assert all(word in error for word in words), error
    assert not (tmp_path / "s" / "search").exists()


def test_hyperband_has_the_epochs_to_itself(tmp_path, capsys):
    given = arguments(tmp_path / "s", '"train.epochs" = [4, 8]', "--algorithm=hyperband")
    assert "Hyperband chooses the epochs" in error_of(capsys, given)


def test_tasks_that_are_searched_all_need_the_objective(tmp_path, capsys):
    given = arguments(tmp_path / "s", '"tasks" = ["semseg", "semseg,depth"]', "--algorithm=grid")
    assert "of tasks=semseg;" in error_of(capsys, given)
    assert "differ in tasks" in error_of(capsys, [*given, "--objective=val_loss"])
    assert main([*given, "--objective=semseg.miou"]) == 0


@pytest.mark.parametrize(
    ("objective", "searched", "refused"),
    [
        ("val_loss", "loss.semseg_weight", True),
        ("val_loss", "loss.depth_space", True),
        ("val_loss", "optim.learning_rate", False),
        ("val_loss_unweighted", "loss.semseg_weight", False),
        ("val_loss_unweighted", "loss.depth", True),
        ("total", "loss.depth", False),
    ],
)
def test_a_loss_ranks_no_trials_in_which_it_is_another_sum(objective, searched, refused):
    with pytest.raises(UsageError, match=searched) if refused else contextlib.nullcontext():
        check_one_scale(objective, ["train.batch_size", searched])


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"TUNER_ID": "chief"}, ["KERASTUNER_TUNER_ID set but not KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT"]),
        ({"ORACLE_IP": "127.0.0.1", "ORACLE_PORT": "80"}, ["not KERASTUNER_TUNER_ID"]),
        ({"TUNER_ID": "tuner0", "ORACLE_IP": "127.0.0.1", "ORACLE_PORT": "many"}, ["1 to 65535", "many"]),
        ({"TUNER_ID": "a/b", "ORACLE_IP": "127.0.0.1", "ORACLE_PORT": "80"}, ["letters", "a/b"]),
    ],
)
def test_half_of_the_environment_is_refused(tmp_path, monkeypatch, capsys, variables, words):
    for name, value in variables.items():
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    error = error_of(capsys, arguments(tmp_path / "s", SMALL))
    assert all(word in error for word in words), error


def test_two_searches_in_one_folder(tmp_path, capsys):
    import fcntl

    (tmp_path / "s").mkdir()
    with open(tmp_path / "s" / ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process is using" in error_of(capsys, arguments(tmp_path / "s", SMALL))


def test_help_lists_the_own_options(capsys):
    assert main(["tune", "--helpshort"]) == 0
    shown = capsys.readouterr().out
    assert "--hyperband_factor" in shown and "--optim.learning_rate" in shown


def test_the_result_of_a_trial_is_whole(tmp_path):
    assert main(arguments(tmp_path / "s", SMALL, "--algorithm=grid", "--max_trials=1")) == 0
    (file,) = (tmp_path / "s" / "search").glob("trial_*/result.json")
    found = json.loads(file.read_text())
    assert found["status"] == "done" and found["values"] == {"optim.learning_rate": "0.1", "loss.depth_weight": "0.5"}
    assert os.path.isdir(found["run_dir"]) and found["costs"] == {"seconds": 1.0}


# === Any tasks ===

ALWAYS = (
    *("train_loss", "val_loss", "val_loss_unweighted", "parameters", "multiply_adds", "checkpoint_mib"),
    *("peak_memory_mib", "images_per_second", "seconds", "message"),
)


@pytest.fixture
def four(monkeypatch):
    """Four tasks, of which two are of kinds that only the tests know; trials give each the scores that it has."""
    monkeypatch.setattr("mtl_tf.tuning.tune.describe", four_tasks)
    monkeypatch.setattr("mtl_tf.tuning.tune.settled", lambda config, before=None: config)

    def run_trial(config, split="val", hyperparameters=None):
        rate = config.optim.learning_rate
        scores = {"semseg.miou": 50 + rate, "depth.si_log_rmse": 20.0, "tilt.angle": 30 + 10 * rate, "seams.f1": 0.5}
        mine = {name: value for name, value in scores.items() if name.partition(".")[0] in config.tasks}
        return trial.Outcome("done", "", {"total": rate, "tilt.rmse": 40.0, **mine}, {"seconds": 1.0})

    monkeypatch.setattr(trial, "run_trial", run_trial)


def test_trials_have_the_scores_of_the_tasks_that_are_searched(four, tmp_path):
    space = '"tasks" = ["tilt,semseg", "seams,tilt"]\n"optim.learning_rate" = [0.1, 0.01]'
    assert main(arguments(tmp_path / "s", space, "--algorithm=grid", "--objective=tilt.angle")) == 0
    table = rows(tmp_path / "s")
    assert list(table[0])[:6] == ["trial", "status", "tilt.angle", "tasks", "optim.learning_rate", "total"]
    assert list(table[0])[6:] == ["semseg.miou", "seams.f1", *ALWAYS]
    assert [row["tilt.angle"] for row in table] == ["30.1", "30.1", "31.0", "31.0"]  # lower is better
    assert [row["semseg.miou"] for row in table] == ["50.01", "", "50.1", ""]
    assert [row["seams.f1"] for row in table] == ["", "0.5", "", "0.5"]


def test_trials_of_two_tasks_have_the_columns_that_they_had(tmp_path):
    assert main(arguments(tmp_path / "s", SMALL, "--algorithm=grid", "--max_trials=1")) == 0
    first = ["trial", "status", "total", "optim.learning_rate", "loss.depth_weight", "semseg.miou", "depth.si_log_rmse"]
    assert list(rows(tmp_path / "s")[0]) == [*first, *ALWAYS]


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ("angle", ["did you mean tilt.angle?", "seams.f1"]),
        ("rmse", ["did you mean depth.rmse or tilt.rmse?"]),
        ("tilt.angel", ["did you mean tilt.angle?"]),
        ("tilt.bias", ["is no validation metric of tasks=semseg,depth,tilt,seams"]),
        ("grader", ["there are total, semseg.miou"]),
        ("semseg.iou.road", ["is no validation metric"]),
    ],
)
def test_objectives_of_any_tasks(four, tmp_path, capsys, objective, words):
    given = arguments(tmp_path / "s", SMALL, "--tasks=semseg,depth,tilt,seams", f"--objective={objective}")
    error = error_of(capsys, given)
    assert all(word in error for word in words), error
