"""Code outside of mtl_tf/tasks knows no task, no kind and no score by its name; what does, says why."""

import ast
import re

import pytest

from mtl_tf.tasks import KINDS, _vectors, classes, depth, edges, saliency
from tests.helpers import ROOT

# Words that also mean something else: a key of dataset.json, statistics of any numbers.
_COMMON = {"classes", "mean", "median"}
_TABLES = (classes.METRICS, depth.METRICS, edges.METRICS, saliency.METRICS, _vectors.ANGLES)
NAMES = {name for kind in KINDS.values() for name in (kind.kind, kind.name)}
NAMES |= {metric.name for table in _TABLES for metric in table}
NAMES -= _COMMON
TYPES = {each.__name__ for kind in KINDS.values() for each in (kind, kind.task_type)}

# What is all about certain tasks.
OWN = ("mtl_tf/tasks/", "mtl_tf/data/sets/", "mtl_tf/data/synthetic/", "tools/_describing/layouts/")

ALLOWED = {
    "mtl_tf/balancing/aggregators.py": "a mean of eigenvalues that is called as a score is",
    "mtl_tf/config/__init__.py": "the older names of options",
    "mtl_tf/config/training.py": "the weights that runs of the study had, the default of an option",
    "mtl_tf/data/shards.py": "packed data sets from before tasks had kinds",
    "mtl_tf/inference/described.py": "exports from before tasks had kinds",
    "mtl_tf/metrics.py": "the scores that it computes, for the kinds that share them",
    "mtl_tf/pictures.py": "the name of a scale of colours",
    "mtl_tf/selection.py": "`grader`, which the study defines of two scores",
    "mtl_tf/study/declaration.py": "the columns of the published study",
    "tools/_describing/answers.py": "asks questions about these two kinds",
    "tools/_describing/arranging.py": "looks for files of these two kinds",
    "tools/_describing/depth.py": "asks questions about depth",
    "tools/_describing/looking.py": "asks questions about these two kinds",
    "tools/_describing/naming.py": "looks for files of these two kinds",
    "tools/_describing/options.py": "an encoding that is called as a kind is",
    "tools/_describing/stored_depth.py": "asks questions about depth",
    "tools/_random_packed.py": "makes a data set of these two",
    "tools/benchmark_data_torch.py": "the same reading in PyTorch, of Miniscapes",
    "tools/describe_dataset.py": "asks questions about these two kinds",
    "tools/draw_labels.py": "draws label maps of two kinds",
    "tools/dataset_statistics.py": "the format of --json: figures of semseg stand at its top",
    "tools/make_synthetic.py": "writes the rendered scenes, in the encodings of Miniscapes",
    "tools/prepare_nyuv2.py": "a data set's own",
    "tools/prepare_synscapes.py": "a data set's own",
}


def named(text):
    """The lines of code that hold the name of a task, a kind or a score as a text, or ask for the class of a kind.

    A docstring, a help text or a message is no such text, since it is more than the name.
    """
    found = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Constant(value=str(value)):
                # As an entry of an option, or below the name of a task: depth:0.5, semseg.miou.
                words = re.split("[.:]", value)
                known = any(word in NAMES for word in words) and re.fullmatch(r"[\w.:]+", value)
            case ast.Call(func=ast.Name("isinstance" | "issubclass")):
                known = TYPES & {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
            case ast.Compare(ops=[ast.Is() | ast.IsNot() | ast.Eq() | ast.NotEq() | ast.In()]):
                known = TYPES & {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
            case _:
                known = False
        if known:
            found.append(node.lineno)
    return sorted(set(found))


def test_no_task_and_no_score_is_known_by_its_name():
    files = {
        str(path.relative_to(ROOT)): path for place in ("mtl_tf", "tools") for path in (ROOT / place).rglob("*.py")
    }
    assert len(files) > 150
    others = {name: path for name, path in files.items() if not name.startswith(OWN)}
    found = {name: lines for name, path in others.items() if (lines := named(path.read_text(encoding="utf-8")))}
    assert {name: lines for name, lines in found.items() if name not in ALLOWED} == {}
    assert set(ALLOWED) - set(found) == set(), "these need no exception any more"


@pytest.mark.parametrize(
    "line",
    [
        "task.name == 'depth'",
        "task.name in ('a', 'semseg')",
        "scores['miou']",
        "found = dict(metric='si_log_rmse')",
        "row.get('semseg.miou')",
        "isinstance(task, Segmentation)",
        "issubclass(kind, (str, EdgeLabels))",
        "type(task) is Depth",
    ],
)
def test_what_knows_a_name_is_found(line):
    assert named(f'"""depth"""\nhelp = "depth is not known"\n\n{line}\n')[-1] == 4
    assert named('"""Of depth."""\nhelp = "depth is not known"\n') == []
