"""A folder that --data.root names is read, or it is said that it is not: the default data set has no files."""

import shutil

import pytest

from mtl_tf.commands import main
from mtl_tf.config import Config, replace
from mtl_tf.data.sets.settle import settled
from tests.helpers import one_line_error, tool_module

LINE = "would not be read, since --data.name=synthetic has no files; say what lies there, --data.name=folder"


def test_training_does_not_render_scenes_where_a_folder_was_meant(tiny_dataset, tmp_path, capsys):
    arguments = [f"--data.root={tiny_dataset}", f"--run_dir={tmp_path}/run"]
    status = main(["train", *arguments])
    assert f"--data.root={tiny_dataset} {LINE}" in one_line_error(status, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "job"), [("dataset_statistics", "measure_and_report"), ("pack_dataset", "pack")])
def test_tools_do_not_either(name, job, tiny_dataset, tmp_path, capsys):
    tool = tool_module(name)
    status = tool.run_tool(getattr(tool, job), tool.Options, [f"--data.root={tiny_dataset}", f"--output={tmp_path}/x"])
    assert LINE in one_line_error(status, capsys.readouterr().err) and not (tmp_path / "x").exists()


def test_a_run_on_scenes_is_not_scored_on_a_folder(tiny_run, tiny_dataset, tmp_path, capsys):
    shutil.copytree(tiny_run, tmp_path / "run")
    flags = tmp_path / "run" / "run.flags"
    flags.write_text(flags.read_text().replace("--data.name=folder", "--data.name=synthetic"))
    status = main(["evaluate", f"--run_dir={tmp_path}/run", f"--data.root={tiny_dataset}"])
    assert LINE in one_line_error(status, capsys.readouterr().err)


def test_a_run_that_an_earlier_version_began_goes_on(tmp_path):
    config = replace(Config(), data__root=str(tmp_path), tasks=("semseg", "depth"))
    assert settled(config, before=config).tasks == config.tasks
