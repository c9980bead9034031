"""tools/draw_labels.py draws annotations as the formats' own tools do; what is wrong with them is said in one line."""

import base64
import importlib
import io
import json
import pathlib
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from mtl_tf.config import Config, replace
from mtl_tf.data import descriptors
from mtl_tf.data.sets.folder import open_split
from tests.helpers import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from _drawing import coco, labelme, supervisely
from _drawing.annotated import Shape
from _drawing.painting import paint
from _tool import run_tool

tool = importlib.import_module("draw_labels")

SIZE = (12, 16)


def draw(*arguments) -> int:
    return run_tool(tool.draw, tool.Options, list(map(str, arguments)))


def write_json(path: pathlib.Path, content) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def picture(path: pathlib.Path, size=SIZE) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), 100, np.uint8)).save(path)
    return path


def png(mask, mode="L") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).convert(mode).save(stream, "PNG")
    return stream.getvalue()


def box(top, left, bottom, right, size=SIZE):
    """The pixels of a box, its borders inside."""
    mask = np.zeros(size, bool)
    mask[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = True
    return mask


# === Over one another ===


def test_later_shapes_lie_over_earlier_ones():
    shapes = [
        Shape("car", box(0, 0, 5, 5)),
        Shape("road", box(4, 0, 9, 15)),
        Shape("car", box(8, 8, 10, 10), group="a"),
        Shape("car", box(8, 12, 10, 14), group="a"),
        Shape("ignore", box(0, 15, 0, 15)),
        Shape("car", box(0, 10, 1, 12), crowd=True),
        Shape("", box(0, 0, 0, 0)),
    ]
    found = paint(shapes, SIZE, ["background", "road", "car"], "background", ["car"])
    assert [found.classes[place] for place in [(0, 0), (3, 3), (4, 3), (8, 8), (0, 15), (0, 10), (11, 0)]] == [
        *(0, 2, 1, 2, 255, 2, 0)
    ]
    assert [found.numbers[place] for place in [(0, 0), (3, 3), (4, 3), (8, 8), (8, 14), (0, 15), (0, 10)]] == [
        *(0, 1, 0, 2, 2, 65535, 65535)
    ]


def test_without_background_the_rest_has_no_class():
    found = paint([Shape("car", box(0, 0, 1, 1))], SIZE, ["car"], "ignore", None)
    assert (found.classes == np.where(box(0, 0, 1, 1), 0, 255)).all()
    assert (found.numbers == np.where(box(0, 0, 1, 1), 1, 65535)).all()


# === labelme ===


@pytest.mark.parametrize(
    ("kind", "points", "expected"),
    [
        ("polygon", [[2, 1], [6, 1], [6, 4], [2, 4]], box(1, 2, 4, 6)),  # the outline belongs to it
        ("polygon", [[-5, 1], [6, 1], [6, 40], [-5, 40]], box(1, 0, 11, 6)),
        ("rectangle", [[6, 4], [2, 1]], box(1, 2, 4, 6)),
        ("line", [[0, 5], [15, 5]], box(1, 0, 10, 15)),  # ten pixels wide
        ("point", [[8, 6]], None),
        ("circle", [[8, 6], [8, 9]], None),
        ("linestrip", [[0, 5], [15, 5]], box(1, 0, 10, 15)),
    ],
)
def test_shapes_of_labelme(kind, points, expected):
    found = labelme.draw(kind, np.array(points, float), SIZE)
    if expected is None:
        radius = {"point": 5, "circle": 3}[kind]
        rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
        distance = np.hypot(rows - 6, columns - 8)
        assert found[distance <= radius - 0.5].all() and not found[distance > radius + 0.75].any()
    else:
        np.testing.assert_array_equal(found, expected)


def labelme_file(*shapes, size=SIZE, **more) -> dict:
    return {"imagePath": "a.png", "imageHeight": size[0], "imageWidth": size[1], "shapes": list(shapes), **more}


def polygon(label="car", points=((2, 1), (6, 1), (6, 4), (2, 4)), **more) -> dict:
    return {"label": label, "points": list(map(list, points)), "shape_type": "polygon", **more}


@pytest.fixture
def annotated(tmp_path) -> pathlib.Path:
    """Two pictures of labelme, in folders of splits, with a list of labels."""
    root = tmp_path / "annotated"
    mask = {"label": "road", "points": [[10, 8], [12, 9]], "shape_type": "mask"}
    mask["mask"] = base64.b64encode(png(np.array([[1, 0, 1], [1, 1, 1]]))).decode()
    for split in ("train", "val"):
        picture(root / split / "a.png")
        ignored = polygon("__ignore__", ((0, 0), (1, 0), (1, 1), (0, 1)))
        write_json(root / split / "a.json", labelme_file(polygon(), mask, ignored))
    (root / "labels.txt").write_text("__ignore__\n_background_\nroad\ncar\n")
    return root


def test_a_folder_of_labelme_is_trained_on_as_it_comes_out(annotated, tmp_path, capsys):
    assert draw(f"--input={annotated}", f"--output={tmp_path / 'out'}", "--instances") == 0
    assert "labelme: 2 pictures drawn (1 train, 1 val), 3 classes" in capsys.readouterr().out
    descriptor = descriptors.read(tmp_path / "out")
    assert descriptor["semseg"].classes == ("background", "road", "car") and descriptor.splits == ("train", "val")
    config = replace(Config(), data__name="folder", data__root=str(tmp_path / "out"), tasks=("semseg", "instances"))
    sample = open_split(config, "val", descriptor).read(0)
    expected = np.where(box(1, 2, 4, 6), 2, 0)
    expected[8, [10, 12]], expected[9, 10:13], expected[:2, :2] = 1, 1, 255
    np.testing.assert_array_equal(sample["semseg"], expected)
    numbers = np.where(box(1, 2, 4, 6), 1, 0)
    numbers[8, [10, 12]], numbers[9, 10:13], numbers[:2, :2] = 2, 2, 65535
    np.testing.assert_array_equal(sample["instances"], numbers)
    assert (tmp_path / "out" / "val" / "rgb" / "a.png").is_symlink()


def test_again_with_copies_and_without_splits(annotated, tmp_path):
    for number in range(19):
        picture(annotated / f"{number}.png")
        write_json(annotated / f"{number}.json", labelme_file(polygon(), imagePath=f"{number}.png"))
    for split in ("train", "val"):
        for file in (annotated / split).iterdir():
            file.unlink()
    arguments = f"--input={annotated}", f"--output={tmp_path / 'out'}", "--copy", "--val_share=0.2"
    assert draw(*arguments) == 0
    held_out = sorted(path.name for path in (tmp_path / "out" / "val" / "rgb").iterdir())
    assert len(held_out) == 4 and len(list((tmp_path / "out" / "train" / "semseg").iterdir())) == 15
    assert not any(path.is_symlink() for path in (tmp_path / "out" / "val" / "rgb").iterdir())
    assert draw(*arguments) == 0
    assert sorted(path.name for path in (tmp_path / "out" / "val" / "rgb").iterdir()) == held_out


def test_describe_dataset_names_the_command(annotated, capsys):
    describing = importlib.import_module("describe_dataset")
    status = run_tool(describing.describe, describing.Options, [f"--data.root={annotated}", "--noask"])
    assert status == 2
    error = capsys.readouterr().err
    assert "holds labelme annotations, which are no label maps yet" in error
    assert f"python tools/draw_labels.py --input={annotated} --output=FOLDER" in error


# === COCO ===

TRIANGLE = [1.3, 0.6, 9.7, 2.2, 4.1, 10.9]
SQUARE = [10.0, 2.0, 14.0, 2.0, 14.0, 6.0, 10.0, 6.0]


def reference(segmentation):
    from pycocotools import mask

    found = mask.frPyObjects(segmentation, *SIZE)
    return mask.decode(mask.merge(found) if isinstance(found, list) else found).astype(bool)


def test_polygons_of_coco_are_drawn_by_its_own_tool():
    np.testing.assert_array_equal(coco.draw([TRIANGLE, SQUARE], SIZE, "here"), reference([TRIANGLE, SQUARE]))
    np.testing.assert_array_equal(coco.draw([SQUARE], SIZE, "here"), box(2, 10, 5, 13))


@pytest.mark.parametrize("compressed", [False, True])
def test_run_lengths_of_coco(compressed):
    from pycocotools import mask

    wanted = reference([TRIANGLE])
    columns = wanted.T.ravel()
    changes = np.flatnonzero(np.diff(np.concatenate([[False], columns]))).tolist()
    counts = np.diff([0, *changes, columns.size]).tolist()
    assert sum(counts) == columns.size
    if compressed:
        packed = mask.encode(np.asfortranarray(wanted.astype(np.uint8)))["counts"].decode()
        assert coco.decoded(packed) == counts
        counts = packed
    np.testing.assert_array_equal(coco.draw({"size": list(SIZE), "counts": counts}, SIZE, "here"), wanted)


def coco_file(*annotations, **more) -> dict:
    return {
        "images": [{"id": 7, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 3, "name": "car"}, {"id": 5, "name": "person"}],
        "annotations": list(annotations),
        **more,
    }


def an_object(category=3, **more) -> dict:
    return {"image_id": 7, "category_id": category, "segmentation": [SQUARE], **more}


def test_a_folder_of_coco(tmp_path):
    root = tmp_path / "coco"
    for split in ("train2017", "val2017"):
        picture(root / split / "a.png")
        crowd = an_object(5, segmentation={"size": list(SIZE), "counts": [0, 12, 180]}, iscrowd=1)
        over = an_object(5, segmentation=[TRIANGLE])
        write_json(root / "annotations" / f"instances_{split}.json", coco_file(an_object(), over, crowd))
    assert draw(f"--input={root}", f"--output={tmp_path / 'out'}", "--instances", "--background=ignore") == 0
    assert descriptors.read(tmp_path / "out")["semseg"].classes == ("car", "person")
    classes = np.asarray(Image.open(tmp_path / "out" / "train" / "semseg" / "a.png"))
    numbers = np.asarray(Image.open(tmp_path / "out" / "val" / "instances" / "a.png"))
    triangle, square, column = reference([TRIANGLE]), reference([SQUARE]), box(0, 0, 11, 0)
    np.testing.assert_array_equal(classes, np.where(column | triangle, 1, np.where(square, 0, 255)))
    expected = np.where(column, 65535, np.where(triangle, 2, np.where(square, 1, 65535)))
    np.testing.assert_array_equal(numbers, expected)


def test_panoptic_files_of_coco(tmp_path):
    root = tmp_path / "coco"
    picture(root / "val2017" / "a.png")
    ids = np.zeros((*SIZE, 3), np.uint8)
    ids[:6], ids[6:, :8] = (1, 2, 0), (9, 0, 1)  # 513 and 65545
    (root / "annotations" / "panoptic_val2017").mkdir(parents=True)
    Image.fromarray(ids).save(root / "annotations" / "panoptic_val2017" / "a.png")
    segments = [{"id": 513, "category_id": 5}, {"id": 65545, "category_id": 3}]
    categories = [{"id": 3, "name": "sky", "isthing": 0}, {"id": 5, "name": "person", "isthing": 1}]
    content = coco_file({"image_id": 7, "file_name": "a.png", "segments_info": segments}, categories=categories)
    write_json(root / "annotations" / "panoptic_val2017.json", content)
    assert draw(f"--input={root}", f"--output={tmp_path / 'out'}", "--instances", "--background=ignore") == 0
    descriptor = descriptors.read(tmp_path / "out")
    assert descriptor["semseg"].classes == ("sky", "person") and descriptor["instances"].things == ("person",)
    expected = np.full(SIZE, 255)
    expected[:6], expected[6:, :8] = 1, 0
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "val" / "semseg" / "a.png")), expected)
    numbers = np.asarray(Image.open(tmp_path / "out" / "val" / "instances" / "a.png"))
    assert (numbers[:6] == 1).all() and (numbers[6:, :8] == 0).all() and (numbers[6:, 8:] == 65535).all()


