"""More epochs for a finished run: the schedule of each, what is refused, the same end as if it had never stopped."""

import json

import pytest

from mtl_tf import config as configuration
from mtl_tf import flags
from mtl_tf.commands import main
from mtl_tf.config import Config, replace
from mtl_tf.data.sets.miniscapes import MINISCAPES
from mtl_tf.errors import UsageError
from mtl_tf.training.run_directory import RunDirectory, read_table
from tests.helpers import TINY, assert_same_run, write_dataset


@pytest.mark.parametrize(
    ("schedule", "spans"),
    [
        ("restart", [(0, 4)] * 4 + [(4, 6)] * 2 + [(6, 9)] * 3),
        ("stretch", [(0, 4)] * 4 + [(0, 6)] * 2 + [(0, 9)] * 3),
    ],
)
def test_which_schedule_an_epoch_has(schedule, spans):
    train = replace(Config(), train__epochs=4, train__extend=(2, 3), train__extend_schedule=schedule).train
    assert train.all_epochs == 9
    assert [train.scheduled(epoch) for epoch in range(9)] == spans
    plain = replace(Config(), train__epochs=4).train
    assert plain.all_epochs == 4 and plain.scheduled(3) == (0, 4)


def test_what_does_not_go_together():
    with pytest.raises(UsageError, match=r"train\.extend and train\.average=swa: the average is that of the last"):
        replace(Config(), train__extend=(1,), train__average="swa")
    with pytest.raises(UsageError, match=r"extend must be at least 1, got 0"):
        replace(Config(), train__extend=(0,))


def made(path, done, **options):
    """A run directory as training leaves it after so many epochs; None = it is not finished."""
    config = replace(Config(), run_dir=str(path), train__epochs=4, **options)
    with RunDirectory(config) as run:
        run.claim(MINISCAPES)
    (path / "checkpoints").mkdir()
    (path / "checkpoints" / "ckpt-1.index").write_text("")
    if done is not None:
        (path / "metrics.json").write_text(json.dumps({"epochs": done}))
    return config


def test_a_finished_run_is_extended_and_says_so_from_then_on(tmp_path):
    config = replace(made(tmp_path, 4), train__extend=(2,), train__extend_schedule="stretch")
    with RunDirectory(config) as run:
        run.claim(MINISCAPES)
    assert not configuration.differences(flags.read_run_flags(tmp_path / "run.flags"), config)
    assert not (tmp_path / "metrics.json").exists()
    with RunDirectory(config) as run:  # it was stopped, and goes on
        run.claim(MINISCAPES)
    with pytest.raises(UsageError, match=r"--train\.extend was 2, now empty"):
        RunDirectory(replace(config, train__extend=()))
    with pytest.raises(UsageError, match="is not finished: run its command without the added epochs first"):
        RunDirectory(replace(config, train__extend=(2, 3)))
    (tmp_path / "metrics.json").write_text(json.dumps({"epochs": 6}))
    with pytest.raises(UsageError, match=r"--train\.extend_schedule was stretch, now restart"):
        RunDirectory(replace(config, train__extend=(2, 3), train__extend_schedule="restart"))
    RunDirectory(replace(config, train__extend=(2, 3))).close()


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (None, r"--train\.extend=2 adds to a finished run, and .* is not finished"),
        (3, r"was ended by train\.patience after 3 of 4 epochs: start another one from its weights, --model\.weights="),
    ],
)
def test_other_runs_are_not_extended(tmp_path, done, said):
    config = made(tmp_path, done)
    with pytest.raises(UsageError, match=said):
        RunDirectory(replace(config, train__extend=(2,)))


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["restart", "stretch"])
def test_it_ends_as_a_run_that_was_never_finished(schedule, tmp_path, capsys):
    """Also where it is stopped after the first added epoch."""
    data = write_dataset(tmp_path / "data", {"train": 4, "val": 2})
    common = [*TINY, f"--data.root={data}", "--data.image_size=32,48", "--optim.schedule=cosine", "--train.average=ema"]
    more = ["--train.extend=2", f"--train.extend_schedule={schedule}"]
    assert main(["train", *common, f"--run_dir={tmp_path / 'whole'}", *more]) == 0
    run = ["train", *common, f"--run_dir={tmp_path / 'run'}"]
    assert main(run) == 0 and main(run) == 0
    assert "is finished: 4 steps; --train.extend=EPOCHS goes on" in capsys.readouterr().out
    assert main([*run, *more]) == 0
    told = {"restart": "a schedule of their own", "stretch": "the schedule of 4 epochs"}[schedule]
    assert f"4 epochs (2 more, by {told}; train.extend_schedule={schedule}) of 2 steps" in capsys.readouterr().out
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    rates = [float(row["learning_rate"]) for row in read_table(tmp_path / "run" / "metrics.csv")]
    # Of the first and second half of 2 epochs; of the third and fourth quarter of 4: 0.5 and (1 + cos(3 pi / 4)) / 2.
    expected = [1, 0.5, 1, 0.5] if schedule == "restart" else [1, 0.5, 0.5, 0.146447]
    assert rates == pytest.approx([rates[0] * factor for factor in expected], rel=1e-5)
