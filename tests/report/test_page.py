"""The report: complete, offline, safe against what names contain, and happy with whatever is not there yet."""

import dataclasses
import html.parser
import json
import re

import numpy as np
import pytest

from mtl_tf import config, flags
from mtl_tf.errors import UsageError
from mtl_tf.report import Answer, Picture, results_table, write_report
from mtl_tf.report.histogram import histogram
from mtl_tf.report.scores import short
from mtl_tf.tasks import Segmentation, cityscapes_tasks
from tests.report.standins import Chances, Directions

TASKS = cityscapes_tasks()

NASTY = "<script>alert('&')</script>"
VOID = {"meta", "img", "br", "wbr", "rect", "path", "circle", "polyline"}

SCORED = {"split": "val", "images": 12, "size": [96, 192], "fit": "stretch", "eigen_crop": False, "weights": "best"}
EVALUATION = {
    "split": "val",
    "scored": SCORED,
    "num_images": 12,
    "semseg": {
        "miou": 41.25,
        "miou_all_classes": 27.5,
        "pixel_accuracy": 80.0,
        "iou": {"road": 90.0, "car": 12.5, NASTY: 1.0, "train": None},
    },
    "depth": {"si_log_rmse": 20.0, "abs_rel": 0.15, "rmse": 4.0, "delta1": 75.0, "rmse_pixels": 5.0, "log10": None},
    "total": 21.25,
    "grader": 30.0,
}
BASELINE = {
    "split": "val",
    "num_images": 12,
    "scored": SCORED | {"weights": "position baseline"},
    "semseg": {"miou": 16.5, "pixel_accuracy": 40.0, "iou": {"road": 45.0}},
    "depth": {"si_log_rmse": 50.0, "abs_rel": 0.6, "rmse": 10.0, "delta1": 25.0},
    "total": -33.5,
}


class Reader(html.parser.HTMLParser):
    """Checks that elements nest, and gathers tags, attributes and the text that is seen."""

    def __init__(self):
        super().__init__()
        self.stack, self.tags, self.attributes, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.stack.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        if self.stack[-1:] not in (["script"], ["style"]):
            self.text.append(data)


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.stack == []
    return reader, " ".join(" ".join(reader.text).split())


def data(path):
    """What the script of a page gets."""
    return json.loads(re.search(r'id="page-data">(.*?)</script>', path.read_text(encoding="utf-8"))[1])


def write_run(run_dir):
    run_dir.mkdir()
    (run_dir / "evaluation_val.json").write_text(json.dumps(EVALUATION))
    (run_dir / "baseline_val.json").write_text(json.dumps(BASELINE))
    test = {**EVALUATION, "split": "test", "scored": SCORED | {"split": "test"}, "depth": None}
    (run_dir / "evaluation_test.json").write_text(json.dumps(test))
    (run_dir / "metrics.csv").write_text(
        "epoch,step,learning_rate,train_loss,val_loss,semseg.miou,depth.si_log_rmse,total\n"
        "1,100,0.01,2.5,2.75,10.5,40,-29.5\n"
        "2,200,0.005,2.0,,nan,30,\n"
        "3,300,0.001,1.5,2.25,41.25,20,21.25\n"
    )
    (run_dir / "steps.csv").write_text("step,loss,images_per_second,step_ms,wait_ms\n20,3,50,80,1\n40,2,50,80,1\n60,1")
    (run_dir / "per_image_val.csv").write_text(
        "id,semseg.miou,depth.si_log_rmse\n7,10.5,33\n8,60.25,\n" + f'"{NASTY}",40,11\n'
    )
    settings = config.replace(config.Config(), train__epochs=3, data__root=NASTY)
    (run_dir / "run.flags").write_text(flags.run_flags(settings, "a comment"))
    (run_dir / "environment.json").write_text(json.dumps({"python": "3.11", "host": {"cores": 2, "note": NASTY}}))
    return run_dir


def pictures():
    image = np.random.default_rng(0).integers(0, 256, (40, 2000, 3), dtype=np.uint8)
    small, labels, depth = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), int), np.full((8, 8), 5.0)
    return [
        Picture("7", "worst", image, {"semseg": labels}, (Answer("run", {"semseg": labels}, {"semseg.miou": 10.5}),)),
        Picture(NASTY, "median", small, {}, (Answer(NASTY, {"depth": depth}, {"semseg.miou": float("nan")}),)),
        Picture("8", "best", small, {"depth": depth}, (Answer("run", {}, {"depth.si_log_rmse": None}),)),
    ]


