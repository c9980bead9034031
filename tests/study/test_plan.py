"""What rows mean, what they share, and what choices carry on."""

import pytest

from mtl_tf import flags
from mtl_tf.config import replace
from mtl_tf.data.sets import describe
from mtl_tf.data.sets.settle import settled
from mtl_tf.errors import UsageError
from mtl_tf.study.declaration import read
from mtl_tf.study.options import StudyOptions
from mtl_tf.study.plan import Plan, identity
from mtl_tf.study.results import delta_m, result_rows
from mtl_tf.study.verdicts import noise_of, verdict
from tests.helpers import ROOT
from tests.study.stub import STUDY, finish, make_plan, runs


def table(plan, name):
    return next(table for table in plan.tables if table.name == name)


def test_rows_build_on_the_start_the_choices_and_each_other(tmp_path):
    plan = make_plan(tmp_path)
    (plain,) = runs(plan, "C/plain")
    assert plain.config.optim.learning_rate == 0.05 and plain.config.optim.name == "sgd"
    assert not plain.config.model.aspp and plain.config.train.epochs == 4
    (big,) = runs(plan, "C/big batch")
    assert big.config.model.aspp and big.config.train.batch_size == 8 and big.config.train.epochs == 8
    assert plan.changes(big)["train.batch_size"] == 8


def test_rows_that_mean_the_same_share_a_run(tmp_path):
    plan = make_plan(tmp_path)
    assert runs(plan, "C/plain") == runs(plan, "A/fast")
    names = [run.name for run in plan.all_runs()]
    assert len(names) == len(set(names)) == 3 + 3 + 1 + 2  # rates, joint, big batch, single tasks


def test_seeds(tmp_path):
    plan = make_plan(tmp_path, "--seed=5", seeds=2, architecture_seeds=3)
    assert [run.config.seed for run in runs(plan, "C/plain")] == [5, 6]
    assert [run.config.seed for run in runs(plan, "C/joint")] == [5, 6, 7]


def test_a_row_names_its_own_number_of_seeds(tmp_path):
    text = STUDY.replace('{name = "plain"}', '{name = "plain", seeds = 4}')
    plan = make_plan(tmp_path, "--seed=5", text=text, seeds=2)
    assert [run.config.seed for run in runs(plan, "C/plain")] == [5, 6, 7, 8]
    assert len(runs(plan, "C/joint")) == 3 and len(runs(plan, "C/pretrained joint")) == 2  # it is not handed down


def test_without_weights_the_row_says_so_and_the_study_goes_on(tmp_path):
    plan = make_plan(tmp_path)
    assert runs(plan, "C/pretrained") == runs(plan, "C/pretrained again") == []
    assert [row.status for row in result_rows(plan, table(plan, "C"))][-3:] == ["no weights"] * 2 + ["not run yet"]
    # What builds on the row goes on without: here it is the joint network.
    assert runs(plan, "C/pretrained joint") == runs(plan, "C/joint")[:1]
    plan = make_plan(tmp_path, "--model.encoder_weights=some.h5")
    assert [run.config.model.encoder_weights for run in runs(plan, "C/pretrained")] == ["some.h5"]
    assert runs(plan, "C/plain")[0].config.model.encoder_weights == "some.h5"  # this study's start says nothing of it


def test_carry_best_waits_and_then_takes_the_best_row(tmp_path):
    plan = make_plan(tmp_path, carry="best")
    assert runs(plan, "C/plain") is None and plan.waits()
    assert len(plan.all_runs()) == 3
    finish(plan, "A/slow", 10.0)
    finish(plan, "A/fast", 8.0)
    assert runs(plan, "C/plain") is None
    finish(plan, "A/too fast", status="diverged", message="non-finite loss at step 3")
    assert not plan.waits()
    assert runs(plan, "C/plain")[0].config.optim.learning_rate == 0.01
    assert runs(plan, "C/plain") == runs(plan, "A/slow")


def test_carry_best_of_nothing_but_failures(tmp_path):
    plan = make_plan(tmp_path, carry="best")
    for row in ("slow", "fast", "too fast"):
        finish(plan, f"A/{row}", status="diverged", message="non-finite loss at step 3")
    with pytest.raises(UsageError, match="every row of A failed"):
        runs(plan, "C/plain")


NORMALS = """
[[table]]
name = "A"
title = "Losses"
rows = [
  {name = "l1", set = {task.normals.loss = "l1_pixels"}, published = {normals.mean = 20.0}},
  {name = "wrong", set = {tasks = "edges", task.normals.loss = "l1_pixels"}},
]

[[table]]
name = "B"
title = "Chosen"
choose_from = ["A"]
pinned = "A/l1"

[[table]]
name = "S"
title = "Single tasks"
baseline = true
rows = [{name = "normals", set = {tasks = "normals"}}, {name = "edges", set = {tasks = "edges"}}]
"""


