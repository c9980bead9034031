"""Tables, figures and choices of a study of four tasks, of outcomes that are written by hand."""

import csv
import dataclasses
import hashlib

import pytest

from mtl_tf.errors import UsageError
from mtl_tf.study.columns import Columns
from mtl_tf.study.declaration import read
from mtl_tf.study.results import delta_m, result_rows
from mtl_tf.study.tables import make_tables
from mtl_tf.study.verdicts import verdict
from mtl_tf.study.write import write_results
from mtl_tf.tasks import Segmentation, cityscapes_tasks
from tests.study import stub
from tests.study.four_tasks import STUDY, Seams, Tilt, finish, four_tasks, make_plan

SINGLES = {"semseg.miou": 50.0, "depth.si_log_rmse": 20.0, "tilt.angle": 25.0, "seams.f1": 0.8}
SLOW = {
    "semseg.miou": 55.0,  # +10 %
    "semseg.pixel_accuracy": 90.0,
    "depth.si_log_rmse": 19.0,  # lower by 5 %
    "tilt.angle": 30.0,  # higher by 20 %
    "tilt.bias": -1.0,
    "seams.f1": 0.88,  # +10 %
}
FAST = SLOW | {"semseg.miou": 50.0, "semseg.pixel_accuracy": 91.0, "tilt.angle": 20.0}  # 0, 5, 20 and 10 %


@pytest.fixture
def four(monkeypatch):
    monkeypatch.setattr("mtl_tf.study.plan.describe_training", four_tasks)


@pytest.fixture
def plan(four, tmp_path):
    """All rows are done."""
    plan = make_plan(tmp_path)
    finish_all(plan)
    return plan


def finish_all(plan, fast=FAST, singles=SINGLES):
    curve = (("epoch", "step", "train_loss", "total", "semseg.miou", "seams.f1"), (1, 10, 0.5, 20.0, 50.0, 0.7))
    finish(plan, "T1/slow", SLOW, curve)
    finish(plan, "T1/fast", fast)
    for name, value in singles.items():
        finish(plan, f"single/{name.partition('.')[0]}", {name: value})


def rows_of(folder, name):
    with open(folder / "study" / "results" / f"{name}.csv", encoding="utf-8", newline="") as file:
        return {row["row"]: row for row in csv.DictReader(file)}


def test_the_columns_of_four_tasks(plan):
    made = make_tables(plan)[0]
    assert made.head == (
        "row",
        "total",
        "semseg mIoU, %",  # the seams have a mIoU too
        "semseg mIoU, %, published",
        "Pixel accuracy, %",  # the table is ranked by it
        "SI-logRMSE",
        "SI-logRMSE, published",
        "Mean angle, °",
        "Mean angle, °, published",
        "F1",
        "delta_m, %",
        "run time",
        "note",
        "seeds",
    )
    slow, fast = ([cell.text for cell in row] for row in made.rows)
    # 55 - 19 - 30 + 0.88; (10 + 5 - 20 + 10) / 4
    assert slow[:6] == ["slow", "6.88", "55.00", "70.00", "90.00", "19.00"]
    assert slow[6:] == ["26.00", "30.0", "20.0", "0.880", "1.25", "1:00", "old", "1"]
    assert fast[1] == "11.88" and fast[10] == "8.75"  # (0 + 5 + 20 + 10) / 4


def test_a_single_task_has_its_own_columns_and_no_delta_m(plan):
    made = make_tables(plan)[2]
    assert made.head == ("row", "semseg mIoU, %", "SI-logRMSE", "Mean angle, °", "F1", "run time", "seeds")
    assert [cell.text for cell in made.rows[2]][1:5] == ["\N{EN DASH}", "\N{EN DASH}", "25.0", "\N{EN DASH}"]


