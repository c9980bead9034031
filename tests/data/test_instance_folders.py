"""Instances in folders and in the tools: edges between them, packed, mixed, read as what they are not."""

import json

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from mtl_tf.data.pipeline import EvaluationData, TrainingData
from mtl_tf.data.sets import describe, describe_training, open_training
from tests.data.official import arguments, configured, opened, pixels, refusal, save, write_cityscapes
from tests.helpers import in_this_process

UNKNOWN = 65535
ALONE = dict(tasks=("instances",))
FOLDER = {
    "name": "mine",
    "splits": ["train"],
    "semseg": {"classes": ["road", "person", "car"], "palette": [[0, 0, 9], [1, 0, 9], [2, 0, 9]]},
    "tasks": {
        "instances": {"kind": "instances", "ignore": UNKNOWN, "things": ["person", "car"]},
        "outlines": {"kind": "edges", "source": "instances"},
    },
}
SIZE = (24, 32)


def write_folder(root, count=3, **section):
    """Pictures with a class map and numbers of instances, whose section has other entries; returns its options."""
    tasks = FOLDER["tasks"]
    content = FOLDER | {"tasks": tasks | {"instances": tasks["instances"] | section}}
    random = np.random.default_rng(0)
    for index in range(count):
        numbers = np.zeros(SIZE, np.uint16)
        numbers[4:12, 4:12], numbers[6:20, 12:20], numbers[16:, 24:], numbers[:3] = 3, 700, 2, UNKNOWN
        save(root / f"train/rgb/{index}.png", random.integers(0, 256, (*SIZE, 3), np.uint8))
        save(root / f"train/instances/{index}.png", np.roll(numbers, index, 1))
        classes = np.where(numbers == 2, 2, numbers > 0).astype(np.uint8)
        save(root / f"train/semseg/{index}.png", np.roll(classes, index, 1))
    (root / "dataset.json").write_text(json.dumps(content))
    return dict(data__name="folder", data__root=str(root))


def edges_of(numbers):
    """The definition: another number to the right, below, or both; no label beside what is unknown."""
    right, below = np.roll(numbers, -1, 1), np.roll(numbers, -1, 0)
    both = np.roll(right, -1, 0)
    right[:, -1], below[-1], both[-1, :-1], both[:, -1] = numbers[:, -1], numbers[-1], numbers[-1, 1:], below[:, -1]
    around = sliding_window_view(np.pad(numbers, 1, "edge"), (3, 3))
    found = (numbers != right) | (numbers != below) | (numbers != both)
    return np.where((around == UNKNOWN).any((-1, -2)), 255, found)


def test_edges_are_those_between_instances(tmp_path):
    options = write_folder(tmp_path / "mine") | dict(tasks=("outlines",))
    config = configured(options, data__image_size=SIZE)
    source = opened(options)
    assert (source.reads, source.labelled) == (("instances",), {"outlines": 3})
    (batch,) = EvaluationData(source, config, describe(config.data)).dataset(3).as_numpy_iterator()
    expected = [edges_of(opened(options, **ALONE).read(index)["instances"]) for index in range(3)]
    np.testing.assert_array_equal(batch["outlines"], expected)
    # Two persons touch, of one class: an edge where the class map has none.
    assert batch["outlines"][0][8, 11] == 1 and batch["outlines"][0][8, 12] == 0
    assert set(np.unique(batch["outlines"])) == {0, 1, 255}


@pytest.fixture
def cityscapes(tmp_path):
    return write_cityscapes(tmp_path / "cityscapes", {"train": ["aachen_000000_000019", "bremen_000000_000019"]})


# === Packed ===


@pytest.mark.parametrize("content", ["files", "pixels"])
def test_packed_they_are_the_same(cityscapes, tmp_path, content):
    first, second = sorted((tmp_path / "cityscapes").rglob("*_instanceIds.png"))
    save(first, pixels([24000, 24001, 26001, 26, 7, 0], np.uint16, 7))
    second.unlink()
    for options in (cityscapes, write_folder(tmp_path / "mine")):
        packed = dict(data__name="packed", data__root=f"{tmp_path}/{options['data__name']}_packed")
        more = (f"--output={packed['data__root']}", f"--content={content}", "--verify")
        done = in_this_process("pack_dataset", *arguments(options, *more))
        assert done.returncode == 0, done.stderr
        assert describe(configured(packed).data) == describe(configured(options).data)
        tasks = dict(tasks=("semseg", "instances"))
        source, found = opened(options, **tasks), opened(packed, **tasks)
        assert found.labelled == source.labelled and source.labelled["instances"] in (1, 3)
        for index in range(len(source)):
            for key, value in source.read(index).items():
                assert found.read(index)[key].dtype == value.dtype
                np.testing.assert_array_equal(found.read(index)[key], value)


def test_packed_without_their_classes_they_are_of_none(cityscapes, tmp_path):
    more = (f"--output={tmp_path}/packed", "--content=pixels", "--tasks=instances")
    assert in_this_process("pack_dataset", *arguments(cityscapes, *more)).returncode == 0
    packed = dict(data__name="packed", data__root=f"{tmp_path}/packed")
    descriptor = describe(configured(packed).data)
    assert descriptor.task_names == ("instances",) and descriptor["instances"].things == ()
    found, expected = opened(packed, **ALONE).read(1), opened(cityscapes, **ALONE).read(1)
    np.testing.assert_array_equal(found["instances"], expected["instances"])


# === Mixed ===


def mix_of(first, second, **others):
    """The options of two data sets together."""
    mix = dict(data__mix_names=(second["data__name"],), data__mix_roots=(second["data__root"],))
    return configured(first | mix, tasks=("semseg", "instances"), **others)