# === Supervisely ===


def test_polygons_of_supervisely_have_holes():
    outer, hole = np.array([[2, 1], [12, 1], [12, 9], [2, 9]]), np.array([[5, 3], [9, 3], [9, 6], [5, 6]])
    expected = box(1, 2, 9, 12) & ~box(3, 5, 6, 9)
    np.testing.assert_array_equal(supervisely.draw("polygon", outer, [hole], SIZE), expected)


def test_other_shapes_of_supervisely():
    np.testing.assert_array_equal(supervisely.draw("rectangle", np.array([[6, 4], [2, 1]]), [], SIZE), box(1, 2, 4, 6))
    np.testing.assert_array_equal(supervisely.draw("line", np.array([[2, 3], [9, 3]]), [], SIZE), box(3, 2, 3, 9))
    np.testing.assert_array_equal(supervisely.draw("point", np.array([[2, 3]]), [], SIZE), box(3, 2, 3, 2))
    assert not supervisely.draw("point", np.array([[20, 3]]), [], SIZE).any()


@pytest.fixture
def project(tmp_path) -> pathlib.Path:
    root = tmp_path / "project"
    write_json(
        root / "meta.json", {"classes": [{"title": "car", "color": "#FF0000"}, {"title": "sky", "color": "#0000FF"}]}
    )
    bitmap = base64.b64encode(zlib.compress(png(np.array([[1, 0], [1, 1]])))).decode()
    objects = [
        {"classTitle": "sky", "geometryType": "rectangle", "points": {"exterior": [[0, 0], [15, 2]], "interior": []}},
        {"classTitle": "car", "geometryType": "bitmap", "bitmap": {"origin": [4, 1], "data": bitmap}},
    ]
    for folder in ("train", "val"):
        picture(root / folder / "img" / "a.png")
        content = {"size": {"height": SIZE[0], "width": SIZE[1]}, "objects": objects}
        write_json(root / folder / "ann" / "a.png.json", content)
    return root