def test_files_and_page(plan, tmp_path):
    page = write_results(plan, 0).read_text()
    table = rows_of(tmp_path, "T1")
    assert table["fast"]["delta_m, %"] == "8.75" and table["slow"]["Mean angle, °, published"] == "20.0"
    assert table["slow"]["semseg mIoU, %"] == "55.00" and "grader" not in table["slow"]
    text = (tmp_path / "study" / "results" / "tables.md").read_text()
    assert "Published Mean angle: fast < slow. The ordering holds here (pairs: 1 hold" in text
    assert "Published semseg mIoU: fast > slow. The ordering does not hold here" in text
    assert "Published choice: T1/fast; the same here." in text
    for shown in ("Mean angle", "Total (semseg mIoU - SI-logRMSE - Mean angle + F1)", "F1", "8.75"):
        assert shown in page
    assert "Grader" not in page
    with open(tmp_path / "study" / "results" / "figure1.csv", encoding="utf-8", newline="") as file:
        drawn = {(row["metric"], row["axis"]): row["y"] for row in csv.DictReader(file)}
    assert drawn[("miou", "epoch")] == "50.0" and drawn[("f1", "epoch")] == "0.7" and drawn[("loss", "epoch")] == "0.5"
    assert (tmp_path / "study" / "results" / "figure1.png").stat().st_size > 10_000


@pytest.mark.parametrize(("by", "best"), [("tilt.angle", "fast"), ("miou", "slow"), ("seam_iou", None), ("", "fast")])
def test_a_choice_goes_by_any_score(four, tmp_path, by, best):
    plan = make_plan(tmp_path, STUDY.replace('choose_by = "tilt.angle"', f'choose_by = "{by}"'))
    finish_all(plan)
    table = plan.declaration.table("T2")
    if best is None:
        with pytest.raises(UsageError, match=r"failed or has no seams\.seam_iou"):
            plan.best(table)
        return
    assert plan.best(table) == f"T1/{best}"
    chosen = [row.row.name for row in result_rows(plan, table)]
    assert chosen == ["slow", "fast"] if best == "slow" else ["fast"]  # the pinned row is there too
    if by:
        sentence = make_tables(plan)[1].verdicts[0]
        shown = {"tilt.angle": "the same here", "miou": "here the best row by semseg mIoU is T1/slow"}
        assert shown[by] in sentence


def test_carry_best_goes_by_the_score_of_the_choice(four, tmp_path):
    study = STUDY + '\n[[table]]\nname = "T3"\ntitle = "On"\nrows = [{name = "on"}]\n'
    plan = make_plan(tmp_path, study, carry="best")
    for key, scores in (("T1/slow", SLOW), ("T1/fast", FAST | {"tilt.angle": 31.0})):
        finish(plan, key, scores)
    (run,) = plan.runs_of(plan.declaration.row("T3/on"))
    assert run.config.optim.learning_rate == 0.01


def test_without_a_score_there_is_no_delta_m(four, tmp_path):
    plan = make_plan(tmp_path)
    finish_all(
        plan, FAST | {"seams.f1": None}, {name: value for name, value in SINGLES.items() if name != "tilt.angle"}
    )
    assert all("delta_m" not in row.figures for row in result_rows(plan, plan.tables[0]))
    finish(plan, "single/tilt", {"tilt.angle": 25.0})
    slow, fast = result_rows(plan, plan.tables[0])
    assert "delta_m" in slow.figures and "delta_m" not in fast.figures


def test_a_baseline_of_0_has_no_delta_m_and_says_so(four, tmp_path):
    plan = make_plan(tmp_path)
    finish_all(plan, singles=SINGLES | {"seams.f1": 0.0})
    assert all("delta_m" not in row.figures for row in result_rows(plan, plan.tables[0]))
    assert make_tables(plan)[2].verdicts == ("The F1 of the single-task network is 0: no delta_m is relative to it.",)


def test_rows_with_other_tasks_have_a_delta_m_over_theirs(four, tmp_path):
    plan = make_plan(tmp_path, STUDY.replace("{optim.learning_rate = 0.05}", '{tasks = "semseg,tilt"}'))
    finish_all(plan, {"semseg.miou": 51.0, "tilt.angle": 26.0})
    assert result_rows(plan, plan.tables[0])[1].figures["delta_m"].mean == pytest.approx(-1.0)  # (2 - 4) / 2