def mixed(first, second):
    """What is trained on of two data sets, and the samples of each."""
    config = mix_of(first, second)
    source = open_training(config, describe_training(config.data))
    ours = len(source.parts[0])
    return source, [source.read(index) for index in range(ours)], [source.read(i) for i in range(ours, len(source))]


def test_two_data_sets_with_instances(cityscapes, tmp_path):
    mine = write_folder(tmp_path / "mine")
    source, ours, theirs = mixed(cityscapes, write_folder(tmp_path / "other"))
    assert source.labelled == {"semseg": 5, "instances": 5}
    np.testing.assert_array_equal(ours[1]["instances"], opened(cityscapes, **ALONE).read(1)["instances"])
    # The folder counts persons and cars only: what has no number there may be a bicycle.
    numbers = opened(mine, **ALONE).read(1)["instances"]
    assert (numbers == 0).any() and (numbers == UNKNOWN).any()
    np.testing.assert_array_equal(theirs[1]["instances"], np.where(numbers == 0, UNKNOWN, numbers))
    assert theirs[1]["instances"].dtype == np.int32
    # Of more things than these, and of just these, all is known.
    _, ours, theirs = mixed(mine, cityscapes)
    np.testing.assert_array_equal(ours[1]["instances"], numbers)
    np.testing.assert_array_equal(theirs[1]["instances"], opened(cityscapes, **ALONE).read(1)["instances"])
    _, _, theirs = mixed(mine, mine)
    np.testing.assert_array_equal(theirs[1]["instances"], numbers)


def test_a_mix_with_a_data_set_without_instances(cityscapes, tmp_path):
    mine = write_folder(tmp_path / "mine")
    content = json.loads((tmp_path / "mine/dataset.json").read_text())
    del content["tasks"]
    (tmp_path / "mine/dataset.json").write_text(json.dumps(content))
    source, _, theirs = mixed(cityscapes, mine)
    assert source.labelled == {"semseg": 5, "instances": 2} and (theirs[0]["instances"] == UNKNOWN).all()
    config = mix_of(cityscapes, mine, data__image_size=SIZE, train__batch_size=2)
    descriptor = describe_training(config.data)
    data = TrainingData(open_training(config, descriptor), config, descriptor)
    batch = next(data.dataset().as_numpy_iterator())
    assert sorted((labels != UNKNOWN).any() for labels in batch["instances"]) == [False, True]


# === Files that are read as what they are not ===


def warnings(root):
    done = in_this_process("check_dataset", "--data.name=folder", f"--data.root={root}", "--tasks=instances")
    assert done.returncode == 0, done.stdout
    return [line for line in done.stdout.splitlines() if line.startswith("warning: ")]


def with_numbers(root, *files, **section):
    """A folder whose files of instances hold these numbers."""
    write_folder(root, count=len(files), **section)
    for index, numbers in enumerate(files):
        save(root / f"train/instances/{index}.png", np.resize(np.array(numbers, np.uint16), SIZE))
    return root


def test_class_1000_read_as_numbers_is_told(tmp_path):
    coded = [7, 8, 11, 24000, 24001, 26000], [7, 23, 26002, 33010]
    (line,) = warnings(with_numbers(tmp_path / "a", *coded))
    assert "the numbers in 2 files may be class * 1000 + number" in line
    assert '"encoding": "class_1000" under tasks.instances' in line
    assert warnings(with_numbers(tmp_path / "b", *coded, encoding="class_1000")) == []
    # Numbers without gaps, small ones, and drawn ones are just numbers; 65535 is unknown, and none of them.
    assert warnings(with_numbers(tmp_path / "c", range(700), range(600, 1200))) == []
    assert warnings(with_numbers(tmp_path / "d", [0, 3, 65535], [7, 9, 12])) == []
    drawn = np.random.default_rng(0).integers(1, 65535, (2, 12))
    assert warnings(with_numbers(tmp_path / "e", *drawn)) == []


def test_numbers_read_as_class_1000_are_told(tmp_path):
    (line,) = warnings(with_numbers(tmp_path / "a", [0, 3, 4], [1, 2], encoding="class_1000"))
    assert "instances: no instance in 2 files" in line


def test_too_many_instances_are_one_line(tmp_path):
    options = write_folder(tmp_path / "mine")
    path = tmp_path / "mine/train/instances/1.png"
    many = np.arange(2048).reshape(32, 64).astype(np.uint16)
    for image in ("0", "1", "2"):
        save(tmp_path / f"mine/train/rgb/{image}.png", np.zeros((32, 64, 3), np.uint8))
    save(path, many)  # 0 is none of them
    assert opened(options, **ALONE).read(1)["instances"].max() == 2047
    save(path, many + 1)
    message = refusal(options | ALONE, index=1)
    assert message.startswith(f"{path}: expected at most 2047 instances in a picture, got 2048;")
    save(path, np.zeros((32, 64, 3), np.uint8) + np.array([1, 2, 3], np.uint8))
    assert f"{path}: expected instances as a grey or palette PNG of up to 16 bits" in refusal(options | ALONE, index=1)
    path.unlink()
    wide = path.with_suffix(".tif")
    Image.fromarray(many.astype(np.int32) * 65536).save(wide)
    assert f"{wide}: expected instances as a grey or palette PNG of up to 16 bits" in refusal(options | ALONE, index=1)


def test_a_folder_that_nobody_described_is_named(tmp_path):
    write_folder(tmp_path / "mine")
    (tmp_path / "mine/dataset.json").unlink()
    done = in_this_process("describe_dataset", f"--data.root={tmp_path}/mine", "--noask")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("instances: ")]
    assert '"tasks": {"instances": {"kind": "instances", "things": ["person", "car"]}}' in line
