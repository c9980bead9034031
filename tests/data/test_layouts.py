"""Folders as they come: each recognised layout is described, then read with the right ids, labels and metres."""

import contextlib
import io
import json

import numpy as np
import pytest

from mtl_tf.config import Config, replace
from mtl_tf.data import descriptors
from mtl_tf.data.sets import describe, open_split, splits_of
from tests.data import layouts
from tests.helpers import in_this_process, one_line_error, tool_module

tool = tool_module("describe_dataset")
timed = tool_module("_describing.layouts.timed")


def described(root, *options, status=0):
    """What the tool prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        found = tool.run_tool(tool.describe, tool.Options, [f"--data.root={root}", "--noask", *options])
    assert found == status
    return said.getvalue()


def config_of(root, *tasks):
    return replace(Config(), data__name="folder", data__root=str(root), tasks=tasks, model__architecture="joint")


def read(root, split, *tasks):
    """Id -> sample of a split."""
    config = config_of(root, *tasks)
    source = open_split(config, split, describe(config.data))
    assert not source.passed_over
    return {name: source.read(place) for place, name in enumerate(source.ids)}


def demand(samples, numbers, semseg=True, depth=True, blank=255):
    """Looks at the pictures, class maps and metres of samples by their numbers."""
    assert len(samples) == len(numbers)
    for number, sample in zip(numbers, samples.values(), strict=True):
        assert abs(int(sample["image"][2, 3, 0]) - 10 * number) <= 1  # JPEG
        if semseg:
            expected = layouts.labels(number).astype(np.int32)
            expected[0, 0] = blank
            np.testing.assert_array_equal(sample["semseg"], expected)
        if depth:
            np.testing.assert_allclose(sample["depth"], layouts.metres(number), rtol=1e-3)


def content(root):
    return json.loads((root / "dataset.json").read_text())


def test_pascal_voc(tmp_path):
    root = layouts.write_voc(tmp_path / "VOC2012")
    said = described(root)
    assert "laid out as Pascal VOC" in said and "test.txt is left out: it names 2008_000001" in said
    found = content(root)
    assert found["file_names"] == {"rgb": "JPEGImages/{id}.jpg", "semseg": "SegmentationClass/{id}.png"}
    assert found["split_lists"] == {name: f"ImageSets/Segmentation/{name}.txt" for name in ("train", "val")}
    assert found["semseg"]["classes"][15] == "person" and len(found["semseg"]["classes"]) == 21
    samples = read(root, "train", "semseg")
    assert list(samples) == ["2007_000027"]
    demand(samples, [0], depth=False)
    demand(read(root, "val", "semseg"), [1], depth=False)
    assert sorted(path.name for path in root.iterdir()) == [
        "ImageSets",
        "JPEGImages",
        "SegmentationClass",
        "dataset.json",
    ]


PAIRS = [
    ("img_dir/{split}", "ann_dir/{split}", ("{}.jpg", "{}.png")),
    ("images/{split}", "masks/{split}", ("{}.png", "{}.png")),
    ("{split}/images", "{split}/masks", ("{}.jpg", "{}_mask.png")),
    ("{split}/image", "{split}/label", ("img_{}.jpg", "lab_{}.png")),
    ("imgs/{split}/city", "gt/{split}/city", ("{}_leftImg8bit.png", "{}_gtFine_labelIds.png")),
    ("data/{split}/Images", "data/{split}/Annotations", ("{}.jpg", "{}.bmp")),
]


@pytest.mark.parametrize(("pictures", "masks", "names"), PAIRS)
def test_pictures_and_masks_in_two_folders(tmp_path, pictures, masks, names):
    place = tmp_path / "set"
    layouts.write_pairs(place, pictures, masks, names=names)
    if pictures.startswith("imgs"):  # other files of the same pictures, as in Cityscapes
        for path in place.glob("gt/*/*/*.png"):
            path.with_name(path.name.replace("labelIds", "color")).write_bytes(path.read_bytes())
    root = place / "data" if pictures.startswith("data/") else place
    described(root)
    assert content(root)["splits"] == ["train", "val"]
    config = config_of(root, "semseg")
    for split, numbers in (("train", (0, 1)), ("val", (2, 3))):
        source = open_split(config, split, describe(config.data))
        demand({name: source.read(at) for at, name in enumerate(source.ids)}, numbers, depth=False)
        below = "city/" if pictures.startswith("imgs") else ""
        assert source.ids == [f"{below}a{number}" for number in numbers]


def test_splits_with_a_year_and_of_other_names(tmp_path):
    coco = layouts.write_pairs(tmp_path / "coco", "images/{split}", "annotations/{split}", ("train2017", "val2017"))
    said = described(coco)
    assert "--data.train_split=train2017 --data.val_split=val2017" in said
    demand(read(coco, "val2017", "semseg"), (2, 3), depth=False)
    ade = layouts.write_pairs(tmp_path / "ade", "images/{split}", "annotations/{split}", ("training", "validation"))
    described(ade)
    demand(read(ade, "training", "semseg"), (0, 1), depth=False)


@pytest.mark.parametrize(
    "names", [("images", "masks"), ("JPEGImages", "labels"), ("img", "annotations"), ("rgb", "gt")]
)
def test_without_splits(tmp_path, names):
    root = layouts.write_pairs(tmp_path / "set", *names, splits=("",))
    said = described(root)
    assert "--data.val_share=0.1" in said
    assert splits_of(config_of(root).data) == ["train"]
    demand(read(root, "train", "semseg"), (0, 1), depth=False)


def test_masks_of_all_splits_in_one_folder(tmp_path):
    root = layouts.write_pairs(tmp_path, "images/{split}", "masks")
    described(root)
    assert content(root)["file_names"] == {"rgb": "images/{split}/{id}.jpg", "semseg": "masks/{id}.png"}
    demand(read(root, "train", "semseg"), (0, 1), depth=False)
    demand(read(root, "val", "semseg"), (2, 3), depth=False)
    done = in_this_process("check_dataset", "--data.name=folder", f"--data.root={root}")
    assert done.returncode == 0 and "no fault in 4 samples" in done.stdout


def test_labels_beside_their_pictures(tmp_path):
    root = layouts.write_pairs(tmp_path, "", "", ("",), ("{}.jpg", "{}_seg.png"))
    assert "labels beside their pictures (*.jpg, *_seg.png), no splits" in described(root)
    demand(read(root, "train", "semseg"), (0, 1), depth=False)


def test_depth_beside_pictures(tmp_path):
    root = tmp_path / "set"
    for number in range(3):
        layouts.picture(root / f"train/img/{number}.jpg", number)
        layouts.save(root / f"train/depth/{number}.png", layouts.scaled(number, 1000))
    described(root)
    demand(read(root, "train", "depth"), (0, 1, 2), semseg=False)


def test_tum_rgbd(tmp_path):
    root = layouts.write_tum(tmp_path / "tum")
    said = described(root)
    assert "2 pictures and depth maps within 0.02 s of each other" in said and "2 pictures are left out" in said
    assert content(root)["depth"]["scale"] == 1 / 5000
    lines = (root / "train_pairs.txt").read_text().splitlines()
    assert lines[0] == "# rgb depth" and len(lines) == 3
    samples = read(root, "train", "depth")
    assert list(samples) == [f"rgbd_dataset_freiburg1_{name}/100.000000" for name in ("desk", "xyz")]
    demand(samples, (2, 0), semseg=False)
    one = layouts.write_tum(tmp_path / "one", ("",))
    described(one)
    assert list(read(one, "train", "depth")) == ["100.000000"]
    described(root, "--replace")  # takes the description for its guesses
    assert len(read(root, "train", "depth")) == 2


def test_association_is_that_of_the_benchmark():
    """Compared with its rule, all pairs of a random sequence sorted by their distance."""
    random = np.random.default_rng(0)
    first, second = (list(random.uniform(0, 2, 60)) for _ in range(2))
    near = sorted((abs(a - b), a, b) for a in first for b in second if abs(a - b) < 0.02)
    left, right, expected = set(first), set(second), []
    for _, a, b in near:
        if a in left and b in right:
            left.remove(a)
            right.remove(b)
            expected.append((a, b))
    assert timed.associated(first, second) == sorted(expected) and 20 < len(expected) < 60


@pytest.mark.parametrize("above", ["", "scans", "train"])
def test_scannet(tmp_path, above):
    root = layouts.write_scannet(tmp_path / "scannet", above)
    described(root)
    samples = read(root, "train", "semseg", "depth")
    assert list(samples) == [f"scene000{number // 2}_00/{number}" for number in range(4)]
    demand(samples, range(4))


def test_diode(tmp_path):
    root = layouts.write_diode(tmp_path / "diode")
    assert "normals (_normal.npy) are not described" in described(root)
    assert content(root)["depth"]["mask"] == "_mask.npy"
    config = config_of(root, "depth")
    source = open_split(config, "val", describe(config.data))
    assert source.ids[0] == "indoors/scene_00000/scan_00000/00000_00000_indoors_002_000"
    demand({name: source.read(at) for at, name in enumerate(source.ids)}, (2, 3), semseg=False)


def test_hypersim(tmp_path, capsys):
    root = layouts.write_hypersim(tmp_path / "hypersim")
    said = described(root)
    assert "along the ray, not along the optical axis" in said
    samples = read(root, "train", "semseg", "depth")
    assert list(samples)[3] == "ai_001_001/cam_00/0003"
    demand(samples, range(4))
    described(layouts.write_hypersim(tmp_path / "linear", previews=False), status=2)
    assert "not the linear light of final_hdf5: unpack scene_cam_*_final_preview" in one_line_error(
        2, capsys.readouterr().err
    )


def test_sun_rgbd(tmp_path):
    root = layouts.write_sun_rgbd(tmp_path / "SUNRGBD")
    said = described(root)
    assert "4 pictures and their depth are listed" in said and "classes of SUN RGB-D" in said
    samples = read(root, "train", "depth")
    assert next(iter(samples)) == "kv1/NYUdata/NYU0000/image/NYU0000"
    demand(samples, range(4), semseg=False)


def test_roboflow(tmp_path):
    root = layouts.write_roboflow(tmp_path / "export")
    said = described(root)
    assert "Roboflow's export (*.jpg, *_mask.png), splits train, valid" in said
    assert "--data.val_split=valid" in said
    found = content(root)
    assert found["semseg"]["classes"] == ["background", "road"]
    assert found["file_names"] == {"rgb": "{split}/{id}.jpg", "semseg": "{split}/{id}_mask.png"}
    samples = {name: sample["semseg"][1, 1] for name, sample in read(root, "valid", "semseg").items()}
    assert samples == {"img2_png.rf.0a2": 0, "img3_png.rf.0a3": 1}


def test_cvat(tmp_path):
    root = layouts.write_cvat(tmp_path / "task")
    described(root)
    found = descriptors.read(root)
    assert found["semseg"].classes == ("background", "road") and found["semseg"].encoding == "colour"
    assert found.splits == ("default",)
    samples = read(root, "default", "semseg")
    assert [sample["semseg"][1, 1] for sample in samples.values()] == [0, 1, 0, 1]


@pytest.mark.parametrize("below", ["VOCdevkit/VOC2012", "VOC2012"])
def test_a_root_too_high_is_named(tmp_path, capsys, below):
    layouts.write_voc(tmp_path / below)
    described(tmp_path, status=2)
    line = one_line_error(2, capsys.readouterr().err)
    assert f"is Pascal VOC: did you mean --data.root={tmp_path / below}?" in line


def test_lists_do_not_replace_other_files(tmp_path, capsys):
    root = layouts.write_tum(tmp_path)
    (root / "train_pairs.txt").write_text("mine\n")
    described(root, status=2)
    assert "train_pairs.txt is there and is no list of this tool" in one_line_error(2, capsys.readouterr().err)
    assert not (root / "dataset.json").exists()


def test_wrong_files_of_layouts(tmp_path, capsys):
    tum = layouts.write_tum(tmp_path / "tum", ("",))
    (tum / "rgb.txt").write_text("yesterday rgb/1.png\n")
    described(tum, status=2)
    assert "rgb.txt: line 1 should be a time stamp and a file" in one_line_error(2, capsys.readouterr().err)
    (tum / "rgb.txt").write_text("7.0 rgb/1.png\n")
    described(tum, status=2)
    assert "no picture of rgb.txt is within 0.02 s" in one_line_error(2, capsys.readouterr().err)
    export = layouts.write_roboflow(tmp_path / "export")
    (export / "train/_classes.csv").write_text("Pixel Value, Class\n0, background\n7, road\n")
    described(export, status=2)
    assert "_classes.csv: expected the values 0, 1, 2, ..." in one_line_error(2, capsys.readouterr().err)
