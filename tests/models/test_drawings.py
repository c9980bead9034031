"""tools/draw_architectures.py: the parts of a network, and how they are drawn."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from mtl_tf import config as configuration
from mtl_tf import flags
from mtl_tf.errors import UsageError
from mtl_tf.models import build_model
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.models.costs import parameters
from mtl_tf.tasks import cityscapes_tasks
from tests.helpers import ROOT, tool_module

tool = tool_module("draw_architectures")
NAMES = ["semseg", "depth"]


def config_of(architecture):
    return configuration.from_values({"model.architecture": architecture, "model.encoder": "resnet18"})


def parts_of(architecture):
    config = config_of(architecture)
    model = build_model(config.model, cityscapes_tasks(), config.arch_options)
    boxes, arrows = tool._parts(model, NAMES)
    assert sum(box.parameters for box in boxes.values()) == parameters(model)
    tool._arrange(boxes, arrows)
    return boxes, {(boxes[a].title, boxes[b].title) for a, b in arrows}


def test_the_parts_of_a_network():
    boxes, arrows = parts_of("distilled")
    assert arrows >= {("image", "encoder"), ("encoder", "aspp"), ("decoder", "attention depth"), ("head", "depth")}
    assert ("image", "depth") not in arrows and ("encoder", "head") not in arrows
    rows = {box.title: box.row for box in boxes.values()}
    assert (rows["encoder"], rows["semseg"], rows["depth"]) == (1, 0, 2)


def test_what_is_exchanged_stands_between_the_stages():
    boxes, arrows = parts_of("cross_stitch")
    assert {("encoder stage 1", "stitch stage 1"), ("stitch stage 1", "encoder stage 2")} <= arrows
    columns = {box.title: box.column for box in boxes.values()}
    assert columns["encoder stage 1"] < columns["stitch stage 1"] < columns["encoder stage 2"]


def test_parts_that_are_called_again_have_their_parameters_once():
    boxes, _ = parts_of("ple")
    (first,) = (box for box in boxes.values() if box.title == "expert 0 stage 1" and box.row == 1)
    (own,) = (box for box in boxes.values() if box.title == "expert 0 stage 1" and box.row == 0)
    assert first.parameters == own.parameters


def test_a_drawing_is_valid_and_no_boxes_overlap():
    root = ElementTree.fromstring(tool.drawing(config_of("distilled")))
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"encoder", "attention semseg", "semseg_initial"} <= set(texts)
    assert any(re.fullmatch(r"11\.2 M", text) for text in texts)
    boxes = [each for each in root.iter("{http://www.w3.org/2000/svg}rect") if each.get("x")]
    places = [(float(each.get("x")), float(each.get("y"))) for each in boxes]
    for number, (x, y) in enumerate(places):
        assert not any(abs(x - a) < tool._WIDTH and abs(y - b) < tool._HEIGHT for a, b in places[:number])


def test_without_a_folder_it_says_so():
    with pytest.raises(UsageError, match="--output=FOLDER is missing"):
        tool.draw_architectures(flags.parse([], tool.Options))


def test_the_page_shows_every_architecture():
    page = (ROOT / "docs/architectures.md").read_text(encoding="utf-8")
    for name in ARCHITECTURES.built_in:
        assert f"\n### {name}\n\n![{name}](architectures/{name}.svg)\n" in page and f"| `{name}` |" in page
    drawn = {path.stem for path in (ROOT / "docs/architectures").iterdir()}
    assert drawn == set(ARCHITECTURES.built_in)


def test_a_drawing_on_the_page_is_that_of_today():
    config = configuration.from_values({"model.architecture": "joint", "model.encoder": "resnet50"})
    assert tool.drawing(config) == (ROOT / "docs/architectures/joint.svg").read_text(encoding="utf-8")
