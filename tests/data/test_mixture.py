"""Mixed data sets: shares, classes by name, partial labels, errors, and training that counts what is labelled only."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mtl_tf import config as configuration
from mtl_tf.commands import main
from mtl_tf.config import Config, DataConfig
from mtl_tf.data import descriptors
from mtl_tf.data.mixture import completed
from mtl_tf.data.pipeline import TrainingData
from mtl_tf.data.sets import describe, describe_training, open_split, open_training
from mtl_tf.data.sets.nyuv2 import NYUV2
from mtl_tf.data.sets.synthetic import SYNTHETIC
from mtl_tf.errors import UsageError
from mtl_tf.training.run_directory import read_table
from tests.helpers import ROOT, TINY, assert_same_run, changed, write_dataset

COUNTS = {"train": 9, "val": 3}


def rewrite(root, **changes):
    """Changes the descriptor of a data set."""
    descriptors.write(root, changed(descriptors.read(root), **changes))


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Data sets: with both labels, with depth only, with classes only (other ids, one of them unknown)."""
    folder = tmp_path_factory.mktemp("mix")
    found = {}
    for number, name in enumerate(("both", "depth", "semseg")):
        found[name] = write_dataset(folder / name, COUNTS, seed=number)
        rewrite(found[name], name=name)
    for name in ("train", "val"):
        shutil.rmtree(found["depth"] / name / "semseg")
        shutil.rmtree(found["semseg"] / name / "depth")
    rewrite(found["depth"], classes=(), palette=())
    rewrite(
        found["semseg"],
        depth_encoding="",
        classes=("right", "unknown", "left"),
        palette=((1, 1, 1), (2, 2, 2), (3, 3, 3)),
    )
    return found


def config_for(roots, first, *others, weights=(), **options):
    ours = dict(
        data__name="folder",
        data__root=str(roots[first]),
        data__mix_names=("folder",) * len(others),
        data__mix_roots=tuple(str(roots[name]) for name in others),
        data__mix_weights=weights,
        data__workers=2,
        train__batch_size=4,
        train__epochs=4,
    )
    return configuration.replace(Config(), **(ours | options))


def training(*arguments, **options):
    config = config_for(*arguments, **options)
    descriptor = describe_training(config.data)
    return TrainingData(open_training(config, descriptor), config, descriptor)


def batches(data, start=0):
    return list(data.dataset(start).as_numpy_iterator())


# === What comes ===


def test_a_mix_holds_its_shares_and_each_sample_as_its_own_data_set_has_it(roots):
    data = training(roots, "both", "depth", "semseg", weights=(2.0, 1.0, 1.0))
    assert data.steps_per_epoch == 4 and len(data.source) == 27  # two of the 9 of the first a batch
    alone = {name: training(roots, name, tasks=tasks).source for name, tasks in TASKS.items()}
    seen = set()
    for batch in batches(data):
        parts = batch["index"] // 9
        assert sorted(parts) == [0, 0, 1, 2]
        for position, (part, index) in enumerate(zip(parts, batch["index"] % 9, strict=True)):
            seen.add((part, index))
            expected = alone[list(TASKS)[part]].read(index)
            np.testing.assert_array_equal(batch["image"][position], expected["image"])
            if part != 2:
                np.testing.assert_array_equal(batch["depth"][position], expected["depth"])
            else:
                assert (batch["depth"][position] == 0).all()
            if part == 0:
                np.testing.assert_array_equal(batch["semseg"][position], expected["semseg"])
            elif part == 1:
                assert (batch["semseg"][position] == 255).all()
            else:
                # right, unknown, left -> ids 2, ignored, 0 of left, middle, right
                by_hand = np.select([expected["semseg"] == 0, expected["semseg"] == 2], [2, 0], 255)
                np.testing.assert_array_equal(batch["semseg"][position], by_hand)
                assert set(np.unique(by_hand)) >= {0, 2, 255}
    assert len(seen) == 27  # four epochs of four batches: everything has come


def test_a_bad_sample_is_replaced_from_its_own_data_set(roots, tmp_path):
    """Also the last of a data set, after which the next one begins."""
    spoilt = shutil.copytree(roots["both"], tmp_path / "spoilt")
    (spoilt / "train/rgb/8.png").write_bytes(b"nothing")
    names = roots | {"spoilt": spoilt}
    whole, data = training(names, "both", "depth"), training(names, "spoilt", "depth", data__skip_bad=True)
    expected = np.array([batch["index"] for batch in batches(whole)])
    assert 8 in expected
    found = np.array([batch["index"] for batch in batches(data)])
    np.testing.assert_array_equal(found, np.where(expected == 8, 0, expected))
    assert [name.rpartition("/")[2] for name in data.bad] == ["8.png"]


