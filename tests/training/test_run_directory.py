"""The run directory: one writer, no silent change, tables that can be cut back."""

import json

import pytest

from mtl_tf import atomic, flags
from mtl_tf import config as configuration
from mtl_tf.data.sets.miniscapes import MINISCAPES
from mtl_tf.errors import UsageError
from mtl_tf.training.run_directory import RunDirectory, Table, read_table
from tests.helpers import changed


def _config(path, **options):
    return configuration.replace(configuration.Config(), run_dir=str(path), **options)


def _make(path, trained=True, **options):
    """A run directory as training leaves it."""
    with RunDirectory(_config(path, **options)) as run:
        run.claim(MINISCAPES)
    if trained:
        (path / "checkpoints").mkdir(exist_ok=True)
        (path / "checkpoints" / "ckpt-1.index").write_text("")


def test_holds_what_repeats_the_run(tmp_path):
    config = _config(tmp_path / "run", seed=7, model__dilation=(0, 1, 1))
    with RunDirectory(config) as run:
        run.claim(MINISCAPES)
    read = flags.read_run_flags(tmp_path / "run" / "run.flags")
    assert configuration.differences(read, config) == {}
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["packages"]["tensorflow"] and environment["cores"] >= 1


def test_paths_to_data_are_kept_from_the_root(tmp_path, monkeypatch):
    """A run is evaluated from any folder."""
    monkeypatch.chdir(tmp_path)
    mix = dict(data__mix_names=("folder", "synthetic"), data__mix_roots=("more", "-"))
    _make(tmp_path / "run", data__name="folder", data__root="data", **mix)
    found = flags.read_run_flags(tmp_path / "run" / "run.flags").data
    assert found.root == str(tmp_path / "data") and found.mix_roots == (str(tmp_path / "more"), "-")
    _make(tmp_path / "remote", trained=False, data__name="folder", data__root="gs://bucket/data")
    assert flags.read_run_flags(tmp_path / "remote" / "run.flags").data.root == "gs://bucket/data"


def test_what_is_noted_later_is_added(tmp_path):
    with RunDirectory(_config(tmp_path)) as run:
        run.claim(MINISCAPES)
        run.note(weights={"source": "a.pth"})
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert environment["weights"] == {"source": "a.pth"} and environment["cores"] >= 1
    _make(tmp_path, trained=False)  # a run that never trained starts anew, with its weights
    assert "weights" not in json.loads((tmp_path / "environment.json").read_text())


def test_a_run_from_other_weights_is_refused_with_the_command_that_starts_one(tmp_path):
    run = tmp_path / "a run"
    _make(run, model__encoder_weights="imagenet", seed=3)
    start = f"--run_dir={run} was made with another configuration ("
    end = "); use the old values, another folder, or --train.fresh to delete it and start anew"
    command = f"A new run from these weights: main.py train '--flagfile={run}/run.flags' --run_dir=NEW_FOLDER "
    for options, told, arguments in (
        (
            dict(model__encoder_weights="my.h5"),
            "--model.encoder_weights was imagenet, now my.h5",
            "--model.encoder_weights=my.h5",
        ),
        (
            dict(model__encoder_weights="none", model__weights="old"),
            "--model.encoder_weights was imagenet, now none; --model.weights was none, now old",
            "--model.encoder_weights=none --model.weights=old",
        ),
    ):
        with pytest.raises(UsageError) as caught:
            RunDirectory(_config(run, seed=3, **options))
        assert str(caught.value) == f"{start}{told}{end}. {command}{arguments}"
        assert flags.parse(arguments.split(), base=flags.read_run_flags(run / "run.flags")).config.seed == 3
    with pytest.raises(UsageError) as caught:
        RunDirectory(_config(run, model__encoder_weights="imagenet", seed=4))
    assert str(caught.value) == f"{start}--seed was 3, now 4{end}"


def test_two_processes_cannot_share_it(tmp_path):
    with RunDirectory(_config(tmp_path)), pytest.raises(UsageError, match="another process is using"):
        RunDirectory(_config(tmp_path))
    RunDirectory(_config(tmp_path)).close()


