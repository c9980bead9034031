"""Preparing NYUv2, of small files in the official form: columns first, names as a cell array, splits counted from 1."""

import errno
import json
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from mtl_tf import config as configuration
from mtl_tf.data import descriptors
from mtl_tf.data.sets import describe, nyuv2, open_split
from mtl_tf.errors import UsageError
from tests.helpers import ROOT, one_line_error, tool_module
from tests.mutations import mutate, seconds_at_most

tool = tool_module("prepare_nyuv2")

NAMES = [name for entry in nyuv2._FORTY.values() for name in entry["names"]]
COUNT, HEIGHT, WIDTH = 6, 4, 5


def label(name):
    """The label id of a name in the file of these tests."""
    return NAMES.index(name) + 1


def write_mat(path, names=NAMES, leave_out=(), **changes):
    """A file of six samples; sample i (from 0): red = i, green = row, blue = column; in-painted depth = i + 1 m."""
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    images = np.stack([np.stack([np.full_like(row, index), row, column]) for index in range(COUNT)]).astype(np.uint8)
    labels = np.full((COUNT, HEIGHT, WIDTH), label("wall"), np.uint16)
    # the first row: one pixel unlabelled, two of otherprop, one of otherfurniture, one of the sofa
    labels[:, 0] = [0, label("book"), label("torah"), label("wardrobe"), label("sofa")]
    depths = np.ones((COUNT, HEIGHT, WIDTH), np.float32) * (np.arange(COUNT)[:, None, None] + 1)
    raw = depths.copy()
    raw[:, 3, 4] = 0.0
    raw[:, 3, 3] = 2.71851
    instances = (labels > 0).astype(np.uint8)
    arrays = {"images": images, "labels": labels, "depths": depths, "rawDepths": raw, "instances": instances} | changes
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, value in arrays.items():
            if key not in leave_out:
                stored = np.swapaxes(value, -1, -2)  # MATLAB: columns first
                file.create_dataset(key, data=stored, chunks=(2, *stored.shape[1:]), compression="gzip")
        if "names" not in leave_out:
            references = file.create_dataset("names", (1, len(names)), h5py.ref_dtype)
            for index, name in enumerate(names):
                cell = file.create_dataset(f"#refs#/{index}", data=np.array([[ord(sign)] for sign in name], np.uint16))
                references[0, index] = cell.ref
    return path


def write_splits(path, train=(2, 3, 6), test=(1, 4, 5)):
    scipy.io.savemat(path, {"trainNdxs": np.array(train)[:, None], "testNdxs": np.array(test)[:, None]})
    return path


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    folder = tmp_path_factory.mktemp("official")
    write_splits(folder / "splits.mat")
    return write_mat(folder / "nyu_depth_v2_labeled.mat")


def run(*arguments):
    """The exit status."""
    return tool.run_tool(tool.prepare, tool.Options, [str(argument) for argument in arguments])


def prepare(official, output, *arguments):
    assert run(f"--mat={official}", f"--output={output}", *arguments) == 0


def pixels(path):
    return np.asarray(Image.open(path))


def fault(capsys, *arguments):
    """The one line of an error."""
    status = run(*arguments)
    return one_line_error(status, capsys.readouterr().err)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def thirteen(official, tmp_path_factory):
    output = tmp_path_factory.mktemp("thirteen") / "data"
    prepare(official, output)
    return output


def test_golden_pixels_of_13_classes(thirteen):
    assert {path.name for path in (thirteen / "test/rgb").iterdir()} == {"1.png", "4.png", "5.png"}
    image = pixels(thirteen / "train/rgb/3.png")
    assert image.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(image[2, 4], [2, 2, 4])  # the third sample, row 2, column 4
    labels = pixels(thirteen / "train/semseg/3.png")
    # unlabelled, otherprop twice, furniture (5), sofa (8); below, wall (11)
    np.testing.assert_array_equal(labels[0], [255, 255, 255, 5, 8])
    assert (labels[1:] == 11).all()
    depth = pixels(thirteen / "train/depth/3.png")
    assert depth.dtype == np.uint16 and (depth == 3000).all()


