"""Instances of the official downloads: which pixels are one, none or unknown, by plain loops over small files."""

import pathlib
import shutil

import numpy as np
import pytest

from mtl_tf.data.cityscapes_ids import TRAIN_CLASSES
from mtl_tf.data.sets import describe
from mtl_tf.tasks import CITYSCAPES_CLASSES
from tests.data.official import (
    arguments,
    configured,
    opened,
    pixels,
    refusal,
    save,
    save_palette,
    write_cityscapes,
    write_vkitti2,
)
from tests.helpers import in_this_process, one_line_error

UNKNOWN = 65535
THINGS = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
ALONE = dict(tasks=("instances",))


def assert_instances(found, expected):
    """Numbers as expected: `UNKNOWN`, 0, or of each other thing its own, all from 1 on.

    Args:
        found: a label map (H, W).
        expected: of each pixel `UNKNOWN`, 0, or what tells its instance.
    """
    assert found.dtype == np.int32 and found.shape == (len(expected), len(expected[0]))
    numbers = {}
    for (row, column), number in np.ndenumerate(found):
        wanted = expected[row][column]
        if wanted in (0, UNKNOWN):
            assert number == wanted, (row, column)
        else:
            assert numbers.setdefault(wanted, number) == number, (row, column)
    assert sorted(numbers.values()) == list(range(1, len(numbers) + 1))


# === Cityscapes ===


@pytest.fixture
def cityscapes(tmp_path):
    names = {"train": ["aachen_000000_000019", "bremen_000000_000019"], "val": ["munster_000000_000019"]}
    return write_cityscapes(tmp_path / "cityscapes", names | {"test": ["berlin_000000_000019"]})


def instance_file(options, name="train/aachen/aachen_000000_000019"):
    return pathlib.Path(options["data__root"]) / f"gtFine/{name}_gtFine_instanceIds.png"


def test_cityscapes_by_hand(cityscapes):
    # void, road, sidewalk, parking, building, vegetation, sky, a person, cars, trailer, bicycle, licence plate; road
    expected = [UNKNOWN, 0, 0, UNKNOWN, 0, 0, 0, 1, UNKNOWN, UNKNOWN, 2, UNKNOWN, *[0] * 12]
    for name, things in (("cityscapes", THINGS), ("cityscapes7", ("human", "vehicle"))):
        options = cityscapes | dict(data__name=name)
        source = opened(options, **ALONE)
        assert source.labelled == {"instances": 2} and source.read(1)["instances"].ravel().tolist() == expected
        descriptor = describe(configured(options).data)
        assert descriptor["instances"].things == things
        assert set(things) <= set(descriptor["semseg"].classes)
        # Nobody who does not ask for them gets them.
        assert opened(options).tasks == ("semseg", "depth")
    assert opened(cityscapes, "test", **ALONE).labelled == {"instances": 0}


def test_cityscapes_by_a_loop(cityscapes):
    """As panoptic scoring of the data set has it."""
    random = np.random.default_rng(0)
    names = {ids[0]: name for ids, name in zip(TRAIN_CLASSES, CITYSCAPES_CLASSES, strict=True)}
    codes = random.choice([*range(34), 24000, 24999, 25007, 26000, 26001, 26255, 29000, 30003, 33512], (4, 6))
    codes = codes.astype(np.uint16)
    save(instance_file(cityscapes), codes)

    def instance(code):
        label, number = (code, None) if code < 1000 else divmod(code, 1000)
        if label not in names:
            return UNKNOWN
        if names[label] not in THINGS:
            return 0
        return UNKNOWN if number is None else (label, number)

    expected = [[instance(int(code)) for code in row] for row in codes]
    assert_instances(opened(cityscapes, **ALONE).read(0)["instances"], expected)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            pixels([12003, 40001], np.uint16, 7),
            "label value 12003 or 40001 (2 pixels, first at row 0, column 0); expected instance ids of City",
        ),
        (
            pixels([34, 999], np.uint16, 7),
            "label value 34 or 999 (2 pixels, first at row 0, column 0); expected instance ids of Cityscapes",
        ),
        (pixels([7, 26], np.uint8, 7), "in a 16-bit grey PNG, got a 8-bit grey picture"),  # labelIds under this name
        (np.full((4, 5), 7, np.uint16), "5x4 pixels, but its image aachen_000000_000019_leftImg8bit.png is 6x4"),
    ],
)
def test_a_wrong_file_of_cityscapes_is_named(cityscapes, content, said):
    path = save(instance_file(cityscapes), content)
    message = refusal(cityscapes | ALONE, index=0)
    assert message.startswith(f"{path}: ") and said in message
    done = in_this_process("check_dataset", *arguments(cityscapes))
    assert said in done.stdout and "1 faults in 1 of 4 samples" in one_line_error(done.returncode, done.stderr)


