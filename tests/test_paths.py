"""Run directories, data sets, splits and pictures of any name that a file system takes."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mtl_tf import config as configuration
from mtl_tf import flags
from mtl_tf.atomic import below, write_bytes
from mtl_tf.commands import main
from mtl_tf.config import Config, replace
from mtl_tf.errors import UsageError
from mtl_tf.options import quoted, unquoted
from mtl_tf.plain_paths import plain_path
from mtl_tf.training.checkpoints import Checkpoints
from mtl_tf.training.run_directory import RunDirectory, read_table, write_table
from mtl_tf.training.summaries import Summaries
from tests.helpers import TINY, one_line_error, tool_module, write_dataset

NASTY = {
    "not UTF-8": os.fsdecode(b"\xff\xfe"),
    "decomposed": "cafe\N{COMBINING ACUTE ACCENT}",
    "digits": "\N{SUPERSCRIPT TWO}\N{ARABIC-INDIC DIGIT TWO}\N{CIRCLED DIGIT ONE}",
    "brackets": "[12]",
    "star": "*",
    "question": "?",
    "dollar": "$x ${y} $",
    "bang": "!; & | > <",
    "hash": "#no comment",
    "quotes": "'it' \"is\"",
    "in double quotes": '"x"',
    "in single quotes": "'x'",
    "percent": "100%s %d",
    "newline": "two\nlines",
    "tab": "a\ttab",
    "dash": "--run_dir",
    "spaces": "  spaces ",
    "comma": "a,b,",
    "equals": "a=b",
    "backslash": "a\\nb",
    "colon": "a:b",
    "braces": "{a,b}",
    "long": "l" * 250,
    "separators": "a\u2028b\x85c\x0bd",
    "direction": "\u202ea",
}


@pytest.fixture(params=NASTY.values(), ids=[name.replace(" ", "-") for name in NASTY])
def nasty(request):
    return request.param


def test_a_configuration_passes_through_files_and_arguments(nasty, tmp_path):
    config = replace(
        Config(),
        data__root=nasty,
        data__mix_names=("folder", "folder"),
        data__mix_roots=(nasty, "b"),
        data__train_split=nasty,
    )
    (tmp_path / "run.flags").write_text(flags.run_flags(config, f"about {nasty}"), encoding="utf-8")
    assert flags.read_run_flags(tmp_path / "run.flags").data == config.data
    assert flags.parse(flags.arguments_of(config)).config.data == config.data
    assert unquoted(quoted(nasty)) == nasty


def test_what_tensorflow_writes_is_found_again(nasty, tmp_path):
    """And what others have written, whose names fit a pattern, is left alone."""
    other = tmp_path / "2" / "checkpoints"
    other.mkdir(parents=True)
    (other / "ckpt-1.index").write_text("")
    folder = tmp_path / nasty / "checkpoints"
    value = tf.Variable(1.0)
    kept = Checkpoints(folder, 2, value=value)
    for number in range(3):
        value.assign(number)
        kept.save()
    assert sorted(path.name for path in folder.glob("*.index")) == ["ckpt-2.index", "ckpt-3.index"]
    assert (other / "ckpt-1.index").exists()
    again = tf.Variable(9.0)
    assert Checkpoints(folder, 2, value=again).restore() and float(again) == 2.0

    for until in (5, 3):  # a run that goes on cuts what is later
        events = Summaries(tmp_path / nasty / "events", True, until)
        events.scalars({"x": 1.0}, until + 1)
        events.close()
    assert len(list((tmp_path / nasty / "events").glob("events*"))) == 2

    module = tf.Module()
    module.value = tf.Variable(3.0)
    export = tmp_path / nasty / "export"
    export.mkdir()
    tf.saved_model.save(module, plain_path(export))
    assert float(tf.saved_model.load(plain_path(export)).value) == 3.0


def test_a_folder_made_anew_is_not_taken_for_the_old_one(tmp_path):
    for _ in range(2):
        folder = tmp_path / "[1]"
        folder.mkdir()
        (pathlib.Path(plain_path(folder)) / "x").write_text("")
        assert (folder / "x").exists()
        shutil.rmtree(folder)


def test_files_of_any_name_are_written_and_rows_read_again(nasty, tmp_path):
    write_bytes(tmp_path / f"{nasty}.png", b"x")
    assert [path.name for path in tmp_path.iterdir()] == [f"{nasty}.png"]
    assert below(tmp_path, nasty)
    write_table(tmp_path / "rows.csv", [{"id": nasty, "x": 1.0}])
    assert read_table(tmp_path / "rows.csv") == [{"id": nasty, "x": "1.0"}]


def test_a_run_directory_of_any_name_is_taken_and_continued(nasty, tmp_path):
    from mtl_tf.data.sets.miniscapes import MINISCAPES

    config = replace(Config(), run_dir=str(tmp_path / nasty), data__root=nasty)
    for _ in range(2):
        with RunDirectory(config) as run:
            run.claim(MINISCAPES, {"training": {"samples": 1, "ids": "", "labels": {}, "sizes": {nasty: {"rgb": 1}}}})
        (run.path / "checkpoints").mkdir(exist_ok=True)
        (run.path / "checkpoints/ckpt-1.index").write_text("")
    assert flags.read_run_flags(run.path / "run.flags").data.root == os.path.abspath(nasty)


# === What a shell would have replaced ===


def test_home_is_the_users_and_variables_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert replace(Config(), run_dir="~/runs/x").run_dir == f"{tmp_path}/runs/x"
    assert replace(Config(), run_dir="./~").run_dir == "./~"
    for path in ("$HOME/x", "${HOME}/x", "a/$HOME"):
        with pytest.raises(UsageError, match="replaced by a shell only"):
            replace(Config(), run_dir=path)
    (tmp_path / "$HOME").mkdir()
    assert replace(Config(), run_dir="$HOME").run_dir == "$HOME"


@pytest.mark.parametrize("written", ['"{0}"', "'{0}'", "{0}", '"{0}"  '])
def test_quotes_in_a_file_of_flags_are_those_of_a_shell(written, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.flags").write_text(f"--data.root={written.format('~/my data')}\n")
    (tmp_path / "all.flags").write_text(f"--flagfile={written.format(tmp_path / 'x.flags')}\n")
    assert flags.parse(["--flagfile=~/all.flags"]).config.data.root == f"{tmp_path}/my data"


def test_a_run_directory_elsewhere_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "no local folder" in one_line_error(main(["train", "--run_dir=gs://bucket/run"]), capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


# === The whole way ===

ALL = os.fsdecode(b"\xff [a-b]* ?\n$x 'q' \"d\" #%s,=;\t")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data set with a split and a sample of the worst name, and a run on it, in folders of that name."""
    home = tmp_path_factory.mktemp("names") / ALL
    data = write_dataset(home / f"data{ALL}", {"train": 2, f"val{ALL}": 2})
    for file in data.glob("*/*/0.png"):
        file.rename(file.with_name(f"{ALL}.png"))
    run = home / f"run{ALL}"
    given = [f"--data.root={data}", f"--run_dir={run}", "--data.image_size=32,48", f"--data.val_split=val{ALL}"]
    given = [*TINY, *given, "--train.epochs=1", "--nomodel.skip"]
    assert main(["train", *given]) == 0
    return home, data, run, given


