"""NYUD-MT: its three layouts give the same samples; lists, lacking folders and files, and a training on four tasks."""

import json
import shutil

import numpy as np
import pytest

from mtl_tf.commands import main
from mtl_tf.data.sets import splits_of
from mtl_tf.data.sets.nyuv2 import NYUV2_40
from tests.data import official
from tests.data.official import configured, opened, pixels, refusal, save, save_array, save_mat, write_nyud_mt
from tests.helpers import TINY, in_this_process, one_line_error

TASKS = ("semseg", "depth", "normals", "edges")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "nyud"


def directions(*first):
    """In memory, x right, y down, z forward: the given ones, then those that face the camera."""
    return pixels(first, np.float32, (0, 0, -1))


@pytest.mark.parametrize("layout", ["vandenhende", "invpt", "astmt"])
def test_every_layout(root, layout):
    options = write_nyud_mt(root, layout)
    source = opened(options)
    assert source.ids == ["1", "2", "10"] and opened(options, "val").ids == ["3", "4"]
    assert splits_of(configured(options).data) == ["train", "val"]
    assert source.labelled == dict.fromkeys(TASKS, 3) and source.passed_over == []
    sample = source.read(2)
    if layout == "invpt":
        np.testing.assert_array_equal(sample["image"], official.picture(10))
    assert sample["image"].dtype == np.uint8 and sample["image"].shape == (4, 6, 3)
    # none, wall, otherprop, chair of the 40 classes
    assert sample["semseg"].ravel().tolist() == [255, 0, 39, 4] + [0] * 20
    assert [NYUV2_40["semseg"].classes[number] for number in (0, 4, 39)] == ["wall", "chair", "otherprop"]
    np.testing.assert_array_equal(sample["depth"], pixels([0, 0, 2.5, 0, 0], np.float32, 3))
    exact = directions((0, 0, 0), (0, -1, 0), (1, 0, 0))
    tolerance = {"vandenhende": 0, "invpt": 0.006, "astmt": 0.02}[layout]
    expected = directions((0, 0, -1)) if layout == "astmt" else exact
    np.testing.assert_allclose(sample["normals"], expected, atol=tolerance)
    assert sample["edges"].ravel().tolist() == [1, 0, 1] + [0] * 21


def test_a_list_may_name_files_and_comes_with_others(root):
    options = write_nyud_mt(root, "invpt")
    (root / "gt_sets/some.txt").write_text("images/2.png\n\n10.png\n")
    assert opened(options, "some").ids == ["2", "10"]
    assert splits_of(configured(options).data) == ["train", "val", "some"]


def test_single_labels_may_lack(root):
    options = write_nyud_mt(root)
    (root / "normals/2.npy").unlink()
    (root / "edge/2.npy").unlink()
    source = opened(options)
    assert source.labelled == {"semseg": 3, "depth": 3, "normals": 2, "edges": 2}
    sample = source.read(1)
    assert (sample["normals"] == 0).all() and (sample["edges"] == 255).all() and (sample["semseg"] != 255).any()


def test_an_archive_half_unpacked(root, tmp_path):
    options = write_nyud_mt(root)
    (root / "images/10.jpg").unlink()
    expected = f"{root}/gt_sets/train.txt names 10, which is not in images (1 such); unpack the archive (NYUD_MT.tgz) "
    assert refusal(options) == f"{expected}again, whole, or correct the list"
    (root / "gt_sets/train.txt").write_text("\n")
    assert f"{root}/gt_sets/train.txt is empty" in refusal(options)
    (root / "gt_sets/train.txt").unlink()
    assert "has no split 'train' in gt_sets; it has val: unpack" in refusal(options)
    shutil.rmtree(root / "edge")
    assert refusal(options, "val") == (
        f"{root} has no folder edge: unpack the archive (NYUD_MT.tgz) again, whole, or leave edges out "
        "(--tasks=semseg,depth,normals)"
    )
    assert opened(options, "val", tasks=("semseg", "depth")).labelled == {"semseg": 2, "depth": 2}
    shutil.rmtree(root / "images")
    assert refusal(options, "val") == f"{root} has no folder images: unpack the archive (NYUD_MT.tgz) again, whole"
    assert refusal(options, data__root=str(tmp_path)).endswith(f"did you mean --data.root={root}?")
    shutil.rmtree(root / "gt_sets")
    assert "expected gt_sets/train.txt and the folders images, segmentation" in refusal(options)