def test_a_network_of_several_tasks_is_no_baseline(four, tmp_path):
    both = '  {name = "both", set = {tasks = "depth,tilt"}},\n'
    plan = make_plan(tmp_path, STUDY.replace("]\n\n[[figure]]", f"{both}]\n\n[[figure]]"))
    finish_all(plan)
    finish(plan, "single/both", {"depth.si_log_rmse": 10.0, "tilt.angle": 20.0})
    assert result_rows(plan, plan.tables[0])[0].figures["delta_m"].mean == pytest.approx(1.25)
    assert result_rows(plan, plan.tables[2])[-1].figures["delta_m"].mean == pytest.approx(35.0)  # (50 + 20) / 2


# Of published tables: percent, and whether more is better.
@pytest.mark.parametrize(
    ("ours", "singles", "higher", "expected"),
    [
        # Linear scalarisation on Cityscapes: Liu et al., "FAMO", NeurIPS 2023, which prints the opposite sign.
        ((75.18, 93.49, 0.0155, 46.77), (74.01, 93.16, 0.0125, 27.77), (1, 1, 0, 0), -22.621015157690834),
        # Cross-stitch on NYUD: Vandenhende et al., "Multi-Task Learning for Dense Prediction Tasks", TPAMI 2021.
        ((44.2, 0.57), (43.9, 0.585), (1, 0), 1.6237369312540217),
        # Auto-Lambda with CAGrad on NYUv2: Liu et al., "Auto-Lambda", TMLR 2022.
        ((48.26, 39.82, 22.81), (43.37, 52.24, 22.4), (1, 0, 0), 11.073200979739122),
    ],
)
def test_delta_m_of_published_rows(ours, singles, higher, expected):
    ours, singles, higher = (dict(zip("abcd", values, strict=False)) for values in (ours, singles, higher))
    assert delta_m(ours, singles, higher) == pytest.approx(expected, rel=1e-12)
    assert delta_m(ours | {"b": None}, singles, higher) is None
    with pytest.raises(UsageError, match="b of the single-task network is 0"):
        delta_m(ours, singles | {"b": 0.0}, higher)


def test_names_of_columns():
    columns = Columns([*cityscapes_tasks(), Tilt(), Seams()])
    assert columns.find("miou") == columns.find("semseg.miou") == "semseg.miou"
    assert columns.find("si") == "depth.si_log_rmse" and columns.find("angle") == "tilt.angle"
    assert columns.find("solution one") is None and columns.find("") is None
    assert columns.published("hours") == ("seconds", 3600.0) and columns.published("anything") == ("anything", 1.0)
    with pytest.raises(UsageError, match=r"'rmse' is a score of several tasks; choose one of depth\.rmse, tilt\.rmse"):
        columns.find("rmse")
    assert columns.ranked(()) == ["total", "semseg.miou", "depth.si_log_rmse", "tilt.angle", "seams.f1"]
    assert columns.ranked(["val_loss", "si"]) == ["val_loss_unweighted", "depth.si_log_rmse"]


def test_what_the_published_study_names_may_be_missing():
    """So that report.toml is a study of any data."""
    columns = Columns([Tilt(), Seams()])
    assert columns.ranked(["miou", "total"]) == ["total"] and columns.drawn("si") is columns.drawn("grader") is None
    assert columns.published("miou") == ("miou", 1.0)
    with pytest.raises(UsageError, match="is of no task of this study; there are total, "):
        columns.chosen_by("si")
    # METRIC alone, where one task has it; the published name goes first.
    parts, lanes = (Segmentation(("a",), ((0, 0, 0),), name=name) for name in ("parts", "lanes"))
    assert Columns([lanes]).find("miou") == "lanes.miou" and Columns([lanes, parts]).find("miou") is None
    assert Columns([lanes, cityscapes_tasks()[0]]).find("miou") == "semseg.miou"
    assert Columns([Tilt()]).standing == "tilt.angle"


