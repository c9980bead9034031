"""Classes of a mix: matched by name, by pairs; every refusal; the documented mixes on small official downloads."""

import re

import numpy as np
import pytest

from mtl_tf.config import DataConfig
from mtl_tf.data import descriptors
from mtl_tf.data.mixture import Mixture
from mtl_tf.data.sets import describe_training, open_training
from mtl_tf.data.sets.nyuv2 import NYUV2
from mtl_tf.errors import UsageError
from mtl_tf.tasks import CITYSCAPES_CLASSES, InstanceLabels
from mtl_tf.tasks._matching import Pair, check_pairs, match
from tests.data.official import (
    configured,
    picture,
    pixels,
    save,
    write_camvid,
    write_cityscapes,
    write_kitti,
    write_vkitti2,
)
from tests.helpers import ROOT, described

# === Names ===


def test_names_match_without_case_spaces_underscores_and_hyphens():
    theirs, ours = ("TrafficSign", "traffic_light", "ROAD", "wall", "Misc"), ("road", "traffic sign", "Traffic-Light")
    assert match(theirs, ours) == {"TrafficSign": "traffic sign", "traffic_light": "Traffic-Light", "ROAD": "road"}


def test_the_exact_name_wins():
    assert match(("wall", "door"), ("Wall", "wall", "door")) == {"wall": "wall", "door": "door"}
    assert match(("wall", "Wall"), ("Wall", "wall")) == {"wall": "wall", "Wall": "Wall"}


def test_pairs_come_before_names_and_several_may_be_one():
    pairs = (Pair("van", "car"), Pair("Road", "path"), Pair("none", "car"), Pair("Car", "none"))
    assert match(("Van", "Car", "Road"), ("car", "road", "path"), pairs) == {"Van": "car", "Car": "car", "Road": "path"}


@pytest.mark.parametrize(
    ("theirs", "ours", "pairs", "message"),
    [
        (["wall"], ["Wall", "WALL"], [], r"class wall has several namesakes, 'Wall' or 'WALL' .*mix_classes=wall=Wall"),
        (["Wall", "WALL"], ["wall"], [], r"class Wall has several namesakes, 'Wall' or 'WALL' \(of its classes\)"),
        (["a b", "a_b"], ["c"], [Pair("ab", "c")], r"mix_classes=ab=c: ab may be 'a b' or 'a_b'; write it as one"),
        (["c"], ["a b", "a_b"], [Pair("c", "AB")], r"mix_classes=c=AB: AB may be 'a b' or 'a_b'; write it as one"),
        (["Van"], ["car", "bus"], [Pair("Van", "car"), Pair("van", "bus")], r"=van=bus: Van is car by another pair; "),
    ],
)
def test_what_may_be_several_is_refused(theirs, ours, pairs, message):
    with pytest.raises(UsageError, match=message):
        match(theirs, ours, pairs)


