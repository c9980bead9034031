"""Labels that are not called as their pictures: patterns in dataset.json, and how they are guessed."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from mtl_tf.config import Config, replace
from mtl_tf.data import descriptors
from mtl_tf.data.file_names import guess, ids_by, in_folder, told
from mtl_tf.data.sets import describe, open_split, splits_of
from mtl_tf.errors import UsageError
from tests.data.layouts import labels_of, refused
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
    assert ids_by(pattern, [name]) == [found]


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


# === Paths ===

CITY = {
    "rgb": "leftImg8bit/{split}/{city}/{id}_leftImg8bit.png",
    "semseg": "gtFine/{split}/{city}/{id}_gtFine_labelIds.png",
}


@pytest.mark.parametrize(
    ("pattern", "path", "split", "found"),
    [
        (CITY["rgb"], "leftImg8bit/train/aachen/a_1_leftImg8bit.png", "train", "aachen/a_1"),
        (CITY["rgb"], "leftImg8bit/train/aachen/a_1_leftImg8bit.PNG", "", "aachen/a_1"),
        (CITY["rgb"], "leftImg8bit/val/aachen/a_1_leftImg8bit.png", "train", None),
        (CITY["rgb"], "leftImg8bit/train/aachen/x/a_1_leftImg8bit.png", "train", None),
        (CITY["rgb"], "leftImg8bit/train/aachen/a_1_leftImg8bit.jpg", "train", None),
        ("images/{split}/{id}", "images/train/7.tiff", "train", "7"),
        ("images/**/{id}.jpg", "images/a/b/7.jpg", "", "a/b/7"),
        ("images/**/{id}.jpg", "images/7.jpg", "", "7"),
        ("{id}/images/{id}.png", "x/images/x.png", "", "x"),
        ("{id}/images/{id}.png", "x/images/y.png", "", None),
        ("{scene}/cam{camera}/f_{id}.png", "s1/cam0/f_12.png", "", "s1/0/12"),
        ("{split}_{id}.png", "train_1_2.png", "train", "1_2"),
        ("a+b/{id}.png", "aab/1.png", "", None),
    ],
)
def test_the_id_in_a_path(pattern, path, split, found):
    assert in_folder(pattern, "rgb").id_of(path, split) == found


def write_city(root, **more):
    """A picture and a label in each of two splits, label 0 and 1, in the folders of Cityscapes."""
    for number, split in enumerate(("train", "val")):
        for kind, text in CITY.items():
            path = root / text.format(split=split, city="aachen", id=number)
            path.parent.mkdir(parents=True)
            pixels = np.full((2, 3, 3) if kind == "rgb" else (2, 3), number, np.uint8)
            Image.fromarray(pixels).save(path)
    (root / "dataset.json").write_text(json.dumps({"semseg": SECTION, "file_names": CITY} | more))
    return root


def test_samples_by_paths(tmp_path):
    root = write_city(tmp_path)
    assert labels_of(root) == {"aachen/0": 0} and labels_of(root, "val") == {"aachen/1": 1}
    config = replace(Config(), data__name="folder", data__root=str(root))
    assert splits_of(config.data) == ["train", "val"]
    descriptors.write(root, descriptors.read(root))
    assert json.loads((root / "dataset.json").read_text())["file_names"] == CITY
    done = in_this_process("pack_dataset", "--data.name=folder", f"--data.root={root}", f"--output={tmp_path}/packed")
    assert done.returncode == 0, done.stderr
    assert opened(tmp_path / "packed", name="packed").ids == ["aachen/0"]


def test_a_pattern_that_matches_nothing_says_what_is_there(tmp_path):
    root = write_city(tmp_path)

    def with_names(**names):
        (root / "dataset.json").write_text(json.dumps({"semseg": SECTION, "file_names": CITY | names}))
        return refused(root)

    said = with_names(rgb="leftImg8/{split}/{city}/{id}_leftImg8bit.png")
    assert 'file_names.rgb "leftImg8/{split}/{city}/{id}_leftImg8bit.png" matches no file' in said
    assert f"instead of leftImg8 {root} has dataset.json, gtFine, leftImg8bit; did you mean leftImg8bit?" in said
    said = with_names(semseg="gtFine/{split}/{city}/{id}_gtFine_labelIds.tif")
    assert "did you mean gtFine/{split}/{city}/{id}_gtFine_labelIds.png?" in said
    said = with_names(semseg="gtFine/{split}/{city}/{id}_labels.png")
    assert "instead of {id}_labels.png" in said and "gtFine/train/aachen has 0_gtFine_labelIds.png" in said
    said = with_names(semseg="gtFine/{split}/{city}/{id}.png")
    assert "the first is aachen/0_gtFine_labelIds, that of file_names.rgb" in said and "aachen/0; correct one" in said
    assert ".exr is not read; expected one of .png" in with_names(semseg="gtFine/{split}/{city}/{id}.exr")
    (root / "dataset.json").write_text(json.dumps({"semseg": SECTION, "file_names": CITY}))
    assert "has no split 'tset'; it has train, val" in refused(root, "tset")


def test_one_id_twice(tmp_path):
    root = write_city(tmp_path)
    (root / "dataset.json").write_text(json.dumps({"semseg": SECTION, "file_names": CITY | {"rgb": "x/{id}"}}))
    for name in ("x/7.png", "x/7.jpg"):
        (root / "x").mkdir(exist_ok=True)
        Image.new("RGB", (3, 2)).save(root / name)
    assert "7.jpg and 7.png have one id, 7; remove one" in refused(root)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"rgb": "images/{split}/x.jpg"}, '"file_names": is "images/{split}/x.jpg" for rgb: it lacks {id}'),
        ({"rgb": "../{id}.jpg"}, "it should be a path below data.root"),
        ({"rgb": "/data/{id}.jpg"}, "it should be a path below data.root"),
        ({"rgb": "images/{1}/{id}.jpg"}, "begin with a letter"),
        ({"rgb": "images/{id}}.jpg"}, "names in braces"),
        ({"rgb": "images/*/{id}.jpg"}, "* has no meaning beside braces"),
        ({"rgb": "**/images/{id}.jpg"}, "* has no meaning beside braces"),
    ],
)
def test_wrong_paths(tmp_path, entry, told):
    assert told in refused(write(tmp_path, entry))
