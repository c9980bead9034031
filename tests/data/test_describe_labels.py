"""What tools/describe_dataset.py makes of class maps as people store them."""

import json

import numpy as np
import pytest
from PIL import Image

from mtl_tf.data import descriptors
from tests.helpers import one_line_error, tool_module

tool = tool_module("describe_dataset")
IDS = np.array([[0, 1, 2, 1]] * 4, np.uint8)
COLOURS = [(128, 64, 128), (0, 0, 142), (250, 170, 30)]


def write(root, save, names="{}.png", pictures="{}.png"):
    """A split of two pictures whose class maps a function saves to a path."""
    for kind in ("rgb", "semseg"):
        (root / "train" / kind).mkdir(parents=True)
    for index in range(2):
        Image.new("RGB", (4, 4)).save(root / "train/rgb" / pictures.format(index))
        save(root / "train/semseg" / names.format(index))
    return root


def in_colours(path):
    Image.fromarray(np.array(COLOURS, np.uint8)[IDS]).save(path)


def with_palette(colours):
    def save(path):
        image = Image.fromarray(IDS, mode="P")
        image.putpalette([part for colour in colours for part in colour])
        image.save(path)

    return save


def describe(root, *options, status=0, capsys=None):
    """What is described; with `capsys` also what was said, in which an error is one line."""
    assert tool.run_tool(tool.describe, tool.Options, [f"--data.root={root}", "--noask", *options]) == status
    said = capsys.readouterr() if capsys else None
    if status:
        return one_line_error(status, said.err)
    found = descriptors.read(root)
    return (found, said.out) if capsys else found


def read(found, root, name="0.png"):
    return found["semseg"].read(str(root / "train/semseg" / name))


def test_masks_by_class_dict_csv(tmp_path, capsys):
    root = write(tmp_path, in_colours)
    (root / "class_dict.csv").write_text("name,r,g,b\nVoid,250,170,30\ncar,0,0,142\nroad,128,64,128\nsky,1,1,1\n")
    found, said = describe(root, capsys=capsys)
    assert found["semseg"].classes == ("Void", "car", "road", "sky")
    np.testing.assert_array_equal(read(found, root), np.array([2, 1, 0])[IDS])
    assert "warning: Void is taken for a class; if it means no class, call it ignore" in said
    (root / "class_dict.csv").write_text("name,r,g,b\ncar,0,0,142\nroad,128,64,128\n")
    (root / "dataset.json").unlink()
    told = describe(root, status=2, capsys=capsys)
    assert f"none is there for 250,170,30 (8 pixels, first in {root}/train/semseg/0.png)" in told


def test_names_of_numbers_by_a_list(tmp_path, capsys):
    root = write(tmp_path, lambda path: Image.fromarray(IDS).save(path))
    (root / "class_names.txt").write_text("road\ncar\n")
    found, said = describe(root, capsys=capsys)
    assert found["semseg"].classes == ("class0", "class1", "class2")
    assert f"{root}/class_names.txt is not used for names: expected 3 names or more" in said
    (root / "class_names.txt").write_text("road\ncar\ntree\n")
    (root / "dataset.json").unlink()
    assert describe(root)["semseg"].classes == ("road", "car", "tree")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_palettes_and_the_colours_of_a_list(tmp_path, capsys, order):
    """Where the list has the colours of the palette in another order, its names are theirs, not those of its lines."""
    root = write(tmp_path, with_palette(COLOURS))
    names = ("road", "car", "light")
    lines = [f"{names[number]}:{','.join(map(str, COLOURS[number]))}::" for number in order]
    (root / "labelmap.txt").write_text("\n".join(lines))
    found, said = describe(root, capsys=capsys)
    expected = np.array([found["semseg"].classes.index(name) for name in names])[IDS]
    np.testing.assert_array_equal(read(found, root), expected)
    told = (
        f"warning: the colours of the palettes stand in another order in {root}/labelmap.txt: classes are read by col"
    )
    assert (told in said) == (order != (0, 1, 2))
    assert json.loads((root / "dataset.json").read_text())["semseg"].get("encoding") == (
        None if order == (0, 1, 2) else "colour"
    )