def test_single_tasks_are_trained_without_the_options_of_others(tmp_path):
    file = tmp_path / "study.toml"
    file.write_text(NORMALS, encoding="utf-8")
    arguments = ["--tasks=semseg,normals,edges", "--loss.weights=normals:2", "--task.edges.weight=0.8"]
    base = flags.parse([f"--run_dir={tmp_path / 'study'}", *arguments]).config
    plan = Plan(read(str(file)), base, StudyOptions())
    labels = describe(base.data)
    found = {key: runs(plan, key)[0].config for key in ("A/l1", "A/wrong", "S/normals", "S/edges")}
    assert found["A/l1"].task["normals"].loss == found["S/normals"].task["normals"].loss == "l1_pixels"
    assert plan.declaration.row("A/l1").published == {"normals.mean": 20.0}
    assert dict(found["S/normals"].loss.weights)["normals"] == 2 and "normals" not in dict(
        found["S/edges"].loss.weights
    )
    assert found["S/normals"].task.changed == ("normals",) and found["S/edges"].task.changed == ("edges",)
    for key in ("A/l1", "S/normals", "S/edges"):
        assert labels.tasks(found[key])
    with pytest.raises(UsageError, match="no task of kind normals is trained"):
        labels.tasks(found["A/wrong"])  # its own


def test_a_single_task_is_preferred_alone(tmp_path):
    file = tmp_path / "study.toml"
    file.write_text(NORMALS, encoding="utf-8")
    arguments = ["--tasks=normals,edges", "--balance.aggregator=upgrad", "--balance.preference=normals:1,edges:3"]
    base = flags.parse([f"--run_dir={tmp_path / 'study'}", *arguments]).config
    plan = Plan(read(str(file)), base, StudyOptions())
    assert dict(runs(plan, "A/l1")[0].config.balance.preference) == {"normals": 1, "edges": 3}
    assert dict(runs(plan, "S/edges")[0].config.balance.preference) == {"edges": 3}


def test_what_is_not_set_cannot_be_scaled(tmp_path):
    file = tmp_path / "study.toml"
    file.write_text(NORMALS.replace('"wrong", set', '"wrong", scale = {balance.niter = 2}, set'), encoding="utf-8")
    given = [f"--run_dir={tmp_path / 'study'}", "--balance.aggregator=sdmgrad"]
    with pytest.raises(UsageError, match=r"row A/wrong: balance\.niter has no value to scale; set it first"):
        Plan(read(str(file)), flags.parse(given).config, StudyOptions())
    plan = Plan(read(str(file)), flags.parse([*given, "--balance.niter=5"]).config, StudyOptions())
    assert runs(plan, "A/wrong")[0].config.balance.made().aggregator.options.niter == 10


def test_a_choice_needs_its_tables(tmp_path):
    with pytest.raises(UsageError, match="--tables leaves out"):
        make_plan(tmp_path, carry="best", tables=("B", "C"))
    with pytest.raises(UsageError, match="did you mean"):
        make_plan(tmp_path, tables=("CC",))
    # A choice that is not made carries nothing: the study's own flags stand.
    assert runs(make_plan(tmp_path, tables=("C",)), "C/plain")[0].config.optim.learning_rate == 0.01


def test_a_row_that_is_no_network_is_named(tmp_path):
    with pytest.raises(UsageError, match="row S/semseg"):
        make_plan(tmp_path, "--model.architecture=distilled")


def test_mean_spread_failures_and_published_units(tmp_path):
    plan = make_plan(tmp_path)
    finish(plan, "C/joint", 10.0, 12.0, 17.0)
    finish(plan, "A/too fast", status="diverged", message="non-finite loss at step 3")
    rows = {row.row.name: row for name in ("A", "C") for row in result_rows(plan, table(plan, name))}
    joint = rows["joint"]
    assert joint.figures["total"].mean == 13.0
    assert joint.figures["total"].spread == pytest.approx(13**0.5)  # ((-3)^2 + 1 + 4^2) / 2
    assert joint.published == {"seconds": 7200.0}
    assert rows["too fast"].status == "failed: non-finite loss at step 3"
    assert rows["slow"].status == "not run yet"