def test_some_files_or_all_may_lack(cityscapes):
    instance_file(cityscapes).unlink()
    source = opened(cityscapes, tasks=("semseg", "instances"))
    assert source.labelled == {"semseg": 2, "instances": 1} and not source.has("instances", 0)
    assert (source.read(0)["instances"] == UNKNOWN).all() and (source.read(0)["semseg"] == 0).any()
    shutil.rmtree(instance_file(cityscapes).parents[2])
    source = opened(cityscapes, **ALONE)
    assert source.labelled == {"instances": 0} and "unpack gtFine_trainvaltest.zip into" in source.where["instances"]


def test_the_tools_know_them(cityscapes):
    save(instance_file(cityscapes), pixels([24000, 24000, 26001, 26, 7, 0], np.uint16, 7))
    done = in_this_process("check_dataset", *arguments(cityscapes, "--tasks=semseg,instances"))
    assert done.returncode == 0, done.stdout
    assert "train: 2 samples with 2 semseg, 2 instances labels, 0 of them with faults" in done.stdout
    assert "instances: grey of 16 bits, class * 1000 + number" in done.stdout
    assert f"{', '.join(THINGS)} of semseg" in done.stdout
    done = in_this_process("dataset_statistics", *arguments(cityscapes))
    # Three pixels of 22 that are known in the first file, two of 19 in the second.
    assert f"instances: 4 instances, 2.0 a picture, on {100 * 5 / 41:.1f} % of the pixels" in done.stdout


# === Virtual KITTI 2 ===


@pytest.fixture
def vkitti(tmp_path):
    return write_vkitti2(tmp_path / "vkitti", variations=("clone",))


def track_file(tmp_path):
    return tmp_path / "vkitti/Scene01/clone/frames/instanceSegmentation/Camera_0/instancegt_00001.png"


def test_tracks_of_vkitti2(vkitti, tmp_path):
    source = opened(vkitti, **ALONE)
    assert source.labelled == {"instances": 2}
    assert source.read(1)["instances"].ravel().tolist() == [0, 0, 118, 0, 0, 0, 1, *[0] * 17]
    labels = describe(configured(vkitti).data)["instances"]
    assert sorted(labels.things) == ["Car", "Truck", "Van"]
    # Grey is read as well; a colour is no number.
    save(track_file(tmp_path), pixels([3, 255], np.uint8))
    assert source.read(1)["instances"].ravel()[:3].tolist() == [3, 255, 0]
    save(track_file(tmp_path), pixels([(1, 2, 3)], np.uint8))
    assert "expected instances as a grey or palette PNG" in refusal(vkitti | ALONE, index=1)
    save_palette(track_file(tmp_path), np.zeros((3, 6), np.uint8))
    assert f"{track_file(tmp_path)}: 6x3 pixels, but its image" in refusal(vkitti | ALONE, index=1)
    track_file(tmp_path).unlink()
    assert (opened(vkitti, **ALONE).read(1)["instances"] == UNKNOWN).all()
    shutil.rmtree(tmp_path / "vkitti/Scene01/clone/frames/instanceSegmentation")
    where = opened(vkitti, **ALONE).where["instances"]
    assert where == f"unpack vkitti_2.0.3_instanceSegmentation.tar into {tmp_path}/vkitti"
