"""Descriptors: the built-in ones, dataset.json read and written, and the complaint about every fault in it."""

import json

import pytest

from mtl_tf import config as configuration
from mtl_tf.data import descriptors
from mtl_tf.data.sets import describe
from mtl_tf.data.sets.miniscapes import MINISCAPES
from mtl_tf.data.sets.nyuv2 import NYUV2
from mtl_tf.errors import UsageError
from mtl_tf.tasks import Depth, Segmentation, cityscapes_tasks
from tests.helpers import described

VALID = {
    "name": "mine",
    "splits": ["train", "val"],
    "semseg": {"classes": ["road", "car"], "palette": [[128, 64, 128], [0, 0, 142]], "ignore": 255},
    "depth": {
        "encoding": "uint16_scaled",
        "scale": 0.01,
        "minimum": 1,
        "maximum": 80.0,
        "mean": 20,
        "std": 10,
        "log_mean": 2.5,
        "log_std": 0.7,
    },
    "rgb": {"mean": [1, 2, 3], "std": [4, 5, 6]},
}


def config_with(**options):
    return configuration.replace(configuration.Config(), **options)


def put(tmp_path, content):
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "dataset.json").write_text(text)
    return tmp_path


def changed(path, value):
    """The valid content with one value replaced, or removed where it is None."""
    content = json.loads(json.dumps(VALID))
    *above, key = path.split(".")
    node = content
    for part in above:
        node = node[part]
    if value is None:
        del node[key]
    else:
        node[key] = value
    return content


def test_miniscapes_has_the_tasks_of_the_study():
    assert MINISCAPES.tasks(config_with(loss__depth="l2")) == cityscapes_tasks()


def test_nyuv2_tasks():
    semseg, depth = NYUV2.tasks(config_with(loss__depth="l1", loss__depth_space="log"))
    assert len(semseg.classes) == 13 == len(set(semseg.palette))
    assert semseg.classes[0] == "bed" and semseg.classes[12] == "window"
    assert depth == Depth(0.1, 10.0, 2.798, 1.402, 0.914, 0.479, space="log", objective="l1", codec="metres")


def test_tasks_come_in_the_order_of_the_configuration():
    kinds = [type(task) for task in NYUV2.tasks(config_with(tasks=("depth", "semseg")))]
    assert kinds == [Depth, Segmentation]


@pytest.mark.parametrize("name", ["synthetic", "miniscapes", "nyuv2"])
def test_built_in_descriptors_are_found_by_name_without_a_folder(name):
    assert describe(config_with(data__name=name).data).name == name


def test_a_written_descriptor_reads_back(tmp_path):
    for descriptor in (NYUV2, MINISCAPES):
        path = descriptors.write(tmp_path, descriptor)
        assert descriptors.read(tmp_path) == descriptor
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]  # no temporary file is left


def test_every_value_is_read(tmp_path):
    found = describe(config_with(data__name="folder", data__root=str(put(tmp_path, VALID))).data)
    assert found == described(
        name="mine",
        classes=("road", "car"),
        palette=((128, 64, 128), (0, 0, 142)),
        depth_encoding="uint16_scaled",
        depth_scale=0.01,
        depth_minimum=1.0,
        depth_maximum=80.0,
        depth_mean=20.0,
        depth_std=10.0,
        depth_log_mean=2.5,
        depth_log_std=0.7,
        rgb_mean=(1.0, 2.0, 3.0),
        rgb_std=(4.0, 5.0, 6.0),
        splits=("train", "val"),
    )


def test_a_data_set_may_have_one_task_only(tmp_path):
    found = descriptors.read(put(tmp_path, changed("depth", None)))
    assert found.task_names == ("semseg",)
    assert [task.name for task in found.tasks(config_with(tasks=("semseg",)))] == ["semseg"]
    with pytest.raises(UsageError, match="mine has no depth labels; use --tasks=semseg"):
        found.tasks(config_with(tasks=("semseg", "depth")))


def test_tasks_whose_label_maps_may_be_blank(tmp_path):
    found = descriptors.read(put(tmp_path, VALID | {"may_be_blank": ["depth"]}))
    assert found.may_be_blank == ("depth",)
    descriptors.write(tmp_path, found)
    assert descriptors.read(tmp_path) == found
    assert found.of(("semseg",)).may_be_blank == ()
    # It is about the check of a data set, not about what a run is trained on.
    assert found.says_the_same(descriptors.read(put(tmp_path, VALID)), ())


