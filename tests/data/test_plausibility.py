"""Warnings about what label files hold: each kind of misreading is told, and good data are silent."""

import shutil

import numpy as np
import pytest
from PIL import Image

from mtl_tf import config as configuration
from mtl_tf.data import descriptors
from mtl_tf.data.copies import NAMED, Copies, digest
from mtl_tf.data.plausibility import look
from mtl_tf.data.sets import describe, open_split
from tests.field.generator import FOLDERS
from tests.helpers import changed, described, tool_module

checking = tool_module("check_dataset")

MINE = described("mine", ("ground", "disc"), ((0, 200, 90), (60, 170, 90)))
DEEP = changed(MINE, depth_encoding="uint16_scaled", depth_minimum=0.1, depth_maximum=10.0)
GOOD = np.repeat(np.array([[0, 0, 1, 1, 255, 0]], np.uint8), 4, 0)
RNG = np.random.default_rng(0)


ONE = 255 * (GOOD == 1).astype(np.uint8)  # what is class 1 is stored as 255
MANY = changed(MINE, classes=tuple(map(str, range(200))), palette=tuple((i, i, i) for i in range(200)))
THREE = changed(MINE, classes=("a", "b", "c"), palette=((0, 0, 1), (0, 0, 2), (0, 0, 3)))


def write(root, descriptor, semseg=GOOD, depth=None, counts=(("train", 3), ("val", 1))):
    """A data set whose samples all have these labels; a function of the sample's number gives others."""
    for split, count in counts:
        for index in range(count):
            size = Image.fromarray(semseg).size[::-1] if isinstance(semseg, np.ndarray) else (4, 6)
            rgb = RNG.integers(0, 256, (*size, 3), np.uint8)
            for kind, pixels in {"rgb": rgb, "semseg": semseg, "depth": depth}.items():
                if pixels is None:
                    continue
                picture = pixels(index) if callable(pixels) else Image.fromarray(pixels)
                (root / split / kind).mkdir(parents=True, exist_ok=True)
                picture.save(root / split / kind / f"{index}.png")
    if not descriptor.splits:
        descriptor = changed(descriptor, splits=("train", "val"))
    descriptors.write(root, descriptor)
    return root


def check(root, capsys, *arguments, name="folder"):
    """The warnings of tools/check_dataset.py, which finds no fault."""
    arguments = [f"--data.name={name}", f"--data.root={root}", *arguments]
    capsys.readouterr()
    assert checking.run_tool(checking.check, checking.Options, arguments) == 0
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]


def at_the_start(root, name="folder"):
    """The warnings at the start of training."""
    config = configuration.replace(configuration.Config(), data__name=name, data__root=str(root))
    descriptor = describe(config.data)
    config = configuration.replace(config, tasks=descriptor.task_names)
    return look(open_split(config, "train", descriptor))


def of_two_palettes(index):
    colours = [128, 64, 128, 0, 0, 142]
    picture = Image.new("P", (6, 4))
    picture.putdata((GOOD % 255).ravel().tolist())
    picture.putpalette(colours[3:] + colours[:3] if index else colours)
    return picture


def depths(*values):
    return np.resize(np.array(values, np.uint16), (4, 6))


@pytest.mark.parametrize(
    ("descriptor", "labels", "expected"),
    [
        (MINE, dict(semseg=ONE), ["one class, ground, and 33.3%", '"values": {"0": "ground", "255": "disc"}']),
        (MINE, dict(semseg=np.zeros((4, 6), np.uint8)), ["are one class, ground; nothing can be learnt"]),
        (THREE, {}, ["has the class c: it"]),
        (MINE, dict(semseg=of_two_palettes), ["palettes differ: index 0 is 128,64,128 in", '"encoding": "colour"']),
        (
            MANY,
            dict(semseg=np.resize(RNG.permutation(200).astype(np.uint8), (30, 50))),
            ["200 classes: more than 60 are rare", "looks like a photograph"],
        ),
        (
            changed(DEEP, depth_maximum=100.0),
            dict(depth=depths(900, 2000, 65535)),
            ["65535 in 4 files is read as 65.535 m"],
        ),
        (DEEP, dict(depth=depths(100, 200, 250)), ["holds only 8-bit values, up to 250 = 0.25 m"]),
        (
            changed(DEEP, depth_scale=0.1),
            dict(depth=depths(0, 1, 2, 3)),
            ["holds only the values 0 to 3, as a label map would"],
        ),
        (
            DEEP,
            dict(depth=depths(15000, 20000, 5000)),
            ["67% of the measured depth in 4 files lies outside of 0.1 to 10 m"],
        ),
        (
            changed(DEEP, depth_scale=1.0, depth_maximum=9e4),
            dict(depth=depths(2000, 5000)),
            ["beyond 2000 m; is depth.scale"],
        ),
        (DEEP, dict(depth=depths(2000)), ["depth is 2 m (stored 2000) in every measured pixel"]),
    ],
)
def test_what_is_implausible_is_told(tmp_path, capsys, descriptor, labels, expected):
    root = write(tmp_path / "mine", descriptor, **labels)
    checked = check(root, capsys)
    for text in expected:
        assert any(text in line for line in checked), (text, checked)
    found = at_the_start(root)
    for text in expected:
        assert any(text.replace("4 files", "3 files") in line for line in found), (text, found)
    assert len(found) == len(checked) and not any("\n" in line for line in found)


