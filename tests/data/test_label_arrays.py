"""Class maps in .npy, .npz, .mat and floating-point TIFF files, through every tool of a folder."""

import json

import numpy as np
import pytest
from PIL import Image

from mtl_tf.config import Config, replace
from mtl_tf.data import descriptors
from mtl_tf.data.sets import describe, open_split
from tests.data.test_arrays import written
from tests.data.test_label_formats import TWO, labels_of, refusal
from tests.helpers import in_this_process

CLASSES = np.array([[0, 1, 1], [1, 0, 0]])


@pytest.mark.parametrize("ending", [".npy", ".npz", ".mat"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint16, bool, np.float32, np.float64])
def test_whole_numbers_of_any_type(tmp_path, ending, dtype):
    labels = labels_of(tmp_path / "data")
    found = labels.read(written(tmp_path / f"m{ending}", gt=CLASSES.astype(dtype)))
    assert found.dtype == np.int32 and found.tolist() == CLASSES.tolist()


def test_an_array_by_its_key_and_its_values(tmp_path):
    labels = labels_of(tmp_path / "data", key="gt", values={"-1": "ignore", "1": "road", "7": "road", "2": "car"})
    stored = np.array([[-1, 1, 7], [2, 2, -1]])
    for ending in (".npz", ".mat"):
        path = written(tmp_path / f"m{ending}", gt=stored, depth=stored / 4)
        assert labels.read(path).tolist() == [[255, 0, 0], [1, 1, 255]]
        told = refusal(labels_of(tmp_path / "none"), path)
        assert "in one array, got gt int64 (2, 3), depth float64 (2, 3); state which by its name" in told
        assert "as array 'labels', got gt int64 (2, 3)" in refusal(labels_of(tmp_path / "other", key="labels"), path)
    assert labels_of(tmp_path / "again", **labels.content()) == labels


def test_floating_point_tiff(tmp_path):
    labels = labels_of(tmp_path / "data", values={"-1": "ignore", "0": "road", "1": "car"})
    Image.fromarray(np.array([[-1, 0, 1]], np.float32)).save(tmp_path / "m.tif")
    assert labels.read(str(tmp_path / "m.tif")).tolist() == [[255, 0, 1]]
    Image.fromarray(np.array([[0, 1, 0.5]], np.float32)).save(tmp_path / "m.tif")
    told = "expected a class id per pixel: grey, palette or three equal channels"
    assert refusal(labels, str(tmp_path / "m.tif")).startswith(told)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".mat"])
@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ([[0, 0.5], [np.nan, 1]], "whole numbers -128..65535, got 0.5 or nan (2 pixels, first at row 0, column 1)"),
        ([[0, 1], [-129, 65536]], "whole numbers -128..65535, got -129 or 65536 (2 pixels, first at row 1, column 0)"),
        (
            [[0, 1], [9, -1]],
            "label value -1 or 9 (2 pixels, first at row 1, column 0) is neither a class (0..1) nor",
        ),
        (np.zeros((2, 2, 3)), "expected a class id per pixel, numbers (H, W), got"),
    ],
)
def test_what_is_no_class_map(tmp_path, ending, stored, told):
    assert told in refusal(labels_of(tmp_path / "data"), written(tmp_path / f"m{ending}", gt=np.asarray(stored)))


def test_colours_are_not_read_from_arrays(tmp_path):
    path = written(tmp_path / "m.npy", gt=np.zeros((2, 2, 3), np.uint8))
    assert refusal(labels_of(tmp_path / "data", encoding="colour"), path).startswith("expected a colour per pixel, got")


# === Folders ===


def write(root, ending, split="train", **arrays):
    """A split of two samples whose class maps are arrays: gt, and others."""
    for kind in ("rgb", "semseg"):
        (root / split / kind).mkdir(parents=True)
    for index in range(2):
        Image.new("RGB", (3, 2), (90 * index, 9 * index, 200 * index)).save(root / split / "rgb" / f"{index}.png")
        written(root / split / "semseg" / f"{index}{ending}", gt=(CLASSES ^ index).astype(np.uint8), **arrays)
    return root


def read(root, name="folder"):
    config = replace(Config(), data__name=name, data__root=str(root), tasks=("semseg",))
    source = open_split(config, "train", describe(config.data))
    return [source.read(place)["semseg"].tolist() for place in range(len(source))], source.passed_over


TRUTH = [CLASSES.tolist(), (1 - CLASSES).tolist()]


@pytest.mark.parametrize(
    ("ending", "arrays", "options"),
    [
        (".npy", {}, ()),
        (".npz", {"depth": CLASSES / 4}, ("--semseg_key=gt",)),
        (".mat", {"names": "road,car", "depth": CLASSES / 4}, ("--semseg_key=gt",)),
    ],
)
def test_a_folder_is_described_checked_and_packed(tmp_path, ending, arrays, options):
    root = write(tmp_path / "data", ending, **arrays)
    place = f"--data.root={root}"
    for tool, *more in (
        ("describe_dataset", "--noask", *options),
        ("describe_dataset", "--noask", "--replace"),
        ("check_dataset", "--data.name=folder"),
        ("dataset_statistics", "--data.name=folder", "--write"),
        ("pack_dataset", "--data.name=folder", f"--output={tmp_path}/packed", "--verify"),
    ):
        done = in_this_process(tool, place, *more)
        assert done.returncode == 0 and "passed over" not in done.stdout, (tool, done.stdout, done.stderr)
    assert descriptors.read(root)["semseg"].key == ("gt" if options else "")
    assert read(root) == (TRUTH, []) and read(tmp_path / "packed", "packed")[0] == TRUTH


def test_several_arrays_are_one_line(tmp_path):
    root = write(tmp_path / "data", ".npz", depth=CLASSES / 4)
    done = in_this_process("describe_dataset", f"--data.root={root}", "--noask")
    assert done.returncode == 2 and 'state which by its name: "key" in dataset.json' in done.stderr


def test_negative_numbers_are_described_as_no_class(tmp_path):
    root = write(tmp_path / "data", ".npy")
    np.save(root / "train/semseg/0.npy", CLASSES - 1)
    done = in_this_process("describe_dataset", f"--data.root={root}", "--noask")
    assert "warning: negative label values, -1, are taken for no class" in done.stdout, done.stderr
    assert descriptors.read(root)["semseg"].values == (("-1", "ignore"), ("0", "class0"), ("1", "class1"))
    done = in_this_process("check_dataset", "--data.name=folder", f"--data.root={root}")
    assert done.returncode == 0, done.stdout
    assert read(root)[0][0] == np.where(CLASSES, 0, 255).tolist()


def test_arrays_beside_pictures_are_passed_over(tmp_path):
    """As they were when arrays were not read."""
    root = write(tmp_path / "data", ".npy")
    (root / "dataset.json").write_text(json.dumps({"semseg": TWO}))
    for index in range(2):
        Image.fromarray((CLASSES ^ index).astype(np.uint8)).save(root / f"train/semseg/{index}.png")
    labels, passed_over = read(root)
    assert labels == TRUTH and [passed.reason for passed in passed_over] == [".npy is not read"] * 2
