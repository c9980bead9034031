"""Preparing Synscapes, of small files in the form in which it is downloaded."""

import itertools
import json

import numpy as np
import OpenEXR
import pytest
from PIL import Image

from mtl_tf import config as configuration
from mtl_tf.data import descriptors
from mtl_tf.data.sets import describe, open_split
from mtl_tf.data.sets.miniscapes import MINISCAPES
from mtl_tf.errors import UsageError
from mtl_tf.storage import codecs
from mtl_tf.storage.exr import read_exr
from tests.helpers import one_line_error, tool_module

tool = tool_module("prepare_synscapes")
COUNT, HEIGHT, WIDTH = 12, 64, 128  # twice as large as what is made
SIZE = ("--height=32", "--width=64")


def write_exr(path, kind=OpenEXR.ZIP_COMPRESSION, **channels):
    OpenEXR.File({"compression": kind, "type": OpenEXR.scanlineimage}, channels).write(str(path))


def depth_of(index):
    """Nearest at the bottom; a row of sky and one nearer than the codec goes."""
    depth = np.linspace(200, 5, HEIGHT, dtype=np.float32)[:, None] * np.ones((HEIGHT, WIDTH), np.float32)
    depth[:2], depth[-2:], depth[:, :2] = 1e6, 1.0, index + 5
    return depth


def write_synscapes(root):
    """Twelve samples; sample i (from 1) is of grey 10 i, all road but for a car, a bridge (no class) and sky."""
    for kind in ("rgb", "class", "depth"):
        (root / "img" / kind).mkdir(parents=True)
    for index in range(1, COUNT + 1):
        image = np.full((HEIGHT, WIDTH, 3), 10 * index, np.uint8)
        Image.fromarray(image).save(root / f"img/rgb/{index}.png")
        labels = np.full((HEIGHT, WIDTH), 7, np.uint8)  # road
        labels[:2], labels[2:4], labels[4:6, :8] = 23, 15, 26  # sky, bridge, car
        Image.fromarray(labels).save(root / f"img/class/{index}.png")
        write_exr(root / f"img/depth/{index}.exr", Z=depth_of(index))
    return root


@pytest.fixture(scope="module")
def synscapes(tmp_path_factory):
    return write_synscapes(tmp_path_factory.mktemp("synscapes") / "Synscapes")


def run(*arguments):
    """The exit status."""
    return tool.run_tool(tool.prepare, tool.Options, [str(argument) for argument in arguments])


def fault(capsys, *arguments):
    status = run(*arguments)
    return one_line_error(status, capsys.readouterr().err)


@pytest.fixture(scope="module")
def made(synscapes, tmp_path_factory):
    output = tmp_path_factory.mktemp("miniscapes") / "data"
    assert run(f"--input={synscapes}", f"--output={output}", "--seed=3", *SIZE) == 0
    return output


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pixels(path):
    return np.asarray(Image.open(path))


def splits_of(output):
    return {split: sorted(int(path.stem) for path in (output / split / "rgb").iterdir()) for split in tool.SPLITS}


def test_the_split_is_seeded(synscapes, made, tmp_path):
    found = splits_of(made)
    assert {split: len(ids) for split, ids in found.items()} == {"train": 10, "val": 1, "test": 1}
    assert sorted(itertools.chain(*found.values())) == list(range(1, 13))
    assert run(f"--input={synscapes}", f"--output={tmp_path}", "--seed=4", *SIZE) == 0
    assert splits_of(tmp_path) != found
    official = tool.split_ids([str(index) for index in range(1, 25001)], 0)
    assert [len(ids) for ids in official.values()] == [20000, 2500, 2500]
    assert len(set(itertools.chain(*official.values()))) == 25000


