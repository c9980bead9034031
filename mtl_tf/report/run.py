"""The report of a run directory: evaluates it where that was not done, and pictures its extremes."""

import json
import pathlib
from collections.abc import Sequence

import numpy as np

from mtl_tf import pictures
from mtl_tf.atomic import file_name
from mtl_tf.config import Config
from mtl_tf.data.descriptors import read as read_descriptor
from mtl_tf.data.pipeline import EvaluationData
from mtl_tf.data.sets import open_split
from mtl_tf.errors import UsageError
from mtl_tf.inference.runs import open_run
from mtl_tf.inference.scored import scored, scores_suffix
from mtl_tf.inference.scoring import evaluate_run
from mtl_tf.panels import sample_panel
from mtl_tf.report.document import Answer, Picture
from mtl_tf.report.page import write_report
from mtl_tf.report.score_sets import score_sets
from mtl_tf.report.scores import results_table
from mtl_tf.selection import selection_score
from mtl_tf.tasks import Task
from mtl_tf.training.run_directory import read_table
from mtl_tf.training.trained_run import weights_file

OF_EACH_RANK = 3


def report_run(config: Config) -> str:
    """Writes report.html, and its images with truth and answer as pictures/SPLIT_RANK_ID.png.

    Returns:
        What was written where, and the scores as a table.
    """
    folder = pathlib.Path(config.run_dir)
    suffix = scores_suffix(config)
    if not is_evaluated(config):
        evaluate_run(config)
    run = open_run(config)
    path = write_report(folder, _pictures(config, run, folder, suffix), run.tasks, suffix)
    top = score_sets(folder, suffix)[0]
    return f"report written to {path}\n\n{results_table(run.tasks, next(iter(top.columns.values())), top.baseline)}"


def is_evaluated(config: Config) -> bool:
    """Whether the scores of the split are there, and of the present weights, options and data."""
    folder, suffix = pathlib.Path(config.run_dir), scores_suffix(config)
    scores = folder / f"evaluation_{suffix}.json"
    if not (scores.is_file() and weights_file(config).is_file() and (folder / f"per_image_{suffix}.csv").is_file()):
        return False
    try:
        stated = json.loads(scores.read_text())["scored"]
    except (ValueError, KeyError, TypeError):
        return False
    return stated == scored(config, open_split(config, config.data.split, read_descriptor(folder)))


def _pictures(config, run, folder, suffix):
    data = EvaluationData(open_split(config, config.data.split, run.descriptor), config, run.descriptor)
    positions = {name: position for position, name in enumerate(data.source.ids)}
    shown = []
    for rank, rows in extremes(run.tasks, read_table(folder / f"per_image_{suffix}.csv")).items():
        for name, scores in rows:
            if name not in positions:
                raise UsageError(
                    f"sample {name} of per_image_{suffix}.csv is not in --data.root={config.data.root}; evaluate again"
                )
            sample = data.single(positions[name])
            answers = run.answers(sample["image"])
            truth = {task.name: sample[task.name][0] for task in run.tasks}
            image = np.asarray(sample["image"][0])
            panel = sample_panel(image, run.tasks, truth, answers)
            file = "_".join((suffix, *rank.split(), file_name(name)))
            pictures.write_png(folder / "pictures" / f"{file}.png", panel)
            answer = Answer(folder.resolve().name, answers, scores)
            shown.append(Picture(name, rank, image, truth, (answer,)))
    return shown


def extremes(tasks: Sequence[Task], rows: list[dict[str, str]]) -> dict[str, list[tuple[str, dict[str, float]]]]:
    """The worst, median and best images by the total of the tasks that an image is scored in; then by each task.

    Args:
        tasks: of the network.
        rows: of per_image_SPLIT.csv.

    Returns:
        Rank -> (id, scores), no image twice: up to three images each by the total; "worst in TASK" and "best in TASK"
        where another image is that.
    """
    scored = [(row["id"], {name: float(cell) for name, cell in row.items() if name != "id" and cell}) for row in rows]

    def total(scores):
        by_task = {task.name: {task.metrics[0].name: scores.get(task.headline)} for task in tasks}
        return selection_score(tasks, by_task, "total")

    ordered = _ordered(scored, total)
    count = min(OF_EACH_RANK, len(ordered) // 3) or min(1, len(ordered))
    middle = (len(ordered) - count) // 2
    ranks = {"worst": ordered[:count], "median": ordered[middle : middle + count], "best": ordered[::-1][:count]}
    if len(ordered) < 3:
        ranks = {"worst": ordered[:1], "best": ordered[1:]}
    shown = {name for found in ranks.values() for name, _ in found}
    for task in tasks if len(tasks) > 1 else ():
        by_task = _ordered(scored, lambda scores, task=task: task.metrics[0].gain(scores.get(task.headline, np.nan)))
        for rank, found in (("worst", by_task[:1]), ("best", by_task[:0:-1][:1])):
            new = [(name, scores) for name, scores in found if name not in shown]
            ranks |= {f"{rank} in {task.name}": new} if new else {}
            shown |= {name for name, _ in new}
    return ranks


def _ordered(scored, value):
    """(id, scores) by a value of the scores, the least first; those that have none are left out."""
    found = [(value(scores), name, scores) for name, scores in scored]
    found = sorted((entry for entry in found if np.isfinite(entry[0])), key=lambda entry: entry[:2])
    return [(name, scores) for _, name, scores in found]