@pytest.fixture
def page(tmp_path):
    return write_report(write_run(tmp_path / "street <b>run"), pictures(), TASKS)


def test_sections_and_scores(page):
    reader, text = read(page)
    assert reader.tags.count("h1") == 1
    headings = ("Scores", "IoU of each class", "Worst, median and best images", "Image by image", "Curves", "Options")
    for wanted in (*headings, "Environment", "41.25 %", "20.00", "0.1500", "4.000 m", "3 of 3 epochs", "12 images"):
        assert wanted in text
    assert "16.50 %" in text  # the baseline
    assert "2.50\N{MULTIPLICATION SIGN}" in text  # and the ratio to it
    assert "host.cores 2" in text


def test_page_asks_for_nothing(page):
    reader, _ = read(page)
    assert not {"link", "iframe", "object", "a"} & set(reader.tags)
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", page.read_text(encoding="utf-8"))
    sources = [value for name, value in reader.attributes if name in ("src", "href", "srcset", "xlink:href")]
    assert len(sources) == 3
    assert all(re.match(r"data:image/(png|jpeg);base64,", source) for source in sources)
    policy = next(value for name, value in reader.attributes if name == "content" and "default-src" in value)
    assert re.fullmatch(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-[A-Za-z0-9+/]{43}='", policy
    )


def test_names_are_escaped(page):
    source = page.read_text(encoding="utf-8")
    assert NASTY not in source
    assert "<b>run" not in source
    # A class, a sample in two tables and in the gallery, an option and an entry of the environment.
    assert source.count("&lt;script&gt;") >= 6
    assert source.count("\\u003cscript\\u003e") >= 2  # and the sample and its run in the data of the script


def test_nulls_are_dashes(page):
    _, text = read(page)
    assert "log10 \N{DOWNWARDS ARROW} \N{EN DASH}" in text
    assert "train \N{EN DASH}" in text
    assert "None" not in text
    assert "nan" not in text.lower().split()
    assert "NaN" not in re.search(r'id="page-data">(.*?)</script>', page.read_text(encoding="utf-8"))[1]


def test_options_that_differ_come_first(page):
    source = page.read_text(encoding="utf-8")
    assert source.index("train.epochs") < source.index("<details>", source.index('id="options"'))
    assert source.index("<details>", source.index('id="options"')) < source.index("optim.momentum")


def test_command_runs_it_again_elsewhere(page):
    _, text = read(page)
    folder = page.parent
    assert f"python main.py train --flagfile='{folder}/run.flags' --run_dir='{folder}-again'" in text


def test_wide_pictures_are_shrunk(page):
    reader, _ = read(page)
    assert [value for name, value in reader.attributes if name == "width" and len(value) == 4] == ["1024"]


FILES = (
    "evaluation_val.json",
    "evaluation_test.json",
    "metrics.csv",
    "steps.csv",
    "per_image_val.csv",
    "run.flags",
    "environment.json",
)


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_leaves_its_section_out(tmp_path, missing):
    run_dir = write_run(tmp_path / "run")
    (run_dir / missing).unlink()
    _, text = read(write_report(run_dir, [], TASKS))
    heading = {"per_image_val.csv": "Image by image", "run.flags": "Options", "environment.json": "Environment"}
    if missing in heading:
        assert heading[missing] not in text


@pytest.mark.parametrize("present", FILES)
def test_a_single_file_is_enough(tmp_path, present):
    run_dir = write_run(tmp_path / "run")
    for name in set(FILES) - {present}:
        (run_dir / name).unlink()
    read(write_report(run_dir, [], TASKS))


def test_an_empty_run_has_a_page(tmp_path):
    run_dir = tmp_path / "empty"
    run_dir.mkdir()
    reader, text = read(write_report(run_dir, [], TASKS))
    assert "empty" in text
    assert "h2" not in reader.tags


def test_a_run_in_training_shows_its_last_epoch(tmp_path):
    run_dir = write_run(tmp_path / "run")
    for name in ("evaluation_val.json", "evaluation_test.json"):
        (run_dir / name).unlink()
    _, text = read(write_report(run_dir, [], TASKS))
    assert "not evaluated yet" in text
    assert "mIoU 41.25 %" in text
    assert "best 41.25 % at epoch 3" in text


def test_an_older_run_shows_the_loss_that_is_of_the_same_sum(tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "metrics.csv").write_text("epoch,step,train_loss,val_loss,val_loss_weighted\n1,9,0.5,1.2,0.6\n")
    loss = data(write_report(run_dir, [], TASKS))["figures"][0]["charts"][0]["lines"]
    assert [(line["label"], line["points"]["epoch"]["last"]) for line in loss] == [("train", 0.5), ("val", 0.6)]


