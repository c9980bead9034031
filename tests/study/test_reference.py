"""Tables with a reference row: what each row costs and gains beside it, of outcomes that are written by hand."""

import csv

import pytest

from mtl_tf import flags
from mtl_tf.balancing import AGGREGATORS, SCALARIZERS
from mtl_tf.errors import UsageError
from mtl_tf.study.declaration import read
from mtl_tf.study.options import StudyOptions
from mtl_tf.study.plan import Plan
from mtl_tf.study.tables import make_tables
from mtl_tf.study.verdicts import SPREAD
from mtl_tf.study.write import write_results
from tests.helpers import ROOT
from tests.study.stub import finish, make_plan

STUDY = """
[[table]]
name = "single"
title = "Single tasks"
baseline = true
rows = [
  {name = "semseg", set = {tasks = "semseg"}},
  {name = "depth", set = {tasks = "depth"}},
]

[[table]]
name = "balancers"
title = "Balancers"
reference = "fixed"
rows = [
  {name = "uw", seeds = 2, set = {balance.scalarizer = "uw"}},
  {name = "fixed", seeds = 2},
  {name = "rlw", seeds = 2, set = {balance.scalarizer = "rlw"}},
  {name = "log", set = {balance.scalarizer = "log"}},
  {name = "big pcgrad", set = {balance.aggregator = "pcgrad", train.batch_size = 8}},
  {name = "nash", set = {balance.aggregator = "nash"}},
  {name = "mgda", set = {balance.aggregator = "mgda"}},
]
"""


@pytest.fixture
def plan(tmp_path):
    """All is done but mgda. Totals are mIoU - 20, so that against single tasks of 50 and 20 delta_m is total - 30."""
    plan = make_plan(tmp_path, "--train.batch_size=4", text=STUDY)
    finish(plan, "single/semseg", 30.0)
    finish(plan, "single/depth", 30.0)
    finish(plan, "balancers/fixed", 30.0, 32.0, images_per_second=8.0, peak_memory_mib=2000.0)  # delta_m 0 and 2
    finish(plan, "balancers/uw", 33.0, 35.0, images_per_second=6.4, peak_memory_mib=2100.0)  # 3 and 5
    finish(plan, "balancers/rlw", 26.0, 34.0)  # -4 and 4
    finish(plan, "balancers/log", 28.0)  # -2
    finish(plan, "balancers/big pcgrad", 33.0, images_per_second=4.0, peak_memory_mib=3000.0)  # 3
    finish(plan, "balancers/nash", status="diverged", message="non-finite loss at step 3")
    return plan


def column(plan, head):
    """Row -> text of a column of the table of balancers."""
    made = make_tables(plan)[1]
    return {row[0].text: row[made.head.index(head)].text for row in made.rows}


# Variances over the seeds: fixed 2, uw 2, rlw 32; of a row with one seed their mean, 12. The spread of two rows is the
# root of the mean of their variances.
SENTENCES = {
    "uw": "uw: delta_m 3.00 above fixed, beyond the spread (1.41).",  # 4 - 1; sqrt((2 + 2) / 2)
    "fixed": "The reference.",
    "rlw": "rlw: delta_m 1.00 below fixed, within the spread (4.12).",  # 0 - 1; sqrt((2 + 32) / 2)
    "log": "log: delta_m 3.00 below fixed, beyond the spread (2.65).",  # -2 - 1; sqrt((2 + 12) / 2)
    "big pcgrad": "big pcgrad: delta_m 2.00 above fixed, within the spread (2.65).",  # 3 - 1
    "nash": "Not compared: nash (failed: non-finite loss at step 3).",
    "mgda": "Not compared: mgda (not run yet).",
}


def test_a_sentence_for_each_row(plan):
    assert column(plan, "against fixed") == SENTENCES
    assert make_tables(plan)[1].verdicts == (SPREAD,)


