"""Taskonomy: golden labels of all folders, masks, splits by building, lists and halves of archives."""

import shutil

import numpy as np
import pytest

from mtl_tf.data.sets import describe, splits_of
from tests.data.official import configured, opened, picture, pixels, refusal, save, tree, write_taskonomy
from tests.helpers import in_this_process

TASKS = ("semseg", "depth", "normals", "depth_euclidean", "reshading", "principal_curvature")
TASKS += ("keypoints2d", "keypoints3d", "edge_occlusion", "edge_texture")
NOTHING = np.float32(-1e38)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "taskonomy"


@pytest.fixture
def options(root):
    return write_taskonomy(root) | dict(tasks=TASKS)


def test_labels_of_all_folders(options, root):
    shutil.rmtree(root / "allensville/mask_valid")
    before = tree(root)
    source = opened(options)
    assert source.ids == [f"{name}_point_7_view_{view}" for name in ("allensville", "beechwood") for view in (0, 1)]
    assert source.labelled == dict.fromkeys(TASKS, 4)
    sample = {name: label.reshape(24, *label.shape[2:]) for name, label in source.read(0).items()}
    np.testing.assert_array_equal(sample["image"].reshape(4, 6, 3), picture(0))
    assert sample["semseg"][:4].tolist() == [255, 0, 16, 4]
    np.testing.assert_allclose(sample["depth"][:5], [0, 1 / 512, 1, 10, 2], rtol=1e-6)
    np.testing.assert_allclose(sample["depth_euclidean"][:3], [0, 1 / 256, 1], rtol=1e-6)
    # Stored as right, down, towards the camera.
    np.testing.assert_allclose(sample["normals"][:4], [[1, 0, 0], [0, 1, 0], [0, 0, -1], [0, 0, 0]], atol=0.005)
    np.testing.assert_allclose(sample["reshading"][:4], [0, 0.2, 1, 0.4], rtol=1e-6)
    np.testing.assert_allclose(sample["principal_curvature"][:2], [[0, 0], [0.2, -0.2]], atol=1e-6)
    for name in ("keypoints2d", "keypoints3d", "edge_occlusion", "edge_texture"):
        np.testing.assert_allclose(sample[name][:4], [0, 1, 0.4, 0.2], rtol=1e-6)
    assert tree(root) == before


def test_holes_of_the_mesh_have_no_labels_of_what_is_read_off_it(options):
    sample = {name: label.reshape(24, *label.shape[2:]) for name, label in opened(options).read(0).items()}
    assert sample["depth"][:4].tolist() == [0, 0, 1, 10] and not sample["normals"][:2].any()
    assert sample["normals"][2].any()
    for name in ("reshading", "keypoints3d", "edge_occlusion"):
        assert (sample[name][:2] == NOTHING).all() and (sample[name][2:] >= 0).all()
    assert (sample["principal_curvature"][:2] == NOTHING).all() and (sample["principal_curvature"][2:] > -1).all()
    # Pictures have these everywhere.
    assert sample["keypoints2d"][:2].tolist() == [0, 1] and sample["semseg"][1] == 0


def test_splits_are_of_buildings(options, root):
    assert splits_of(configured(options).data) == ["train", "val"]
    assert opened(options, "val").ids == ["darden_point_7_view_0", "darden_point_7_view_1"]
    assert "has no split 'test'; it has train, val" in refusal(options, "test")
    # Without a list all buildings are for training.
    (root / "train_val_test_tiny.csv").unlink()
    assert splits_of(configured(options).data) == ["train"] and len(opened(options)) == 6
    assert "it has train; --data.val_share=0.1" in refusal(options, "val")


def test_a_list_that_is_wrong(options, root):
    path = root / "train_val_test_tiny.csv"
    path.write_text("id,train,val\nallensville,1,0\nnowhere,0,1\n")
    assert f"{path} names nowhere, of which {root} has no folder nowhere/rgb (1 such)" in refusal(options)
    for content in (
        "",
        "id\nallensville\n",
        "id,train\nallensville,yes\n",
        "name,train\nallensville,1\n",
        "id,train\na\n",
    ):
        path.write_text(content)
        assert refusal(options).startswith(f"{path}: expected a heading id,train,val,test")
    path.write_bytes(b"id,train\0\n" + b'"' + b"x" * 200_000)
    assert str(path) in refusal(options)
    shutil.copy(path, root / "train_val_test_full.csv")
    message = refusal(options)
    assert "has 2 lists of buildings, train_val_test_full.csv, train_val_test_tiny.csv; keep one" in message


def test_archives_that_are_not_there(options, root):
    for building in ("allensville", "beechwood"):
        shutil.rmtree(root / building / "normal")
    source = opened(options)
    assert source.labelled["normals"] == 0 and source.labelled["depth"] == 4
    assert source.where["normals"] == f"unpack the archives of normal into {root}"
    shutil.rmtree(root / "allensville/rgb")
    assert "names allensville, of which" in refusal(options)


def test_another_layout(options, root, tmp_path):
    assert refusal(options, data__root=str(root / "darden/rgb")).endswith(f"did you mean --data.root={root}?")
    assert refusal(options, data__root=str(tmp_path)).endswith(f"did you mean --data.root={root}?")
    # The project's own layout has folders rgb too.
    own = tmp_path / "other/own"
    save(own / "train/rgb/0.png", picture())
    assert "expected <building>/rgb/point_0_view_0_domain_rgb.png" in refusal(options, data__root=str(own))


def test_files_of_another_kind(options, root):
    view = "point_7_view_0_domain"
    for folder, domain, content, expected in (
        ("depth_zbuffer", "depth_zbuffer", pixels([1], np.uint8), "expected depth in steps of"),
        ("segment_semantic", "segmentsemantic", pixels([18], np.uint8), "label value 18 (24 pixels, "),
        ("normal", "normal", pixels([1], np.uint8), "expected normals in 8-bit RGB"),
        ("reshading", "reshading", picture(), "expected regression in grey PNG"),
        ("mask_valid", "depth_zbuffer", picture(), "expected a mask of the valid pixels"),
        ("mask_valid", "depth_zbuffer", np.ones((2, 2), np.uint8), "2x2 pixels, but"),
    ):
        path = root / f"allensville/{folder}/{view}_{domain}.png"
        whole = path.read_bytes()
        save(path, np.full((4, 6), 18, np.uint8) if folder == "segment_semantic" else content)
        message = refusal(options, index=0)
        assert message.startswith(f"{path}: ") and expected in message
        path.write_bytes(whole)


def test_statistics_are_measured_with_the_tool(options, root):
    config = configured(options)
    assert describe(config.data).lacks_statistics
    done = in_this_process("dataset_statistics", "--data.name=taskonomy", f"--data.root={root}", "--write")
    assert done.returncode == 0, done.stderr
    measured = describe(config.data)
    assert not measured.lacks_statistics
    codes = 21 * [0.2] + [0, 1, 0.4]
    assert measured["keypoints2d"].mean == pytest.approx((np.mean(codes),), rel=1e-4)
    assert len(measured["principal_curvature"].std) == 2
    assert [task.name for task in measured.tasks(config)] == list(TASKS)
