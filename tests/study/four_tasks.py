"""A data set of four tasks, two of which are of kinds that only this file knows, and a study of it."""

import dataclasses
import json
import pathlib
from typing import ClassVar

import numpy as np

from mtl_tf import flags
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.sets import describe
from mtl_tf.study.declaration import read
from mtl_tf.study.options import StudyOptions
from mtl_tf.study.plan import Plan
from mtl_tf.tasks import Metric, Task

NAMES = ("semseg", "depth", "tilt", "seams")

STUDY = """
[[table]]
name = "T1"
title = "Rates"
rank_by = ["tilt.angle", "f1", "miou", "semseg.pixel_accuracy"]
rows = [
  {name = "slow", set = {optim.learning_rate = 0.01}, published = {miou = 70.0, si = 26.0, angle = 20.0, note = "old"}},
  {name = "fast", set = {optim.learning_rate = 0.05}, published = {"semseg.miou" = 71.0, angle = 19.0}},
]

[[table]]
name = "T2"
title = "Chosen rate"
choose_from = ["T1"]
choose_by = "tilt.angle"
pinned = "T1/fast"

[[table]]
name = "single"
title = "Single tasks"
baseline = true
rows = [
  {name = "semseg", set = {tasks = "semseg"}},
  {name = "depth", set = {tasks = "depth"}},
  {name = "tilt", set = {tasks = "tilt"}},
  {name = "seams", set = {tasks = "seams"}},
]

[[figure]]
name = "figure1"
title = "Rates"
tables = ["T1"]
metrics = ["loss", "total", "miou", "f1", "tilt.angle", "grader"]
"""


@dataclasses.dataclass(frozen=True)
class Tilt(Task):
    """Lower is better."""

    kind: ClassVar[str] = "tilt"
    title: ClassVar[str] = "Tilt"
    name: str = "tilt"

    @property
    def metrics(self):
        angle = Metric("angle", "Mean angle", 1, "°", higher=False, main=True)
        return angle, Metric("rmse", "RMSE", 1, "°", higher=False), Metric("bias", "Bias", 1, "°")


@dataclasses.dataclass(frozen=True)
class Seams(Task):
    """Higher is better; its label is also one of the segmentation."""

    kind: ClassVar[str] = "seams"
    title: ClassVar[str] = "Seams"
    name: str = "seams"

    @property
    def metrics(self):
        return Metric("f1", "F1", 3, higher=True, main=True), Metric("seam_iou", "mIoU", 2, " %", higher=True)


@dataclasses.dataclass(frozen=True)
class StandIn:
    """Labels of a stand-in task."""

    made: type
    source: str = ""

    @property
    def kind(self):
        return self.made.kind

    def task(self, name, data_set, config):
        return self.made(name=name)


def four_tasks(data) -> Descriptor:
    """The descriptor of a data set with two more tasks."""
    return describe(data).with_labels(tilt=StandIn(Tilt), seams=StandIn(Seams))


def make_plan(folder: pathlib.Path, text: str = STUDY, *arguments: str, **options) -> Plan:
    """The plan of a study of four tasks, in a folder."""
    file = folder / "study.toml"
    file.write_text(text, encoding="utf-8")
    base = flags.parse([f"--run_dir={folder / 'study'}", f"--tasks={','.join(NAMES)}", *arguments]).config
    return Plan(read(str(file)), base, dataclasses.replace(StudyOptions(), **options))


def finish(plan: Plan, key: str, scores: dict, curve=()):
    """Writes the outcome of a row, with the total of its scores, and its curve by epoch."""
    higher = {name: plan.columns.all[name].higher for name in plan.columns.leading.values()}
    for run in plan.runs_of(plan.declaration.row(key)):
        folder = pathlib.Path(run.config.run_dir)
        folder.mkdir(parents=True, exist_ok=True)
        parts = [scores[name] * (1 if up else -1) for name, up in higher.items() if scores.get(name) is not None]
        total = float(np.sum(parts)) if len(run.config.tasks) > 1 else None
        outcome = {"status": "done", "scores": {"total": total, "grader": None, **scores}, "costs": {"seconds": 60.0}}
        (folder / "outcome.json").write_text(json.dumps(outcome))
        if curve:
            lines = [",".join(curve[0]), *(",".join(map(str, row)) for row in curve[1:])]
            (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