def test_two_layouts_in_one_folder_are_ambiguous(root):
    options = write_nyud_mt(root)
    write_nyud_mt(root, "invpt")
    assert "1.jpg and 1.png have one id, 1; remove one of them" in refusal(options)


def test_files_of_another_kind(root):
    options = write_nyud_mt(root)
    path = save(root / "segmentation/1.png", pixels([41, 255], np.uint8, 1))
    expected = (
        f"{path}: label value 41 or 255 (2 pixels, "
        "first at row 0, column 0); expected whole numbers 0..40, 0 = no class"
    )
    assert refusal(options, index=0) == expected
    write_nyud_mt(root)
    path = save_array(root / "depth/1.npy", np.zeros((4, 6, 3)))
    assert refusal(options, index=0) == (
        f"{path}: expected depth as numbers (H, W) in a .npy file, channels = 1, got float64 (4, 6, 3)"
    )
    path = save_array(root / "depth/1.npy", np.ones((4, 5)))
    assert f"{path}: 5x4 pixels, but its image 1.jpg is 6x4" in refusal(options, index=0)
    path.write_bytes(path.read_bytes()[:90])
    assert f"{path}: expected depth as numbers (H, W) in a .npy file" in refusal(options, index=0)
    save_array(path, np.array([[{}]], object))  # would run what it holds
    assert "got no array of NumPy (or a damaged one)" in refusal(options, index=0)
    write_nyud_mt(root)
    path = save_array(root / "normals/1.npy", np.zeros((4, 6), np.float32))
    assert f"{path}: expected normals in floats (H, W, 3)" in refusal(options, index=0)
    write_nyud_mt(root)
    path = save_array(root / "edge/1.npy", np.zeros((4, 6, 2), np.float32))
    assert f"{path}: expected edges as numbers (H, W), 0 to 1" in refusal(options, index=0)


def test_matlab_files_of_another_kind(root):
    options = write_nyud_mt(root, "astmt")
    path = save_mat(root / "segmentation/1.mat", labels=np.zeros((4, 6)), text="x")
    assert refusal(options, index=0) == (
        f"{path}: expected numbers (H, W) named 'segmentation', got labels [4, 6]; replace it"
    )
    save_mat(path, segmentation=np.full((4, 6), 0.5))
    assert "label value 0.5 (24 pixels, first at row 0, column 0); expected whole numbers 0..40" in refusal(
        options, index=0
    )
    path.write_bytes(b"nothing")
    assert "not a MATLAB file of version 5 to 7.2" in refusal(options, index=0)


def test_describe_dataset_names_it(root):
    write_nyud_mt(root)
    done = in_this_process("describe_dataset", f"--data.root={root}", "--noask")
    line = one_line_error(done.returncode, done.stderr)
    assert f"--data.root={root} is laid out as nyud_mt, whose reader needs no dataset.json" in line


@pytest.mark.slow
def test_the_whole_way_on_four_tasks_in_a_mix(root, tmp_path, capsys):
    options = write_nyud_mt(root)
    where = ("--data.name=nyud_mt", f"--data.root={root}")
    assert in_this_process("check_dataset", *where).returncode == 0
    measured = tmp_path / "nyud.json"
    assert in_this_process("dataset_statistics", *where, f"--output={measured}").returncode == 0
    (root / "normals/2.npy").unlink()
    other = official.write_mtan_nyuv2(tmp_path / "other")["data__root"]
    run = tmp_path / "run"
    arguments = [f"--tasks={','.join(options['tasks'])}", f"--data.statistics={measured}", "--data.image_size=32,48"]
    arguments += ["--data.mix_names=mtan_nyuv2", f"--data.mix_roots={other}", "--train.epochs=1", f"--run_dir={run}"]
    tiny = [option for option in TINY if not option.startswith(("--data.name", "--train.epochs"))]
    assert main(["train", *tiny, *where, *arguments]) == 0
    told = "1 nyud_mt [semseg, depth, normals, edges; 3 images], 1 mtan_nyuv2 [semseg, depth, normals, edges; 3 images]"
    assert told in capsys.readouterr().out
    assert main(["evaluate", f"--run_dir={run}"]) == 0
    scores = json.loads((run / "evaluation_val.json").read_text())
    assert all(scores[task] for task in TASKS)