def tables_of(page):
    """The text of every table of scores."""
    section = page.read_text(encoding="utf-8").partition('id="scores"')[2].partition("</section>")[0]
    return [re.sub("<[^>]+>| +", " ", part) for part in section.split("<h3>")[1:]]


def test_what_is_scored_otherwise_is_in_another_table_and_beside_its_own_baseline(tmp_path):
    run_dir = write_run(tmp_path / "run")
    eigen = {"scored": SCORED | {"eigen_crop": True}, "depth": {"rmse": 2.5}}
    (run_dir / "evaluation_val_eigen.json").write_text(json.dumps(EVALUATION | eigen))
    averaged = {"scored": SCORED | {"weights": "averaged"}, "depth": {"rmse": 3.25}}
    (run_dir / "evaluation_val_averaged.json").write_text(json.dumps(EVALUATION | averaged))
    val, test, cropped = tables_of(write_report(run_dir, [], TASKS))
    assert "12 images of split val; 96x192, stretch " in val
    assert "best weights" in val and "averaged weights" in val and "Baseline" in val
    assert "4.000 m" in val and "3.250 m" in val and "10.000 m" in val
    assert "2.500 m" not in val and "split test" in test and "Baseline" not in test
    assert "Eigen" in cropped and "2.500 m" in cropped and "Baseline" not in cropped
    first = tables_of(write_report(run_dir, [], TASKS, first="val_eigen"))[0]
    assert "2.500 m" in first


def test_scores_that_do_not_state_what_they_are_of_stand_alone(tmp_path):
    run_dir = write_run(tmp_path / "run")
    for name in ("evaluation_val.json", "evaluation_test.json", "baseline_val.json"):
        old = json.loads((run_dir / name).read_text())
        (run_dir / name).write_text(json.dumps({key: value for key, value in old.items() if key != "scored"}))
    tables = tables_of(write_report(run_dir, [], TASKS))
    assert len(tables) == 2
    assert all("does not state" in table and "Baseline" not in table for table in tables)


