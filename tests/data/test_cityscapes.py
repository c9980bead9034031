"""Cityscapes as it is downloaded: golden labels and depths, both protocols, partial archives, misplaced folders."""

import json
import shutil

import numpy as np
import pytest

from mtl_tf.data.cityscapes_ids import CATEGORIES, TRAIN_CLASSES, table
from mtl_tf.data.pipeline import TrainingData
from mtl_tf.data.sets import describe, splits_of
from mtl_tf.errors import UsageError
from mtl_tf.tasks import CITYSCAPES_CLASSES
from tests.data.official import (
    configured,
    opened,
    picture,
    pixels,
    refusal,
    save,
    tree,
    write_cityscapes,
    write_cityscapes_parts,
)
from tests.helpers import changed

ROADS = [0] * 12


@pytest.fixture
def options(tmp_path):
    return write_cityscapes(
        tmp_path / "cityscapes",
        {
            "train": ["aachen_000000_000019", "aachen_000010_000019", "bremen_000000_000019"],
            "val": ["munster_000000_000019"],
            "test": ["berlin_000000_000019"],
        },
    )


@pytest.fixture
def root(options, tmp_path):
    return tmp_path / "cityscapes"


def test_samples_in_order_with_labels_and_metres(options, root):
    before = tree(root)
    source = opened(options)
    assert source.ids == ["aachen_000000_000019", "aachen_000010_000019", "bremen_000000_000019"]
    assert source.labelled == {"semseg": 3, "depth": 3}
    sample = source.read(1)
    assert {name: (value.dtype, value.shape) for name, value in sample.items()} == {
        "image": (np.uint8, (4, 6, 3)),
        "semseg": (np.int32, (4, 6)),
        "depth": (np.float32, (4, 6)),
    }
    np.testing.assert_array_equal(sample["image"], picture(1))
    # void, road, sidewalk, parking, building, vegetation, sky, person, car, caravan, bicycle, licence plate
    expected = [255, 0, 1, 255, 2, 8, 10, 11, 13, 255, 18, 255]
    assert sample["semseg"].ravel().tolist() == expected + ROADS
    # 0.25 m * 2048 px / d: code 1 is d = 0, code 257 is d = 1 or 512 m, beyond the range
    metres = [0, 0, 0, 512 / 4, 512 / 100, 512 / 126]
    np.testing.assert_allclose(sample["depth"].ravel(), metres + [0] * 18, rtol=1e-6)
    assert tree(root) == before


def test_seven_classes_and_normalised_disparity(options):
    options |= dict(data__name="cityscapes7")
    sample = opened(options).read(0)
    # void, flat twice, parking, construction, nature, sky, human, vehicle, caravan, vehicle, licence plate
    assert sample["semseg"].ravel().tolist() == [255, 0, 0, 255, 1, 3, 4, 5, 6, 255, 6, 255, *ROADS]
    codes = np.array([0, 1, 257, 1025, 25601, 32257])
    np.testing.assert_allclose(sample["depth"].ravel()[:6], codes / 65535, rtol=1e-6)
    assert (sample["depth"].ravel()[6:] == 0).all()
    descriptor = describe(configured(options).data)
    assert descriptor["semseg"].classes == (
        "flat",
        "construction",
        "object",
        "nature",
        "sky",
        "human",
        "vehicle",
    )
    assert descriptor["depth"].unit == "normalised_disparity"


def test_normalised_disparity_needs_no_cameras(options, root):
    shutil.rmtree(root / "camera")
    assert opened(options | dict(data__name="cityscapes7")).read(0)["depth"].max() > 0.49
    assert "unpack camera_trainvaltest.zip there" in refusal(options)
    assert opened(options, tasks=("semseg",)).labelled == {"semseg": 3}