def test_delta_m_by_hand(tmp_path):
    # mIoU 33 against 30: +10 %; SI 18 against 20: +10 %; mean +10 %.
    higher = {"semseg.miou": True, "depth.si_log_rmse": False}
    singles = {"semseg.miou": 30.0, "depth.si_log_rmse": 20.0}
    assert delta_m({"semseg.miou": 33.0, "depth.si_log_rmse": 18.0}, singles, higher) == pytest.approx(10.0)
    assert delta_m({"semseg.miou": 33.0, "depth.si_log_rmse": 22.0}, singles, higher) == pytest.approx(0.0)
    assert delta_m({"semseg.miou": 33.0, "depth.si_log_rmse": 22.0}, {"semseg.miou": 30.0}, higher) is None
    plan = make_plan(tmp_path)
    finish(plan, "S/semseg", 10.0)  # mIoU 30
    finish(plan, "S/depth", 10.0)  # SI 20
    finish(plan, "A/fast", 15.0, si=18.0)  # mIoU 33, SI 18
    fast = result_rows(plan, table(plan, "A"))[1]
    assert fast.figures["delta_m"].mean == pytest.approx(10.0)


def rows_of(plan, *totals, too_fast="diverged"):
    for name, values in zip(("slow", "fast"), totals, strict=True):
        finish(plan, f"A/{name}", *values)
    if too_fast:
        finish(plan, "A/too fast", status=too_fast, message="non-finite loss at step 3")
    return result_rows(plan, table(plan, "A"))


def test_verdicts_follow_the_figures(tmp_path):
    plan = make_plan(tmp_path, seeds=3)
    rows = rows_of(plan, (10.0, 10.1, 9.9), (20.0, 20.1, 19.9))
    text = verdict("total", rows, plan.columns)
    assert text.startswith("Published total: fast > slow > too fast. The ordering holds here (pairs: 3 hold")
    text = verdict("total", rows_of(plan, (20.0, 20.1, 19.9), (10.0, 10.1, 9.9)), plan.columns)
    assert "does not hold" in text and "1 reversed: fast and slow)" in text
    text = verdict("total", rows_of(plan, (10.0, 20.0, 30.0), (12.0, 22.0, 32.0)), plan.columns)
    assert "not contradicted" in text and "1 within the spread" in text


def test_a_run_that_should_fail_and_does_not_is_reversed_where_it_is_better(tmp_path):
    plan = make_plan(tmp_path)
    rows = rows_of(plan, (10.0,), (20.0,), too_fast="")
    finish(plan, "A/too fast", 30.0)
    text = verdict("total", result_rows(plan, table(plan, "A")), plan.columns, noise=0.5)
    assert "2 reversed" in text
    assert "Left out: too fast (not run yet)" in verdict("total", rows, plan.columns, noise=0.5)


def test_single_runs_use_the_noise_of_others_or_say_that_there_is_none(tmp_path):
    plan = make_plan(tmp_path)
    rows = rows_of(plan, (10.0,), (11.0,))
    assert "Single runs" in verdict("total", rows, plan.columns)
    assert "1 within the spread" in verdict("total", rows, plan.columns, noise=2.0)
    assert "0 within the spread" in verdict("total", rows, plan.columns, noise=0.1)
    assert noise_of("total", rows) is None
    finish(plan, "C/joint", 10.0, 12.0, 17.0)
    assert noise_of("total", result_rows(plan, table(plan, "C"))) == pytest.approx(13**0.5)
    assert verdict("semseg.miou", rows, plan.columns) is None  # one published figure orders nothing


def test_the_study_of_augmentation_changes_nothing_else():
    parsed = flags.parse([f"--flagfile={ROOT / 'configs' / 'study' / 'augmentation.flags'}"], StudyOptions)
    plan = Plan(read(str(ROOT / parsed.own.experiments)), parsed.config, parsed.own)
    (table,) = plan.tables
    assert len(table.rows) == 7 and len(plan.all_runs()) == 7 * parsed.own.seeds >= 14
    changed = {
        row.name: {name for run in plan.runs_of(row) for name in plan.changes(run)} - {"seed"} for row in table.rows
    }
    assert not changed.pop("none (mirror only)")
    assert all(names and all(name.startswith("augment.") for name in names) for names in changed.values())
    assert changed["all"] == set.union(*changed.values())


def test_runs_are_named_as_before_options_came_later():
    """Of the study in docs/results/study_quick, as they were before data.fit, data.val_share and model.weights_key."""
    parsed = flags.parse([f"--flagfile={ROOT}/configs/study/quick.flags", "--run_dir=study"], StudyOptions)
    plan = Plan(read(parsed.own.experiments), settled(parsed.config), parsed.own)
    names = [run.name for run in plan.all_runs()]
    assert names[:3] == ["T1-1e-4-seed0-7b3f1ff0", "T1-1e-3-seed0-ccd3531b", "T1-1e-2-seed0-0bef972b"]
    assert "--data.fit=pad" in identity(replace(parsed.config, data__fit="pad"))
