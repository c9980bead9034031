"""A data set that changes under a run: between start and resume it is noticed, while it runs the file is named."""

import json
import shutil

import pytest
from PIL import Image

from mtl_tf import config as configuration
from mtl_tf.commands import main
from mtl_tf.data.fingerprint import difference, fingerprint
from mtl_tf.data.sets import describe, open_split, open_training
from mtl_tf.errors import UsageError
from mtl_tf.training.run_directory import RunDirectory
from tests.faults import small
from tests.helpers import TINY, assert_same_run, state_of, write_dataset


def found_in(root, **options):
    config = configuration.replace(configuration.Config(), data__name="folder", data__root=str(root), **options)
    return fingerprint(open_split(config, "train"))


def rewrite(root):
    path = root / "train/rgb/2.png"
    with Image.open(path) as image:
        image.rotate(180).save(path, compress_level=1)


CHANGES = {
    "removed": (
        lambda root: [(root / f"train/{kind}/3.png").unlink() for kind in ("rgb", "semseg", "depth")],
        "5 samples, 6 before",
    ),
    "added": (lambda root: shutil.copy(root / "train/rgb/0.png", root / "train/rgb/6.png"), "7 samples, 6 before"),
    "renamed": (
        lambda root: [
            (root / f"train/{kind}/3.png").rename(root / f"train/{kind}/new.png") for kind in ("rgb", "semseg", "depth")
        ],
        "as many samples as before, but others, for example new",
    ),
    "a label removed": (lambda root: (root / "train/depth/1.png").unlink(), "5 depth labels, 6 before"),
    "a picture replaced": (rewrite, "the rgb file of 2 has"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_said(tmp_path, change):
    root = write_dataset(tmp_path / "data", {"train": 6, "val": 2})
    before = json.loads(json.dumps(found_in(root)))  # as a run keeps it
    assert difference(before, found_in(root)) == ""
    act, text = CHANGES[change]
    act(root)
    assert text in difference(before, found_in(root))


def test_a_data_set_may_move(tmp_path):
    root = write_dataset(tmp_path / "data", {"train": 6, "val": 2})
    before = found_in(root)
    assert difference(before, found_in(root.rename(tmp_path / "elsewhere"))) == ""


def test_all_kinds_of_sources_have_one(tmp_path):
    root = write_dataset(tmp_path / "data", {"train": 6, "val": 2})
    config = configuration.from_values(
        {
            **{"data.name": "folder", "data.root": str(root), "data.image_size": (32, 48)},
            **{
                "data.synthetic_train": 3,
                "data.mix_names": ("synthetic", "folder"),
                "data.mix_roots": ("-", str(root)),
            },
            "tasks": ("depth",),
        }
    )
    found = fingerprint(open_training(config, describe(config.data)))
    assert found["samples"] == 15 and found["labels"] == {"depth": 15}
    assert len(found["sizes"]) == 12 and {"rgb", "depth"} == set(found["sizes"]["4"])


@pytest.mark.parametrize(
    "kept",
    [
        "[]",
        '{"training": null}',
        '{"training": {"samples": 6}}',
        '{"training": {"samples": 6, "ids": "x", "labels": 3}}',
    ],
)
def test_what_is_no_record_of_samples_is_told_in_a_line(tmp_path, kept):
    (tmp_path / "run.flags").touch()
    (tmp_path / "samples.json").write_text(kept)
    found = {"samples": 6, "ids": "x", "labels": {"depth": 6}, "sizes": {}}
    config = configuration.replace(configuration.Config(), run_dir=str(tmp_path))
    with RunDirectory(config) as run, pytest.raises(UsageError, match=r"samples\.json: not what .* remove it"):
        run._refuse_other_samples({"training": found})


@pytest.mark.parametrize("change", ["removed", "a picture replaced"])
def test_a_run_refuses_to_go_on_with_other_samples(tiny_dataset, tiny_run, tmp_path, capsys, change):
    root, run_dir = tmp_path / "data", tmp_path / "run"
    shutil.copytree(tiny_dataset, root)
    shutil.copytree(tiny_run, run_dir)
    act, text = CHANGES[change]
    act(root)
    arguments = ["train", *TINY, "--data.image_size=32,48", f"--data.root={root}", f"--run_dir={run_dir}"]
    assert main(arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "the training samples are not those" in error and text in error and "--train.fresh" in error
    assert main([*arguments[:-2], f"--data.root={tiny_dataset}", arguments[-1]]) == 0


@pytest.mark.slow
def test_a_file_that_vanishes_while_a_run_trains_is_named_and_nothing_lost(tmp_path, capsys):
    dataset = small.small_dataset(tmp_path / "data")
    assert small.train(dataset, tmp_path / "whole") == 0
    path, aside = dataset / "train/depth/3.png", tmp_path / "aside.png"
    with small.after_step(small.STEPS + 1, lambda _: path.rename(aside)):
        assert small.train(dataset, tmp_path / "run", "--data.prefetch=1", "--data.workers=1") == 2
    assert f"{path}: no such file" in capsys.readouterr().err.splitlines()[-1]
    assert state_of(tmp_path / "run")["state/.ATTRIBUTES/VARIABLE_VALUE"][0] > small.STEPS
    assert small.train(dataset, tmp_path / "run") == 2
    assert "7 depth labels, 8 before" in capsys.readouterr().err.splitlines()[-1]
    aside.rename(path)
    assert small.train(dataset, tmp_path / "run") == 0
    assert_same_run(tmp_path / "run", tmp_path / "whole")
