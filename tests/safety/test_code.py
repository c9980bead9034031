"""What could run a program that a file names does not stand in the code; the linter's rules say what that is."""

import ast
import re
import subprocess
import sys

import pytest

from tests.helpers import ROOT

PLACES = ("mtl_tf", "tools", "main.py")
BUILTINS = {"eval", "exec", "compile", "__import__", "__builtins__"}
RULES = ("--select=S,TID251", "--ignore=S311,S603", "--output-format=concise")


def lint(*arguments, **options):
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", *RULES, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)


def test_the_code_runs_nothing_that_a_file_names():
    found = lint(*PLACES)
    assert found.returncode == 0, found.stdout
    files = [file for place in PLACES for file in (sorted((ROOT / place).rglob("*.py")) or [ROOT / place])]
    assert len(files) > 100
    assert {str(file): found for file in files if (found := beyond_rules(file.read_text(encoding="utf-8")))} == {}


def beyond_rules(text):
    """What the linter's rules do not see: the lines that name a builtin which runs text, or let NumPy read pickles."""
    return [node.lineno for node in ast.walk(ast.parse(text)) if runs_text(node) or reads_pickles(node)]


def runs_text(node):
    return isinstance(node, ast.Name) and node.id in BUILTINS


def reads_pickles(node):
    """`allow_pickle`, unless it is False; also as text, and as the third argument of `np.load`."""
    match node:
        case ast.keyword(arg="allow_pickle", value=value):
            return not (isinstance(value, ast.Constant) and value.value is False)
        case ast.Call(func=ast.Attribute(ast.Name("np" | "numpy"), "load"), args=[_, _, _, *_]):
            return True
        case ast.Constant(value="allow_pickle"):
            return True
    return False


@pytest.mark.parametrize(
    "line",
    [
        "f = eval",
        "run = [exec]",
        "compile('x', 'y', 'exec')",
        "__import__('pickle')",
        "__builtins__['eval']",
        "np.load('x', allow_pickle=True)",
        "np.load('x', allow_pickle=sure)",
        "np.load('x', None, True)",
        "np.load('x', **{'allow_pickle': True})",
    ],
)
def test_what_the_rules_do_not_find_is_found(line):
    assert beyond_rules(f"import re\nre.compile('x')\nnp.load('x', allow_pickle=False)\n{line}\n") == [4]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("import pickle", "TID251"),
        ("import marshal", "TID251"),
        ("import yaml", "TID251"),
        ("import keras\nkeras.models.load_model('x')", "TID251"),
        ("import torch\ntorch.load('x')", "TID251"),
        ("import os\nos.system('x')", "TID251"),
        ("import importlib\nimportlib.import_module('pickle')", "TID251"),
        ("import runpy", "TID251"),
        ("from builtins import eval as f", "TID251"),
        ("import torch\ntorch.jit.load('x')", "TID251"),
        ("import tensorflow as tf\ntf.keras.models.load_model('x')", "TID251"),
        ("from keras.layers import deserialize", "TID251"),
        ("import keras\nf = keras.models.model_from_json", "TID251"),
        ("import urllib.request\nurllib.request.urlretrieve('https://x')", "TID251"),
        ("eval('x')", "S307"),
        ("exec('x')", "S102"),
        ("import subprocess\nsubprocess.run('x', shell=True)", "S602"),
        ("import tempfile\ntempfile.mktemp()", "S306"),
        ("import tarfile\ntarfile.open('x').extractall()", "S202"),
        ("import jinja2\njinja2.Environment()", "S701"),
    ],
)
def test_the_rules_find_it(line, rule):
    found = lint("--stdin-filename=mtl_tf/models/weights/pickles.py", "-", input=line + "\n")
    assert rule in found.stdout


def test_only_what_is_known_is_excepted():
    """Each is of a line that was read: our modules, a file that is asked for, script and style, escaped text, ..."""
    found = lint("--ignore-noqa", *PLACES)
    places = sorted(re.findall(r"^(\S+):\d+:\d+: (\w+) ", found.stdout, re.MULTILINE))
    assert found.stdout.count("\n") == len(places) + 1 and f"Found {len(places)} errors" in found.stdout
    assert places == [
        ("mtl_tf/__init__.py", "TID251"),
        ("mtl_tf/balancing/__init__.py", "TID251"),
        ("mtl_tf/models/weights/https.py", "S310"),
        ("mtl_tf/plugins.py", "TID251"),
        ("mtl_tf/registry.py", "TID251"),
        ("mtl_tf/report/document.py", "S704"),
        ("mtl_tf/report/document.py", "S704"),
        ("mtl_tf/report/embedding.py", "S704"),
        ("tools/benchmark.py", "TID251"),
        ("tools/benchmark_torch.py", "TID251"),
    ]
