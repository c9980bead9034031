"""The same validation images through the networks of all rows: worst, median and best by the mean score."""

import pathlib
import statistics

import numpy as np

from mtl_tf.config import replace
from mtl_tf.data.descriptors import read as read_descriptor
from mtl_tf.data.pipeline import EvaluationData
from mtl_tf.data.sets import open_split
from mtl_tf.inference.runs import open_run
from mtl_tf.inference.scored import scores_suffix
from mtl_tf.progress import Progress
from mtl_tf.report.document import Answer, Picture
from mtl_tf.report.run import extremes
from mtl_tf.report.scores import number
from mtl_tf.study.plan import Plan, Run
from mtl_tf.training.run_directory import read_table
from mtl_tf.tuning.trial import DONE


def gallery(plan: Plan, of_each: int) -> tuple[tuple[Picture, ...], tuple]:
    """Pictures with the answers of the first seed of every finished row, and the tasks.

    Args:
        plan: of the study.
        of_each: worst, median and best images, of each; 0 for none.
    """
    runs = {label: run for label, run in _labelled(plan).items() if run.outcome and run.outcome.status == DONE}
    if not of_each or not runs:
        return (), ()
    scores = {label: _image_scores(plan, run) for label, run in runs.items()}
    tasks = {task.name: task for run in runs.values() for task in _tasks(run)}
    ranked = extremes(tuple(tasks.values()), _mean_scores(scores, tasks.values()))
    chosen = {name: rank for rank, found in ranked.items() for name, _ in found[:of_each]}
    first = replace(next(iter(runs.values())).config, tasks=tuple(tasks))
    descriptor = read_descriptor(first.run_dir)
    data = EvaluationData(open_split(first, plan.base.data.split, descriptor), first, descriptor)
    samples = {name: data.single(data.source.ids.index(name)) for name in chosen}
    answers = {name: [] for name in chosen}
    progress = Progress("answers of the networks", len(runs), "networks")
    for label, run in runs.items():
        opened = open_run(run.config)
        for name, sample in samples.items():
            answers[name].append(Answer(label, opened.answers(sample["image"]), scores[label].get(name, {})))
        progress.advance(note=label)
    progress.close()
    pictures = []
    for name, rank in chosen.items():
        sample = samples[name]
        truth = {task: sample[task][0] for task in tasks}
        pictures.append(Picture(name, rank, np.asarray(sample["image"][0]), truth, tuple(answers[name])))
    return tuple(pictures), tuple(tasks.values())


def _labelled(plan: Plan) -> dict[str, Run]:
    """Label -> the first seed of each row; a run that several rows share is shown once, under its first name."""
    found = {}
    for table in plan.tables:
        for row in table.rows:
            for run in (plan.runs_of(row) or [])[:1]:
                found.setdefault(run.name, (f"{table.name}: {row.name}", run))
    return dict(found.values())


def _image_scores(plan: Plan, run: Run) -> dict[str, dict[str, float]]:
    suffix = scores_suffix(replace(run.config, data__split=plan.base.data.split))
    path = pathlib.Path(run.config.run_dir) / f"per_image_{suffix}.csv"
    rows = read_table(path)
    return {
        row["id"]: {name: value for name, cell in row.items() if name != "id" and (value := number(cell)) is not None}
        for row in rows
    }


def _tasks(run):
    return read_descriptor(run.config.run_dir).tasks(run.config)


def _mean_scores(scores, tasks):
    """Rows as `extremes` takes them: the mean of each score over the networks that have it."""
    rows = []
    for name in next(iter(scores.values())):
        means = {}
        for metric in (task.headline for task in tasks):
            values = [found[name][metric] for found in scores.values() if metric in found.get(name, {})]
            means[metric] = str(statistics.fmean(values)) if values else ""
        rows.append({"id": name, **means})
    return rows
