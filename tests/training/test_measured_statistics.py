"""Statistics that nobody has measured: training measures them once, as the tool does, and the run keeps them."""

import dataclasses
import json
import shutil

import pytest

from mtl_tf.config import replace
from mtl_tf.data import descriptors
from mtl_tf.data.known_statistics import with_statistics_of
from mtl_tf.data.sets import describe, describe_training, measuring
from mtl_tf.data.sets.settle import settled, told_untrained
from mtl_tf.errors import StoppedError, UsageError
from tests.data.official import arguments, configured, write_cityscapes, write_kitti, write_vkitti2
from tests.helpers import TINY, changed, in_this_process, one_line_error, write_dataset

NETWORK = tuple(option for option in TINY if not option.startswith("--data.name"))
CITIES = {
    "train": ["aachen_000000_000019", "aachen_000010_000019", "bremen_000000_000019"],
    "val": ["ulm_000000_000019"],
}


def kitti(root):
    return write_kitti(root, root, root)


WRITERS = {
    "cityscapes": lambda root: write_cityscapes(root, CITIES),
    "kitti": kitti,
    "vkitti2": write_vkitti2,
}


def nothing():
    """Goes on."""


def measured(config):
    return measuring.completed(config, describe_training(config.data), nothing)


@pytest.mark.parametrize("name", WRITERS)
def test_they_are_those_of_the_tool(name, tmp_path):
    options = WRITERS[name](tmp_path / "data")
    config = settled(configured(options, data__image_size=(8, 8)))
    assert measuring.lacking(config, describe(config.data)) == ("depth",)
    found = measured(config)
    done = in_this_process("dataset_statistics", *arguments(options, f"--output={tmp_path}/measured.json"))
    assert done.returncode == 0, done.stderr
    expected = descriptors.read_file(str(tmp_path / "measured.json"))
    assert found["depth"] == expected["depth"] and found["depth"].mean > 0
    assert found.rgb_mean == expected.rgb_mean
    assert not measuring.lacking(config, found) and measuring.completed(config, found, nothing) is found
    assert found["semseg"].missing  # which nothing asks for
    assert not (tmp_path / "data/dataset.json").exists()


def test_only_what_an_option_needs_is_measured(tmp_path):
    root = write_dataset(tmp_path, {"train": 3, "val": 1})
    options = dict(data__name="folder", data__root=str(root))
    assert not measuring.lacking(settled(configured(options)), describe(configured(options).data))
    weighted = settled(configured(options, task__classes__class_weights=("log_inverse",)))
    assert measuring.lacking(weighted, describe(weighted.data)) == ("semseg",)
    assert sum(measured(weighted)["semseg"].frequency) == pytest.approx(1, abs=1e-4)


def test_a_validation_split_that_lacks_is_said_before_measuring(tmp_path):
    config = settled(configured(write_cityscapes(tmp_path), data__image_size=(8, 8)))
    with pytest.raises(UsageError, match="no split 'val'"):
        measured(config)


def test_a_signal_ends_the_measuring(tmp_path):
    def stop():
        raise StoppedError("stopped")

    config = settled(configured(kitti(tmp_path), data__image_size=(8, 8)))
    with pytest.raises(StoppedError):
        measuring.completed(config, describe(config.data), stop)


def test_what_one_description_lacks_another_completes(tmp_path):
    descriptor = descriptors.read(write_dataset(tmp_path, {"train": 2}))
    bare = dataclasses.replace(descriptor, labels={n: labels.unmeasured for n, labels in descriptor.labels.items()})
    with_rgb = dataclasses.replace(descriptor, rgb_mean=(1.0, 2.0, 3.0), rgb_std=(1.0, 1.0, 1.0))
    assert with_statistics_of(bare, with_rgb) == with_rgb
    assert with_rgb.says_the_same(bare, ()) and bare.says_the_same(with_rgb, ())
    other = changed(bare, depth_scale=0.5)
    assert with_statistics_of(other, with_rgb)["depth"].missing


def test_kitti_without_disparity_trains_classes_and_says_what_is_missing(tmp_path):
    options = kitti(tmp_path)
    for name in ("occ", "noc"):
        shutil.rmtree(tmp_path / f"training/disp_{name}_0")
    config = settled(configured(options, data__image_size=(8, 8)))
    assert config.tasks == ("semseg",) and not measuring.lacking(config, describe(config.data))
    assert told_untrained(config) == [
        "depth is not trained: no labels; to have them, unpack data_scene_flow.zip and data_scene_flow_calib.zip into "
        f"{tmp_path}"
    ]
    whole = settled(configured(kitti(tmp_path), data__image_size=(8, 8)))
    assert told_untrained(whole) == [] == told_untrained(replace(whole, tasks=("semseg",)))


@pytest.mark.slow
def test_one_command_trains_and_the_run_keeps_what_was_measured(tmp_path):
    options = kitti(tmp_path / "kitti")
    command = ("train", *arguments(options), *NETWORK, "--data.image_size=32,48", f"--run_dir={tmp_path / 'run'}")
    refused = in_this_process(*command, "--train.best_metric=none")
    assert "measuring" not in refused.stdout and one_line_error(refused.returncode, refused.stderr)
    done = in_this_process(*command)
    assert done.returncode == 0, done.stderr
    assert "measuring the statistics of depth, once, of 5 training images" in done.stdout.splitlines()[0]
    kept = descriptors.read(tmp_path / "run")
    assert kept["depth"].mean > 0 and kept.rgb_mean
    assert not (tmp_path / "kitti/dataset.json").exists()
    (tmp_path / "run/metrics.json").unlink()
    for again in (command, (*command, "--train.extend=1")):
        done = in_this_process(*again)
        assert done.returncode == 0 and "measuring" not in done.stdout, done.stderr
        assert descriptors.read(tmp_path / "run") == kept
    assert in_this_process("evaluate", f"--run_dir={tmp_path / 'run'}").returncode == 0
    assert json.loads((tmp_path / "run/evaluation_val.json").read_text())["num_images"] == 2
