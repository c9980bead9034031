"""tools/pack_dataset.py as a user runs it: exit status, text, what is on disk; killed and started again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mtl_tf import config as configuration
from mtl_tf.data.sets import describe, open_split, splits_of
from tests.data import official
from tests.helpers import ROOT, in_this_process, one_line_error, write_dataset

SCENES = ("--data.synthetic_train=3", "--data.synthetic_val=1", "--data.image_size=32,48")


def command(*arguments):
    return [sys.executable, str(ROOT / "tools/pack_dataset.py"), *map(str, arguments)]


def tool(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True)


def check(*arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "tools/check_dataset.py"), *map(str, arguments)], capture_output=True, text=True
    )


def content_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("pack") / "data", {"train": 5, "val": 2})


def test_there_and_back(root, tmp_path):
    (root / "train/depth/lonely.png").write_bytes(b"")
    try:
        done = tool("--data.name=folder", f"--data.root={root}", f"--output={tmp_path}/packed", "--verify")
    finally:
        (root / "train/depth/lonely.png").unlink()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"train: 5 samples in {tmp_path}/packed/train",
        f"val: 2 samples in {tmp_path}/packed/val",
        f"train: 1 file passed over: a label without an image ({root}/train/depth/lonely.png)",
        "train: verified, 0 faults",
        "val: verified, 0 faults",
    ]
    packed = ("--data.name=packed", f"--data.root={tmp_path}/packed")
    assert tool(*packed, "--verify").returncode == 0
    assert "no fault in 7 samples" in check(*packed).stdout
    done = tool(*packed, "--unpack", f"--output={tmp_path}/back")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"train: 15 files written into {tmp_path}/back"
    assert content_of(tmp_path / "back") == content_of(root)


def test_pixels_and_rendered_scenes(root, tmp_path):
    arguments = ("--data.name=folder", f"--data.root={root}", f"--output={tmp_path}/packed", "--content=pixels")
    assert tool(*arguments, "--verify", "--splits=val", "--shard_samples=1").returncode == 0
    assert sorted(path.name for path in (tmp_path / "packed/val").glob("*.tfrecord")) == [
        "00000.tfrecord",
        "00001.tfrecord",
    ]
    done = tool("--data.name=packed", f"--data.root={tmp_path}/packed", "--unpack", f"--output={tmp_path}/back")
    assert "holds decoded pixels, not the original files" in one_line_error(done.returncode, done.stderr)
    done = tool(f"--output={tmp_path}/scenes", *SCENES, "--verify")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["train: verified, 0 faults", "val: verified, 0 faults"]


def test_derived_labels_become_labels_of_their_own(root, tmp_path):
    """They are read, bit for bit as they were derived; late ones are derived as before."""
    folder = shutil.copytree(root, tmp_path / "data")
    content = json.loads((folder / "dataset.json").read_text())
    normals = {"kind": "normals", "source": "depth", "intrinsics": [60, 60, 24, 16, 48, 32]}
    content["tasks"] = {"normals": normals, "edges": {"kind": "edges", "source": "semseg"}}
    (folder / "dataset.json").write_text(json.dumps(content))
    source = ("--data.name=folder", f"--data.root={folder}", "--tasks=semseg,normals,edges", "--derived")
    done = tool(*source, f"--output={tmp_path}/packed", "--verify")
    assert done.returncode == 0, done.stderr
    done = tool(*source, f"--output={tmp_path}/files", "--content=files")
    assert "leave out --content=files" in one_line_error(done.returncode, done.stderr)
    found = {}
    for name, place in (("folder", folder), ("packed", tmp_path / "packed")):
        config = configuration.from_values({"data.name": name, "data.root": str(place), "tasks": "semseg,normals"})
        found[name] = open_split(config, "train"), describe(config.data)["normals"]
    (derived, _), (read, labels) = found.values()
    assert labels.source == "" and read.tasks == ("semseg", "normals")
    for index in range(len(derived)):
        one, other = derived.read(index), read.read(index)
        assert one["normals"].any() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "write",
    [
        lambda root: official.write_kitti(root, root, root),
        official.write_vkitti2,
        official.write_camvid,
        official.write_camvid_segnet,
        official.write_nyud_mt,
        official.write_mtan_nyuv2,
        official.write_pascal_mt,
        lambda root: official.write_taskonomy(root, listed="all.csv"),  # which is packed before what is damaged
    ],
    ids=["kitti", "vkitti2", "camvid", "camvid of SegNet", "nyud_mt", "mtan_nyuv2", "pascal_mt", "taskonomy"],
)
def test_official_layouts(write, tmp_path):
    (tmp_path / "data").mkdir()
    options = write(tmp_path / "data")
    arguments = (f"--data.name={options['data__name']}", f"--data.root={options['data__root']}", "--verify")
    done = in_this_process("pack_dataset", *arguments, f"--output={tmp_path}/files")
    assert done.returncode == 0, done.stderr
    assert "files: verified, 0 faults" in done.stdout
    done = in_this_process("pack_dataset", *arguments, f"--output={tmp_path}/pixels", "--content=pixels")
    assert done.returncode == 0, done.stderr
    config = official.configured(options)
    descriptor = describe(config.data)
    config = configuration.replace(config, tasks=descriptor.task_names, model__architecture="joint")
    assert splits_of(config.data)
    for content in ("files", "pixels"):
        packed = configuration.replace(config, data__name="packed", data__root=str(tmp_path / content))
        assert describe(packed.data) == descriptor
        assert sorted(splits_of(packed.data)) == sorted(splits_of(config.data))
        for split in splits_of(config.data):
            source, found = open_split(config, split), open_split(packed, split)
            assert list(found.ids) == list(source.ids) and found.labelled == source.labelled
            for index in range(len(source)):
                for key, value in source.read(index).items():
                    np.testing.assert_array_equal(found.read(index)[key], value)
    packed = ("--data.name=packed", f"--data.root={tmp_path}/files")
    done = in_this_process("pack_dataset", *packed, "--unpack", f"--output={tmp_path}/back")
    assert done.returncode == 0, done.stderr
    assert content_of(tmp_path / "back") == content_of(tmp_path / "data")
    done = in_this_process("pack_dataset", *packed, "--unpack", f"--output={tmp_path}/back")
    assert f"files: 0 files written into {tmp_path}/back" in done.stdout
    shard = tmp_path / "files/files/00000.tfrecord"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])  # the last files alone may be of no sample that is checked
    done = in_this_process("check_dataset", *packed)
    assert "faults" in one_line_error(done.returncode, done.stderr)
    assert "files/00000.tfrecord, sample" in done.stdout and "is cut off" in done.stdout


def test_damage_is_listed(root, tmp_path):
    arguments = ("--data.name=folder", f"--data.root={root}", f"--output={tmp_path}/packed")
    assert tool(*arguments).returncode == 0
    shard = tmp_path / "packed/train/00000.tfrecord"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    for done in (
        tool(*arguments, "--verify"),
        tool("--data.name=packed", f"--data.root={tmp_path}/packed", "--verify"),
    ):
        assert "2 faults in the packed data set" in one_line_error(done.returncode, done.stderr)
        assert "00000.tfrecord: its sha256" in done.stdout and "00000.tfrecord, sample 2: the checksum" in done.stdout


def test_a_killed_run_goes_on(tmp_path):
    root = write_dataset(tmp_path / "data", {"train": 60}, size=(96, 128))
    arguments = (
        "--data.name=folder",
        f"--data.root={root}",
        "--content=pixels",
        "--shard_samples=2",
        "--data.workers=1",
    )
    assert tool(*arguments, f"--output={tmp_path}/whole").returncode == 0
    output = tmp_path / "packed"
    first = output / "train/00000.tfrecord.json"
    process = subprocess.Popen(command(*arguments, f"--output={output}"), stderr=subprocess.DEVNULL)
    while not first.exists() and process.poll() is None:
        time.sleep(0.001)  # shards follow one another quickly
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (output / "train/manifest.json").exists(), "it was not killed in time"
    times = {path: path.stat().st_mtime_ns for path in (output / "train").glob("0*.tfrecord")}
    done = tool("--data.name=packed", f"--data.root={output}", "--verify", "--splits=train")
    assert "its packing has not ended" in one_line_error(done.returncode, done.stderr)
    assert tool(*arguments, f"--output={output}").returncode == 0
    assert content_of(output) == content_of(tmp_path / "whole")
    assert first.with_suffix("").stat().st_mtime_ns == times[first.with_suffix("")]


def test_wrong_usage_is_one_line(root, tmp_path):
    source = ("--data.name=folder", f"--data.root={root}")
    assert tool(*source, f"--output={tmp_path}/packed").returncode == 0
    packed = ("--data.name=packed", f"--data.root={tmp_path}/packed")
    for arguments, text in (
        (source, "--output=FOLDER is missing"),
        ((*source, f"--output={tmp_path}/packed", "--content=pixels"), "holds samples of other settings"),
        ((*source, f"--output={root}"), "holds samples that this tool did not make"),
        ((*source, "--unpack", f"--output={tmp_path}/x"), "--unpack takes a packed data set"),
        ((f"--output={tmp_path}/x", "--content=files", *SCENES), "use --content=pixels"),
        (packed, "is packed already; add --unpack"),
        ((*source, "--contents=files"), "--content"),
    ):
        done = tool(*arguments)
        assert text in one_line_error(done.returncode, done.stderr)
    assert "tools/pack_dataset.py" in tool("--helpshort").stdout
