"""Lists of the samples of a split: ids, paths and pairs; what they name that is not there."""

import json

import numpy as np
import pytest
from PIL import Image

from mtl_tf.config import Config, replace
from mtl_tf.data import descriptors
from mtl_tf.data.sets import splits_of
from tests.data.layouts import labels_of, refused
from tests.helpers import in_this_process

SECTION = {"classes": ["road", "car"], "palette": [[0, 0, 0], [1, 1, 1]]}


def write_listed(root, train, columns=None, **more):
    """Pictures 0 to 3 in images, labels of the same numbers modulo 2 in labels, and a list."""
    for number in range(4):
        for kind in ("images", "labels"):
            (root / kind).mkdir(parents=True, exist_ok=True)
            pixels = np.full((2, 3, 3) if kind == "images" else (2, 3), number % 2, np.uint8)
            Image.fromarray(pixels).save(root / kind / f"{number}.png")
    (root / "train.txt").write_text("".join(f"{line}\n" for line in train))
    content = {"semseg": SECTION, "split_lists": {"train": "train.txt"}}
    names = {"rgb": "images/{id}.png", "semseg": "labels/{id}.png"}
    (root / "dataset.json").write_text(json.dumps(content | {"file_names": names} | more))
    return root


@pytest.mark.parametrize(
    "lines",
    [
        ("1", "2"),
        ("# a comment", "", "2.png", "1"),
        ("images/1.png", "./images/2.png"),
        ("images/1.png labels/1.png", "/images/2.png\tlabels/2.png"),
        ("images/1.png,labels/1.png", "2, labels/2.png"),
        ("# rgb semseg", "1 labels/1.png", "2"),
    ],
)
def test_a_list_of_ids_of_paths_and_of_pairs(tmp_path, lines):
    assert labels_of(write_listed(tmp_path, lines)) == {"1": 1, "2": 0}
    config = replace(Config(), data__name="folder", data__root=str(tmp_path))
    assert splits_of(config.data) == ["train"]


def test_pairs_need_no_patterns_and_go_before_them(tmp_path):
    root = write_listed(tmp_path, ("images/1.png labels/2.png",), file_names={})
    assert labels_of(root) == {"images/1": 0}
    assert labels_of(write_listed(tmp_path / "both", ("1 labels/2.png", "2"))) == {"1": 0, "2": 0}


def test_ids_with_spaces(tmp_path):
    root = write_listed(tmp_path, ("my 1", "2"))
    for kind in ("images", "labels"):
        (root / kind / "1.png").rename(root / kind / "my 1.png")
    assert labels_of(root) == {"2": 0, "my 1": 1}


def test_lines_that_name_nothing(tmp_path):
    root = write_listed(tmp_path, ("1", "7", "8", "2"))
    said = refused(root)
    assert said.startswith(f"{root}/train.txt: 2 of its 4 lines name a file that is not there, the first '7' (line 2);")
    assert labels_of(root, data__skip_bad=True) == {"1": 1, "2": 0}
    assert "1 of its 1 lines name a file that is not there, the first 'labels/9.png'" in refused(
        write_listed(tmp_path, ("1 labels/9.png",))
    )
    assert "(line 1)" in refused(write_listed(tmp_path, ("../images/1.png",)))


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ((), "train.txt: no samples in it; expected an id or the path of a picture a line"),
        (("# rgb lanes", "1"), "line 1 names a column lanes, which is no task of the data set; its tasks are semseg"),
        (("1 labels/1.png labels/1.png",), "line 1 has 3 columns, expected rgb semseg; name them in the first line"),
    ],
)
def test_wrong_lists(tmp_path, lines, told):
    assert told in refused(write_listed(tmp_path, lines))


def test_lists_in_dataset_json(tmp_path):
    assert '"split_lists" should be an object of text files below data.root by split' in refused(
        write_listed(tmp_path, ("1",), split_lists={"train": "../train.txt"})
    )
    said = refused(write_listed(tmp_path, ("1",), splits=["train", "val"]))
    assert '"split_lists" should be an object with a list of each split (train, val)' in said
    assert "no such file" in refused(write_listed(tmp_path, ("1",), split_lists={"train": "none.txt"}))
    root = write_listed(tmp_path, ("1", "2"))
    assert descriptors.read(root).split_lists == {"train": "train.txt"}
    descriptors.write(root, descriptors.read(root))
    assert labels_of(root) == {"1": 1, "2": 0}


def test_a_packed_list_comes_back(tmp_path):
    root = write_listed(tmp_path / "data", ("1", "2"))
    for arguments in (
        ("--data.name=folder", f"--data.root={root}", f"--output={tmp_path}/packed", "--verify"),
        ("--data.name=packed", f"--data.root={tmp_path}/packed", f"--output={tmp_path}/back", "--unpack"),
    ):
        done = in_this_process("pack_dataset", *arguments)
        assert done.returncode == 0, done.stderr
    assert labels_of(tmp_path / "back") == {"1": 1, "2": 0}
