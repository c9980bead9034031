"""Data sets with labels of one task, of some samples, or none of metres: from the files to a trained and scored run."""

import csv
import json
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mtl_tf.commands import main
from mtl_tf.data import descriptors
from tests.data.official import (
    write_camvid_segnet,
    write_cityscapes,
    write_kitti,
    write_pascal_mt,
    write_taskonomy,
    write_vkitti2,
)
from tests.helpers import ROOT, TINY, one_line_error, write_dataset

OPTIONS = tuple(option for option in TINY if not option.startswith(("--data.name", "--train.epochs")))


def tool(name, *arguments):
    command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT.parent)


def train(run, root, *options, name="folder"):
    """Trains one epoch and evaluates; returns the row of the epoch and the evaluation."""
    common = [f"--data.name={name}", f"--data.root={root}", "--data.image_size=32,48", "--train.epochs=1"]
    assert main(["train", *OPTIONS, *common, f"--run_dir={run}", *options]) == 0
    assert main(["evaluate", f"--run_dir={run}"]) == 0
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert math.isfinite(float(rows[-1]["train_loss"]))
    return rows[-1], json.loads((run / "evaluation_val.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(("missing", "left"), [("semseg", "depth"), ("depth", "semseg")])
def test_a_folder_with_labels_of_one_task(tmp_path, capfd, missing, left):
    root = write_dataset(tmp_path / "data", {"train": 4, "val": 2})
    for split in ("train", "val"):
        shutil.rmtree(root / split / missing)
    common = ["--data.name=folder", f"--data.root={root}", f"--run_dir={tmp_path / 'refused'}"]
    assert main(["train", *OPTIONS, *common, "--tasks=semseg,depth"]) == 2
    line = one_line_error(2, capfd.readouterr().err)
    assert f"no sample of split train has a {missing} label; leave the task out (--tasks)" in line
    _, evaluation = train(tmp_path / "run", root, f"--tasks={left}")
    assert evaluation[missing] is None and evaluation["total"] is None
    assert evaluation[left][{"depth": "rmse", "semseg": "miou"}[left]] is not None


@pytest.mark.slow
def test_a_folder_in_which_some_samples_lack_a_label(tmp_path):
    root = write_dataset(tmp_path / "data", {"train": 4, "val": 2})
    for path in ("train/semseg/0.png", "train/depth/1.png", "train/depth/2.png", "val/depth/0.png"):
        (root / path).unlink()
    row, evaluation = train(tmp_path / "run", root)
    assert all(math.isfinite(float(row[f"train_loss_{task}"])) for task in ("semseg", "depth"))
    assert evaluation["semseg"]["miou"] is not None and evaluation["depth"]["rmse"] is not None
    with (tmp_path / "run/per_image_val.csv").open() as file:
        first, second = csv.DictReader(file)
    assert first["depth.si_log_rmse"] == "" and second["depth.si_log_rmse"] != ""
    assert first["semseg.miou"] and second["semseg.miou"]


@pytest.mark.slow
def test_normalised_disparity_from_the_files_to_the_scores(tmp_path):
    root, file = tmp_path / "data", tmp_path / "measured.json"
    samples = {split: [f"aachen_00000{index}_000019" for index in range(2)] for split in ("train", "val")}
    write_cityscapes(root, samples)
    shutil.rmtree(root / "camera")
    where = ("--data.name=cityscapes7", f"--data.root={root}")
    done = tool("dataset_statistics", *where, f"--output={file}")
    assert done.returncode == 0, done.stderr
    assert "normalised_disparity" in done.stdout and not (root / "dataset.json").exists()
    codes = np.array([1, 257, 1025, 25601, 32257])
    assert descriptors.read_file(str(file))["depth"].mean == pytest.approx(codes.mean() / 65535, rel=1e-4)
    run = tmp_path / "run"
    _, evaluation = train(run, root, f"--data.statistics={file}", name="cityscapes7")
    assert evaluation["depth_unit"] == "normalised_disparity" and 0 < evaluation["depth"]["mae"] < 1
    assert descriptors.read(run)["depth"].unit == "normalised_disparity"
    assert main(["predict", f"--run_dir={run}"]) == 0
    assert (run / "predictions/val/depth/aachen_000000_000019.png").is_file()


def test_statistics_of_one_data_set_are_not_taken_for_another(tmp_path, capfd):
    root = tmp_path / "data"
    write_cityscapes(root)
    metres, disparity = (f"--data.name={name}" for name in ("cityscapes", "cityscapes7"))
    at = f"--data.root={root}"
    assert tool("dataset_statistics", metres, at, "--write").returncode == 0
    done = tool("dataset_statistics", disparity, at, "--write")
    assert "describes data set cityscapes, not cityscapes7; use --output=FILE" in one_line_error(2, done.stderr)
    begin = ["train", disparity, at, f"--run_dir={tmp_path}/run"]
    assert main([*begin, f"--data.statistics={root}/dataset.json"]) == 2
    assert "statistics of other data: name is cityscapes" in one_line_error(2, capfd.readouterr().err)
    done = tool("dataset_statistics", metres, at, "--write", "--tasks=depth")
    assert done.returncode == 0 and descriptors.read(root)["depth"].mean > 0
    done = tool("check_dataset", "--data.name=folder", at)
    assert "is not of the project's own layout" in one_line_error(done.returncode, done.stderr)


@pytest.mark.slow
def test_five_tasks_of_pascal_from_the_files_to_the_scores(tmp_path):
    write_pascal_mt(tmp_path / "data")
    tasks = ("semseg", "parts", "normals", "saliency", "edges")
    _, evaluation = train(tmp_path / "run", tmp_path / "data", f"--tasks={','.join(tasks)}", name="pascal_mt")
    assert evaluation["parts"]["miou"] is None  # there is nobody in the picture of this split
    scores = (("semseg", "miou"), ("normals", "mean"), ("saliency", "sal_miou"), ("edges", "f_distance"))
    assert all(evaluation[task][score] is not None for task, score in scores)


@pytest.mark.slow
def test_taskonomy_with_the_tasks_of_another_data_set(tmp_path):
    root, other = tmp_path / "data", tmp_path / "pascal"
    write_taskonomy(root)
    write_pascal_mt(other)
    assert tool("dataset_statistics", "--data.name=taskonomy", f"--data.root={root}", "--write").returncode == 0
    mix = ("--data.mix_names=pascal_mt", f"--data.mix_roots={other}")
    tasks = "--tasks=depth,normals,principal_curvature,parts"
    row, evaluation = train(tmp_path / "run", root, tasks, *mix, name="taskonomy")
    assert math.isfinite(float(row["train_loss_parts"])) and evaluation["parts"]["miou"] is None
    assert evaluation["principal_curvature"]["mae"] is not None and evaluation["depth"]["rmse"] is not None


WRITERS = {
    "cityscapes": lambda root: write_cityscapes(root),
    "kitti": lambda root: write_kitti(root, root, root),
    "vkitti2": lambda root: write_vkitti2(root),
    "camvid": lambda root: write_camvid_segnet(root),
    "pascal_mt": lambda root: write_pascal_mt(root),
    "taskonomy": lambda root: write_taskonomy(root),
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_tools_work_with_every_download(tmp_path, name):
    WRITERS[name](tmp_path / "data")
    if name == "camvid":
        shutil.copytree(tmp_path / "data/val", tmp_path / "data/test")
    where = (f"--data.name={name}", f"--data.root={tmp_path}/data")
    done = tool("check_dataset", *where)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "no fault in" in done.stdout
    if name == "camvid":
        assert "test: no semseg labels at all; to have them, put the folder testannot into" in done.stdout
    done = tool("dataset_statistics", *where, f"--output={tmp_path}/measured.json")
    assert done.returncode == 0, done.stderr
    assert descriptors.read_file(f"{tmp_path}/measured.json").name == name
