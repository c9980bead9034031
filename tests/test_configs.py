"""Every shipped configuration is readable, says what it is, and can train one step."""

import re

import pytest

from mtl_tf import config as configuration
from mtl_tf import flags
from mtl_tf.commands import OWN_OPTIONS
from mtl_tf.data.sets import describe
from mtl_tf.models import build_model
from tests.helpers import ROOT, changed
from tests.models.common import unfilled_variables

CONFIGS = sorted((ROOT / "configs").glob("**/*.flags"))


def read(path):
    """The configuration of a file, which may hold options that only its command has."""
    return flags.parse([f"--flagfile={path}"], OWN_OPTIONS.get(path.parent.name)).config


def measured(descriptor):
    """The descriptor, with statistics made up where those of the user's files are missing."""
    made_up = dict(depth_mean=1.0, depth_std=1.0, depth_log_mean=0.0, depth_log_std=1.0)
    return changed(descriptor, **made_up) if descriptor.lacks_statistics else descriptor


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
        tasks = measured(describe(config.data)).tasks(config)
        with unfilled_variables():
            model = build_model(config.model, tasks)
        assert {task.name for task in tasks} <= set(model.output)


def test_there_are_configurations_for_every_architecture():
    found = {read(path).model.architecture for path in CONFIGS}
    assert found == {"joint", "branched", "distilled"}


def test_the_page_on_data_sets_names_what_there_is():
    text = (ROOT / "docs/datasets.md").read_text()
    named = set(re.findall(r"--data.name=([a-z0-9_]+)", text))
    downloads = {"cityscapes", "cityscapes7", "kitti", "vkitti2", "camvid", "nyud_mt", "mtan_nyuv2", "mtan_cityscapes"}
    downloads |= {"pascal_mt", "taskonomy"}
    assert downloads <= named <= set(configuration.DATA_SETS)
    linked = set(re.findall(r"configs/\w+\.flags", text)) - {"configs/FILE.flags"}
    assert linked and all((ROOT / path).is_file() for path in linked)
    whole_lines = re.sub(r"\\\n\s*", "", text)
    for line in re.findall(r"^python main.py train (.*)$", whole_lines, re.MULTILINE):
        flags.parse(line.replace("configs/", f"{ROOT}/configs/").split())