def test_the_sentences_are_in_the_files_and_on_the_page(plan, tmp_path):
    page = write_results(plan, 0).read_text()
    results = tmp_path / "study" / "results"
    with open(results / "balancers.csv", encoding="utf-8", newline="") as file:
        rows = {row["row"]: row for row in csv.DictReader(file)}
    assert {name: row["against fixed"] for name, row in rows.items()} == SENTENCES
    assert rows["fixed"]["delta_m, %"] == "1.00 ± 1.41" and rows["log"]["delta_m, %"] == "-2.00"
    text = (results / "tables.md").read_text()
    for sentence in (*SENTENCES.values(), SPREAD):
        assert sentence in text and sentence in page
    assert "1 seed(s), 2 for rows that name their own" in text
    assert "fixed" not in (results / "single.csv").read_text()  # a table without a reference is as ever


def test_a_step_and_its_memory_are_multiples_of_the_reference(plan):
    # 4 images at 8 a second: 0.5 s; 4 at 6.4: 0.625 s; 8 at 4: 2 s. Runs that did not measure have no number.
    none = dict.fromkeys(("rlw", "log", "nash", "mgda"), "\N{EN DASH}")
    assert column(plan, "time a step, x fixed") == {"uw": "1.25", "fixed": "1.00", "big pcgrad": "4.00", **none}
    assert column(plan, "memory, x fixed") == {"uw": "1.05", "fixed": "1.00", "big pcgrad": "1.50", **none}


def test_single_runs_have_no_spread(tmp_path):
    plan = make_plan(tmp_path, text=STUDY.replace("seeds = 2, ", "").replace(", seeds = 2", ""))
    for key in ("single/semseg", "single/depth", "balancers/fixed"):
        finish(plan, key, 30.0)
    finish(plan, "balancers/uw", 33.0)
    assert column(plan, "against fixed")["uw"] == (
        "uw: delta_m 3.00 above fixed; single runs, the spread is not known."
    )


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("balancers/fixed", "Not compared: fixed (not run yet)."),
        ("single/depth", "Not compared: uw (no delta_m)."),
    ],
)
def test_what_a_comparison_lacks_is_said(tmp_path, missing, sentence):
    plan = make_plan(tmp_path, text=STUDY)
    for key in {"single/semseg", "single/depth", "balancers/fixed", "balancers/uw"} - {missing}:
        finish(plan, key, 30.0, 32.0)
    assert column(plan, "against fixed")["uw"] == sentence


def test_a_reference_changes_no_run_but_seeds_do(tmp_path):
    """What identifies a study: tables may be compared otherwise when it goes on, rows may not be run otherwise."""

    def told(text):
        file = tmp_path / "study.toml"
        file.write_text(text)
        return read(str(file)).told

    assert told(STUDY.replace('reference = "fixed"', "")) == told(STUDY)
    assert told(STUDY.replace('"uw", seeds = 2', '"uw", seeds = 3')) != told(STUDY)


def test_a_comparison_needs_a_baseline(tmp_path):
    with pytest.raises(UsageError, match="but no table has the single-task networks"):
        make_plan(tmp_path, text=STUDY.replace("baseline = true", ""))


# === The study of all methods ===


def test_the_study_of_balancers_has_every_method_and_changes_nothing_else():
    parsed = flags.parse([f"--flagfile={ROOT / 'configs' / 'study' / 'balancers.flags'}"], StudyOptions)
    plan = Plan(read(str(ROOT / parsed.own.experiments)), parsed.config, parsed.own)
    single, balancers = plan.tables
    assert balancers.reference == "fixed" and all(len(plan.runs_of(row)) == 2 for row in single.rows)
    (fixed, *others) = balancers.rows
    chosen = {"fixed", "none"}
    shared = plan.changes(plan.runs_of(fixed)[0])
    for row in others:
        config = plan.runs_of(row)[0].config
        changed = plan.changes(plan.runs_of(row)[0])
        assert all(name.startswith("balance.") for name in changed.keys() - shared.keys()), row.name
        names = {config.balance.scalarizer, config.balance.aggregator}
        assert names & {row.name.partition(",")[0]}, row.name
        chosen |= names
    assert chosen == {*SCALARIZERS, *AGGREGATORS}
    twice = {row.name for row in balancers.rows if len(plan.runs_of(row)) == 2}
    most_used = {"uw", "dwa", "rlw", "famo", "gradnorm", "mgda", "pcgrad", "cagrad", "nash", "upgrad"}
    assert twice == {"fixed"} | most_used
