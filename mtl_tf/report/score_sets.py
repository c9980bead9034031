"""The files of scores in a run directory, sorted into sets that may stand side by side."""

import dataclasses
import json
from pathlib import Path

from mtl_tf.errors import UsageError
from mtl_tf.inference.scored import compared_with, told


@dataclasses.dataclass(frozen=True)
class ScoreSet:
    """Scores of the same images, labels, size and crop.

    Attributes:
        title: what they are of.
        columns: what gave the answers -> the content of an evaluation JSON file.
        baseline: the content of the baseline's file; empty where there is none of the same.
    """

    title: str
    columns: dict[str, dict]
    baseline: dict


def score_sets(run_dir: Path, first: str = "val") -> list[ScoreSet]:
    """All scores of a run directory; those that do not say what they are of stand alone, without a baseline.

    Args:
        run_dir: the run directory.
        first: the suffix of the files whose scores come first.

    Raises:
        UsageError: a file in it cannot be read.
    """
    paths = sorted(run_dir.glob("evaluation_*.json"), key=lambda path: (suffix_of(path) != first, path.name))
    baselines = [read_json(path) for path in sorted(run_dir.glob("baseline_*.json"))]
    by_what = {compared_with(baseline): baseline for baseline in baselines}
    found: dict[str, ScoreSet] = {}
    for path in paths:
        scores = read_json(path)
        if not scores:
            continue
        title, answers = told(scores)
        what = compared_with(scores)
        if what is None:
            found[path.name] = ScoreSet(f"{title} (does not state what was scored)", {answers: scores}, {})
            continue
        one = found.setdefault(what, ScoreSet(title, {}, by_what.get(what, {})))
        one.columns[answers] = scores
    return list(found.values())


def suffix_of(path: Path) -> str:
    """The split, and what else is told by the name of a file with scores."""
    return path.stem.partition("_")[2].removeprefix("image_")


def read_json(path: Path) -> dict:
    """The object in a JSON file; empty if there is no such file.

    Raises:
        UsageError: it is none.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is not valid JSON ({error}); remove it or write it anew") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} must hold a JSON object; remove it or write it anew")
    return found
