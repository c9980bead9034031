"""CamVid: the original with colours and SegNet's copy with ids, the official split, wrong colours."""

import collections
import shutil

import numpy as np
import pytest

from mtl_tf.data.sets import splits_of
from mtl_tf.data.sets.camvid import split_of
from tests.data.official import configured, opened, pixels, refusal, save, write_camvid, write_camvid_segnet


@pytest.fixture
def root(tmp_path):
    return tmp_path / "camvid"


def test_the_original(root):
    options = write_camvid(root)
    source = opened(options)
    assert source.ids == [
        *("0001TP_006690", "0001TP_008520", "0006R0_f00930", "0016E5_00901", "0016E5_07920", "0016E5_08190"),
    ]
    assert opened(options, "val").ids == ["0016E5_07959", "0016E5_08159"]
    assert opened(options, "test").ids == ["0001TP_008550", "Seq05VD_f00000"]
    assert splits_of(configured(options).data) == ["train", "val", "test"]
    # sky, wall, traffic cone, lane marking, void, motorcycle
    assert source.read(0)["semseg"].ravel().tolist() == [0, 1, 2, 3, 255, 10] + [0] * 18
    assert "has no depth labels; use --tasks=semseg" in refusal(options, tasks=("semseg", "depth"))


def test_the_official_split_has_367_101_and_233_pictures():
    # the names of all 701 pictures: every 30th frame of four drives, and every second of one stretch
    names = [f"0001TP_{frame:06}" for frame in range(6690, 10381, 30)]
    names += [f"0006R0_f{frame:05}" for frame in range(930, 3931, 30)]
    names += [f"Seq05VD_f{frame:05}" for frame in range(0, 5101, 30)]
    for first, last, step in ((390, 2400, 30), (4350, 7920, 30), (7959, 8159, 2), (8190, 8640, 30)):
        names += [f"0016E5_{frame:05}" for frame in range(first, last + 1, step)]
    assert len(names) == 701
    assert collections.Counter(map(split_of, names)) == {"train": 367, "val": 101, "test": 233}
    assert split_of("holiday_001") == ""


def test_lists_come_first(root):
    options = write_camvid(root)
    (root / "train.txt").write_text("0001TP_008550.png\n\n/SegNet/CamVid/train/0016E5_07959.png /SegNet/x.png\n")
    assert opened(options).ids == ["0001TP_008550", "0016E5_07959"]
    assert splits_of(configured(options).data) == ["train"]
    assert "val.txt: no such file, beside train.txt" in refusal(options, "val")
    (root / "val.txt").write_text("nowhere.png")
    assert f"{root}/val.txt names nowhere, which is not in" in refusal(options, "val")
    (root / "val.txt").write_bytes(b"\xff\xfe")
    assert "not a UTF-8 text" in refusal(options, "val")


def test_the_colours_of_the_download_are_read(root):
    options = write_camvid(root)
    path = root / "label_colors.txt"
    path.write_text("128 128 128\tRoad\n64 192 0\tSky\n0 0 64\tCar\n128 0 192\tVoid\n0 0 0 Void\n192 0 192\tFence\n")
    assert opened(options).read(0)["semseg"].ravel()[:6].tolist() == [3, 0, 8, 255, 255, 7]
    path.write_text("128 128 128\tRhinoceros\n")
    assert "Rhinoceros is no label of CamVid" in refusal(options)
    path.write_text("128 128\tRoad\n")
    assert "line 1 should be three numbers 0..255 and a name" in refusal(options)


def test_a_colour_that_is_no_class(root):
    options = write_camvid(root)
    path = root / "LabeledApproved_full/0001TP_006690_L.png"
    save(path, pixels([(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4), (4, 4, 4)], np.uint8, 128))
    expected = (
        f"{path}: RGB colour 1,1,1 or 2,2,2 or 3,3,3 or 1 others (5 pixels, first at row 0, column 0) is no class"
    )
    assert refusal(options, index=0).startswith(expected)


def test_a_picture_without_labels(root):
    options = write_camvid(root)
    (root / "LabeledApproved_full/0001TP_006690_L.png").unlink()
    source = opened(options)
    assert source.labelled == {"semseg": 5} and (source.read(0)["semseg"] == 255).all()
    shutil.rmtree(root / "LabeledApproved_full")
    assert opened(options).labelled == {"semseg": 0}
    assert opened(options).where["semseg"] == f"unpack LabeledApproved_full.zip into {root}/LabeledApproved_full"


def test_the_copy_with_ids(root):
    options = write_camvid_segnet(root)
    source = opened(options)
    assert source.ids == ["0001TP_006690", "0006R0_f00930"]
    assert source.read(1)["semseg"].ravel().tolist() == [0, 10, 255, 3] + [1] * 20
    assert opened(options, "val").ids == ["0016E5_07959"]
    assert "no pictures of split 'test'" in refusal(options, "test")
    assert "has no split 'trainval'; it has train, val, test" in refusal(options, "trainval")
    path = root / "trainannot/0001TP_006690.png"
    save(path, pixels([12], np.uint8))
    assert (
        refusal(options, index=0)
        == f"{path}: label value 12 (1 pixels, first at row 0, column 0); expected class ids 0..10, or 11 = void"
    )


def test_a_root_one_level_off(root, tmp_path):
    options = write_camvid(root)
    assert refusal(options, data__root=str(root / "701_StillsRaw_full")).endswith(f"did you mean --data.root={root}?")
    assert refusal(options, data__root=str(tmp_path)).endswith(f"did you mean --data.root={root}?")
    empty = tmp_path / "other/empty"
    empty.mkdir(parents=True)
    shutil.rmtree(root)
    assert "unpack 701_StillsRaw_full.zip and LabeledApproved_full.zip there" in refusal(options, data__root=str(empty))