TASKS = {"both": ("semseg", "depth"), "depth": ("depth",), "semseg": ("semseg",)}


def test_the_line_at_the_start(roots):
    told = training(roots, "both", "depth", "semseg", weights=(2.0, 1.0, 1.0)).told()
    assert told == (
        "each batch of 4: 2 both [semseg, depth; 9 images], 1 depth [depth; 9 images], 1 semseg [semseg; 9 images]; "
        "an epoch is the first once\nboth supervises all 3 semseg classes\ndepth supervises no semseg class\n"
        "semseg supervises 2 of 3 semseg classes, all but middle (ignored: its unknown)"
    )
    uneven = training(roots, "both", "both", weights=(5.0, 3.0)).told()
    assert "2 or 3 (mean 2.50) both [semseg, depth; 9 images], 1 or 2 (mean 1.50) both (2) [" in uneven
    assert training(roots, "both").told() == ""


def test_a_mix_goes_on_at_any_step_whoever_reads(roots):
    options = dict(weights=(5.0, 2.0, 3.0), augment__reflect=True, augment__scale_max=1.3, augment__cutmix=0.5)
    whole = batches(training(roots, "both", "depth", "semseg", **options))
    for start in (1, 5, len(whole) - 1):
        again = batches(training(roots, "both", "depth", "semseg", **options, data__workers=1), start)
        assert len(again) == len(whole) - start
        for one, other in zip(again, whole[start:], strict=True):
            for name in one:
                np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize("kept", [False, True])
def test_crops_of_a_mix_are_those_of_its_whole_samples(roots, kept):
    # Only the window of a crop is read; labels that are translated must follow it.
    crop = dict(data__crop_size=(16, 24), augment__reflect=True, data__cache=kept)
    data = training(roots, "both", "semseg", **crop)
    for batch in batches(data)[:4]:
        for position, index in enumerate(batch["index"]):
            whole, found = data.source.read(index), batch["image"][position]
            windows = np.lib.stride_tricks.sliding_window_view(whole["image"], (16, 24, 3))[:, :, 0]
            same = [(flip, *np.argwhere((windows[..., ::flip, :] == found).all((2, 3, 4)))) for flip in (1, -1)]
            ((flip, (top, left)),) = [each for each in same if len(each) == 2]
            for name in ("semseg", "depth"):
                part = whole[name][top : top + 16, left : left + 24][:, ::flip]
                np.testing.assert_array_equal(batch[name][position], part, err_msg=name)


def test_a_small_data_set_comes_often_and_each_time_differently_augmented(roots):
    data = training(roots, "both", "depth", data__limit=0, augment__scale_max=1.5, data__crop_size=(16, 24))
    source = data.source
    assert source.path(0).endswith("both/train/rgb/0.png") and source.path(10).endswith("depth/train/rgb/1.png")
    assert [source.ids[index] for index in (0, 8, 9, 17, -1)] == ["0", "8", "depth:0", "depth:8", "depth:8"]
    assert list(source.ids)[8:10] == ["8", "depth:0"] and len(source.ids) == 18
    seen = {}
    for batch in batches(data):
        for position, index in enumerate(batch["index"]):
            seen.setdefault(int(index), []).append(batch["image"][position].tobytes())
    assert all(len(set(pictures)) == len(pictures) for pictures in seen.values())


def test_depth_beyond_the_range_of_the_first_data_set_has_no_label(roots, tmp_path):
    shutil.copytree(roots["both"], tmp_path / "near")
    rewrite(tmp_path / "near", name="near", depth_maximum=20.0)
    data = training({**roots, "near": tmp_path / "near"}, "near", "depth")
    far = open_split(config_for(roots, "depth", tasks=("depth",)), "train").read(3)["depth"]
    assert far.max() > 25
    np.testing.assert_array_equal(data.source.read(9 + 3)["depth"], np.where(far <= 20, far, 0))


def test_what_the_first_data_set_lacks_is_described_by_the_next(roots):
    depth, semseg = describe(config_for(roots, "depth").data), describe(config_for(roots, "semseg").data)
    found = describe_training(config_for(roots, "depth", "semseg").data)
    expected = ("depth", semseg["semseg"].classes, depth["depth"].mean)
    assert (found.name, found["semseg"].classes, found["depth"].mean) == expected
    found = describe_training(config_for(roots, "semseg", "depth").data)
    expected = (semseg["semseg"].classes, 50.0, 0.01)
    assert (found["semseg"].classes, found["depth"].maximum, found["depth"].scale) == expected
    assert completed(NYUV2, SYNTHETIC) == NYUV2
    # Things that are no classes of ours are instances of no class.
    rooms = completed(NYUV2.of(("semseg", "depth")), SYNTHETIC)
    assert rooms["semseg"] == NYUV2["semseg"]
    assert SYNTHETIC["instances"].things and rooms["instances"].things == ()
    assert training(roots, "depth", "semseg").source.labelled == {"semseg": 9, "depth": 9}