def test_golden_pixels(made):
    split, index = next((split, ids[-1]) for split, ids in splits_of(made).items())
    image = pixels(made / split / f"rgb/{index}.jpg")
    assert image.shape == (32, 64, 3) and abs(image.astype(int) - 10 * index).max() <= 1
    labels = pixels(made / split / f"semseg/{index}.png")
    # train ids: sky 10, none 255, car 13, road 0
    assert labels[:, 10].tolist() == [10, 255] + [0] * 30
    assert labels[2].tolist() == [13] * 4 + [0] * 60
    codes = pixels(made / split / f"depth/{index}.png")
    assert (codes[0, 1:] == 0).all() and (codes[-1, 1:] == 0).all()  # beyond 300 m, nearer than 4 m
    # of two rows the second is taken: row 10 is row 21 of 64, 200 - 21 * 195 / 63 = 135 m
    assert codes[10, 5] == codecs.encode_inverse_uint8(135.0) == 1 + int(254 * (1 / 135 - 1 / 300) / (1 / 4 - 1 / 300))


def test_it_is_read_as_miniscapes(made):
    config = configuration.replace(configuration.Config(), data__name="miniscapes", data__root=str(made))
    source = open_split(config, "train", describe(config.data))
    sample = source.read(0)
    index = int(source.ids[0])
    # the left column is index + 5 metres: one step of the codec there is 1/254 of the range of inverse depth
    depth = sample["depth"][5, 0]
    assert 0 <= 1 / (index + 5) - 1 / depth <= (1 / 4 - 1 / 300) / 254 + 1e-6
    assert sample["image"].shape == (32, 64, 3) and set(np.unique(sample["semseg"])) == {0, 10, 13, 255}


def write_instances(root):
    """Other classes, and numbers of three bytes, of all samples; returns both of each sample."""
    (root / "img/instance").mkdir()
    random, found = np.random.default_rng(0), {}
    for index in range(1, COUNT + 1):
        labels = random.choice([7, 11, 15, 23, 24, 26, 29, 33], (HEIGHT, WIDTH)).astype(np.uint8)
        numbers = random.choice([0, 1, 256, 65536, 65537, 0xFFFFFF, 70000], (HEIGHT, WIDTH))
        Image.fromarray(labels).save(root / f"img/class/{index}.png")
        colours = np.stack([numbers & 255, numbers >> 8 & 255, numbers >> 16], -1).astype(np.uint8)
        Image.fromarray(colours).save(root / f"img/instance/{index}.png")
        found[str(index)] = labels, numbers
    return found


def test_instances_of_things(tmp_path):
    root = write_synscapes(tmp_path / "synscapes")
    stored = write_instances(root)
    assert run(f"--input={root}", f"--output={tmp_path}/new", "--seed=3", *SIZE, "--statistics") == 0
    config = configuration.replace(configuration.Config(), data__name="miniscapes", data__root=f"{tmp_path}/new")
    config = configuration.replace(config, tasks=("semseg", "instances"))
    assert describe(config.data)["instances"] == MINISCAPES["instances"]
    source = open_split(config, "train")
    assert source.labelled == {"semseg": 10, "instances": 10}
    for place in (0, 7):
        labels, numbers = (each[1::2, 1::2] for each in stored[source.ids[place]])
        found, things = source.read(place)["instances"], {}
        for where, number in np.ndenumerate(found):
            if labels[where] in (7, 11, 23):  # road, building, sky
                assert number == 0
            elif labels[where] in (15, 29) or numbers[where] == 0:  # bridge, caravan, and what has no number
                assert number == 65535
            else:
                assert things.setdefault((labels[where], numbers[where]), number) == number
        assert sorted(things.values()) == list(range(1, 19))  # person, car, bicycle, six of each


def test_instances_may_lack_and_come_later(synscapes, made, tmp_path, capsys):
    assert not list(made.rglob("instances"))
    config = configuration.replace(configuration.Config(), data__name="miniscapes", data__root=str(made))
    source = open_split(configuration.replace(config, tasks=("depth", "instances")), "train")
    assert source.labelled == {"depth": 10, "instances": 0} and (source.read(0)["instances"] == 65535).all()
    root = write_synscapes(tmp_path / "synscapes")
    arguments = [f"--input={root}", f"--output={tmp_path}/new", "--seed=3", *SIZE, "--statistics"]
    assert run(*arguments) == 0
    assert set(descriptors.read(tmp_path / "new").labels) == {"semseg", "depth", "normals"}
    write_instances(root)
    assert run(*arguments) == 0
    assert "(12 new, 0 found)" in capsys.readouterr().out
    assert set(descriptors.read(tmp_path / "new").labels) == {"semseg", "depth", "normals", "instances"}