def test_depth_without_statistics_cannot_be_trained(tmp_path):
    found = descriptors.read(put(tmp_path, changed("depth.log_std", None)))
    with pytest.raises(UsageError, match=r"lacks the depth statistics log_std.*dataset_statistics.py --write"):
        found.tasks(config_with())


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("semseg", ["road"], '"semseg" should be an object'),
        ("semseg.classes", None, '"semseg.classes" should be a list of different names; it is missing'),
        ("semseg.classes", ["road", "road"], '"semseg.classes" should be a list of different names'),
        ("semseg.classes", [], '"semseg.classes" should be 1 to 255 names'),
        ("semseg.classes", [1, 2], '"semseg.classes"'),
        ("semseg.palette", [[0, 0, 0]], "one colour for each of the 2 classes; it is 1 colours"),
        ("semseg.palette", [[0, 0, 0], [0, 0, 256]], '"semseg.palette" should be a list of RGB colours'),
        ("semseg.palette", [[0, 0, 0], [0, 0]], '"semseg.palette"'),
        ("semseg.ignore", 1, r'"semseg.ignore" should be a value of no class, 2\.\.255; it is 1'),
        ("semseg.ignore", 256, '"semseg.ignore"'),
        ("semseg.encoding", "colours", '"semseg.encoding" should be one of index, colour; it is "colours"'),
        ("semseg.values", {}, '"semseg.values" should be an object of stored values and names'),
        (
            "semseg.values",
            {"0": "lorry"},
            r'are names of classes \(road, car\), or "ignore"; it is "lorry" for "0": edit',
        ),
        ("semseg.values", {"7": "raod"}, 'it is "raod" for "7" .did you mean road..: edit the file'),
        ("semseg.values", {"00": "road"}, 'whose keys are whole numbers "-128" to "65535", or "other"; it is 00'),
        ("semseg.values", {"65536": "road"}, '"semseg.values"'),
        ("semseg.values", {"1,2,3": "road"}, '"semseg.values"'),
        ("semseg.ignor", 255, 'unknown key "semseg.ignor"; known here: classes, palette, ignore'),
        (
            "depth.encoding",
            "float",
            '"depth.encoding" should be one of inverse_uint8, uint8_scaled, uint16_scaled, uint16_rotated, disp',
        ),
        ("depth.invalid", [65536], r'"depth.invalid" should be a list of stored values, 0\.\.65535; it is 65536'),
        ("depth.invalid", 65535, '"depth.invalid" should be a list of different whole numbers'),
        ("depth.invalid", [-1], '"depth.invalid"'),
        ("depth.scale", 0, '"depth.scale" should be a positive number; it is 0'),
        ("depth.minimum", None, '"depth.minimum" should be a positive number; it is missing'),
        ("depth.maximum", 0.5, r'"depth.maximum" should be more than minimum \(1.0\)'),
        ("depth.mean", "many", '"depth.mean" should be a positive number; it is "many"'),
        ("depth.std", True, '"depth.std"'),
        ("depth.log_mean", [1], '"depth.log_mean" should be a number'),
        ("rgb.mean", [1, 2], '"rgb.mean" should be three numbers'),
        ("rgb.std", [1, 0, 2], '"rgb.std" should be three positive numbers'),
        ("name", "", '"name" should be a text'),
        ("splits", "train", '"splits" should be a list of different names'),
        ("crop_multiple", -1, '"crop_multiple" should be a whole number'),
        ("may_be_blank", "semseg", '"may_be_blank" should be a list of different names'),
        (
            "may_be_blank",
            ["semseg", "lanes"],
            r'"may_be_blank" should be a list of tasks that are described here .semseg, depth',
        ),
        ("sizes", 3, 'unknown key "sizes"'),
    ],
)
def test_every_fault_is_named(tmp_path, path, value, expected):
    root = put(tmp_path, changed(path, value))
    with pytest.raises(UsageError, match=expected) as caught:
        descriptors.read(root)
    assert str(caught.value).startswith(str(root / "dataset.json"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not JSON: line 1, column 2"),
        ("[1]", "the file should be an object"),
        ('{"name": "x"}', '"semseg" or "depth"'),
    ],
)
def test_a_file_that_is_no_descriptor(tmp_path, text, expected):
    with pytest.raises(UsageError, match=expected):
        descriptors.read(put(tmp_path, text))


def test_a_missing_file_says_where_it_is_expected_and_where_there_is_one(tmp_path):
    with pytest.raises(UsageError, match=r"no such file.*--data.name=nyuv2"):
        descriptors.read(tmp_path)
    (tmp_path / "inner").mkdir()
    put(tmp_path / "inner", VALID)
    with pytest.raises(UsageError, match=f"did you mean --data.root={tmp_path / 'inner'}"):
        descriptors.read(tmp_path)
    with pytest.raises(UsageError, match=r"needs --data\.root"):
        describe(config_with(data__name="folder").data)