def test_rendered_scenes_mix_with_a_folder(roots):
    options = dict(data__name="synthetic", data__root="", data__image_size=(32, 48), data__synthetic_train=4)
    config = config_for(roots, "both", "depth", **options, tasks=("depth",), train__batch_size=2)
    descriptor = describe_training(config.data)
    assert {len(part) for part in open_training(config, descriptor).parts} == {4, 9}
    config = configuration.replace(
        config_for(roots, "both", tasks=("depth",)),
        data__mix_names=("synthetic",),
        data__mix_roots=("-",),
        data__synthetic_train=4,
        data__image_size=(32, 48),
    )
    assert len(open_training(config, describe_training(config.data))) == 13


# === Errors ===


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(mix_names=("folder",)), r"data\.mix_roots= are 0 folders for the 1 data sets of data\.mix_names=folder;"),
        (dict(mix_roots=("a", "b")), r"data\.mix_roots=a,b are 2 folders for the 0 data sets"),
        (
            dict(mix_names=("nyuv2",), mix_roots=("a",), mix_weights=(1.0,)),
            r"data\.mix_weights=1\.0 are 1 shares for 2 data sets: synthetic,nyuv2; give one for each, the first for",
        ),
        (dict(mix_weights=(1.0, 2.0)), r"are 2 shares for 1 data sets"),
        (dict(mix_names=("nyuv2",), mix_roots=("a",), mix_weights=(1.0, 0.0)), r"mix_weights=1\.0,0\.0 must be posit"),
        (dict(mix_names=("nyuv2",), mix_roots=("a",), mix_weights=(1.0, -2.0)), r"must be positive"),
        (dict(mix_names=("kity",), mix_roots=("a",)), r"mix_names takes one of synthetic, folder, .*; got 'kity'"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(UsageError, match=message):
        DataConfig(**options)


def test_no_class_in_common(roots, tmp_path):
    shutil.copytree(roots["both"], tmp_path / "other")
    rewrite(tmp_path / "other", name="other", classes=("a", "b", "c"))
    with pytest.raises(UsageError) as caught:
        training({**roots, "other": tmp_path / "other"}, "both", "other")
    assert str(caught.value) == (
        f"data.mix_names=folder, data.mix_roots={tmp_path / 'other'}: data set other has no class in common with both: "
        "it has a, b, c, expected some of left, middle, right; classes are matched by name: say which is "
        "which by --data.mix_classes=THEIRS=OURS, or leave the data set out"
    )
    assert training({**roots, "other": tmp_path / "other"}, "both", "other", tasks=("depth",)).steps_per_epoch


def test_depth_in_another_unit(roots, tmp_path):
    shutil.copytree(roots["depth"], tmp_path / "other")
    rewrite(tmp_path / "other", name="other", depth_unit="normalised_disparity")
    with pytest.raises(
        UsageError, match=r"depth of data set other is normalised_disparity, that of both is metres; leave the"
    ):
        training({**roots, "other": tmp_path / "other"}, "both", "other")


def test_a_further_data_set_that_is_not_there_is_named(roots, tmp_path):
    with pytest.raises(UsageError, match=rf"data\.mix_names=folder, data\.mix_roots={re.escape(str(tmp_path))}: .*"):
        training({**roots, "gone": tmp_path}, "both", "gone")
    with pytest.raises(UsageError, match=r"mix_roots=.*semseg: data set semseg has no depth labels"):
        training(roots, "both", "semseg", tasks=("depth",))


def test_a_share_that_the_first_data_set_cannot_fill(roots):
    with pytest.raises(
        UsageError, match=r"train\.batch_size=16 takes more than the 9 samples that folder has in split"
    ):
        training(roots, "both", "depth", weights=(15.0, 1.0), train__batch_size=16)


# === Training ===


def run(roots, run_dir, *others, first="depth", **options):
    config = config_for(roots, first, *others, **options)
    arguments = [f"--data.root={config.data.root}", f"--data.mix_names={','.join(config.data.mix_names)}"]
    arguments += [f"--data.mix_roots={','.join(config.data.mix_roots)}"]
    arguments += ["--data.image_size=32,48", "--log.panels_every=0", "--augment.reflect"]
    return main(["train", *TINY, *arguments, "--train.batch_size=4", f"--run_dir={run_dir}"])


@pytest.fixture(scope="module")
def mixed_run(roots, tmp_path_factory):
    """A finished run on a depth-only and a semseg-only folder."""
    run_dir = tmp_path_factory.mktemp("run") / "mixed"
    assert run(roots, run_dir, "semseg") == 0
    return run_dir


@pytest.mark.slow
def test_a_depth_only_and_a_semseg_only_folder_train_both_tasks(roots, mixed_run, capsys):
    rows = read_table(mixed_run / "metrics.csv")
    assert all(float(row[f"train_loss_{task}"]) > 0.01 for row in rows for task in ("semseg", "depth"))
    # Validation stays on the first data set, which has depth only.
    assert float(rows[1]["depth.si_log_rmse"]) > 0 and rows[1]["semseg.miou"] == ""
    saved = json.loads((mixed_run / "dataset.json").read_text())
    assert saved["semseg"]["classes"] == ["right", "unknown", "left"] and saved["depth"]["maximum"] == 50.0
    assert main(["evaluate", f"--run_dir={mixed_run}"]) == 0
    assert main(["report", f"--run_dir={mixed_run}"]) == 0
    scores = json.loads((mixed_run / "evaluation_val.json").read_text())
    assert scores["num_images"] == 3 and scores["semseg"]["miou"] is None and scores["depth"]["abs_rel"] > 0


@pytest.mark.slow
def test_a_run_on_a_mix_is_repeated_exactly_and_goes_on_elsewhere(roots, mixed_run, tmp_path, capsys):
    moved = {name: tmp_path / name for name in roots}
    for name, root in roots.items():
        shutil.copytree(root, moved[name])
    assert run(moved, tmp_path / "again", "semseg") == 0
    assert "each batch of 4: 2 depth [depth; 9 images], 2 semseg [semseg; 9 images]" in capsys.readouterr().out
    assert_same_run(tmp_path / "again", mixed_run)
    assert run(moved, mixed_run, "semseg") == 0 and "is finished" in capsys.readouterr().out


def test_the_loss_of_a_task_counts_the_labelled_samples_only(roots):
    data = training(roots, "depth", "semseg")
    tasks = {task.name: task for task in data.descriptor.tasks(data.config)}
    random = np.random.default_rng(0)
    (batch, *_) = batches(data)
    labelled = batch["index"] < 9  # those of the data set with depth
    raws = {name: random.normal(size=(4, 32, 48, task.channels)).astype(np.float32) for name, task in tasks.items()}
    for name, own in (("depth", labelled), ("semseg", ~labelled)):
        whole = tasks[name].loss(raws[name], batch[name])
        part = tasks[name].loss(raws[name][own], batch[name][own])
        np.testing.assert_allclose(whole, part, rtol=1e-5)
        assert float(whole[1]) > 0
    assert float(tasks["depth"].loss(raws["depth"], batch["depth"])[1]) == labelled.sum() == 2


PROGRAM = """
import sys
import numpy as np
import tensorflow as tf
from mtl_tf import flags
from mtl_tf.data.pipeline import TrainingData
from mtl_tf.data.sets import describe_training, open_training

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 8)
config = flags.parse(sys.argv[1:]).config
descriptor = describe_training(config.data)
data = TrainingData(open_training(config, descriptor), config, descriptor)
plain = list(data.dataset().as_numpy_iterator())
for devices in (1, 2, 8):
    strategy = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(devices)])
    count = 0
    for batch, expected in zip(strategy.experimental_distribute_dataset(data.dataset()), plain, strict=True):
        for name, value in batch.items():
            parts = [part.numpy() for part in strategy.experimental_local_results(value)]
            assert [len(part) for part in parts] == [8 // devices] * devices
            np.testing.assert_array_equal(np.concatenate(parts), expected[name], err_msg=name)
        count += 1
    print(devices, count)
"""


def test_devices_share_the_batches_of_one(roots):
    arguments = [f"--data.root={roots['both']}", f"--data.mix_roots={roots['depth']},{roots['semseg']}"]
    arguments += ["--data.name=folder", "--data.mix_names=folder,folder", "--data.mix_weights=5,2,3"]
    arguments += ["--augment.cutmix=0.5", "--augment.classmix=0.5", "--augment.reflect", "--augment.blur=1"]
    command = [sys.executable, "-c", PROGRAM, *arguments, "--train.batch_size=8", "--train.epochs=3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]
    assert done.stdout.split("\n")[:3] == ["1 6", "2 6", "8 6"]