def test_faults_of_instances_are_named(tmp_path, capsys):
    root = write_synscapes(tmp_path / "synscapes")
    write_instances(root)
    arguments = [f"--input={root}", f"--output={tmp_path}/new", *SIZE]
    (root / "img/instance/4.png").unlink()
    assert "img/instance: 1 files lack, the first 4.png" in fault(capsys, *arguments)
    path = root / "img/instance/4.png"
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint16)).save(path)
    assert f"{path}: expected a colour per pixel" in fault(capsys, *arguments)
    Image.fromarray(np.zeros((HEIGHT, HEIGHT, 3), np.uint8)).save(path)
    assert f"{path}: 64x64 pixels; expected the proportions" in fault(capsys, *arguments)
    numbers = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    Image.fromarray(np.stack([numbers & 255, numbers >> 8, 0 * numbers], -1).astype(np.uint8)).save(path)
    Image.fromarray(np.full((HEIGHT, WIDTH), 26, np.uint8)).save(root / "img/class/4.png")
    assert f"{path}: expected at most 2047 instances in a picture, got 2048" in fault(capsys, *arguments)
    assert run(*arguments, "--data.skip_bad") == 0
    assert f"{path}: expected at most 2047" in capsys.readouterr().out and not list((tmp_path / "new").rglob("4.*"))


def test_a_stopped_run_continues(synscapes, made, capsys):
    before = contents(made)
    ids = splits_of(made)
    (made / f"train/depth/{ids['train'][3]}.png").unlink()
    (made / f"val/rgb/{ids['val'][0]}.jpg").unlink()
    assert run(f"--input={synscapes}", f"--output={made}", "--seed=3", *SIZE) == 0
    assert "10 train, 1 val, 1 test (2 new, 10 found)" in capsys.readouterr().out
    assert contents(made) == before
    assert "other settings" in fault(capsys, f"--input={synscapes}", f"--output={made}", "--seed=4", *SIZE)


def test_statistics_where_told(synscapes, tmp_path):
    assert run(f"--input={synscapes}", f"--output={tmp_path}", "--seed=3", *SIZE, "--statistics") == 0
    found = descriptors.read(tmp_path)
    assert (
        found.name == "miniscapes"
        and found["semseg"].classes == MINISCAPES["semseg"].classes
        and found.crop_multiple == 32
    )
    assert found["depth"].mean not in (None, MINISCAPES["depth"].mean)


# === The parts ===


def test_pictures_shrink_without_aliasing():
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, 4:] = 200
    # bilinear over four pixels a side: weights 1/8, 3/8, 3/8, 1/8
    assert tool.shrink(image, (2, 4))[0, :, 0].tolist() == [0, 25, 175, 200]
    stripes = np.tile(np.array([0, 200], np.uint8), (16, 16))[..., None].repeat(3, 2)
    assert (tool.shrink(stripes, (8, 16))[2:-2, 2:-2] == 100).all()


def test_labels_keep_their_values():
    values = np.arange(24).reshape(4, 6)
    assert tool.nearest(values, (2, 3)).tolist() == [[7, 9, 11], [19, 21, 23]]
    assert tool.nearest(values, (4, 6)).tolist() == values.tolist()


@pytest.mark.parametrize("kind", [OpenEXR.NO_COMPRESSION, OpenEXR.ZIP_COMPRESSION, OpenEXR.PIZ_COMPRESSION])
def test_exr_of_both_precisions(tmp_path, kind):
    depth = np.arange(12, dtype=np.float32).reshape(3, 4) / 8
    write_exr(tmp_path / "single.exr", kind, Z=depth * np.float32(1.1))
    write_exr(tmp_path / "half.exr", kind, Z=depth.astype(np.float16))
    write_exr(tmp_path / "other.exr", kind, Y=depth)
    write_exr(tmp_path / "more.exr", kind, Y=depth + 1, Z=depth)
    np.testing.assert_array_equal(read_exr(tmp_path / "single.exr", "Z"), depth * np.float32(1.1))
    for name in ("half", "other", "more"):
        found = read_exr(tmp_path / f"{name}.exr", "Z")
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, depth)


