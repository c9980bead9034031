"""PASCAL for many tasks: golden labels of all five, lists, halves of the archive, files of another kind."""

import json
import shutil

import numpy as np
import pytest
import scipy.io

from mtl_tf.boundaries import thinned
from mtl_tf.data.sets import describe, splits_of
from mtl_tf.tasks import Segmentation
from tests.data.official import (
    PASCAL_MAP,
    configured,
    mask,
    opened,
    picture,
    pixels,
    refusal,
    save,
    structs,
    tree,
    write_annotation,
    write_pascal_mt,
)
from tests.helpers import in_this_process, one_line_error

FIVE = ("semseg", "parts", "normals", "saliency", "edges")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "pascal"


@pytest.fixture
def options(root):
    return write_pascal_mt(root) | dict(tasks=FIVE)


def test_all_five_tasks_of_a_picture(options, root):
    before = tree(root)
    source = opened(options)
    assert source.ids == ["2008_000002", "2008_000007"] and opened(options, "val").ids == ["2008_000003"]
    assert source.labelled == dict.fromkeys(FIVE, 2)
    sample = source.read(0)
    assert {name: (value.dtype, value.shape) for name, value in sample.items()} == {
        "image": (np.uint8, (4, 6, 3)),
        "semseg": (np.int32, (4, 6)),
        "parts": (np.int32, (4, 6)),
        "normals": (np.float32, (4, 6, 3)),
        "saliency": (np.uint8, (4, 6)),
        "edges": (np.uint8, (4, 6)),
    }
    assert sample["semseg"].ravel().tolist() == [0, 20, 255] + [15] * 21
    # The torso of the first over its hair; the upper arm of the second over the lower arm of the first.
    assert sample["parts"].ravel().tolist() == [1, 1, 2, 2, 3, 2, 5, 6] + [0] * 16
    # More than half of 255.
    assert sample["saliency"].ravel().tolist() == [0, 0, 1, 1] + [0] * 20
    assert tree(root) == before


