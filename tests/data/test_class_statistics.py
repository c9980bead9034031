"""The measured frequencies of classes: from the tool to the loss, and what changes where they come or go."""

import dataclasses
import json

import numpy as np
import pytest

from mtl_tf import flags
from mtl_tf.data import descriptors
from mtl_tf.data.sets import describe
from mtl_tf.data.sets.camvid import CAMVID
from mtl_tf.data.sets.nyuv2 import NYUV2
from mtl_tf.errors import UsageError
from tests.helpers import in_this_process, write_dataset

WEIGHTED = "--task.classes.class_weights=median_frequency"


@pytest.fixture
def root(tmp_path):
    return write_dataset(tmp_path / "data", {"train": 4, "val": 2})


def where(root):
    return "--data.name=folder", f"--data.root={root}"


def measured(descriptor, *shares):
    shares = shares or (0.5, *[0.5 / (len(descriptor["semseg"].classes) - 1)] * (len(descriptor["semseg"].classes) - 1))
    labels = dataclasses.replace(descriptor["semseg"], frequency=shares, frequency_where_present=shares)
    return descriptor.with_labels(semseg=labels)


def weights(*arguments):
    config = flags.parse(["--tasks=semseg", WEIGHTED, *arguments]).config
    return describe(config.data).tasks(config)[0].weights


def test_what_was_not_measured_is_asked_for_only_where_an_option_needs_it(root):
    with pytest.raises(UsageError, match="class_weights=median_frequency: data set tiny lacks the semseg statistics"):
        weights(*where(root))
    config = flags.parse([*where(root), "--tasks=semseg"]).config
    assert describe(config.data).tasks(config)[0].weights == ()
    assert in_this_process("dataset_statistics", *where(root), "--write").returncode == 0
    found = weights(*where(root))
    assert len(found) == 3 and 1.0 in found


def test_a_file_of_statistics_gives_them(root, tmp_path):
    file = tmp_path / "statistics.json"
    assert in_this_process("dataset_statistics", *where(root), f"--output={file}").returncode == 0
    assert 1.0 in weights(*where(root), f"--data.statistics={file}")


def test_a_file_of_before_has_none_and_changes_none(root, tmp_path):
    file = descriptors.write_file(tmp_path / "statistics.json", descriptors.read(root))
    descriptors.write(root, measured(descriptors.read(root), 0.5, 0.25, 0.25))
    assert weights(*where(root), f"--data.statistics={file}") == (0.5, 1.0, 1.0)
    depth = descriptors.read(root).of(("depth",))
    descriptors.write_file(file, depth)
    assert weights(*where(root), f"--data.statistics={file}") == (0.5, 1.0, 1.0)


def test_statistics_of_other_classes_are_refused(root, tmp_path):
    other = measured(descriptors.read(root), 0.5, 0.25, 0.25)
    labels = dataclasses.replace(other["semseg"], classes=("left", "right", "middle"))
    file = descriptors.write_file(tmp_path / "statistics.json", other.with_labels(semseg=labels))
    with pytest.raises(UsageError, match="statistics of other data: semseg is semseg by number: 0 = left; 1 = right"):
        weights(*where(root), f"--data.statistics={file}")


def test_known_data_sets_take_them_from_their_folder(tmp_path):
    """Also one that is trained without any statistics."""
    descriptors.write(tmp_path, measured(CAMVID))
    assert weights("--data.name=camvid", f"--data.root={tmp_path}")[:2] == pytest.approx((0.1, 1.0))
    (tmp_path / "dataset.json").unlink()
    with pytest.raises(UsageError, match="data set camvid lacks the semseg statistics"):
        weights("--data.name=camvid", f"--data.root={tmp_path}")
    expected = np.median(NYUV2["semseg"].frequency_where_present) / NYUV2["semseg"].frequency_where_present
    assert weights("--data.name=nyuv2", f"--data.root={tmp_path}") == pytest.approx(tuple(expected))


def test_a_run_goes_on_where_they_were_measured_meanwhile(root):
    """It was not trained with them; had it been, others would be another description."""
    before = descriptors.read(root)
    one, other = measured(before, 0.5, 0.25, 0.25), measured(before, 0.25, 0.5, 0.25)
    assert before.says_the_same(one, ("semseg",)) and one.says_the_same(before, ("semseg",))
    assert not one.says_the_same(other, ("semseg",)) and one.says_the_same(one, ())


def test_describing_again_keeps_them_as_long_as_the_classes_are_the_same(root):
    descriptors.write(root, measured(descriptors.read(root), 0.5, 0.25, 0.25))
    for names, kept in (("left,middle,right", True), ("left,middle,wrong", False)):
        done = in_this_process("describe_dataset", f"--data.root={root}", "--noask", "--replace", f"--classes={names}")
        assert done.returncode == 0, done.stderr
        assert ("frequency" in json.loads((root / "dataset.json").read_text())["semseg"]) == kept


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([0.5, 0.5], '"semseg.frequency" should be one share for each of the 3 classes; it is 2 shares'),
        ([0.5, 0.6, 1.5], '"semseg.frequency" should be a list of shares, 0..1, not all 0; it is [0.5, 0.6, 1.5]'),
        ([0, 0, 0], "not all 0"),
        ("a", "a list of shares"),
    ],
)
def test_shares_that_are_none_are_named(root, shares, expected):
    content = json.loads((root / "dataset.json").read_text())
    content["semseg"]["frequency"] = shares
    (root / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(UsageError) as raised:
        descriptors.read(root)
    assert expected in str(raised.value)