def test_it_is_read_under_both_names(thirteen):
    for name in ("nyuv2", "folder"):
        config = configuration.replace(configuration.Config(), data__name=name, data__root=str(thirteen))
        descriptor = describe(config.data)
        assert (descriptor.name, descriptor.splits, len(descriptor["semseg"].classes)) == (
            "nyuv2",
            ("train", "test"),
            13,
        )
        source = open_split(config, "test", descriptor)
        assert source.ids == ["1", "4", "5"]
        sample = source.read(2)
        assert (sample["depth"] == 5.0).all() and sample["semseg"][0].tolist() == [255, 255, 255, 5, 8]
        # samples 2, 3, 6: 2, 3 and 6 m
        assert descriptor["depth"].mean == pytest.approx(11 / 3, rel=1e-4)
        assert descriptor["depth"].log_mean == pytest.approx(np.log(36) / 3, rel=1e-4)


def test_40_classes_raw_depth_and_a_validation_split(official, tmp_path):
    prepare(official, tmp_path, "--classes=40", "--depth=raw", "--val=1")
    assert [path.name for path in (tmp_path / "val/rgb").iterdir()] == ["6.png"]
    assert sorted(path.name for path in (tmp_path / "train/rgb").iterdir()) == ["2.png", "3.png"]
    # classes counted from 0: otherprop 39, otherfurniture 38, sofa 5, wall 0
    labels = pixels(tmp_path / "val/semseg/6.png")
    np.testing.assert_array_equal(labels[0], [255, 39, 39, 38, 5])
    assert (labels[1:] == 0).all()
    depth = pixels(tmp_path / "val/depth/6.png")
    np.testing.assert_array_equal(depth[3], [6000, 6000, 6000, 2719, 0])
    descriptor = descriptors.read(tmp_path)
    assert (descriptor.name, descriptor.splits) == ("nyuv2_40", ("train", "val", "test"))
    assert descriptor["semseg"].classes[0] == "wall" and descriptor["semseg"].classes[38:] == (
        "otherfurniture",
        "otherprop",
    )
    config = configuration.replace(configuration.Config(), data__name="nyuv2", data__root=str(tmp_path))
    assert open_split(config, "val", describe(config.data)).read(0)["semseg"].max() == 255


def test_a_stopped_run_continues(official, thirteen, tmp_path, capsys):
    output = tmp_path / "data"
    prepare(official, output)
    assert f"6 samples in {output}: 3 train, 3 test (6 new, 0 found)" in capsys.readouterr().out
    expected = contents(thirteen)
    assert contents(output) == expected
    (output / "train/rgb/2.png").unlink()
    (output / "test/depth/5.png").unlink()
    (output / "dataset.json").unlink()
    prepare(official, output)
    assert "(2 new, 4 found)" in capsys.readouterr().out
    assert contents(output) == expected
    assert "other settings" in fault(capsys, f"--mat={official}", f"--output={output}", "--classes=40")
    assert contents(output) == expected


# === Instances ===


