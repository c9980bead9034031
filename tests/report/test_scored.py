"""Every file of scores says what it scored; scores of something else go to another file."""

import json
import shutil

import pytest

from mtl_tf import config as configuration
from mtl_tf import flags
from mtl_tf.commands import main
from mtl_tf.config import Config, replace
from mtl_tf.errors import UsageError
from mtl_tf.inference.scored import compared_with, data_suffix, scores_suffix
from mtl_tf.training.run_directory import RunDirectory
from mtl_tf.training.trained_run import read_configuration
from tests.helpers import write_dataset


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory):
    """A copy of the trained run with scores, a baseline, and both in Eigen's crop."""
    copy = tmp_path_factory.mktemp("scored") / "run"
    shutil.copytree(tiny_run, copy)
    for crop in ("--nodata.eigen_crop", "--data.eigen_crop"):
        assert main(["evaluate", f"--run_dir={copy}", "--baseline", crop]) == 0
    return copy


def read(run, name):
    return json.loads((run / f"{name}.json").read_text())


def test_the_crop_has_files_of_its_own(run):
    for kind in ("evaluation", "baseline"):
        whole, cropped = read(run, f"{kind}_val"), read(run, f"{kind}_val_eigen")
        assert whole["scored"]["eigen_crop"] is False and cropped["scored"]["eigen_crop"] is True
        assert whole["depth"]["abs_rel"] != cropped["depth"]["abs_rel"]
        assert whole["semseg"] == cropped["semseg"]
    assert (run / "per_image_val.csv").read_text() != (run / "per_image_val_eigen.csv").read_text()
    assert compared_with(read(run, "evaluation_val")) == compared_with(read(run, "baseline_val"))
    assert compared_with(read(run, "evaluation_val")) != compared_with(read(run, "baseline_val_eigen"))


def test_a_file_states_what_it_scored(run):
    stated = read(run, "evaluation_val")["scored"]
    assert len(stated.pop("weights_sha256")) == 64 and len(stated.pop("samples")) == 16
    assert stated == {
        "data": "folder",
        "split": "val",
        "images": 3,
        "limit": 0,
        "size": [32, 48],
        "fit": "stretch",
        "eigen_crop": False,
        "weights": "best",
        "precision": "float32",
    }
    assert read(run, "baseline_val")["scored"]["weights"] == "position baseline"


def test_the_report_of_the_crop_shows_the_baseline_in_the_crop(run, capsys):
    assert main(["report", f"--run_dir={run}", "--data.eigen_crop"]) == 0
    shown = capsys.readouterr().out
    for kind in ("evaluation", "baseline"):
        assert f"{read(run, f'{kind}_val_eigen')['depth']['abs_rel']:.4f}" in shown
    assert "Eigen" in (run / "report.html").read_text("utf-8")


def test_other_data_have_files_of_their_own_and_moved_data_have_not(run, tmp_path, tiny_dataset):
    config = replace(read_configuration(run), run_dir=str(run))
    assert scores_suffix(config) == "val"
    moved = shutil.copytree(tiny_dataset, tmp_path / "moved")
    assert scores_suffix(replace(config, data__root=str(moved))) == "val"
    other = write_dataset(tmp_path / "other", {"train": 2, "val": 2}, seed=5)
    suffix = scores_suffix(replace(config, data__root=str(other)))
    assert suffix.startswith("val_") and len(suffix) == 12
    before = read(run, "evaluation_val")
    assert main(["evaluate", f"--run_dir={run}", f"--data.root={other}", "--weights=best"]) == 0
    assert read(run, "evaluation_val") == before
    assert compared_with(read(run, f"evaluation_{suffix}")) != compared_with(before)


@pytest.fixture
def suffix_of(tmp_path):
    (tmp_path / "run.flags").write_text("")
    config = replace(Config(), run_dir=str(tmp_path))
    return lambda split, **options: scores_suffix(replace(config, data__split=split, **options))


def test_no_two_options_share_a_file(suffix_of):
    options = [{}, {"data__eigen_crop": True}, {"weights": "averaged"}, {"precision": "mixed_bfloat16"}]
    splits = ["val", "val_eigen", "val_eigen_", "val_averaged", "val_0123abcd", "a/b", "a%2Fb", "l" * 255, "l" * 254]
    found = [suffix_of(split, **one) for split in splits for one in options]
    assert len(set(found)) == len(found)
    assert found[:4] == ["val", "val_eigen", "val_averaged", "val_mixed_bfloat16"]
    assert all("/" not in name and len(f".evaluation_{name}.json.1234567.tmp") < 255 for name in found)


def test_every_option_that_may_differ_is_known_to_score_something_else_or_not():
    """A new option of evaluation has to be put into one of the two."""
    scores_something_else = {"data.root", "data.split", "data.eigen_crop", "weights", "precision"}
    same = {"run_dir", "plugin", "input", "output", "scale", "baseline", "data.statistics", "data.mix_roots"}
    same |= {"data.cache", "data.workers", "data.prefetch", "train.devices", "train.skip_non_finite"}
    same |= {"train.checkpoint_every", "train.keep_checkpoints", "train.resume", "train.fresh"}
    free = {name for name, field in configuration.leaves().items() if field.metadata["free"]}
    assert {name for name in free if not name.startswith("log.")} == scores_something_else | same


def test_a_run_is_not_continued_with_another_crop(tmp_path):
    """Its epochs would be scored on different pixels, and the best of them be none."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "ckpt-1.index").write_text("")
    config = replace(Config(), run_dir=str(tmp_path))
    (tmp_path / "run.flags").write_text(flags.run_flags(config))
    RunDirectory(config).close()
    with pytest.raises(UsageError, match=r"--data\.eigen_crop was false, now true"):
        RunDirectory(replace(config, data__eigen_crop=True))
    assert data_suffix(replace(config, data__eigen_crop=True)) == "val_eigen"
