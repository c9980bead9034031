"""What could run a program that a file names does not stand in the code; the linter's rules say what that is."""

import subprocess
import sys

import pytest

from tests.helpers import ROOT

RULES = ("--select=S,TID251", "--ignore=S311,S603", "--output-format=concise")


def lint(*arguments, **options):
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", *RULES, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)


def test_the_code_runs_nothing_that_a_file_names():
    found = lint("mtl_tf", "tools", "main.py")
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("import pickle", "TID251"),
        ("import marshal", "TID251"),
        ("import yaml", "TID251"),
        ("import keras\nkeras.models.load_model('x')", "TID251"),
        ("import torch\ntorch.load('x')", "TID251"),
        ("import os\nos.system('x')", "TID251"),
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
    """Each exception to the rules is of a line that was read: our own script and style, and text that is escaped."""
    found = lint("--ignore-noqa", "mtl_tf", "tools", "main.py")
    places = sorted((line.partition(":")[0], line.split()[1]) for line in found.stdout.splitlines() if line[:1] == "m")
    assert places == [
        ("mtl_tf/models/weights/https.py", "S310"),
        ("mtl_tf/report/document.py", "S704"),
        ("mtl_tf/report/document.py", "S704"),
        ("mtl_tf/report/embedding.py", "S704"),
    ]
