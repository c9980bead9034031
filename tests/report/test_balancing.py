"""Balancing in the report: its curves, and the matrix of where the tasks conflict."""

import dataclasses
import itertools
import re

import numpy as np
import pytest

from mtl_tf.errors import UsageError
from mtl_tf.report import write_report
from mtl_tf.tasks import cityscapes_tasks
from tests.report.test_page import NASTY, data, read, write_run

SEMSEG, DEPTH = cityscapes_tasks()
# The name of the third begins with that of the second.
TASKS = (SEMSEG, DEPTH, dataclasses.replace(DEPTH, name="depth_near"))
COSINES = "cosine_semseg_depth,cosine_semseg_depth_near,cosine_depth_depth_near"

STEPS = f"""\
step,loss,weight_semseg,weight_depth,weight_depth_near,norm_semseg,norm_depth,norm_depth_near,{COSINES},conflicts
20,3,0.5,0.25,0.25,1,4,40,0.1,-0.5,0.2,1
40,2,0.75,,0.25,2,,30,-0.1,-0.5,0.2,2
60,2,0.25,0.5,0.25,1,5,20,,-0.5,0,1
80,1,0.25,0.25,0.5,2,6,31,0.3,-0.5,0,1
"""
CONFLICTS = f"""\
step,part,{COSINES}
20,encoder/stem,0.5,-0.2,
20,decoder,-0.4,,0.1
40,encoder/stem,0.3,-0.4,
40,decoder,-0.2,,-0.3
60,encoder/stem,-0.2,0.3,
60,decoder,0.2,,0.5
80,encoder/stem,0.6,-0.1,
80,decoder,-0.8,,0.3
"""
DASH = "\N{EN DASH}"


