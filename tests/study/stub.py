"""A small study whose outcomes are written by hand: nothing is trained."""

import dataclasses
import json
import pathlib

from mtl_tf import flags
from mtl_tf.study.declaration import read
from mtl_tf.study.options import StudyOptions
from mtl_tf.study.plan import Plan

STUDY = """
[start]
model = {aspp = false, skip = false}

[[table]]
name = "A"
title = "Rates"
set = {optim.name = "sgd"}
rows = [
  {name = "slow", set = {optim.learning_rate = 0.01}, published = {total = 40.0}},
  {name = "fast", set = {optim.learning_rate = 0.05}, published = {total = 44.0, miou = 70.0, si = 26.0}},
  {name = "too fast", set = {optim.learning_rate = 1.0}, published = {status = "failed"}},
]

[[table]]
name = "B"
title = "Chosen rate"
choose_from = ["A"]
pinned = "A/fast"

[[table]]
name = "C"
title = "Architectures"
rows = [
  {name = "plain"},
  {name = "joint", like = "C/plain", set = {model.aspp = true}, seeds = "architectures", published = {hours = 2}},
  {name = "big batch", like = "C/joint", set = {train.batch_size = 8}, scale = {train.epochs = 2}},
  {name = "pretrained", like = "C/plain", set = {model.encoder_weights = "given"}},
  {name = "pretrained again", like = "C/pretrained"},
  {name = "pretrained joint", like = "C/pretrained", set = {model.aspp = true}},
]

[[table]]
name = "S"
title = "Single tasks"
baseline = true
rows = [
  {name = "semseg", like = "C/plain", set = {tasks = "semseg"}},
  {name = "depth", like = "C/plain", set = {tasks = "depth"}},
]

[[figure]]
name = "figure1"
title = "Rates"
tables = ["A"]
metrics = ["loss", "miou"]

[[figure]]
name = "figure2"
title = "A diagram"
diagram = "image -> network"
"""


def make_plan(folder: pathlib.Path, *arguments: str, text: str = STUDY, **options) -> Plan:
    """The plan of the small study, or of another text, in a folder."""
    file = folder / "study.toml"
    file.write_text(text, encoding="utf-8")
    base = flags.parse([f"--run_dir={folder / 'study'}", "--train.epochs=4", *arguments]).config
    return Plan(read(str(file)), base, dataclasses.replace(StudyOptions(), **options))


def runs(plan: Plan, key: str):
    """The runs of a row."""
    return plan.runs_of(plan.declaration.row(key))


def finish(plan: Plan, key: str, *totals: float, status: str = "done", message: str = "", si: float = 20.0, **more):
    """Writes the outcomes of a row, one total a seed (or one outcome without scores), with more costs by name."""
    for run, total in zip(runs(plan, key), totals or (None,) * 9, strict=False):
        folder = pathlib.Path(run.config.run_dir)
        folder.mkdir(parents=True, exist_ok=True)
        scores, costs = {}, {}
        if total is not None:
            scores = {"total": total, "semseg.miou": total + si, "depth.si_log_rmse": si, "score": total}
            if len(run.config.tasks) == 1:
                only = "semseg.miou" if run.config.tasks == ("semseg",) else "depth.si_log_rmse"
                scores = {"total": None, only: scores[only], "score": total}
            costs = {"parameters": 21_420_000, "seconds": 3600.0, "checkpoint_mib": 163.4, **more}
        outcome = {"status": status, "message": message, "scores": scores, "costs": costs}
        (folder / "outcome.json").write_text(json.dumps(outcome))
