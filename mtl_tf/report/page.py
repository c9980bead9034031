"""The report of a run: one HTML page that needs no network and no other file.

Every section comes from a file of the run directory and is left out where that file is missing, so a run that is
still training has a page as well.
"""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from mtl_tf import config as configuration
from mtl_tf.atomic import write_text
from mtl_tf.errors import UsageError
from mtl_tf.options import format_value
from mtl_tf.report import balancing, curves, scores
from mtl_tf.report.document import Cell, DataTable, Figure, Picture, render
from mtl_tf.report.histogram import histogram
from mtl_tf.report.score_sets import ScoreSet, read_json, score_sets, suffix_of
from mtl_tf.tasks import Task
from mtl_tf.training.run_directory import read_table

MOST_IMAGES = 2000  # rows of the table of all images; of a larger split it would outweigh the rest of the page


def write_report(run_dir: Path, shown: Sequence[Picture], tasks: Sequence[Task] = (), first: str = "val") -> Path:
    """Writes `report.html` into a run directory.

    Args:
        run_dir: the run directory; what it does not hold yet is left out of the page.
        shown: validation images with the run's answers.
        tasks: of the run; the palette of a segmentation colours the classes.
        first: the suffix of the files whose scores stand at the top.

    Returns:
        The path of the page.

    Raises:
        UsageError: `run_dir` is no folder, or a file in it cannot be read.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise UsageError(f"{run_dir} is not a run directory; train a run first, or correct --run_dir")
    sets = score_sets(run_dir, first)
    epochs = _rows(run_dir / "metrics.csv")
    options = _options(run_dir / "run.flags")
    paths = sorted(run_dir.glob("per_image_*.csv"), key=lambda path: (suffix_of(path) != first, path.name))
    images = {suffix_of(path): _rows(path) for path in paths}
    board = scores.Board(tasks)
    steps = _rows(run_dir / "steps.csv")
    top = sets[0] if sets else ScoreSet("", {"": {}}, {})
    evaluation = next(iter(top.columns.values()))
    classes = _classes(evaluation, top.baseline, board)
    page = render(
        "page.html.jinja",
        _figures(epochs, steps, board),
        shown,
        tasks,
        name=run_dir.resolve().name,
        summary=_summary(options),
        command=_command(run_dir) if options else None,
        state=_state(options, epochs, top.title),
        headlines=_headlines(evaluation, epochs, top.baseline, board),
        score_tables=[_score_table(found, board) for found in sets],
        classes=classes,
        absent=any(score is None for *_, rows in classes for _, _, score, _ in rows),
        class_title=top.title,
        has_baseline=bool(top.baseline),
        score_notes=_score_notes(board),
        extremes={name: _extremes(rows, board) for name, rows in images.items()},
        all_images={name: _all_images(name, rows, board) for name, rows in images.items()},
        changed=[option for option in options if option[1] != option[2]],
        unchanged=[option for option in options if option[1] == option[2]],
        conflicts=balancing.conflicts(run_dir / "conflicts.csv", steps, tasks),
        environment=_flat(read_json(run_dir / "environment.json")),
    )
    path = run_dir / "report.html"
    write_text(path, page)
    return path


# === Files of the run directory ===


def _rows(path):
    """The rows of a CSV file: "id" as text, the rest as numbers or None. No file, no rows."""
    if not path.is_file():
        return []
    return [
        {key: value if key == "id" else scores.number(value) for key, value in row.items()} for row in read_table(path)
    ]


def _options(path):
    """(name, value, default) of every line of run.flags, as text."""
    if not path.is_file():
        return []
    defaults = {name: format_value(value) for name, value in configuration.values(configuration.Config()).items()}
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [line.lstrip("-").partition("=")[::2] for line in lines if line.startswith("-")]
    return [(name, value, defaults.get(name)) for name, value in pairs]


# === Sections ===


def _summary(options):
    """What the run is, in a line."""
    value = {name: value for name, value, _ in options}
    parts = [value.get(f"model.{name}") for name in ("architecture", "encoder")]
    parts += [value.get("tasks", "").replace(",", " + "), value.get("data.name")]
    return [part for part in parts if part]


def _command(run_dir):
    """The parts of the command that runs it again, into a directory of its own."""
    shown = run_dir if not run_dir.is_absolute() else Path(os.path.relpath(run_dir))
    shown = run_dir if shown.parts[:1] == ("..",) else shown
    flagfile, again = shlex.quote(f"{shown / 'run.flags'}"), shlex.quote(f"{shown}-again")
    return ["python main.py train", f"--flagfile={flagfile}", f"--run_dir={again}"]


def _state(options, epochs, title):
    """How far the run is and what the scores at the top are of."""
    given = {name: value for name, value, _ in options}
    planned = " + ".join(filter(None, (given.get("train.epochs"), *given.get("train.extend", "").split(","))))
    parts = []
    if done := len({row["epoch"] for row in epochs if row.get("epoch") is not None}):
        parts.append(f"{done} of {planned} epochs" if planned else f"{done} epochs")
    if title:
        parts.append(f"scores on {title}")
    elif epochs:
        parts.append("not evaluated yet: scores of the last epoch's validation")
    return parts


def _headlines(evaluation, epochs, baseline, board):
    """(metric, score, baseline's score) of the scores at the top."""
    flat = board.flatten(evaluation) if evaluation else (epochs[-1] if epochs else {})
    other = board.flatten(baseline)
    shown = [(name, board.describe(name)) for name in board.main if flat.get(name) is not None]
    return [(metric, metric.show(flat[name]), metric.show(other.get(name))) for name, metric in shown]


def _score_table(found: ScoreSet, board):
    """Of scores that may be compared: their title, what gave the answers, whether there is a baseline, and groups.

    A group has rows (metric, score of each column, baseline's score, ratio of the first column to it). Names of groups
    follow: of two tables side by side, and of what is folded away, since pooled scores say little new.
    """
    columns = {name: board.flatten(evaluation) for name, evaluation in found.columns.items()}
    groups = _score_groups(columns, board.flatten(found.baseline), board)
    folded = [name for name, rows in groups.items() if not any(metric.per_image for metric, *_ in rows)]
    shown = [name for name in groups if name not in folded]
    return found.title, list(columns), bool(found.baseline), groups, _halves(shown, groups), folded


def _halves(names, groups):
    """Names of groups in two lists, in their order, so that tables of them are about equally long."""
    lengths = [1 + len(groups[name]) for name in names]  # a heading, and a row for each metric
    first = min(range(len(names) + 1), key=lambda count: abs(sum(lengths[:count]) - sum(lengths[count:])))
    return names[:first], names[first:]


def _score_notes(board):
    """What a reader of the scores has to know, sentences."""
    leading = [board.describe(name) for name in board.leading]
    terms = [metric.label for metric in leading if metric.higher]
    total = " plus ".join(terms) + "".join(f" minus {metric.label}" for metric in leading if not metric.higher)
    # What holds for a kind of task is said once.
    of_tasks = [metric for task in board.tasks for metric in task.metrics]
    notes = dict.fromkeys(f"{metric.label}: {metric.note}." for metric in of_tasks if metric.note)
    return [f"Total is {total.strip()}."] * (len(leading) > 1) + list(notes)


def _score_groups(columns, other, board):
    compared = next(iter(columns.values()))
    present = {name: None for flat in columns.values() for name in flat}
    overall = {metric.name for metric in scores.OVERALL}
    groups = {}
    for name in board.ordered(list(present)):
        if name in overall and all(flat.get(name) is None for flat in columns.values()):
            continue  # total and grader do not exist where a task was not trained
        metric = board.describe(name)
        shown = [metric.show(flat.get(name)) for flat in columns.values()]
        # A ratio says nothing of scores that may be negative.
        ratio = "" if name in overall else scores.ratio(compared.get(name), other.get(name))
        groups.setdefault(metric.group, []).append((metric, shown, metric.show(other.get(name)), ratio))
    return groups


def _classes(evaluation, baseline, board):
    """(heading, name of the score, rows) of each task with classes; absent classes last.

    Rows: (class, "#rrggbb" or None, score, baseline's). A page of one such task needs no heading, which then is empty.
    """
    ours, theirs = board.by_class(evaluation), board.by_class(baseline)
    tables = []
    for task in [task for task in board.tasks if task.name in ours]:
        colours = dict(zip(*(task.page().get(key, ()) for key in ("classes", "palette")), strict=True))
        other = theirs.get(task.name, {})
        rows = [(name, colours.get(name), score, other.get(name)) for name, score in ours[task.name].items()]
        rows.sort(key=lambda row: (row[2] is None, -(row[2] or 0)))
        tables.append((board.title(task) if len(ours) > 1 else "", task.of_classes[1], rows))
    return tables


def _figures(epochs, steps, board):
    """The charts of the run; a figure without any is left out."""
    found = (
        Figure("curves", "Curves", curves.charts(epochs, steps, board), "The number in each legend is the last value."),
        Figure("balancing", "Balancing", balancing.charts(steps, board.tasks), balancing.NOTE),
    )
    return [figure for figure in found if figure.charts]


def _extremes(rows, board):
    """(metric, histogram, worst, median, best) over the images; the ends as (score, id)."""
    table = []
    for name in [name for name in board.metrics if any(row.get(name) is not None for row in rows)]:
        metric = board.describe(name)
        found = sorted((row[name], row.get("id") or "") for row in rows if row.get(name) is not None)
        low, high = found[0], found[-1]
        worst, best = (low, high) if metric.higher else (high, low)
        values = [value for value, _ in found]
        ends = [(metric.show(value), name) for value, name in (worst, best)]
        table.append((metric, histogram(values), ends[0], metric.show(median(values)), ends[1]))
    return table


def _all_images(split, rows, board):
    """A table of every image; None where there is none, or too many."""
    metrics = {n: metric for n, metric in board.metrics.items() if any(row.get(n) is not None for row in rows)}
    if not metrics or len(rows) > MOST_IMAGES:
        return None
    heads = [f"{metric.label} {'↑' if metric.higher else '↓'}" for metric in metrics.values()]
    cells = [[Cell(metric.show(row.get(n)), row.get(n)) for n, metric in metrics.items()] for row in rows]
    named = tuple((Cell(row.get("id") or ""), *found) for row, found in zip(rows, cells, strict=True))
    return DataTable(f"all-{split}", f"All images of split {split}", ("Image", *heads), named)


def _flat(nested, prefix=""):
    """(dotted name, text) of everything in a nested dict."""
    found = []
    for name, value in nested.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
            found.append((prefix + name, text))
    return found