def test_a_project_of_supervisely(project, tmp_path):
    assert draw(f"--input={project}", f"--output={tmp_path / 'out'}") == 0
    labels = descriptors.read(tmp_path / "out")["semseg"]
    assert labels.classes == ("background", "car", "sky") and labels.palette == ((0, 0, 0), (255, 0, 0), (0, 0, 255))
    expected = np.where(box(0, 0, 2, 15), 2, 0)
    expected[1, 4], expected[2, 4:6] = 1, 1
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "val" / "semseg" / "a.png")), expected)


# === What is wrong ===

DAMAGE = {
    "half a file": (lambda text: text[: len(text) // 2], "not JSON"),
    "too few points": (labelme_file(polygon(points=((1, 1), (2, 2)))), "expected 3 or more points"),
    "no numbers": (labelme_file(polygon(points=((1, 1), ("x", 2), (3, 3)))), "expected 3 or more points"),
    "unknown shape": (labelme_file({**polygon(), "shape_type": "star"}), "shape 0 is a star; expected one of polygon"),
    "a label that is not listed": (labelme_file(polygon("tree")), "lacks the label 'tree'"),
    "another size": (labelme_file(polygon(), size=(10, 10)), "is of a picture of 10x10 pixels"),
    "no picture": (labelme_file(polygon(), imagePath="b.png"), "b.png is missing"),
    "no shapes": ({"imagePath": "a.png", "shapes": 3}, '"shapes" should be a list, got 3'),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_wrong_with_labelme_is_named(annotated, tmp_path, capsys, name):
    content, message = DAMAGE[name]
    path = annotated / "train" / "a.json"
    write_json(path, content(path.read_text()) if callable(content) else content)
    assert draw(f"--input={annotated}", f"--output={tmp_path / 'out'}") == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "a.json" in error.replace("labels.txt", "a.json") and "\n" not in error
    assert not (tmp_path / "out" / "dataset.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (coco_file(an_object(4)), "annotation 0: category 4 is not listed"),
        (coco_file(an_object(segmentation=[[1, 1, 2, 2]])), "expected 3 or more points"),
        (coco_file(an_object(segmentation=[])), "its segmentation cannot be drawn (no polygon)"),
        (coco_file(an_object(segmentation={"size": [12, 16], "counts": [1, 2]})), "do not add up"),
        (coco_file(an_object(segmentation={"size": [12, 16], "counts": "Zo"})), "its segmentation cannot be drawn"),
        (coco_file(an_object(segmentation={"size": [5, 5], "counts": [25]})), "its size is [5, 5]"),
        (coco_file(an_object(), categories=[]), "annotations without classes"),
        (coco_file(an_object(), images=[]), "annotations without pictures"),
        (coco_file(an_object(), images=[{"id": 7, "file_name": "../a.png"}]), "leads out of the folder"),
    ],
)
def test_what_is_wrong_with_coco_is_named(tmp_path, capsys, content, message):
    picture(tmp_path / "coco" / "a.png")
    write_json(tmp_path / "coco" / "train.json", content)
    assert draw(f"--input={tmp_path / 'coco'}", f"--output={tmp_path / 'out'}") == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error


def test_what_is_wrong_with_supervisely_is_named(project, tmp_path, capsys):
    path = project / "val" / "ann" / "a.png.json"
    content = json.loads(path.read_text())
    content["objects"][1]["bitmap"]["data"] = "AAAA"
    write_json(path, content)
    assert draw(f"--input={project}", f"--output={tmp_path / 'out'}") == 2
    assert "object 1: its bitmap cannot be decoded" in capsys.readouterr().err
    content["objects"][1] |= {"classTitle": "tree"}
    write_json(path, content)
    assert draw(f"--input={project}", f"--output={tmp_path / 'out'}") == 2
    assert "class 'tree' is not in meta.json" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["--input=", "--input={0}/nowhere", "--input={0}"])
def test_nothing_to_draw(tmp_path, capsys, given):
    assert draw(given.format(tmp_path), f"--output={tmp_path / 'out'}") == 2
    assert "labelme, COCO" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(60))
def test_damaged_files_are_drawn_or_named(annotated, project, tmp_path, capsys, seed):
    """Bytes of an annotation are replaced, removed or doubled: the answer is a data set or one line."""
    picture(tmp_path / "coco" / "a.png")
    counts = {"size": list(SIZE), "counts": "1:1O1N2N1O1N3M"}
    write_json(tmp_path / "coco" / "train.json", coco_file(an_object(), an_object(segmentation=counts)))
    random = np.random.default_rng(seed)
    root, file = [(annotated, "train/a.json"), (project, "val/ann/a.png.json"), (tmp_path / "coco", "train.json")][
        seed % 3
    ]
    content = bytearray((root / file).read_bytes())
    for _ in range(random.integers(1, 4)):
        place = int(random.integers(len(content)))
        piece = bytes(random.choice(list(b'0123456789-[]{}",:.eEnull'), random.integers(0, 3)).tolist())
        content[place : place + int(random.integers(0, 3))] = piece
    (root / file).write_bytes(bytes(content))
    status = draw(f"--input={root}", f"--output={tmp_path / 'out'}")
    error = capsys.readouterr().err.strip()
    assert status in (0, 2) and ("\n" not in error) and (status == 0) == (not error.startswith("error"))
