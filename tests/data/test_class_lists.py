"""Lists of classes beside the data: read in every form that people have, and used by dataset.json."""

import json

import numpy as np
import pytest

from mtl_tf.data import descriptors
from mtl_tf.errors import UsageError
from mtl_tf.storage.class_lists import find_classes, read_classes
from tests.data.test_label_formats import labels_of, refusal, saved

ROAD, CAR, LIGHT = (128, 64, 128), (0, 0, 142), (250, 170, 30)
COLOURED = [("road", ROAD), ("traffic light", LIGHT), ("car", CAR)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# label:color_rgb:parts:actions\nroad:128,64,128::\ntraffic light:250,170,30::\ncar:0,0,142::\n", COLOURED),
        ("name,r,g,b\nroad,128,64,128\ntraffic light,250,170,30\ncar,0,0,142\n", COLOURED),
        ("name, r, g, b\r\nroad, 128, 64, 128\r\n'traffic light', 250, 170, 30\r\n", None),
        ('id;R;G;B;class\n0;128;64;128;road\n1;250;170;30;"traffic light"\n2;0;0;142;car\n', COLOURED),
        ("128 64 128\troad\n250 170 30\ttraffic light\n0 0 142\tcar\n", COLOURED),
        ("128 64 128 road\n250 170 30 traffic light\n0 0 142 car\n", COLOURED),
        ("road 128 64 128\ntraffic light 250 170 30\n\ncar 0 0 142", COLOURED),
        ("\ufeffroad\ntraffic light\ncar\n", [(name, None) for name, _ in COLOURED]),
        ("name\nroad\ntraffic light\ncar\n", [(name, None) for name, _ in COLOURED]),
        ("road,\ntraffic light\ncar 0 0 142", [("road", None), ("traffic light", None), ("car", CAR)]),
    ],
)
def test_every_form_of_a_list(tmp_path, text, found):
    (tmp_path / "list.txt").write_text(text, encoding="utf-8", newline="")
    read = read_classes(str(tmp_path / "list.txt"))
    assert read == found if found else [colour for _, colour in read] == [ROAD, LIGHT]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no classes in it"),
        ("# nothing\n", "no classes in it"),
        (
            "road:128,64,300::\n",
            "line 1 should be a name, or a name and a colour of three numbers 0..255; it is 'road:",
        ),
        ("road\n:1,2,3:\n", "line 2 should be"),
        ("road 1 2 256", "line 1 should be"),
        ("name,r,g,b\nroad,1,2\n", "line 2 should be"),
        ("name,r,g,b\nroad,1,2,x\n", "line 2 should be"),
        ("name,r,g,b\n,1,2,3\n", "line 2 should be"),
    ],
)
def test_what_is_no_list(tmp_path, text, told):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(UsageError) as caught:
        read_classes(str(tmp_path / "list.txt"))
    assert str(caught.value).startswith(f"{tmp_path}/list.txt: {told}")


def test_the_first_list_of_a_folder(tmp_path):
    assert find_classes(str(tmp_path)) == ""
    for name in ("classes.txt", "class_dict.csv", "labelmap.txt"):
        (tmp_path / name).write_text("road\n")
        assert find_classes(str(tmp_path)) == f"{tmp_path}/{name}"


# === In dataset.json ===


def described(root, text, **section):
    """What a dataset.json whose classes stand in a list says."""
    root.mkdir()
    (root / "list.csv").write_text(text)
    (root / "dataset.json").write_text(json.dumps({"semseg": {"classes": "list.csv"} | section}))
    return descriptors.read(root)["semseg"]


def test_masks_by_the_colours_of_a_list(tmp_path):
    text = "name,r,g,b\nroad,128,64,128\ncar,0,0,142\nignore,0,0,0\n"
    labels = described(tmp_path / "data", text, encoding="colour", values={"9,9,9": "car"})
    assert labels.classes == ("road", "car") and labels.palette == (ROAD, CAR)
    path = saved(tmp_path / "m.png", np.array([[CAR, ROAD, (0, 0, 0), (9, 9, 9)]], np.uint8))
    assert labels.read(path).tolist() == [[1, 0, 255, 1]]
    # Written again, the names and colours themselves stand there.
    content = labels.content()
    assert labels_of(tmp_path / "again", **content) == labels and content["classes"] == ["road", "car"]


def test_numbers_by_the_lines_of_a_list(tmp_path):
    labels = described(tmp_path / "plain", "road\ncar\n", palette=[ROAD, CAR])
    path = saved(tmp_path / "m.png", np.array([[0, 1, 1, 255]], np.uint8))
    assert labels.read(path).tolist() == [[0, 1, 1, 255]]
    labels = described(tmp_path / "from_one", "ignore 0 0 0\nroad 1 1 1\ncar 2 2 2\n")
    assert labels.classes == ("road", "car") and labels.palette == ((1, 1, 1), (2, 2, 2))
    path = saved(tmp_path / "m.png", np.array([[0, 1, 2]], np.uint8))
    assert labels.read(path).tolist() == [[255, 0, 1]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("road\nroad\n", "list.csv: a class of one name twice"),
        ("road 1 2 3\ncar\n", "list.csv: 1 of 2 classes have a colour; expected all, or none"),
        (
            "road\ncar\n",
            '"semseg.palette" should be a list of RGB colours, each three whole numbers 0..255; it is miss',
        ),
        ("road 1 2 3\ncar 1 2 3\n", '"semseg.palette" should be different colours'),
    ],
)
def test_a_list_that_says_too_little(tmp_path, text, told):
    with pytest.raises(UsageError) as caught:
        described(tmp_path / "data", text, encoding="colour")
    assert told in str(caught.value)


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"none\.txt: no such file"):
        labels_of(tmp_path, classes="none.txt")


def test_colours_that_the_list_lacks(tmp_path):
    labels = described(tmp_path / "data", "road 128 64 128\ncar 0 0 142\n", encoding="colour")
    pixels = np.full((3, 4, 3), ROAD, np.uint8)
    pixels[1, 2:], pixels[2, 0] = (1, 2, 3), (7, 7, 7)
    told = refusal(labels, saved(tmp_path / "m.png", pixels))
    assert told.startswith(
        "RGB colour 1,2,3 or 7,7,7 (3 pixels, first at row 1, column 2) is no class; expected a colo"
    )
