"""KITTI 2015 as it is downloaded: golden labels and metres, the fixed split, archives apart or together."""

import shutil

import numpy as np
import pytest

from mtl_tf.data.sets import splits_of
from mtl_tf.data.stereo import kitti_camera
from tests.data.official import configured, opened, pixels, refusal, save, write_kitti


@pytest.fixture
def root(tmp_path):
    return tmp_path / "kitti"


@pytest.fixture
def options(root):
    return write_kitti(root, root, root)


def test_samples_labels_metres_and_the_split(options):
    train, val, test = (opened(options, split) for split in ("train", "val", "test"))
    assert train.ids == ["000001", "000002", "000003", "000004", "000006"]
    assert val.ids == ["000000", "000005"]
    assert train.labelled == {"semseg": 5, "depth": 5} and val.labelled == {"semseg": 2, "depth": 2}
    assert test.ids == ["000000"] and test.labelled == {"semseg": 0, "depth": 0}
    assert splits_of(configured(options).data) == ["train", "val", "test"]
    sample = val.read(1)
    assert sample["semseg"].ravel().tolist() == [255, 0, 1, 255, 2, 8, 10, 11, 13, 255, 18, 255] + [0] * 12
    # the cameras stand 384 / 700 m apart: 384 / d metres, d = code / 256; code 256 is 384 m, beyond the range
    metres = [0, 0, 384 / 4, 384 / 100, 384 * 256 / 65535]
    np.testing.assert_allclose(sample["depth"].ravel(), metres + [0] * 19, rtol=1e-6)


def test_the_real_numbers_of_a_calibration(tmp_path):
    path = tmp_path / "000000.txt"
    path.write_text(
        "P_rect_02: 7.215377e+02 0.000000e+00 6.095593e+02 4.485728e+01 0.000000e+00 7.215377e+02 1.728540e+02 "
        "2.163791e-01 0.000000e+00 0.000000e+00 1.000000e+00 2.745884e-03\n"
        "P_rect_03: 7.215377e+02 0.000000e+00 6.095593e+02 -3.395242e+02 0.000000e+00 7.215377e+02 1.728540e+02 "
        "2.199936e+00 0.000000e+00 0.000000e+00 1.000000e+00 2.729905e-03\n"
    )
    assert kitti_camera(str(path)) == pytest.approx(384.38148)
    assert kitti_camera(str(path)) / 721.5377 == pytest.approx(0.5327, abs=1e-4)  # metres between the cameras


def test_archives_side_by_side(tmp_path):
    names = ("data_semantics", "data_scene_flow", "data_scene_flow_calib")
    options = write_kitti(*(tmp_path / "all" / name for name in names)) | dict(data__root=str(tmp_path / "all"))
    source = opened(options)
    assert source.labelled == {"semseg": 5, "depth": 5}
    assert source.read(0)["depth"].max() == 96


def test_one_archive_alone(options, root):
    shutil.rmtree(root / "training/semantic")
    assert opened(options).labelled == {"semseg": 0, "depth": 5}
    assert "unpack data_semantics.zip into" in opened(options).where["semseg"]
    shutil.rmtree(root / "training/disp_occ_0")
    assert opened(options).labelled["depth"] == 5  # those without occluded pixels do as well
    shutil.rmtree(root / "training/disp_noc_0")
    assert opened(options).labelled["depth"] == 0
    assert "data_scene_flow_calib.zip" in opened(options).where["depth"]


def test_disparity_without_calibration(options, root):
    (root / "training/calib_cam_to_cam/000001.txt").unlink()
    assert "its camera file, by which it becomes metres, is missing" in refusal(options, index=0)
    shutil.rmtree(root / "training/calib_cam_to_cam")
    assert "unpack data_scene_flow_calib.zip there" in refusal(options)
    assert len(opened(options, tasks=("semseg",))) == 5


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "expected a line P_rect_02: with 12 numbers"),
        ("P_rect_02: 1 2 3\n", "expected a line P_rect_02: with 12 numbers"),
        ("P_rect_02: " + "1 " * 12 + "\nP_rect_03: " + "x " * 12, "expected a line P_rect_03: with 12 numbers"),
        ("P_rect_02: " + "1 " * 12 + "\nP_rect_03: " + "1 " * 12, "P_rect_02[3] - P_rect_03[3] should be a positive"),
        ("P_rect_02: " + "nan " * 12 + "\nP_rect_03: " + "1 " * 12, "should be a positive number; it is nan"),
    ],
)
def test_a_damaged_calibration_is_named(options, root, content, expected):
    path = root / "training/calib_cam_to_cam/000001.txt"
    path.write_text(content)
    message = refusal(options, index=0)
    assert message.startswith(f"{path}: ") and expected in message


@pytest.mark.parametrize("below", ["training", "training/image_2", "testing"])
def test_a_root_too_low(options, root, below):
    assert refusal(options, data__root=str(root / below)).endswith(f"did you mean --data.root={root}?")


def test_what_is_not_there(options, root, tmp_path):
    assert "has no split 'minival'; it has train, val, test" in refusal(options, "minival")
    empty = tmp_path / "other/empty"
    empty.mkdir(parents=True)
    shutil.rmtree(root)
    assert "unpack data_scene_flow.zip or data_semantics.zip there" in refusal(options, data__root=str(empty))


def test_a_label_that_is_no_label_id(options, root):
    path = root / "training/semantic/000001_10.png"
    save(path, pixels([40], np.uint8, 7))
    assert refusal(options, index=0).startswith(f"{path}: label value 40 (1 pixels, ")