def test_heads_differ():
    parts, lanes = (Segmentation(("a",), ((0, 0, 0),), name=name) for name in ("parts", "lanes"))
    columns = Columns([*cityscapes_tasks(), parts, lanes, Tilt(), Seams()])
    heads = [column.head for column in columns.all.values()]
    assert len(set(heads)) == len(heads)
    assert [columns.all[name].head for name in ("parts.miou", "depth.rmse", "depth.rmse_pixels", "tilt.angle")] == [
        "parts mIoU, %",
        "depth RMSE, m",
        "depth RMSE (rmse_pixels), m",
        "Mean angle, °",
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"f1"', '"f11"', ["table T1: rank_by 'f11'", "did you mean seams.f1?"]),
        ('"f1"', '"tilt.bias"', ["table T1: rank_by 'tilt.bias'", "did you mean"]),
        ('"f1"', '"rmse"', ["table T1: rank_by 'rmse' is a score of several tasks", "tilt.rmse"]),
        ('choose_by = "tilt.angle"', 'choose_by = "seconds"', ["table T2: choose_by 'seconds'"]),
        ('choose_by = "tilt.angle"', 'choose_by = "grader"', ["table T2: choose_by 'grader'", "of no task"]),
        ('choose_from = ["T1"]\n', 'rows = [{name = "a"}]\n', ["T2 has choose_by, but no choose_from"]),
        ("si = 26.0", "rmse = 26.0", ["table T1, row slow: published 'rmse' is a score of several tasks"]),
        ('"loss", "total"', '"lass"', ["figure figure1: metrics 'lass'", "did you mean loss?"]),
        ('"loss", "total"', '"train_loss"', ["figure figure1: metrics 'train_loss'", "did you mean val_loss?"]),
    ],
)
def test_mistakes_are_named(four, tmp_path, old, new, words):
    assert old in STUDY
    with pytest.raises(UsageError) as raised:
        make_plan(tmp_path, STUDY.replace(old, new, 1))
    assert "\n" not in str(raised.value)
    for word in words:
        assert word in str(raised.value), str(raised.value)


# === The published study ===


def test_the_tables_of_two_tasks_are_as_they_were(tmp_path):
    """Older results and files of experiments stay comparable."""
    plan = stub.make_plan(tmp_path)
    stub.finish(plan, "S/semseg", 10.0)
    stub.finish(plan, "S/depth", 10.0)
    for key, total in (("A/slow", 40.0), ("A/fast", 44.0)):
        stub.finish(plan, key, total)
    made = make_tables(plan)[0]
    assert made.head == (
        "row",
        "status",
        "status, published",
        "total",
        "total, published",
        "mIoU, %",
        "mIoU, %, published",
        "SI-logRMSE",
        "SI-logRMSE, published",
        "delta_m, %",
        "parameters, M",
        "checkpoint, MiB",
        "run time",
        "seeds",
    )
    every = list(plan.columns.all)
    order = ["total", "semseg.miou", "depth.si_log_rmse", "grader", "train_loss", "val_loss", "val_loss_unweighted"]
    order += ["delta_m", "loss", "parameters", "multiply_adds", "checkpoint_mib", "peak_memory_mib"]
    order += ["images_per_second", "seconds"]
    assert [name for name in every if name in order] == order == plan.columns.shown(())
    titles = {name: plan.columns.drawn(name).title for name in ("loss", "val_loss", "total", "miou", "si", "grader")}
    assert list(titles.values()) == [
        "Training loss",
        "Validation loss",
        "Total (mIoU - SI-logRMSE)",
        "mIoU, %",
        "SI-logRMSE",
        "Grader",
    ]


def test_a_study_goes_on_that_an_earlier_version_began(tmp_path):
    """What identifies its experiments is as it was before `rank_by` was of any tasks."""
    file = tmp_path / "study.toml"
    file.write_text(stub.STUDY)
    assert hashlib.sha256(read(str(file)).told.encode()).hexdigest()[:12] == "428193ca3054"
    file.write_text(stub.STUDY.replace('choose_from = ["A"]', 'choose_from = ["A"]\nchoose_by = "miou"'))
    assert hashlib.sha256(read(str(file)).told.encode()).hexdigest()[:12] != "428193ca3054"


@pytest.mark.parametrize("column", ["grader", "delta_m", "seconds", "val_loss_unweighted"])
def test_every_column_with_a_better_side_has_a_sentence(plan, column):
    rows = result_rows(plan, plan.tables[0])
    rows = [dataclasses.replace(row, published={column: value}) for row, value in zip(rows, (1.0, 2.0), strict=True)]
    assert verdict(column, rows, plan.columns).startswith(f"Published {plan.columns.all[column].said}: ")