def test_a_damaged_exr_is_one_error(tmp_path, capfd):
    path = tmp_path / "z.exr"
    write_exr(path, Z=np.random.default_rng(0).random((40, 40), np.float32))
    whole = path.read_bytes()
    write_exr(path, R=np.zeros((4, 4), np.float32), G=np.ones((4, 4), np.float32))
    with pytest.raises(UsageError, match="expected a floating-point channel Z, found G, R"):
        read_exr(path, "Z")
    with pytest.raises(UsageError, match=r"none.exr: no such file"):
        read_exr(tmp_path / "none.exr", "Z")
    random = np.random.default_rng(1)
    for length in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UsageError, match=r"z.exr: (not an EXR picture|expected a)"):
            read_exr(path, "Z")
    for _ in range(60):  # what one byte more or less does: an error, or a picture
        spoilt = bytearray(whole)
        spoilt[random.integers(len(spoilt) if random.random() < 0.5 else 400)] ^= random.integers(1, 256)
        path.write_bytes(spoilt)
        try:
            assert read_exr(path, "Z").ndim == 2
        except UsageError as error:
            assert "\n" not in str(error)
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""


# === What is wrong with the files ===


def test_each_fault_is_one_line(synscapes, tmp_path, capsys):
    output = f"--output={tmp_path}/new"
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    poor = tmp_path / "poor"
    for kind in ("rgb", "class"):
        (poor / "img" / kind).mkdir(parents=True)
    few = write_synscapes(tmp_path / "few")
    for index in range(9, 13):
        (few / f"img/rgb/{index}.png").unlink()
    faults = [
        ([output], "--input=FOLDER is missing"),
        ([f"--input={synscapes}"], "--output=FOLDER is missing"),
        ([output, f"--input={tmp_path}/none"], "no such folder"),
        ([output, f"--input={tmp_path}/file"], "is a file; unpack it first"),
        ([output, f"--input={tmp_path}/empty"], "has no folder img"),
        ([output, f"--input={synscapes.parent}"], f"did you mean --input={synscapes}?"),
        ([output, f"--input={synscapes}/img/rgb"], f"did you mean --input={synscapes}?"),
        ([output, f"--input={poor}"], "img/depth: no such folder"),
        ([output, f"--input={few}"], "img/rgb: 4 files lack, the first 9.png; finish the download"),
        ([output, f"--input={few}", "--data.skip_bad"], "8 samples; a split into train, val and test takes 10"),
        ([output, f"--input={synscapes}", "--width=100"], "128x64 pixels; expected the proportions of 100x360"),
    ]
    for arguments, expected in faults:
        assert expected in fault(capsys, *arguments), arguments


def test_bad_files_are_named_or_left_out(tmp_path, capsys):
    root = write_synscapes(tmp_path / "synscapes")
    depth = root / "img/depth/5.exr"
    depth.write_bytes(depth.read_bytes()[:300])
    arguments = [f"--input={root}", f"--output={tmp_path}/new", *SIZE]
    assert f"{depth}: not an EXR picture, or damaged" in fault(capsys, *arguments)
    (root / "img/class/6.png").write_bytes(b"nothing")
    Image.fromarray(np.full((HEIGHT, WIDTH), 77, np.uint8)).save(root / "img/class/7.png")
    assert run(*arguments, "--data.skip_bad") == 0
    text = capsys.readouterr().out
    assert "9 samples in" in text and "3 left out)" in text
    assert str(depth) in text and "class/6.png: not a picture" in text
    assert "class/7.png" in text and "label ids of Cityscapes, 0..33" in text
    assert not list((tmp_path / "new").rglob("5.*"))
    assert json.loads((tmp_path / "new/prepared.json").read_text())["samples"] == 12