def test_depth_in_a_coloured_palette(tmp_path, capsys):
    def coloured(index):
        picture = Image.new("P", (6, 4))
        picture.putdata([60 + 8 * place for place in range(24)])
        picture.putpalette([value for index in range(256) for value in (index, 0, 255 - index)])
        return picture

    descriptor = changed(MINE, depth_encoding="uint8_scaled", depth_scale=0.04)
    descriptor = changed(descriptor, depth_minimum=0.1, depth_maximum=10.0)
    (line,) = check(write(tmp_path, descriptor, depth=coloured), capsys)
    assert "train/depth/0.png: depth in a coloured palette picture is read by index" in line


GOOD_FOLDERS = ("exif3", "exif6", "exif6_square", "aspect", "names_nfd")


def test_good_data_are_silent(tmp_path, capsys, tiny_dataset):
    descriptor = changed(DEEP, depth_invalid=(65535,), depth_maximum=100.0)
    root = write(tmp_path / "mine", descriptor, depth=depths(700, 2000, 65535, 0))
    assert check(root, capsys) == at_the_start(root) == []
    for name in GOOD_FOLDERS:
        FOLDERS[name](tmp_path / name)
        assert check(tmp_path / name, capsys) == at_the_start(tmp_path / name) == [], name


def test_nyuv2_is_silent(shared, capsys):
    root = shared / "data/nyuv2"
    assert at_the_start(root, "nyuv2") == []
    assert check(root, capsys, "--data.limit=60", name="nyuv2") == []


def test_rare_classes_are_missed_only_where_every_file_was_looked_at(tmp_path, capsys):
    root = write(tmp_path, THREE, counts=(("train", 41), ("val", 1)))
    assert at_the_start(root) == []
    (line,) = check(root, capsys)
    assert "no pixel of 41 files to train on has the class c" in line


def test_packed_files_are_looked_at(tmp_path, capsys):
    root = write(tmp_path / "mine", MINE, semseg=ONE)
    pack = tool_module("pack_dataset")
    for content in ("files", "pixels"):
        arguments = ["--data.name=folder", f"--data.root={root}", f"--output={tmp_path / content}"]
        assert pack.run_tool(pack.pack, pack.Options, [*arguments, f"--content={content}"]) == 0
        (line,) = check(tmp_path / content, capsys, name="packed")
        assert "one class, ground" in line
        assert at_the_start(tmp_path / content, "packed")


def test_pictures_that_stand_in_two_splits_are_named(tmp_path, capsys):
    root = write(tmp_path, MINE, counts=(("train", 3), ("val", 3)))
    picture = Image.open(root / "train/rgb/2.png")
    picture.save(root / "val/rgb/1.png", compress_level=0)
    shutil.copy(root / "train/semseg/2.png", root / "val/semseg/1.png")
    (line,) = check(root, capsys)
    assert "the same picture is 2 of train and 1 of val" in line


def test_many_copies_are_counted_and_blank_pictures_are_none():
    copies = Copies()
    pictures = RNG.integers(0, 256, (NAMED + 5, 2, 2, 3), np.uint8)
    pictures[0] = 7
    for split in ("train", "val", "test"):
        copies.begin(split, list(map(str, range(len(pictures)))))
        for place, picture in enumerate(pictures):
            copies.add(place, digest(picture) if split != "test" else digest(picture[::-1].copy()))
    told = copies.told()
    assert len(told) == NAMED + 1 and told[0].startswith("the same picture is 1 of train and 1 of val")
    assert told[-1] == "4 more pictures stand in two splits"
    assert digest(pictures[1]) != digest(pictures[1].reshape(4, 1, 3))