@pytest.mark.parametrize("classes", [13, 40])
def test_instances_are_pairs_of_a_label_and_a_number(tmp_path, classes):
    """As the official toolbox has them, whatever classes the labels become; not of wall, floor and ceiling."""
    random = np.random.default_rng(0)
    names = ["wall", "door", "floor", "floor mat", "ceiling", "chair", "wardrobe", "sofa", "book", "torah"]
    labels = random.choice([0, *map(label, names)], (COUNT, HEIGHT, WIDTH)).astype(np.uint16)
    numbers = random.integers(0, 3, labels.shape, np.uint8)
    write_splits(tmp_path / "splits.mat")
    mat = write_mat(tmp_path / "nyu.mat", labels=labels, instances=numbers)
    prepare(mat, tmp_path / "data", f"--classes={classes}")
    stuff = {"wall", "floor", "ceiling"} | ({"door", "floor mat"} if classes == 13 else set())  # walls and floors there
    unknown = {"book", "torah"} if classes == 13 else set()  # otherprop
    config = configuration.replace(configuration.Config(), data__name="nyuv2", data__root=str(tmp_path / "data"))
    config = configuration.replace(config, tasks=("semseg", "instances"))
    descriptor = describe(config.data)
    assert not stuff & set(descriptor["instances"].things) and len(descriptor["instances"].things) == classes - 3
    source = open_split(config, "test", descriptor)
    assert source.labelled == {"semseg": 3, "instances": 3}
    for place, index in enumerate((0, 3, 4)):
        found, pairs = source.read(place)["instances"], {}
        for where, number in np.ndenumerate(found):
            official = labels[index][where]
            name = NAMES[official - 1] if official else "nothing"
            if name == "nothing" or name in unknown:
                assert number == 65535
            elif name in stuff:
                assert number == 0
            else:
                assert pairs.setdefault((name, numbers[index][where]), number) == number
        assert sorted(pairs.values()) == list(range(1, len(pairs) + 1)) and len(pairs) > 2


def test_a_folder_that_was_prepared_without_instances(official, thirteen, tmp_path, capsys):
    """It is read, and gets them when it is prepared again."""
    output = tmp_path / "data"
    prepare(official, output)
    shutil.rmtree(output / "train/instances")
    shutil.rmtree(output / "test/instances")
    content = json.loads((output / "dataset.json").read_text())
    del content["tasks"]["instances"]
    (output / "dataset.json").write_text(json.dumps(content))
    config = configuration.replace(configuration.Config(), data__name="nyuv2", data__root=str(output))
    assert set(open_split(config, "test").read(0)) == {"image", "semseg", "depth"}
    prepare(official, output)
    assert contents(output) == contents(thirteen)


# === The classes ===


def test_the_table_of_894_names():
    assert len(NAMES) == len(set(NAMES)) == 894
    assert len(nyuv2.NYUV2_40["semseg"].classes) == 40 == len(set(nyuv2.NYUV2_40["semseg"].palette))
    counts = [len(nyuv2._FORTY[name]["names"]) for name in nyuv2.NYUV2_40["semseg"].classes]
    # 37 classes have one name each; the other three of Gupta et al. take the rest
    assert counts == [1] * 37 + [counts[37], counts[38], 707] and sum(counts) == 894
    forty = nyuv2.train_ids(NAMES, 40)
    assert forty[0] == 255 and forty.dtype == np.uint8 and len(forty) == 895
    for name, of_forty in {
        "wall": "wall", "floor": "floor", "chair": "chair", "night stand": "night stand", "stove": "otherstructure",
        "light": "otherstructure", "garbage bin": "otherfurniture", "coffee table": "otherfurniture",
        "book": "otherprop", "books": "books", "rug": "otherprop", "bunk bed": "otherfurniture",
    }.items():  # fmt: skip
        assert nyuv2.NYUV2_40["semseg"].classes[forty[label(name)]] == of_forty, name


def test_40_to_13_classes():
    found = {}
    for name, entry in nyuv2._FORTY.items():
        found.setdefault(entry["thirteen"], []).append(name)
    assert {name: ", ".join(members) for name, members in found.items()} == {
        "wall": "wall, door",
        "floor": "floor, floor mat",
        "furniture": "cabinet, bookshelf, counter, shelves, dresser, refrigerator, night stand, otherfurniture",
        "bed": "bed",
        "chair": "chair",
        "sofa": "sofa",
        "table": "table, desk",
        "window": "window, blinds, curtain",
        "picture": "picture",
        "objects": "pillow, mirror, clothes, paper, towel, shower curtain, box, whiteboard, person, toilet, sink, "
        "lamp, bathtub, bag, otherstructure, otherprop",
        "ceiling": "ceiling",
        "books": "books",
        "tv": "television",
    }
    table = nyuv2.train_ids(NAMES, 13, otherprop_as_objects=True)
    assert (table[1:] < 13).all() and table[label("book")] == nyuv2.NYUV2["semseg"].classes.index("objects")
    ignored = nyuv2.train_ids(NAMES, 13)
    assert (ignored == 255).sum() == 708 and (ignored[ignored < 255] == table[ignored < 255]).all()