def test_a_run_is_continued(world, capsys):
    _, _, run, given = world
    (run / "metrics.json").unlink()
    assert main(["train", *given]) == 0
    assert "continues after step 1" in capsys.readouterr().out
    assert main(["train", *given]) == 0
    assert "is finished" in capsys.readouterr().out


def test_scores_predictions_export_and_report(world, capsys):
    home, _, run, _ = world
    split = f"--data.split=val{ALL}"
    assert main(["evaluate", f"--run_dir={run}", split, "--baseline"]) == 0
    (scores,) = run.glob("evaluation_*.json")
    assert json.loads(scores.read_text())["scored"]["split"] == f"val{ALL}"
    assert main(["report", f"--run_dir={run}", split]) == 0
    assert "Baseline" in (run / "report.html").read_text(encoding="utf-8")
    assert main(["predict", f"--run_dir={run}", split]) == 0
    assert len(list((run / "predictions").rglob("semseg/*.png"))) == 2
    assert main(["export", f"--run_dir={run}"]) == 0
    picture = home / f"-{ALL}.png"
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(picture)
    for number, given in enumerate((picture, home / "*.png")):
        output = home / f"out{number}{ALL}"
        arguments = [f"--run_dir={run / 'export'}", f"--input={given}", f"--output={output}"]
        assert main(["predict", *arguments]) == 0
        assert [path.name for path in (output / "semseg").iterdir()] == [picture.name]
    assert "Traceback" not in capsys.readouterr().err


def test_tools(world, tmp_path, capsys):
    home, data, _, _ = world
    given = ["--data.name=folder", f"--data.root={data}", f"--splits=train,{quoted(f'val{ALL}', ',')}"]

    def run(name, job, *arguments):
        tool = tool_module(name)
        status = tool.run_tool(getattr(tool, job), tool.Options, list(arguments))
        assert status == 0, capsys.readouterr().err

    run("check_dataset", "check", *given)
    run("dataset_statistics", "measure_and_report", *given[:2], f"--output={home / 'statistics.json'}")
    packed = home / f"packed{ALL}"
    run("pack_dataset", "pack", *given, f"--output={packed}", "--verify")
    run("pack_dataset", "pack", "--data.name=packed", f"--data.root={packed}", "--unpack", f"--output={home / 'back'}")
    for path in data.glob("*/*/*.png"):
        assert (home / "back" / path.relative_to(data)).read_bytes() == path.read_bytes()


def test_all_names_are_valid_for_the_file_system(nasty, tmp_path):
    (tmp_path / nasty).mkdir()
    assert configuration.replace(Config(), run_dir=str(tmp_path / nasty)).run_dir == str(tmp_path / nasty)