def test_a_pair_resolves_what_is_ambiguous():
    assert match(["Wall", "WALL"], ["wall", "door"], [Pair("WALL", "door")]) == {"Wall": "wall", "WALL": "door"}


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (
            Pair("Pavment", "sidewalk"),
            "data.mix_classes=Pavment=sidewalk: no further data set has a class Pavment; did you",
        ),
        (Pair("Pavement", "side"), "data.name does not have a class side; did you mean sidewalk?"),
        (Pair("xyz", "road"), "no further data set has a class xyz; expected one of Pavement, Tree"),
    ],
)
def test_a_pair_of_a_class_that_is_not_there(pair, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        check_pairs([pair], ("Pavement", "Tree"), ("road", "sidewalk"))


@pytest.mark.parametrize("pair", ["Pavement", "=sidewalk", "Pavement=", " =a"])
def test_what_is_no_pair(pair):
    with pytest.raises(
        UsageError, match=re.escape(f"data.mix_classes takes pairs THEIRS=OURS, separated by commas; got {pair!r}")
    ):
        DataConfig(mix_names=("camvid",), mix_roots=("a",), mix_classes=(pair,))


def test_pairs_without_a_mix():
    with pytest.raises(UsageError, match=r"data\.mix_classes=a=b is about .* data\.mix_names names none"):
        DataConfig(mix_classes=("a=b",))


def test_things_are_counted_by_the_same_names():
    ours = InstanceLabels(things=("car", "person"))
    label = np.array([[0, 1]])
    pairs = (Pair("Pedestrian", "person"),)
    assert ours.adapting(InstanceLabels(things=("Car", "Pedestrian")), "i", "t", "o", pairs).label(label)[0, 0] == 0
    assert ours.adapting(InstanceLabels(things=("Car", "Pedestrian")), "i", "t", "o").label(label)[0, 0] == 65535


# === The documented mixes ===


def mixed(first: dict, further: dict, pairs: str, tasks=("semseg", "depth")):
    """The samples of a mix, opened as training does, and its configuration."""
    of_mix = dict(data__mix_names=(further["data__name"],), data__mix_roots=(further["data__root"],))
    config = configured(first | dict(tasks=tasks), **of_mix, data__mix_classes=pairs)
    source = open_training(config, describe_training(config.data))
    assert isinstance(source, Mixture)
    return source


def documented(first: str, further: str) -> str:
    """The pairs of the command in docs/datasets.md that mixes two data sets."""
    text = (ROOT / "docs/datasets.md").read_text(encoding="utf-8").replace("\\\n", " ")
    (command,) = re.findall(rf"main.py train.*--data.name={first} .*--data.mix_names={further} .*", text)
    return re.search(r"--data.mix_classes=(\S+)", command)[1]


def classes_of(source, index: int, count: int) -> list[str]:
    ids = source.read(index)["semseg"].ravel()[:count]
    return [tuple(CITYSCAPES_CLASSES)[i] if i != 255 else "-" for i in ids]


def lines(source) -> list[str]:
    return source.told([(1, 1, 1.0)] * 2, 2).split("\n")


def test_cityscapes_and_camvid(tmp_path):
    further = write_camvid(tmp_path / "camvid")
    source = mixed(write_cityscapes(tmp_path / "city"), further, documented("cityscapes", "camvid"))
    # Sky, wall (a building), traffic cone (a pole), lane marking (road), void, motorcycle (a bicyclist); others sky.
    assert classes_of(source, 3, 7) == ["sky", "building", "pole", "road", "-", "rider", "sky"]
    assert (source.read(3)["depth"] == 0).all()
    assert classes_of(source, 0, 5) == ["-", "road", "sidewalk", "-", "building"]
    assert lines(source)[1:] == [
        "cityscapes supervises all 19 semseg classes",
        "camvid supervises 11 of 19 semseg classes, all but wall, traffic light, terrain, truck, bus, train, "
        "motorcycle, bicycle",
    ]


def test_kitti_and_virtual_kitti(tmp_path):
    further = write_vkitti2(tmp_path / "virtual", variations=("clone",))
    first = write_kitti(*[tmp_path / "kitti"] * 3)
    tasks = ("semseg", "depth")
    source = mixed(first, further, documented("kitti", "vkitti2"), tasks)
    start = len(source.parts[0])
    assert classes_of(source, start, 5) == ["road", "sky", "car", "-", "terrain"]
    # Centimetres 0, 99 and 100 become metres inside KITTI's range.
    depth = source.read(start)["depth"].ravel()
    assert depth[3] == 25.5 and depth[0] == 0
    told = lines(source)
    assert told[1] == "kitti supervises all 19 semseg classes"
    assert told[2].startswith("vkitti2 supervises 10 of 19 semseg classes, all but sidewalk, wall, fence,")
    assert told[2].endswith("(ignored: its GuardRail, Misc)")


def test_nyuv2_and_a_folder(tmp_path):
    rooms, nyuv2 = tmp_path / "rooms", tmp_path / "nyuv2"
    for name in ("0", "1"):
        save(rooms / f"train/rgb/{name}.png", picture())
        save(rooms / f"train/semseg/{name}.png", pixels([0, 1, 2, 3], np.uint8, 0))
        save(nyuv2 / f"train/rgb/{name}.png", picture())
        save(nyuv2 / f"train/semseg/{name}.png", pixels([0, 12], np.uint8, 255))
        save(nyuv2 / f"train/depth/{name}.png", pixels([1000], np.uint16))
    colours = ((1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4))
    descriptors.write(rooms, described(name="rooms", classes=("Wall", "couch", "armchair", "plant"), palette=colours))
    options = dict(data__name="nyuv2", data__root=str(nyuv2))
    further = dict(data__name="folder", data__root=str(rooms))
    source = mixed(options, further, documented("nyuv2", "folder"))
    ours = NYUV2["semseg"].classes
    ids = source.read(2)["semseg"].ravel()[:4].tolist()
    assert ids == [ours.index("wall"), ours.index("sofa"), ours.index("chair"), 255]
    assert lines(source)[2] == "rooms supervises 3 of 13 semseg classes: chair, sofa, wall (ignored: its plant)"


def test_a_wrong_pair_of_a_mix_is_one_line(tmp_path):
    further = write_camvid(tmp_path / "camvid")
    with pytest.raises(UsageError) as caught:
        mixed(write_cityscapes(tmp_path / "city"), further, "Pavment=sidewalk")
    assert str(caught.value) == (
        "data.mix_classes=Pavment=sidewalk: no further data set has a class Pavment; did you mean Pavement?"
    )