def test_one_task_alone(tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    only = {"split": "val", "num_images": 2, "scored": SCORED, "depth": {"rmse": 4.0}, "total": None, "grader": None}
    (run_dir / "evaluation_val.json").write_text(json.dumps(only))
    (run_dir / "baseline_val.json").write_text(json.dumps(only | {"semseg": None, "depth": {"rmse": 0.0}}))
    _, text = read(write_report(run_dir, [], TASKS))
    assert "4.000 m" in text
    assert "IoU of each class" not in text
    assert "Segmentation" not in text
    assert "Grader" not in text


def test_scores_of_every_kind_of_task_are_shown(tmp_path):
    run_dir = write_run(tmp_path / "run")
    more = {"normals": {"mean_angle": 18.25}, "edges": {"f_score": 61.5}}
    (run_dir / "evaluation_val.json").write_text(json.dumps(EVALUATION | more))
    path = write_report(run_dir, [], (*TASKS, Directions(), Chances()))
    table = tables_of(path)[0]
    for heading in ("Overall", "Segmentation", "Depth, mean over images", "Surface normals", "Edges"):
        assert f" {heading} " in table
    assert "18.2°" in table and "61.50 %" in table
    # Pooled scores are folded away.
    shown, _, folded = table.partition("Depth, pooled over all pixels:")
    assert "5.000 m" in folded and "5.000 m" not in shown
    _, text = read(path)
    assert "Total is mIoU plus F-score minus SI-logRMSE minus Mean angle." in text
    assert "mIoU of all classes: absent classes count as 0." in text


def test_the_classes_of_every_class_map_are_shown(tmp_path):
    run_dir = write_run(tmp_path / "run")
    ground = Segmentation(("road", "grass"), ((1, 2, 3), (4, 5, 6)), name="ground")
    more = {"ground": {"miou": 30.0, "iou": {"road": 20.0, "grass": 40.0}}}
    (run_dir / "evaluation_val.json").write_text(json.dumps(EVALUATION | more))
    (run_dir / "baseline_val.json").write_text(json.dumps(BASELINE | {"ground": {"iou": {"road": 7.5}}}))
    path = write_report(run_dir, [], (*TASKS, ground, dataclasses.replace(TASKS[1], name="near")))
    _, text = read(path)
    shown = text[text.index("IoU of each class") : text.index("Image by image")]
    assert [shown.index(name) for name in ("semseg", "90.0", "ground", "grass", "40.0", "7.5")] == sorted(
        shown.index(name) for name in ("semseg", "90.0", "ground", "grass", "40.0", "7.5")
    )
    # A class has the colour of its own map.
    source = path.read_text(encoding="utf-8")
    assert source.count("background:#010203") == 1 and source.count("background:#804080") == 1
    assert ">depth: SI-logRMSE<" in source  # of two depths
    # What holds for both is said once.
    assert text.count("absent classes are left out") == 1


def test_headers_without_rows(tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    for name in ("metrics.csv", "steps.csv", "per_image_val.csv"):
        (run_dir / name).write_text("id,epoch,step,loss,semseg.miou\n")
    reader, _ = read(write_report(run_dir, [], TASKS))
    assert "h2" not in reader.tags


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UsageError, match="not a run directory"):
        write_report(tmp_path / "nowhere", [])
    (tmp_path / "evaluation_val.json").write_text('{"split"')
    with pytest.raises(UsageError, match=r"evaluation_val\.json is not valid JSON"):
        write_report(tmp_path, [])
    (tmp_path / "evaluation_val.json").write_text("[1]")
    with pytest.raises(UsageError, match="JSON object"):
        write_report(tmp_path, [])


def test_writing_twice_replaces_the_page(tmp_path):
    run_dir = write_run(tmp_path / "run")
    first = write_report(run_dir, [], TASKS).read_bytes()
    assert write_report(run_dir, [], TASKS).read_bytes() == first
    assert not list(run_dir.glob("*.tmp"))


# === Parts ===


def test_curves_by_epoch_and_by_step(page):
    figure = data(page)["figures"][0]
    loss = figure["charts"][0]["lines"]
    assert [line["label"] for line in loss] == ["train", "val"]
    by_epoch, by_step = loss[0]["points"]["epoch"], loss[0]["points"]["step"]
    assert (by_epoch["x"], by_epoch["y"]) == ([1, 2, 3], [2.5, 2, 1.5])
    assert (by_step["x"], by_step["y"]) == ([100, 200, 300], [2.5, 2, 1.5])
    assert loss[1]["points"]["epoch"] == {"x": [1, 3], "y": [2.75, 2.25], "last": 2.25, "meanOf": 1}
    assert not any(chart["log"] for chart in figure["charts"])


def test_curves_of_a_wide_range_are_logarithmic(tmp_path):
    rows = {"wide": "20,0.001\n40,10\n", "narrow": "20,1\n40,2\n", "zero": "20,0\n40,2000\n"}
    for name, text in rows.items():
        run_dir = tmp_path / name
        run_dir.mkdir()
        (run_dir / "steps.csv").write_text(f"step,loss\n{text}")
        assert data(write_report(run_dir, [], TASKS))["figures"][0]["charts"][0]["log"] == (name == "wide")


def test_all_images_are_a_sortable_table(page):
    source = page.read_text(encoding="utf-8")
    assert "All images of split val: 3" in source
    assert source.count('<table class="sortable') == 2
    assert 'data-value="60.25">60.25 %' in source


def test_histogram_counts_everything():
    assert histogram([1.0, 1.0, 2.0]).count("<rect") == 2
    assert histogram([3.0]).count("<rect") == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.25"), (1e-4, "1e-4"), (12345.6, "12346"), (2e7, "2e7"), (-40, "-40"), (0.52361, "0.5236")],
)
def test_short_numbers(value, text):
    assert short(value) == text


# === Terminal ===


def test_results_table():
    lines = results_table(TASKS, EVALUATION, BASELINE).splitlines()
    assert [line.split() for line in lines[2:4]] == [
        ["mIoU", "41.25", "%", "16.50", "%", "2.50x", "higher"],
        ["Pixel", "accuracy", "80.00", "%", "40.00", "%", "2.00x", "higher"],
    ]
    assert lines[4].split() == ["SI-logRMSE", "20.00", "50.00", "0.40x", "lower"]
    assert [line.split()[0] for line in lines[5:]] == ["abs", "RMSE", "delta1"]
    assert "\n".join(lines).isascii()


def test_results_table_of_one_task():
    table = results_table(TASKS, {"depth": {"rmse": 4.0}, "semseg": None}, {"depth": {"rmse": 0.0}})
    assert table.splitlines()[2].split() == ["RMSE", "4.000", "m", "0.000", "m", "-", "lower"]
    assert "mIoU" not in table