def test_normals_count_on_classes_that_the_network_knew(options, root):
    normals = opened(options).read(0)["normals"]
    # x right, y down, z forward, of what is stored right, up, towards the camera; without a label on the sky.
    expected = [[1, 0, 0], [0, -1, 0], [0, 0, -1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(normals[0], expected, atol=0.005)
    assert (np.abs(normals[1:, :3]).sum(-1) > 0.9).all() and not normals[:, 3:].any()
    # unknown (431) is in both lists; tvmonitor (427) only in that of PASCAL-Context.
    for number, counts in ((431, False), (427, True), (0, False), (284, True)):
        path = root / "pascal-context/trainval/2008_000002.mat"
        scipy.io.savemat(path, {"LabelMap": np.full((4, 6), number, np.uint16)})
        assert opened(options).read(0)["normals"][3].any() == counts


def test_edges_are_the_thinned_laplacian_of_the_label_map(options, root):
    random = np.random.default_rng(0)
    labels = np.kron(random.integers(1, 460, (3, 4)), np.ones((7, 6), int))
    labels[3:5, 3:20] = [7]
    # Where classes rise by equal steps the Laplacian is zero.
    labels[16, :3] = [10, 20, 30]
    labels[15, :3] = labels[17, :3] = 20
    scipy.io.savemat(root / "pascal-context/trainval/2008_000002.mat", {"LabelMap": labels.astype(np.uint16)})
    save(root / "JPEGImages/2008_000002.jpg", random.integers(0, 256, (21, 24, 3), np.uint8))
    around = np.pad(labels, 1, "reflect")
    laplacian = -4 * labels
    for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
        laplacian = laplacian + around[down : down + 21, right : right + 24]
    assert laplacian[16, 1] == 0 and labels[16, 0] != labels[16, 1]
    found = opened(options | dict(tasks=("edges",))).read(0)["edges"]
    np.testing.assert_array_equal(found, thinned(laplacian != 0))
    assert 0 < found.sum() < (laplacian != 0).sum()


def test_a_picture_without_parts_has_no_labels_of_them(options, root):
    source = opened(options)
    assert (source.read(1)["parts"] == 255).all()
    path = root / "human_parts/2008_000002.mat"
    # A person of whom no part is annotated, or none has a pixel; no object at all.
    for people in ([{}], [{"torso": mask()}]):
        write_annotation(path, people)
        assert (opened(options).read(0)["parts"] == 255).all()
    scipy.io.savemat(path, {"anno": structs([{"imname": "x", "objects": structs([])}])})
    parts = opened(options).read(0)["parts"]
    assert parts.shape == (4, 6) and (parts == 255).all()


def test_every_part_of_a_person_has_the_class_of_its_limb(options, root):
    sides = {"ear": 1, "ebrow": 1, "eye": 1, "uarm": 3, "larm": 4, "hand": 4, "uleg": 5, "lleg": 6, "foot": 6}
    official = {"hair": 1, "head": 1, "mouth": 1, "nose": 1, "neck": 2, "torso": 2}
    official |= {side + name: number for name, number in sides.items() for side in "lr"}
    write_annotation(root / "human_parts/2008_000002.mat", [{name: mask(place) for place, name in enumerate(official)}])
    assert len(official) == 24
    assert opened(options).read(0)["parts"].ravel().tolist() == list(official.values())


def test_semseg_of_voc_comes_before_that_of_context(options, root):
    save(root / "semseg/VOC12/2008_000002.png", pixels([1], np.uint8))
    assert opened(options).read(0)["semseg"].ravel()[:2].tolist() == [1, 0]
    assert opened(options).read(1)["semseg"].ravel()[:2].tolist() == [0, 20]
    save(root / "semseg/VOC12/2008_000002.png", pixels([21], np.uint8))
    assert "label value 21 (1 pixels, first at row 0, column 0) is neither a class (0..20) nor ignore (255)" in refusal(
        options, index=0
    )


def test_lists(options, root):
    (root / "ImageSets/Context/edges.txt").write_text("2008_000007\r\n\n")
    assert splits_of(configured(options).data) == ["train", "val", "edges"]
    assert opened(options, "edges").ids == ["2008_000007"]
    assert f"{root}/ImageSets/Context/test.txt: no such list" in refusal(options, "test")
    (root / "ImageSets/Context/train.txt").write_text("2008_000002\n2011_009999\n")
    message = refusal(options)
    assert message.startswith(
        f"{root}/ImageSets/Context/train.txt names 2011_009999, which is not in {root}/JPEGImages"
    )
    (root / "ImageSets/Context/train.txt").write_text("\n")
    assert "train.txt: no picture is named" in refusal(options)


@pytest.mark.parametrize(
    ("task", "folder"),
    [
        ("semseg", "semseg/pascal-context"),
        ("parts", "human_parts"),
        ("normals", "normals_distill"),
        ("normals", "pascal-context/trainval"),
        ("saliency", "sal_distill"),
    ],
)
def test_half_of_the_archive(options, root, task, folder):
    shutil.rmtree(root / folder)
    options |= dict(tasks=tuple(name for name in FIVE if name != "edges"))
    others = ",".join(name for name in options["tasks"] if name != task)
    assert refusal(options) == (
        f"{root} has no folder {folder}: unpack PASCAL_MT.tgz again, whole, or leave {task} out (--tasks={others})"
    )
    assert len(opened(options | dict(tasks=tuple(others.split(","))))) == 2


def test_normals_need_their_label_map(options, root):
    (root / "pascal-context/trainval/2008_000002.mat").unlink()
    message = refusal(options, index=0)
    assert message.startswith(f"{root}/normals_distill/2008_000002.png: the normals count on some classes only")
    assert "pascal-context/trainval/2008_000002.mat" in message


def test_another_layout(options, root, tmp_path):
    assert refusal(options, data__root=str(root / "JPEGImages")).endswith(f"did you mean --data.root={root}?")
    assert refusal(options, data__root=str(tmp_path)).endswith(f"did you mean --data.root={root}?")
    shutil.rmtree(root / "ImageSets/Context")
    message = refusal(options)
    assert (
        "expected JPEGImages/*.jpg, ImageSets/Context/train.txt" in message and "unpack PASCAL_MT.tgz there" in message
    )


def test_files_of_another_kind(options, root):
    parts, maps = root / "human_parts/2008_000002.mat", root / "pascal-context/trainval/2008_000002.mat"
    for content in ({"anno": 3.0}, {"anno": structs([{"imname": "x", "objects": "none"}])}, {"other": np.eye(2)}):
        scipy.io.savemat(parts, content)
        assert f"{parts}: expected a struct anno of objects" in refusal(options | dict(tasks=("parts",)), index=0)
    write_annotation(parts, [{"tail": mask(1)}])
    assert "'tail' is no part of a person; expected hair, head" in refusal(options | dict(tasks=("parts",)), index=0)
    write_annotation(parts, [{"head": np.ones((2, 2), np.uint8)}])
    assert "masks of (4, 6) and of (2, 2)" in refusal(options | dict(tasks=("parts",)), index=0)
    parts.write_bytes(b"x" * 200)
    assert f"{parts}: not a MATLAB file of version 5 to 7.2" in refusal(options | dict(tasks=("parts",)), index=0)
    for labels in (np.full((4, 6), 460), np.full((4, 6), -1), np.full((4, 6), 0.5), np.full((4, 6), np.nan)):
        scipy.io.savemat(maps, {"LabelMap": labels})
        assert "LabelMap should hold 0..459" in refusal(options | dict(tasks=("edges",)), index=0)
    scipy.io.savemat(maps, {"LabelMap": PASCAL_MAP[:2]})
    assert "LabelMap of 6x2, but 2008_000002.png is 6x4" in refusal(options | dict(tasks=("normals",)), index=0)
    assert "6x2 pixels, but its image 2008_000002.jpg is 6x4" in refusal(options | dict(tasks=("edges",)), index=0)
    scipy.io.savemat(maps, {"other": PASCAL_MAP})
    assert "expected numbers (H, W) named 'LabelMap', got other [4, 6]" in refusal(
        options | dict(tasks=("edges",)), index=0
    )
    save(root / "normals_distill/2008_000002.png", picture()[..., 0])
    assert "expected normals in 8-bit RGB" in refusal(options | dict(tasks=("normals",)), index=0)


def test_the_tools_take_pictures_without_parts_for_granted(options, root):
    where = ("--data.name=pascal_mt", f"--data.root={root}")
    done = in_this_process("check_dataset", *where)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "no fault in 3 samples" in done.stdout
    (root / "human_parts/2008_000007.mat").unlink()  # that of a picture of nobody: the archive is not whole
    done = in_this_process("check_dataset", *where)
    one_line_error(done.returncode, done.stderr)
    assert "2008_000007.jpg: no parts label, though other samples of the split have one" in done.stdout


# === Scores ===


def _scored(labels, target, prediction):
    task = Segmentation(labels.classes, labels.palette, labels.ignore, name="parts")
    raw = 9 * np.eye(task.channels, dtype=np.float32)[prediction]
    measured = task.measure(raw, target.astype(np.int32))
    return task.scores({name: np.asarray(value).sum(0) for name, value in measured.items()})


def test_human_parts_are_scored_as_the_field_scores_them(shared, options):
    inputs = np.load(shared / "goldens/metric_inputs.npz")
    golden = json.loads((shared / "goldens/metrics.json").read_text())["human_parts"]
    labels = describe(configured(options).data)["parts"]
    target, prediction = inputs["parts_target"], inputs["parts_prediction"]
    assert not target[1].any() and target[0].any() and target[2].any()
    every = _scored(labels, target, prediction)["miou_all_classes"]
    assert every == pytest.approx(100 * golden["miou_all_images_7_classes"], rel=1e-6)
    # As the labels of a picture without parts are read here.
    target = np.where(target.any((1, 2), keepdims=True), target, labels.ignore)
    of_people = _scored(labels, target, prediction)["miou_all_classes"]
    assert of_people == pytest.approx(100 * golden["miou_images_with_parts_only_7_classes"], rel=1e-6)
