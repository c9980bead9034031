"""No file of a data set is passed over without a word: other endings, sub-folders, labels without a picture."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from mtl_tf import config as configuration
from mtl_tf.data.file_names import EVERY
from mtl_tf.data.found_files import find
from mtl_tf.data.sets import open_split
from mtl_tf.errors import UsageError
from mtl_tf.storage import listing
from tests.helpers import tool_module

RUN_TOOL = tool_module("_tool").run_tool


def opened(root, split="train", tasks=("semseg",), name="folder", **options):
    given = dict(data__name=name, data__root=str(root), tasks=tasks, **options)
    return open_split(configuration.replace(configuration.Config(), **given), split)


def reasons_of(source):
    found = {}
    for _, reason in source.passed_over:
        found[reason] = found.get(reason, 0) + 1
    return found


@pytest.mark.parametrize("name", ["lab_tif", "lab_bmp", "val_tif", "rgb_mixed", "nested", "partly_nested"])
def test_other_endings_and_sub_folders_are_read(field, name):
    truth = np.load(field / "truth.npz")
    for split, count in (("train", 8), ("val", 4)):
        source = opened(field / name, split)
        assert len(source) == source.labelled["semseg"] == count
        assert source.passed_over == []
        for index, sample in enumerate(source.ids):
            expected = truth[f"{split}/{sample.rpartition('/')[2]}/semseg"]
            np.testing.assert_array_equal(source.read(index)["semseg"], expected)


def test_the_folder_is_part_of_the_id(field):
    assert opened(field / "nested").ids[:2] == ["seq0/000", "seq0/002"]
    assert opened(field / "partly_nested", "val").ids == ["000", "002", "seq1/001", "seq1/003"]


@pytest.mark.parametrize(("name", "ending"), [("depth_npy", ".npy"), ("depth_exr", ".exr")])
def test_depth_that_is_not_described_is_counted_and_named(field, name, ending):
    source = opened(field / name)
    assert reasons_of(source) == {"dataset.json describes no depth": 8}
    told = listing.told_of(source, "train")
    example = field / name / "train/depth" / f"000{ending}"
    assert told == f"train: 8 files passed over: dataset.json describes no depth (8, for example {example})"


def test_labels_without_a_picture(field, tmp_path):
    root = shutil.copytree(field / "lab_suffix", tmp_path / "data")
    with pytest.raises(UsageError, match="none of its files belongs to an image"):
        opened(root)
    for index in range(4):
        label = root / f"train/semseg/{index:03d}_mask.png"
        label.rename(label.with_name(f"{index:03d}.png"))
    source = opened(root)
    assert source.labelled == {"semseg": 4}
    assert reasons_of(source) == {listing.NO_IMAGE: 4}
    assert opened(root, data__limit=2).passed_over == source.passed_over  # not those beyond the limit


def test_what_systems_leave_behind_alarms_nobody(tmp_path):
    rgb = tmp_path / "rgb"
    for folder in ("", ".git", "__MACOSX", "@eaDir"):
        (rgb / folder).mkdir(exist_ok=True, parents=True)
    for name in (
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
        "._0.png",
        "README.txt",
        "license",
        ".git/0.png",
        "@eaDir/1.png",
    ):
        (rgb / name).write_bytes(b"")
    (rgb / "0.PNG").write_bytes(b"")
    (rgb / "0.json").write_text("")
    assert all(listing.why_passed_over(name, ()) for name in ("labels_0.npy", "label.exr", "0.txt", "notes"))
    found, passed_over = find(str(rgb), EVERY, listing.PICTURES)
    assert found == {"0": f"{rgb}/0.PNG"}
    assert passed_over == [(f"{rgb}/0.json", ".json is not read")]
    assert listing.look_through(str(rgb), listing.PICTURES).left_behind == 6


def test_links_to_folders_are_followed_once(tmp_path):
    (tmp_path / "rgb/a").mkdir(parents=True)
    (tmp_path / "rgb/a/0.png").write_bytes(b"")
    os.symlink(tmp_path / "rgb", tmp_path / "rgb/a/up")
    os.symlink(tmp_path / "rgb/a", tmp_path / "rgb/b")
    assert list(find(str(tmp_path / "rgb"), EVERY, listing.PICTURES).paths) == ["a/0", "b/0"]


def test_pictures_of_another_ending_in_an_official_layout(tmp_path):
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
        for index in range(3):
            Image.new("L", (8, 8)).save(tmp_path / folder / f"{index}.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "train/3.jpg")
    source = opened(tmp_path, name="camvid")
    assert len(source) == 3
    assert source.passed_over == [(f"{tmp_path}/train/3.jpg", ".jpg is not read")]


def test_the_tools_name_what_is_passed_over(field, tmp_path, capsys):
    root = shutil.copytree(field / "depth_npy", tmp_path / "data")
    for path in root.glob("*/depth/*.npy"):
        path.rename(path.with_suffix(".raw"))
    describe, check = tool_module("describe_dataset"), tool_module("check_dataset")
    assert RUN_TOOL(describe.describe, describe.Options, [f"--data.root={root}", "--noask", "--replace"]) == 0
    told = f"train: 8 files passed over: .raw is not read (8, for example {root}/train/depth/000.raw)"
    assert told in capsys.readouterr().out.splitlines()
    assert RUN_TOOL(check.check, check.Options, ["--data.name=folder", f"--data.root={root}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "train: 8 samples with 8 semseg labels, 0 of them with faults" in lines
    assert told in lines


@pytest.mark.parametrize("name", ["depth_tif16", "depth_tiff"])
def test_labels_of_a_task_that_dataset_json_does_not_describe(field, name):
    assert reasons_of(opened(field / name)) == {"dataset.json describes no depth": 8}
