"""Validation without labels: refused before training, or a loss of none; a share of the training images instead."""

import math
import shutil

import pytest

from mtl_tf import config as configuration
from mtl_tf.commands import main
from mtl_tf.data.sets import describe, open_split, open_training, splits_of
from mtl_tf.errors import UsageError
from mtl_tf.objective import total_loss
from mtl_tf.selection import selection_score
from mtl_tf.tasks import cityscapes_tasks
from mtl_tf.training.run_directory import read_table
from mtl_tf.training.validation import is_best
from tests.helpers import TINY, one_line_error


@pytest.fixture
def data(tiny_dataset, tmp_path):
    return shutil.copytree(tiny_dataset, tmp_path / "data")


def train(data, run_dir, *options):
    given = (f"--data.root={data}", "--data.image_size=32,48", f"--run_dir={run_dir}", "--train.epochs=1")
    return main(["train", *TINY, *given, *options])


def configured(root, **options):
    given = dict(data__name="folder", data__root=str(root), tasks=("semseg", "depth")) | options
    return configuration.replace(configuration.Config(), **given)


def test_a_task_without_validation_labels_is_refused_before_anything_is_written(data, tmp_path, capsys):
    shutil.rmtree(data / "val/depth")
    line = one_line_error(train(data, tmp_path / "run"), capsys.readouterr().err)
    assert "no sample of split val has a depth label" in line
    assert "--tasks=semseg" in line and "--data.val_share=0.1" in line
    assert not (tmp_path / "run/run.flags").exists()


@pytest.mark.slow
def test_labels_of_which_no_pixel_counts_have_no_loss_and_no_best_epoch(data, tmp_path, capsys):
    import numpy as np
    from PIL import Image

    for path in (data / "val/depth").iterdir():
        Image.fromarray(np.zeros((32, 48), np.uint16)).save(path)
    (data / "train/depth/7.npy").write_bytes(b"")
    (data / "val/semseg/9.png").write_bytes(b"")
    (data / "train/depth/5.png").unlink()
    line = one_line_error(train(data, tmp_path / "run", "--train.best_metric=loss"), capsys.readouterr().err)
    assert "split val has 3 depth labels, but no pixel of them counts" in line
    assert train(data, tmp_path / "classes", "--train.best_metric=miou") == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert "6 training images (6 semseg, 5 depth labels) and 3 validation images (3 semseg, 3 depth labels)" in first
    assert f"train: 1 file passed over: .npy is not read ({data}/train/depth/7.npy)" in others
    assert f"val: 1 file passed over: a label without an image ({data}/val/semseg/9.png)" in others
    (row,) = read_table(tmp_path / "classes/metrics.csv")
    assert row["val_loss"] == row["val_loss_unweighted"] == row["val_loss_depth"] == row["depth.rmse"] == ""
    assert float(row["val_loss_semseg"]) > 0 and float(row["semseg.miou"]) >= 0


def test_what_is_missing_is_never_the_best():
    assert is_best(1.0, -math.inf) and is_best(1.0, 1.0) and not is_best(0.5, 1.0)
    assert not is_best(-math.inf, -math.inf)
    # SI is not finite, though other scores of depth are: without it the total would be better than ever.
    broken = {"semseg": {"miou": 60.0}, "depth": {"si_log_rmse": None, "delta1": 0.0}}
    assert (
        selection_score(cityscapes_tasks(), broken, "total")
        == selection_score(cityscapes_tasks(), broken, "grader")
        == -math.inf
    )
    unlabelled = {"semseg": {"miou": 60.0, "iou": {"a": 60.0}}, "depth": {"si_log_rmse": None, "delta1": None}}
    assert selection_score(cityscapes_tasks(), unlabelled, "total") == 60.0
    assert total_loss(configuration.Config(), (), {"semseg": 1.0, "depth": None}) is None


@pytest.mark.slow
def test_without_a_validation_split_a_share_is_offered(data, tmp_path, capsys):
    shutil.rmtree(data / "val")
    line = one_line_error(train(data, tmp_path / "run"), capsys.readouterr().err)
    assert "has no split 'val'; it has train; --data.val_share=0.1 validates on a tenth" in line
    (data / "train/depth/9.npy").write_bytes(b"")
    assert train(data, tmp_path / "run", "--data.val_share=0.3") == 0
    told = capsys.readouterr().out
    assert "4 training images (4 semseg, 4 depth labels) and 2 validation images (2 semseg, 2 depth labels)" in told
    assert "held out of the training images (data.val_share=0.3)" in told
    assert "--data.val_share=0.3" in (tmp_path / "run/run.flags").read_text().splitlines()
    assert main(["evaluate", f"--run_dir={tmp_path / 'run'}"]) == 0
    config = configured(data, data__val_share=0.3)
    held_out = open_split(config, "val").ids
    assert [row["id"] for row in read_table(tmp_path / "run/per_image_val.csv")] == held_out


def test_a_share_is_disjoint_and_decided_by_the_seed(tiny_dataset):
    def parts(**options):
        config = configured(tiny_dataset, data__val_share=0.3, **options)
        return open_training(config, describe(config.data)), open_split(config, "val")

    kept, held_out = parts()
    assert len(kept) == 4 and len(held_out) == 2 and {*kept.ids, *held_out.ids} == {"0", "1", "2", "3", "4", "5"}
    assert parts()[1].ids == held_out.ids
    assert parts(tasks=("depth",))[1].ids == held_out.ids
    assert any(parts(seed=seed)[1].ids != held_out.ids for seed in (1, 2, 3))
    whole = open_split(configured(tiny_dataset), "train")
    for part in (kept, held_out):
        for index, name in enumerate(part.ids):
            place = whole.ids.index(name)
            assert part.path(index) == whole.path(place) and part.has("depth", index)
            assert (part.read(index)["depth"] == whole.read(place)["depth"]).all()
        assert [name for name, _ in part.faults()] == part.ids
    assert len(parts(data__val_split="held")[0]) == 6 - len(
        open_split(configured(tiny_dataset, data__val_share=0.3, data__val_split="held"), "held")
    )


def test_a_share_cannot_be_had_of_one_sample_or_of_itself(tiny_dataset):
    with pytest.raises(UsageError, match="has one sample, of which none can be held out"):
        open_split(configured(tiny_dataset, data__val_share=0.3, data__limit=1), "val")
    with pytest.raises(UsageError, match=r"data\.val_split has the same name"):
        configured(tiny_dataset, data__val_share=0.3, data__val_split="train")
    assert splits_of(configured(tiny_dataset, data__val_share=0.3, data__val_split="held").data) == [
        "train",
        "val",
        "held",
    ]
