"""Labels that are not called as their pictures: patterns in dataset.json, and how they are guessed."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from mtl_tf.config import Config, replace
from mtl_tf.data import descriptors
from mtl_tf.data.file_names import guess, id_by, told
from mtl_tf.data.sets import describe, open_split
from mtl_tf.errors import UsageError
from tests.helpers import in_this_process

SECTION = {"classes": ["road", "car"], "palette": [[0, 0, 0], [1, 1, 1]]}


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("*", "7", "7"),
        ("*_mask", "7_mask", "7"),
        ("*_mask", "a/b_mask/7_mask", "a/b_mask/7"),
        ("gt_*", "gt_7", "7"),
        ("gt_*.x", "a/gt_7.x", "a/7"),
        ("*_mask", "7", None),
        ("*_mask", "_mask", None),
        ("ab*bc", "abc", None),
    ],
)
def test_the_id_in_a_name(pattern, name, found):
    assert id_by(pattern, name) == found


@pytest.mark.parametrize(
    ("images", "labels", "found"),
    [
        ("000 001", "000_mask 001_mask", ("*", "*_mask")),
        ("100_sat 200_sat 300_sat", "100_mask 200_mask", ("*_sat", "*_mask")),
        ("img_1 img_2 img_12", "mask_1 mask_2", ("img_*", "mask_*")),
        ("img1 img2", "lab1 lab2", ("img*", "lab*")),
        ("1.rgb 2.rgb", "1.label 2.label", ("*.rgb", "*.label")),
        ("a/town_1_left", "a/town_1_gt_ids", ("*_left", "*_gt_ids")),
        ("1 2", "1_mask 2_mask 3_mask", None),
        ("x y", "z w", None),
        ("1 2", "", None),
    ],
)
def test_patterns_are_guessed_where_all_labels_find_a_picture(images, labels, found):
    assert guess(images.split(), labels.split()) == found
    assert bool(told("semseg", images.split(), labels.split())) == bool(found)


def write(root, file_names=None):
    """Two samples, 1_sat.png and 2_sat.png with labels 1_mask.png, 2_mask.png, and another file of each."""
    for kind, name in (("rgb", "{}_sat"), ("semseg", "{}_mask"), ("semseg", "{}_outline")):
        (root / "train" / kind).mkdir(parents=True, exist_ok=True)
        for index in (1, 2):
            pixels = np.full((2, 3, 3), 9, np.uint8) if kind == "rgb" else np.full((2, 3), index - 1, np.uint8)
            Image.fromarray(pixels).save(root / "train" / kind / f"{name.format(index)}.png")
    content = {"semseg": SECTION} | ({"file_names": file_names} if file_names else {})
    (root / "dataset.json").write_text(json.dumps(content))
    return root


NAMED = {"rgb": "*_sat", "semseg": "*_mask"}


def opened(root, descriptor=None, name="folder"):
    config = replace(Config(), data__name=name, data__root=str(root), tasks=("semseg",))
    return open_split(config, "train", descriptor or describe(config.data))


def test_samples_by_patterns(tmp_path):
    root = write(tmp_path, NAMED)
    source = opened(root)
    assert source.ids == ["1", "2"] and [source.read(place)["semseg"][0, 0] for place in (0, 1)] == [0, 1]
    reasons = {passed.reason for passed in source.passed_over}
    assert reasons == {"a name other than *_mask"} and len(source.passed_over) == 2
    descriptors.write(root, descriptors.read(root))
    assert json.loads((root / "dataset.json").read_text())["file_names"] == NAMED
    assert descriptors.read(root).of(("semseg",)).file_names == NAMED


def test_without_patterns_the_line_says_what_to_write(tmp_path):
    root = write(tmp_path)
    for path in root.rglob("*_outline.png"):
        path.unlink()
    with pytest.raises(UsageError, match=r'write "file_names": {"rgb": "\*_sat", "semseg": "\*_mask"} into dataset'):
        opened(root)


def test_a_run_reads_folders_with_other_names(tmp_path):
    """The descriptor of a run says what classes are; how files are called, the folder that is read says itself."""
    trained, other = write(tmp_path / "trained", NAMED), write(tmp_path / "other")
    for path in [*other.rglob("*_sat.png"), *other.rglob("*_mask.png")]:
        path.rename(path.with_stem(path.stem.partition("_")[0]))
    for path in other.rglob("*_outline.png"):
        path.unlink()
    for root, named in ((other, trained), (trained, other)):
        source = opened(root, descriptors.read(named))
        assert [source.read(place)["semseg"][0, 0] for place in (0, 1)] == [0, 1]
    same = dataclasses.replace(descriptors.read(other), name="trained")
    assert descriptors.read(trained).says_the_same(same, ())


def test_packed_under_their_ids(tmp_path):
    root = write(tmp_path / "data", NAMED)
    done = in_this_process("pack_dataset", "--data.name=folder", f"--data.root={root}", f"--output={tmp_path}/packed")
    assert done.returncode == 0, done.stderr
    source = opened(tmp_path / "packed", name="packed")
    assert [source.read(place)["semseg"][0, 0] for place in (0, 1)] == [0, 1]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("*_mask", '"file_names" should be an object of patterns by folder, each with one * for the id'),
        ({"semseg": "_mask"}, '"file_names" should be an object of patterns by folder'),
        ({"semseg": "*/*"}, '"file_names" should be an object of patterns by folder'),
        ({"semsg": "*_mask"}, "of rgb or tasks that are described here (semseg); it is of semsg"),
    ],
)
def test_wrong_patterns(tmp_path, entry, told):
    with pytest.raises(UsageError) as caught:
        opened(write(tmp_path, entry))
    assert told in str(caught.value)