def test_names_go_before_numbers():
    table = nyuv2.train_ids(["sofa", "Wall", "door / window / reflection"], 40)
    assert table.tolist() == [255, 5, 0, 37]
    with pytest.raises(UsageError, match=r"1 of 2 label names.*'unicorn'"):
        nyuv2.train_ids(["wall", "unicorn"], 40)


# === What is wrong with the files ===


def test_each_fault_is_one_line(official, tmp_path, capsys):
    whole = official.read_bytes()
    (tmp_path / "cut.mat").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.mat").write_text("<html>not found</html>")
    scipy.io.savemat(tmp_path / "old.mat", {"images": np.zeros(3)})
    write_mat(tmp_path / "poor.mat", leave_out=("labels",))
    write_mat(tmp_path / "alone.mat", leave_out=("instances",))
    many = dict(images=np.zeros((COUNT, 3, 40, 60), np.uint8), depths=np.ones((COUNT, 40, 60), np.float32))
    many |= dict(labels=np.full((COUNT, 40, 60), label("chair"), np.uint16))
    many |= dict(instances=np.arange(COUNT * 2400, dtype=np.uint16).reshape(COUNT, 40, 60))
    write_mat(tmp_path / "crowd.mat", **many)
    write_mat(tmp_path / "strange.mat", names=["unicorn", *NAMES[1:]])
    write_mat(tmp_path / "odd.mat", depths=np.ones((COUNT, HEIGHT, WIDTH + 1), np.float32))
    write_mat(tmp_path / "small.mat", instances=np.ones((COUNT, HEIGHT - 1, WIDTH), np.uint8))
    write_mat(tmp_path / "typed.mat", labels=np.full((COUNT, HEIGHT, WIDTH), -1, np.int16))
    write_mat(tmp_path / "beyond.mat", names=NAMES[:3])
    write_splits(tmp_path / "splits.mat")
    write_splits(tmp_path / "far.mat", test=(1, 7))
    write_splits(tmp_path / "both.mat", test=(2, 4))
    (tmp_path / "file").write_text("")
    scipy.io.savemat(tmp_path / "other.mat", {"x": 1})
    faults = [
        ([], "--output=FOLDER is missing"),
        ([f"--output={tmp_path}/new"], "--mat=FILE is missing"),
        ([f"--mat={official.parent}"], f"did you mean --mat={official}?"),
        ([f"--mat={tmp_path}/none.mat"], "none.mat: no such file"),
        ([f"--mat={tmp_path}/cut.mat"], "cut.mat is cut off"),
        ([f"--mat={tmp_path}/text.mat"], "text.mat: not a MATLAB 7.3 file"),
        ([f"--mat={tmp_path}/old.mat"], "old.mat: not a MATLAB 7.3 file"),
        ([f"--mat={tmp_path}/poor.mat"], "poor.mat has no labels"),
        ([f"--mat={tmp_path}/alone.mat"], "alone.mat has no instances"),
        ([f"--mat={tmp_path}/crowd.mat"], "crowd.mat: sample 1: expected at most 2047 instances in a picture"),
        ([f"--mat={tmp_path}/strange.mat"], "1 of 894 label names are not of NYU Depth v2, for example 'unicorn'"),
        ([f"--mat={tmp_path}/odd.mat"], "odd.mat: images are (6, 3, 5, 4), depths (6, 6, 4)"),
        ([f"--mat={tmp_path}/small.mat"], "small.mat: images are (6, 3, 5, 4), instances (6, 5, 3)"),
        ([f"--mat={tmp_path}/typed.mat"], "labels is of shape (6, 5, 4) and type int16; expected"),
        ([f"--mat={tmp_path}/beyond.mat"], "beyond.mat: sample 1 has label"),
        (
            [f"--mat={official}", f"--splits={tmp_path}/none.mat"],
            "none.mat: no such file; name the official splits",
        ),
        ([f"--mat={official}", f"--splits={tmp_path}/text.mat"], "text.mat: not a MATLAB file of version 5"),
        ([f"--mat={official}", f"--splits={tmp_path}/other.mat"], "other.mat has no trainNdxs"),
        ([f"--mat={official}", f"--splits={tmp_path}/far.mat"], "names samples 1 to 7, but"),
        ([f"--mat={official}", f"--splits={tmp_path}/both.mat"], "or one in both"),
        ([f"--mat={official}", "--val=3"], "--val=3 leaves none of the 3 training samples"),
        ([f"--mat={official}", "--classes=12"], "--classes: takes one of 13, 40"),
        ([f"--mat={official}", f"--output={tmp_path}/file/data"], "cannot use the folder"),
    ]
    for arguments, expected in faults:
        given = any(argument.startswith("--output") for argument in arguments) or not arguments
        assert expected in fault(capsys, *arguments, *(() if given else (f"--output={tmp_path}/new",))), arguments


