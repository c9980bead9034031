"""The page of many runs: what is embedded in it, and that no name in the data can break out."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from mtl_tf import pictures
from mtl_tf.report import embedding
from mtl_tf.report.document import (
    Answer,
    Cell,
    Chart,
    DataTable,
    Document,
    Figure,
    Line,
    Picture,
    write_document,
)
from mtl_tf.tasks import Depth, Segmentation

NASTY = "</script><b>\"'&"
TASKS = (
    Segmentation(("road", NASTY), ((128, 64, 128), (0, 0, 142))),
    Depth(1.0, 80.0, mean=10.0, std=5.0, log_mean=2.0, log_std=0.5),
)


def unpacked(uri):
    """The pixels of a data URI."""
    kind, _, encoded = uri.partition(";base64,")
    assert kind == "data:image/png"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))


def metres(found):
    """A depth map of the page as the script reads it."""
    red, green, _ = np.moveaxis(unpacked(found["uri"]).astype(float), 2, 0)
    return (256 * red + green) * found["step"]


def embedded(path):
    return json.loads(re.search(r'id="page-data">(.*?)</script>', path.read_text(encoding="utf-8"))[1])


def document():
    rows = ((Cell(NASTY), Cell("1.5", 1.5)), (Cell("b"), Cell("–")), (Cell("c"), Cell("nan", float("nan"))))
    line = Line(NASTY, {"epoch": [(1, 2.0), (2, float("nan")), (3, None)], "step": [(10, float("inf")), (20, 0.5)]})
    labels, depth = np.array([[0, 1], [255, 7]]), np.array([[0.5, 10.0], [80.0, np.nan]])
    answer = Answer(NASTY, {"semseg": labels, "depth": depth}, {"semseg.miou": float("nan"), "depth.rmse": 2.0})
    picture = Picture(NASTY, "worst", np.zeros((2, 2, 3)), {"semseg": labels, "depth": depth}, (answer,))
    return Document(
        title=NASTY,
        facts=(NASTY,),
        tables=(DataTable(NASTY, NASTY, (NASTY, "value"), rows, (NASTY,), NASTY),),
        figures=(Figure(NASTY, NASTY, (Chart(NASTY, (line,), NASTY),), NASTY),),
        pictures=(picture,),
        tasks=TASKS,
        sections=((NASTY, NASTY),),
    )


@pytest.fixture
def page(tmp_path):
    return write_document(tmp_path / "new" / "study.html", document())


def test_names_cannot_break_out(page):
    source = page.read_text(encoding="utf-8")
    assert "</script><b>" not in source
    assert "<b>\"'" not in source
    assert source.count("</script>") == 2  # the data and the script
    assert embedded(page)["gallery"]["pictures"][0]["id"] == NASTY
    assert embedded(page)["gallery"]["tasks"][0]["classes"][1] == NASTY
    assert embedded(page)["figures"][0]["charts"][0]["lines"][0]["label"] == NASTY


def test_page_asks_for_nothing(page):
    source = page.read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|url\(|<link|<iframe", source)
    assert "default-src 'none'; img-src data:;" in source


def test_nothing_but_finite_numbers(page):
    points = embedded(page)["figures"][0]["charts"][0]["lines"][0]["points"]
    assert (points["epoch"]["x"], points["epoch"]["y"], points["epoch"]["last"]) == ([1], [2], 2)
    assert (points["step"]["x"], points["step"]["y"]) == ([20], [0.5])
    gallery = embedded(page)["gallery"]
    names = [metric["name"] for metric in gallery["metrics"]]
    scores = dict(zip(names, gallery["pictures"][0]["answers"][0]["scores"], strict=True))
    assert scores == {"semseg.miou": ["–", None], "depth.rmse": ["2.000 m", 2.0]}
    source = page.read_text(encoding="utf-8")
    assert source.count("data-value=") == 1
    with pytest.raises(ValueError, match="not JSON compliant"):
        embedding.json_text([float("nan")])


def test_maps_come_back(page):
    picture = embedded(page)["gallery"]["pictures"][0]
    # Ids that no class has are unlabelled.
    assert unpacked(picture["truth"]["semseg"]["uri"]).tolist() == [[0, 1], [255, 255]]
    # True depth outside the valid range of the task is no truth; an answer is shown as it is.
    assert metres(picture["truth"]["depth"]).tolist() == [[0, 10], [80, 0]]
    assert metres(picture["answers"][0]["maps"]["depth"]).tolist() == [[0.5, 10], [80, 0]]
    assert (picture["truth"]["depth"]["low"], picture["truth"]["depth"]["high"]) == (10, 80)
    assert picture["truth"]["depth"]["ticks"][0] == [0, "10 m"]
    assert picture["truth"]["depth"]["ticks"][-1] == [1, "80 m"]


def test_depth_round_trip():
    depth = np.array([[0.0, -1.0, np.nan, np.inf, 1e-6, 0.01, 2.55, 2.56, 123.456, 655.35]])
    packed, step = pictures.pack_depth(depth)
    codes = 256 * packed[..., 0].astype(int) + packed[..., 1]
    assert codes.tolist() == [[0, 0, 0, 0, 1, 1, 255, 256, 12346, 65535]]
    assert step == 0.01
    assert packed.dtype == np.uint8
    packed, step = pictures.pack_depth(np.array([[1.0, 6553.5]]))
    assert ((256 * packed[..., 0].astype(int) + packed[..., 1]) * step).tolist() == [[1.0, 6553.5]]


def test_large_maps_are_thinned_alike():
    truth = np.arange(1200)[:, None] // 600 * np.ones((1, 300), int)
    answer = Answer("a", {"semseg": truth[::2, ::2]}, {})
    shown = Picture("1", "", np.zeros((8, 8, 3)), {"semseg": truth}, (answer,))
    (found,) = embedding.gallery_data([shown], TASKS)["pictures"]
    true, ours = unpacked(found["truth"]["semseg"]["uri"]), unpacked(found["answers"][0]["maps"]["semseg"]["uri"])
    assert true.shape == ours.shape == (512, 128)
    assert np.array_equal(true, ours)
    assert true[:256].max() == 0
    assert true[256:].min() == 1


def test_answers_without_truth_or_task():
    depth = np.full((4, 4), 7.0)
    answers = (Answer("both", {"depth": depth}, {}), Answer("none", {}, {}))
    (found,) = embedding.gallery_data([Picture("1", "", np.zeros((4, 4, 3)), {}, answers)], TASKS)["pictures"]
    assert found["truth"] == {}
    assert [list(answer["maps"]) for answer in found["answers"]] == [["depth"], []]


def test_long_curves_are_averaged_and_repeated_steps_count_once():
    points = [(step, 1.0) for step in range(5000)] + [(4999, 3.0)]
    drawn = embedding.thinned(points)
    assert len(drawn) <= 300
    assert drawn[0] == (8, 1.0)
    assert drawn[-1][1] > 1.0
    found = embedding.figure_data([Figure("f", "f", (Chart("c", (Line("a", {"step": points}),)),))])
    curve = found[0]["charts"][0]["lines"][0]["points"]["step"]
    assert (curve["last"], curve["meanOf"]) == (3.0, 17)
    assert embedding.thinned([(2, 1.0), (1, 5.0), (1, 4.0), (3, None)]) == [(1, 4.0), (2, 1.0)]


def test_an_empty_document_is_a_page(tmp_path):
    source = write_document(tmp_path / "page.html", Document("empty", ())).read_text(encoding="utf-8")
    assert "<h2" not in source
    assert 'id="images"' not in source
