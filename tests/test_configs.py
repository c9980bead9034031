"""Every shipped configuration is readable, says what it is, and can train one step."""

import re

import pytest

from mtl_tf import config as configuration
from mtl_tf import flags
from mtl_tf.commands import OWN_OPTIONS
from mtl_tf.data.sets import describe
from mtl_tf.models import build_model
from tests.helpers import ROOT

CONFIGS = sorted((ROOT / "configs").glob("**/*.flags"))


def read(path):
    """The configuration of a file, which may hold options that only its command has."""
    return flags.parse([f"--flagfile={path}"], OWN_OPTIONS.get(path.parent.name)).config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_is_whole(path):
    text = path.read_text()
    assert text.startswith("# ") and "Command:" in text
    config = read(path)
    assert config != configuration.Config()
    # Only options that say something: none repeats its default twice, none stands twice.
    names = re.findall(r"^--([a-z_.0-9]+)", text, re.MULTILINE)
    assert len(names) == len(set(names))
    if config.data.name != "folder":  # which has its descriptor beside the data
        tasks = describe(config.data).tasks(config)
        model = build_model(config.model, tasks)
        assert {task.name for task in tasks} <= set(model.output)


def test_there_are_configurations_for_every_architecture():
    found = {read(path).model.architecture for path in CONFIGS}
    assert found == {"joint", "branched", "distilled"}