def test_refuses_a_changed_configuration_naming_it(tmp_path):
    _make(tmp_path)
    with pytest.raises(UsageError, match=r"--seed was 0, now 3; --optim.name was sgd, now adam"):
        RunDirectory(_config(tmp_path, seed=3, optim__name="adam"))


def test_lets_free_options_differ(tmp_path):
    _make(tmp_path)
    RunDirectory(_config(tmp_path, data__root="/elsewhere", data__workers=3, log__every=7)).close()


def test_a_run_that_never_trained_takes_a_corrected_configuration(tmp_path):
    _make(tmp_path, trained=False)
    _make(tmp_path, trained=False, seed=3)
    assert flags.read_run_flags(tmp_path / "run.flags").seed == 3


def test_refuses_another_description_of_the_data_but_for_its_name(tmp_path):
    _make(tmp_path)
    with RunDirectory(_config(tmp_path)) as run:
        run.claim(changed(MINISCAPES, name="moved"))
        with pytest.raises(UsageError, match="another description of the data set"):
            run.claim(changed(MINISCAPES, depth_mean=1.0))


def test_opening_it_changes_nothing_yet(tmp_path):
    _make(tmp_path)
    (tmp_path / "metrics.csv").write_text("step\n1\n")
    RunDirectory(_config(tmp_path, train__fresh=True)).close()
    assert (tmp_path / "metrics.csv").exists()


def test_fresh_deletes_a_run_and_only_that(tmp_path):
    _make(tmp_path)
    (tmp_path / "metrics.csv").write_text("step\n1\n")
    (tmp_path / "notes.txt").write_text("mine")
    _make(tmp_path, trained=False, seed=3, train__fresh=True)
    assert not (tmp_path / "checkpoints").exists()
    assert not (tmp_path / "metrics.csv").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert flags.read_run_flags(tmp_path / "run.flags").seed == 3


def test_refuses_a_folder_of_something_else_even_with_fresh(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for fresh in (False, True):
        with pytest.raises(UsageError, match=r"no run\.flags"):
            RunDirectory(_config(tmp_path, train__fresh=fresh))
    assert (tmp_path / "thesis.txt").exists()


def test_does_not_resume_when_told_so(tmp_path):
    _make(tmp_path)
    with pytest.raises(UsageError, match=r"--train\.fresh"):
        RunDirectory(_config(tmp_path, train__resume=False))


def test_needs_a_name_and_a_place_to_write(tmp_path):
    with pytest.raises(UsageError, match="--run_dir=FOLDER is missing"):
        RunDirectory(_config(""))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to --run_dir"):
        RunDirectory(_config(tmp_path / "file" / "run"))


def test_a_table_is_cut_back_to_a_step_and_loses_half_a_row(tmp_path):
    table = Table(tmp_path / "t.csv", 0)
    for step in (1, 2, 3):
        table.append({"step": step, "loss": 0.1 * step, "name": "a,b", "none": None})
    with open(tmp_path / "t.csv", "a") as file:
        file.write("4,0.")
    again = Table(tmp_path / "t.csv", 2)
    again.append({"step": 3, "loss": 9.5, "name": "c", "none": None})
    assert (tmp_path / "t.csv").read_text() == 'step,loss,name,none\n1,0.1,"a,b",\n2,0.2,"a,b",\n3,9.5,c,\n'


def test_rows_come_back_as_numbers(tmp_path):
    table = Table(tmp_path / "t.csv", 0)
    table.append({"step": 1, "loss": 1 / 3, "none": None})
    assert table.rows() == [{"step": 1.0, "loss": 1 / 3, "none": None}]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    atomic.write_json(path, {"a": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(UsageError, match="No space left on device"):
        atomic.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_the_losses_of_an_older_run_are_read_and_continued_under_todays_names(tmp_path):
    """There the validation loss beside the weighted training loss was the plain sum."""
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,train_loss,val_loss,val_loss_weighted\n1,0.5,1.2,0.6\n")
    assert read_table(path)[0]["val_loss"] == "0.6"
    table = Table(path, 1, "epoch")
    table.append({"epoch": 2, "train_loss": 0.4, "val_loss": 0.5, "val_loss_unweighted": 1.0})
    assert path.read_text() == "epoch,train_loss,val_loss_unweighted,val_loss\n1,0.5,1.2,0.6\n2,0.4,1.0,0.5\n"