def test_a_damaged_block_names_the_sample(official, tmp_path, capsys):
    content = bytearray(official.read_bytes())
    with h5py.File(official) as file:
        where = file["labels"].id.get_chunk_info(1).byte_offset  # of samples 3 and 4
    content[where : where + 8] = b"damaged!"
    (tmp_path / "nyu.mat").write_bytes(content)
    write_splits(tmp_path / "splits.mat")
    line = fault(capsys, f"--mat={tmp_path}/nyu.mat", f"--output={tmp_path}/new")
    assert "cannot be read" in line and ("sample 3" in line or "sample 4" in line)
    assert not list((tmp_path / "new").rglob("*.tmp"))


def test_a_full_disk_is_one_line_and_leaves_whole_files(official, thirteen, tmp_path, monkeypatch, capsys):
    room = iter(range(6))

    def fsync(number):
        if next(room, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mtl_tf.atomic.os.fsync", fsync)
    line = fault(capsys, f"--mat={official}", f"--output={tmp_path}/data")
    assert f"cannot write {tmp_path}/data/" in line and "No space left on device" in line
    left, whole = contents(tmp_path / "data"), contents(thirteen)
    assert 0 < len(left) <= 6 and left.items() <= whole.items()
    monkeypatch.undo()
    prepare(official, tmp_path / "data")
    assert contents(tmp_path / "data") == whole


def test_damage_anywhere_is_one_line_or_harmless(official, tmp_path, capsys):
    random = np.random.default_rng(2)
    whole = official.read_bytes()
    write_splits(tmp_path / "splits.mat")
    splits = (tmp_path / "splits.mat").read_bytes()
    for attempt in range(30):
        spoilt = bytearray(whole)
        # the head of the file tells where things are: half of the damage goes there
        spoilt[random.integers(512, len(spoilt) if attempt % 2 else 6000)] ^= random.integers(1, 256)
        (tmp_path / "nyu.mat").write_bytes(spoilt)
        (tmp_path / "splits.mat").write_bytes(splits if attempt % 3 else mutate(random, splits))
        with seconds_at_most(60):
            status = run(f"--mat={tmp_path}/nyu.mat", f"--output={tmp_path}/{attempt}")
        if status:
            one_line_error(status, capsys.readouterr().err)


def test_as_a_user_runs_it(official, tmp_path):
    command = [sys.executable, str(ROOT / "tools/prepare_nyuv2.py")]
    done = subprocess.run([*command, "--helpshort"], capture_output=True, text=True)
    assert done.returncode == 0 and "splits.mat" in done.stdout and "--otherprop_as_objects" in done.stdout
    done = subprocess.run([*command, f"--mat={official}", f"--output={tmp_path}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"next: python main.py train --run_dir=RUN --data.name=nyuv2 --data.root={tmp_path}" in done.stdout