def test_every_label_id_of_the_official_table():
    official = {7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light"}
    official |= {20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car"}
    official |= {27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle"}
    names = list(CITYSCAPES_CLASSES)
    found = table(TRAIN_CLASSES)
    assert {number: names[found[number]] for number in range(34) if found[number] != 255} == official
    assert (found[34:255] == -1).all() and found[255] == 255
    # every scored class is in one category
    assert sorted(number for ids in CATEGORIES.values() for number in ids) == sorted(official)


def test_the_test_split_has_no_classes(options):
    source = opened(options, "test")
    assert source.labelled == {"semseg": 0, "depth": 1}
    sample = source.read(0)
    assert (sample["semseg"] == 255).all() and sample["depth"].max() == 128
    assert splits_of(configured(options).data) == ["train", "val", "test"]


def test_partial_labels(options, root):
    (root / "gtFine/train/bremen/bremen_000000_000019_gtFine_labelIds.png").unlink()
    (root / "disparity/train/aachen/aachen_000000_000019_disparity.png").unlink()
    source = opened(options)
    assert source.labelled == {"semseg": 2, "depth": 2}
    assert (source.read(2)["semseg"] == 255).all() and (source.read(2)["depth"] > 0).any()
    assert (source.read(0)["depth"] == 0).all() and (source.read(0)["semseg"] == 0).any()


@pytest.mark.parametrize(
    ("folder", "task", "archive"),
    [("gtFine", "semseg", "gtFine_trainvaltest.zip"), ("disparity", "depth", "disparity_trainvaltest.zip")],
)
def test_training_a_task_whose_archive_is_missing_says_what_to_fetch(options, root, folder, task, archive):
    shutil.rmtree(root / folder)
    config = configured(options, train__batch_size=1, data__image_size=(8, 8))
    descriptor = describe(config.data)
    source = opened(options)
    assert source.labelled[task] == 0
    with pytest.raises(UsageError, match=f"no sample of split train has a {task} label.*unpack {archive}.*{root}"):
        TrainingData(source, config, descriptor)


def test_archives_unpacked_side_by_side(options, root, tmp_path):
    apart = tmp_path / "apart"
    for part in ("leftImg8bit", "gtFine", "disparity", "camera"):
        (apart / f"{part}_trainvaltest").mkdir(parents=True)
        shutil.move(root / part, apart / f"{part}_trainvaltest" / part)
    shutil.copytree(apart, root, dirs_exist_ok=True)
    source = opened(options)
    assert source.labelled == {"semseg": 3, "depth": 3}
    assert source.read(0)["depth"].max() == 128


@pytest.mark.parametrize("below", ["leftImg8bit", "leftImg8bit/train", "leftImg8bit/train/aachen", "gtFine/val"])
def test_a_root_too_low(options, root, below):
    message = refusal(options, data__root=str(root / below))
    assert message.endswith(f"did you mean --data.root={root}?")


def test_a_root_too_high(options, root, tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    shutil.move(root, tmp_path / "a/b/cityscapes")
    message = refusal(options, data__root=str(tmp_path / "a"))
    assert message.endswith(f"did you mean --data.root={tmp_path}/a/b?")
    assert len(opened(options, data__root=str(tmp_path / "a/b"))) == 3


def test_what_is_not_there(options, root, tmp_path):
    empty = tmp_path / "other/empty"
    empty.mkdir(parents=True)
    shutil.rmtree(root / "gtFine")
    shutil.move(root, tmp_path / "elsewhere")
    message = refusal(options, data__root=str(empty))
    assert "unpack leftImg8bit_trainvaltest.zip there" in message and "it has nothing" in message
    assert "has no split 'vall' in leftImg8bit; it has train, val, test" in refusal(
        options, "vall", data__root=str(tmp_path / "elsewhere")
    )
    assert "needs --data.root" in refusal(options, data__root="")


def test_damaged_files_are_named(options, root):
    label = root / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"
    save(label, pixels([7, 34, 99], np.uint8, 7))
    assert (
        f"{label}: label value 34 or 99 (2 pixels, first at row 0, column 1); expected label ids of Cityscapes, 0..33"
        == refusal(options, index=0)
    )
    save(label, picture())
    assert f"{label}: expected label ids" in refusal(options, index=0)
    disparity = root / "disparity/train/aachen/aachen_000010_000019_disparity.png"
    save(disparity, pixels([1], np.uint8))
    assert f"{disparity}: expected disparity in a 16-bit grey PNG" in refusal(options, index=1)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not a UTF-8 text"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "extrinsic.baseline should be a positive number; it is missing"),
        (json.dumps({"extrinsic": {"baseline": 0.2}, "intrinsic": {"fx": 0}}).encode(), "intrinsic.fx should be"),
        (json.dumps({"extrinsic": {"baseline": True}}).encode(), "extrinsic.baseline should be"),
        (b'{"extrinsic": {"baseline": NaN}}', "has NaN, which is no number"),
        (b'{"extrinsic": {"baseline": 1' + b"0" * 400 + b"}}", "has a whole number of more than 64 bits"),
    ],
)
def test_a_damaged_camera_is_named(options, root, content, expected):
    path = root / "camera/train/aachen/aachen_000000_000019_camera.json"
    path.write_bytes(content)
    message = refusal(options, index=0)
    assert message.startswith(f"{path}: ") and expected in message
    path.unlink()
    assert "its camera file, by which it becomes metres, is missing" in refusal(options, index=0)


def test_depth_statistics_are_measured_not_guessed(options):
    for name in ("cityscapes", "cityscapes7"):
        config = configured(options, data__name=name)
        descriptor = describe(config.data)
        assert descriptor.lacks_statistics
        with pytest.raises(UsageError, match=r"lacks the depth statistics.*dataset_statistics.py.*--data.statistics"):
            descriptor.tasks(config)


def test_zooming_metres_does_not_fit_disparity(options):
    config = configured(options, data__name="cityscapes7", augment__zoom_depth=True)
    measured = dict(depth_mean=0.1, depth_std=0.1, depth_log_mean=-2.0, depth_log_std=1.0)
    with pytest.raises(UsageError, match=r"augment.zoom_depth scales metres"):
        changed(describe(config.data), **measured).tasks(config)


def test_a_remote_folder(options, root):
    from tensorflow.io import gfile

    for path, content in tree(root).items():
        remote = path.replace(str(root), "ram://bucket/cityscapes")
        gfile.makedirs(remote.rpartition("/")[0])
        with gfile.GFile(remote, "wb") as file:
            file.write(content)
    remote = options | dict(data__root="ram://bucket/cityscapes")
    source, local = opened(remote), opened(options)
    assert source.ids == local.ids and source.labelled == local.labelled
    for name, value in source.read(2).items():
        np.testing.assert_array_equal(value, local.read(2)[name])
    message = refusal(remote, data__root="ram://bucket/cityscapes/gtFine")
    assert message.endswith("did you mean --data.root=ram://bucket/cityscapes?")


def test_labels_of_other_cities(options, root):
    shutil.rmtree(root / "leftImg8bit/train/aachen")
    shutil.rmtree(root / "gtFine/train/bremen")
    message = refusal(options)
    assert message.startswith(f"{root}/gtFine/train/aachen: none of its files belongs to an image: the first image is ")
    assert message.endswith(f"unpack gtFine_trainvaltest.zip into {root} again, whole")


def test_parts_of_people_and_vehicles(options, root):
    parts = options | dict(tasks=("semseg", "parts"))
    assert opened(parts).labelled == {"semseg": 3, "parts": 0}
    assert opened(parts).where["parts"] == f"unpack gtFinePanopticParts_trainval.zip into {root}"
    write_cityscapes_parts(root)
    source = opened(parts)
    assert source.labelled == {"semseg": 3, "parts": 3}
    # void, 99, an instance without parts; torso and head of people, arms (of a rider), legs (of one); windows, wheels,
    # lights, plate, chassis; part 6 of a car, a bicycle, and part 5 of a person are none
    expected = [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0]
    assert source.read(0)["parts"].ravel().tolist() == expected + [0] * 9
    assert describe(configured(options).data)["parts"].classes == (
        *("no part", "torso", "head", "arms", "legs", "windows", "wheels", "lights", "plate", "chassis"),
    )
    # Who names no tasks gets those that there were before.
    assert opened(options).labelled == {"semseg": 3, "depth": 3}


def test_ids_that_are_none_of_panoptic_parts(options, root):
    write_cityscapes_parts(root)
    parts = options | dict(tasks=("parts",))
    path = root / "gtFinePanopticParts/train/aachen/aachen_000000_000019_gtFinePanopticParts.tif"
    save(path, pixels([-1, 100, 999, 10_000_000], np.int32))
    assert f"{path}: -1, 100, 999 is no id of panoptic parts" in refusal(parts, index=0)
    save(path, pixels([7], np.uint8))
    assert f"{path}: expected ids of panoptic parts in a 32-bit TIFF, got a 8-bit grey picture" in refusal(
        parts, index=0
    )