def write_page(tmp_path, steps=STEPS, conflicts=CONFLICTS, tasks=TASKS):
    """The page of a run with these tables; None: there is no such file."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    for name, text in (("steps.csv", steps), ("conflicts.csv", conflicts)):
        if text is not None:
            (run_dir / name).write_text(text)
    return write_report(run_dir, [], tasks)


def matrix(page):
    """Heads, and part -> cells as "share mean", of the matrix."""
    section = page.read_text(encoding="utf-8").partition('id="conflicts"')[2].partition("</section>")[0]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", section, re.DOTALL)]
    heads, *rest = [[plain(cell) for cell in row] for row in rows]
    return heads[1:], {name: cells for name, *cells in rest}


def plain(cell):
    text = cell.replace("<small>", " ").replace("&nbsp;", " ").replace("&ndash;", DASH)
    return re.sub("<[^>]+>", "", text)


def verdict(page):
    return re.search('<p class="verdict">(.*?)</p>', page.read_text(encoding="utf-8"))[1]


def balancing_charts(page):
    """The lines of the charts of Balancing, which come after the curves: label -> y."""
    charts = data(page)["figures"][-1]["charts"]
    return [{line["label"]: line["points"]["step"]["y"] for line in chart["lines"]} for chart in charts]


# === Curves ===


def test_weights_norms_and_cosines_are_drawn_by_step(tmp_path):
    page = write_page(tmp_path)
    assert balancing_charts(page) == [
        {"semseg": [0.5, 0.75, 0.25, 0.25], "depth": [0.25, 0.5, 0.25], "depth_near": [0.25, 0.25, 0.25, 0.5]},
        {"semseg": [1, 2, 1, 2], "depth": [4, 5, 6], "depth_near": [40, 30, 20, 31]},
        {
            "semseg / depth": [0.1, -0.1, 0.3],
            "semseg / depth_near": [-0.5] * 4,
            "depth / depth_near": [0.2, 0.2, 0, 0],
        },
    ]
    charts = data(page)["figures"][-1]["charts"]
    assert charts[0]["lines"][1]["points"]["step"]["x"] == [20, 60, 80]  # no labels at step 40
    # The norms span a factor of 40, the weights one of 3.
    assert [chart["log"] for chart in charts] == [False, True, False]
    _, text = read(page)
    headings = ["Curves", "Balancing", "Weight of the loss", "Norm of the gradient", "Cosine between gradients"]
    places = [text.index(heading) for heading in headings]
    assert places == sorted(places)


def test_a_method_without_weights_has_no_curve_of_them(tmp_path):
    page = write_page(tmp_path, "step,weight_semseg,weight_depth,norm_semseg,norm_depth\n20,,,1,2\n", None, TASKS[:2])
    assert balancing_charts(page) == [{"semseg": [1], "depth": [2]}]
    _, text = read(page)
    assert "Norm of the gradient" in text and "Weight of the loss" not in text


def test_weights_alone_are_no_matrix(tmp_path):
    page = write_page(tmp_path, "step,loss,weight_semseg,weight_depth\n20,1,0.5,0.5\n", None, TASKS[:2])
    assert balancing_charts(page) == [{"semseg": [0.5], "depth": [0.5]}]
    assert 'id="conflicts"' not in page.read_text(encoding="utf-8")


def test_cosines_of_many_steps_are_drawn_as_means(tmp_path):
    # 120 steps, 0.5 and -0.3 in turn: 60 means of 0.1; the weights stay as they are.
    rows = [f"{step},1,{step / 200},1,{(-0.3, 0.5)[step % 2]}" for step in range(1, 121)]
    page = write_page(
        tmp_path, "\n".join(["step,loss,weight_semseg,weight_depth,cosine_semseg_depth", *rows]), None, TASKS[:2]
    )
    weights, cosines = balancing_charts(page)
    assert len(weights["semseg"]) == 120
    assert cosines == {"semseg / depth": [0.1] * 60}
    assert "means of up to 2 logged steps" in read(page)[1]
    # They are counted one by one.
    assert matrix(page)[1] == {"all shared parameters": ["50.0 % 0.10"]}
    assert '<td class="" style="--strength:0.00"' in page.read_text(encoding="utf-8")


# === Matrix ===


def test_a_cell_has_the_share_of_steps_in_conflict_and_the_mean_cosine(tmp_path):
    page = write_page(tmp_path)
    heads, rows = matrix(page)
    assert heads == ["semseg / depth", "semseg / depth_near", "depth / depth_near"]
    assert rows == {
        "encoder/stem": ["25.0 % 0.30", "75.0 % -0.10", DASH],
        "decoder": ["75.0 % -0.30", DASH, "25.0 % 0.15"],
        # A cosine of 0 is no conflict.
        "all shared parameters": ["33.3 % 0.10", "100.0 % -0.50", "0.0 % 0.10"],
    }
    assert list(rows) == ["encoder/stem", "decoder", "all shared parameters"]
    assert "A dash: no logged step has both gradients." in read(page)[1]


def test_a_cell_is_red_or_blue_by_how_far_the_share_is_from_half(tmp_path):
    cells = re.findall(
        r'<td class="(\w*)" style="--strength:([\d.]+)" title="(.*?) logged steps"',
        write_page(tmp_path).read_text(encoding="utf-8"),
    )
    assert cells == [
        ("agree", "0.50", "1 of 4"),
        ("conflict", "0.50", "3 of 4"),
        ("conflict", "0.50", "3 of 4"),
        ("agree", "0.50", "1 of 4"),
        ("agree", "0.33", "1 of 3"),
        ("conflict", "1.00", "4 of 4"),
        ("agree", "1.00", "0 of 4"),
    ]


def test_the_part_and_the_pair_that_conflict_most_are_named(tmp_path):
    # semseg and depth_near conflict as often, in the stem, but less.
    assert verdict(write_page(tmp_path)) == (
        "semseg and depth conflict most in decoder: at 3 of 4 logged steps, with a mean cosine of -0.30."
    )


@pytest.mark.parametrize("conflicts", [None, f"step,part,{COSINES}\n20,decoder,,,\n"])
def test_without_cosines_by_part_the_verdict_is_of_all_shared_parameters(tmp_path, conflicts):
    page = write_page(tmp_path, conflicts=conflicts)
    assert list(matrix(page)[1]) == ["decoder"] * bool(conflicts) + ["all shared parameters"]
    assert verdict(page) == (
        "semseg and depth_near conflict most over all shared parameters: at 4 of 4 logged steps, "
        "with a mean cosine of -0.50."
    )


def test_without_conflict_that_is_said(tmp_path):
    page = write_page(tmp_path, "step,cosine_semseg_depth\n20,0.001\n", None, TASKS[:2])
    assert matrix(page)[1] == {"all shared parameters": ["0.0 % 0.00"]}
    assert verdict(page) == "No two tasks conflict at any logged step."


def test_names_of_parts_are_escaped(tmp_path):
    page = write_page(tmp_path, conflicts=CONFLICTS.replace("decoder", NASTY))
    assert NASTY not in page.read_text(encoding="utf-8")
    assert f"conflict most in {NASTY}:" in read(page)[1]


@pytest.mark.parametrize("count", range(2, 7))
def test_any_number_of_tasks(tmp_path, count):
    tasks = tuple(dataclasses.replace(DEPTH, name="depth" + "_far" * place) for place in range(count))
    pairs = [f"{first.name}_{second.name}" for first, second in itertools.combinations(tasks, 2)]
    rng = np.random.default_rng(count)
    parts, steps = ["encoder/stem", "aspp", "decoder"], range(20, 220, 20)
    cosines = rng.uniform(-1, 1, (len(parts), len(steps), len(pairs))).round(3)
    cosines[rng.random(cosines.shape) < 0.2] = np.nan
    header = ",".join(f"cosine_{pair}" for pair in pairs)
    rows = [
        f"{step},{part}," + ",".join("" if np.isnan(value) else str(value) for value in cosines[p, s])
        for s, step in enumerate(steps)
        for p, part in enumerate(parts)
    ]
    page = write_page(tmp_path, None, "\n".join([f"step,part,{header}", *rows, ""]), tasks)
    found = matrix(page)[1]
    assert list(found) == parts  # steps.csv alone has the row of all of them
    assert "A dash:" not in read(page)[1]
    negative, present = (cosines < 0).sum(1), (~np.isnan(cosines)).sum(1)
    shares = [[float(cell.split()[0]) for cell in cells] for cells in found.values()]
    means = [[float(cell.split()[2]) for cell in cells] for cells in found.values()]
    np.testing.assert_allclose(shares, 100 * negative / present, atol=0.051)
    np.testing.assert_allclose(means, np.nanmean(cosines, 1), atol=0.0051)


# === Runs in training, and files that are damaged ===


def test_a_run_without_balancing_has_nothing_of_it(tmp_path):
    source = write_report(write_run(tmp_path / "run"), [], TASKS).read_text(encoding="utf-8")
    assert "Balancing" not in source and "conflicts" not in source
    assert len(data(tmp_path / "run/report.html")["figures"]) == 1


@pytest.mark.parametrize("tail", ["100,enc", "100,encoder/stem,0.5,-", "100,encoder/stem,0.5,-0.2,0.1"])
def test_a_line_that_is_being_written_does_not_count(tmp_path, tail):
    whole, growing = (tmp_path / name for name in ("whole", "growing"))
    for folder in (whole, growing):
        folder.mkdir()
    assert matrix(write_page(growing, conflicts=CONFLICTS + tail)) == matrix(write_page(whole))


@pytest.mark.parametrize("begun", ["", "step,part,cosi", CONFLICTS.splitlines()[0] + "\n"])
def test_a_file_that_has_just_begun_has_no_rows(tmp_path, begun):
    assert list(matrix(write_page(tmp_path, conflicts=begun))[1]) == ["all shared parameters"]


def test_a_single_step(tmp_path):
    steps, conflicts = ("\n".join(text.splitlines()[:lines]) + "\n" for text, lines in ((STEPS, 2), (CONFLICTS, 3)))
    page = write_page(tmp_path, steps, conflicts)
    assert matrix(page)[1] == {
        "encoder/stem": ["0.0 % 0.50", "100.0 % -0.20", DASH],
        "decoder": ["100.0 % -0.40", DASH, "0.0 % 0.10"],
        "all shared parameters": ["0.0 % 0.10", "100.0 % -0.50", "0.0 % 0.20"],
    }
    assert balancing_charts(page)[0] == {"semseg": [0.5], "depth": [0.25], "depth_near": [0.25]}


def test_steps_that_are_there_twice_count_once(tmp_path):
    page = write_page(tmp_path, conflicts=CONFLICTS + "80,decoder,0.4,,0.3\n")
    assert matrix(page)[1]["decoder"] == ["50.0 % 0.00", DASH, "25.0 % 0.15"]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("0.5,-0.2", "half,-0.2", "line 2: expected a cosine from -1 to 1 or nothing as cosine_semseg_depth, found 'h"),
        ("-0.8", "-8", "line 9: expected a cosine from -1 to 1 or nothing as cosine_semseg_depth, found '-8'"),
        ("60,decoder", "x,decoder", "line 7: expected a whole number as step, found 'x'"),
        ("40,decoder,-0.2,,-0.3", "40,decoder", "line 5: expected 5 cells"),
        ("40,decoder,", "40,decoder,,", "line 5: expected 5 cells"),
        ("cosine_depth_depth_near", "cosine", "line 1: expected the columns step, part and a cosine of each two tasks"),
        ("step,part", "\0\x80", "line 1: expected the columns step, part and a cosine of each two tasks, step is"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, before, after, told):
    assert CONFLICTS.count(before) == 1
    with pytest.raises(UsageError) as error:
        write_page(tmp_path, conflicts=CONFLICTS.replace(before, after))
    assert re.fullmatch(rf".*/run/conflicts\.csv, {re.escape(told)}.*; remove the file or restore it", str(error.value))
