"""The copies of NYUv2 and Cityscapes of MTAN: pictures as numbers, labels from -1 on, which of the two a folder is."""

import shutil

import numpy as np
import pytest

from mtl_tf.data.sets import describe, describe_training, open_training, splits_of
from tests.data.official import (
    configured,
    opened,
    picture,
    pixels,
    refusal,
    save_array,
    write_cityscapes,
    write_mtan_cityscapes,
    write_mtan_nyuv2,
)
from tests.helpers import in_this_process, one_line_error


@pytest.fixture
def root(tmp_path):
    return tmp_path / "mtan"


def test_the_copy_of_nyuv2(root):
    options = write_mtan_nyuv2(root, (("train", 11), ("val", 2)))
    source = opened(options)
    assert source.ids == [str(number) for number in range(11)] and opened(options, "val").ids == ["0", "1"]
    assert splits_of(configured(options).data) == ["train", "val"]
    sample = source.read(10)
    np.testing.assert_array_equal(sample["image"], picture(10))
    assert sample["semseg"].ravel().tolist() == [255, 0, 6, 3, 12] + [11] * 19
    np.testing.assert_array_equal(sample["depth"], pixels([0, 0, 2.5, 0, 0], np.float32, 3))
    expected = pixels([(0, 0, 0), (0, -1, 0), (1, 0, 0)], np.float32, (0, 0, -1))
    np.testing.assert_array_equal(sample["normals"], expected)
    assert source.size(0) == (4, 6) and source.one_size()


def test_the_copy_of_cityscapes_has_the_depth_of_the_seven_classes(root, tmp_path):
    options = write_mtan_cityscapes(root)
    sample = opened(options, tasks=("semseg", "depth", "semseg_19", "semseg_2")).read(0)
    assert sample["semseg"].ravel().tolist() == [255, 0, 6] + [1] * 21
    assert sample["semseg_19"].ravel().tolist() == [255, 0, 18] + [1] * 21
    assert sample["semseg_2"].ravel().tolist() == [255, 0, 1] + [1] * 21
    # The disparity codes 0, 1, 257, 1025, 25601 and 32257 of the official files, over 65535.
    official = opened(write_cityscapes(tmp_path / "city") | dict(data__name="cityscapes7")).read(0)["depth"].ravel()
    np.testing.assert_array_equal(sample["depth"].ravel()[:3], official[[0, 1, 5]])
    assert describe(configured(options).data)["depth"].unit == "normalised_disparity"


def test_a_mix_with_the_official_files(root, tmp_path):
    options = write_mtan_cityscapes(root)
    others = dict(data__mix_names=("cityscapes7",), data__mix_roots=(str(tmp_path / "city"),))
    write_cityscapes(tmp_path / "city")
    config = configured(options, **others)
    source = open_training(config, describe_training(config.data))
    assert source.labelled == {"semseg": 6, "depth": 6} and not any(
        part.adapted["semseg"].ignored for part in source.parts
    )
    # road is flat, which is 0 here too; code 32257
    assert source.read(3)["semseg"].ravel()[1] == 0
    assert source.read(3)["depth"].ravel()[5] == source.read(0)["depth"].ravel()[2] == np.float32(32257 / 65535)


def test_a_copy_with_one_set_of_classes(root):
    options = write_mtan_cityscapes(root, classes=("label",))  # as LibMTL names it
    assert tuple(describe(configured(options).data).labels) == ("semseg", "depth")
    assert opened(options).labelled == {"semseg": 3, "depth": 3}
    assert "has no semseg_19 labels" in refusal(options, tasks=("semseg_19",))


def test_which_of_the_copies_a_folder_is(root, tmp_path):
    nyuv2, city = write_mtan_nyuv2(root / "a"), write_mtan_cityscapes(root / "b")
    expected = f"--data.root={root}/a has normals, as the copy of NYUv2 has: --data.name=mtan_nyuv2"
    assert refusal(nyuv2 | dict(data__name="mtan_cityscapes", tasks=("depth",))) == expected
    assert refusal(city | dict(data__name="mtan_nyuv2")) == (
        f"--data.root={root}/b has no folder train/normal: unpack nyuv2.zip again, whole; if it is the copy of "
        "Cityscapes, --data.name=mtan_cityscapes"
    )
    for name, options in (("mtan_nyuv2", nyuv2), ("mtan_cityscapes", city)):
        done = in_this_process("describe_dataset", f"--data.root={options['data__root']}", "--noask")
        line = one_line_error(done.returncode, done.stderr)
        assert f"is laid out as {name}, whose reader needs no dataset.json: use --data.name={name} (" in line
    for options in (nyuv2, city):
        told = refusal(options, data__root=str(root))
        assert told.endswith(f"did you mean --data.root={options['data__root']}?")
    # Folders of these names with other files are somebody's own.
    for path in (root / "a").rglob("image/*.npy"):
        path.rename(path.with_suffix(".raw"))
    assert "it has train, val: unpack nyuv2.zip there" in refusal(nyuv2)
    done = in_this_process("describe_dataset", f"--data.root={root}/a", "--noask")
    assert "laid out as" not in one_line_error(done.returncode, done.stderr)


def test_an_archive_half_unpacked(root):
    options = write_mtan_nyuv2(root)
    (root / "train/normal/1.npy").unlink()
    source = opened(options)
    assert source.labelled == {"semseg": 3, "depth": 3, "normals": 2} and (source.read(1)["normals"] == 0).all()
    shutil.rmtree(root / "val/normal")
    assert refusal(options, "val") == (
        f"{root} has no folder val/normal: unpack nyuv2.zip again, whole, or leave normals out (--tasks=semseg,depth)"
    )
    shutil.rmtree(root / "val")
    assert refusal(options, "val") == f"{root} has no split 'val'; it has train"
    shutil.rmtree(root / "train/image")
    assert "expected train/image/0.npy, val/image/0.npy" in refusal(options)


def test_labels_of_another_kind(root):
    options = write_mtan_nyuv2(root)
    path = save_array(root / "train/label/0.npy", pixels([13, -2, 0.5, np.nan], np.float32))
    assert refusal(options, index=0) == (
        f"{path}: label value -2 or 0.5 or 13 or 1 others (4 pixels, "
        "first at row 0, column 0); expected whole numbers -1..12, -1 = no class"
    )
    save_array(path, np.zeros((4, 6, 3), np.float32))
    assert f"{path}: expected classes as numbers (H, W) in a .npy file, channels = 1, got" in refusal(options, index=0)
    save_array(path, np.zeros((6, 4), np.uint8))
    assert f"{path}: 4x6 pixels, but its image 0.npy is 6x4" in refusal(options, index=0)


@pytest.mark.parametrize("write", [write_mtan_nyuv2, write_mtan_cityscapes])
def test_the_tools_read_the_copies(root, tmp_path, write):
    where = (f"--data.name={write(root)['data__name']}", f"--data.root={root}")
    done = in_this_process("check_dataset", *where)
    assert done.returncode == 0 and "no fault in 5 samples" in done.stdout, done.stderr
    assert in_this_process("dataset_statistics", *where, f"--output={tmp_path}/measured.json").returncode == 0
    found = describe(configured(write(root), data__statistics=f"{tmp_path}/measured.json").data)
    assert found["depth"].mean == pytest.approx({"mtan_nyuv2": 2.98, "mtan_cityscapes": 0.25}[found.name], rel=0.1)
