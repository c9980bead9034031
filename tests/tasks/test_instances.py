"""Instances: targets, grouping and panoptic quality against golden values, brute force and by hand; files of ids."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mtl_tf import outlines, panoptic
from mtl_tf.config import AugmentConfig
from mtl_tf.data import descriptors
from mtl_tf.data.pasting import paste
from mtl_tf.errors import UsageError
from mtl_tf.tasks import InstanceLabels, Instances, Segmentation, answers
from tests.tasks.battery import loss_of, scores_of

UNKNOWN = 65535
CLASSES = ("road", "sky", "car", "person")
SEGMENTATION = Segmentation(CLASSES, ((1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4)))
PANOPTIC = Instances(sigma=1.0, thing_names=("car", "person")).beside([SEGMENTATION])


def coded(labels):
    """class * 1000 + number as `panoptic.matches` takes it."""
    labels = np.asarray(labels, np.int32)
    return tf.constant(np.where(labels >= panoptic.VOID, -1, labels // 1000 * 2**16 + labels % 1000))


def quality(truth, answer, classes):
    sums = panoptic.matches(coded(truth)[None], coded(answer)[None], classes).numpy()[0]
    return panoptic.quality(sums)


def rectangles(height, width, boxes):
    """Ids 1, 2, ... of boxes (top, left, bottom, right)."""
    ids = np.zeros((height, width), np.int32)
    for number, (top, left, bottom, right) in enumerate(boxes, 1):
        ids[top:bottom, left:right] = number
    return ids


# === Targets ===


def test_targets_equal_the_golden_values(shared):
    labels = np.load(shared / "goldens/metric_inputs.npz")["panoptic_target"]
    things = (labels >= 11000) & (labels < panoptic.VOID)
    every, ids = np.unique(np.where(things, labels, 0), return_inverse=True)
    assert every.tolist() == [0, 11001, 11002, 13003, 13004]
    heat, ways = (each.numpy()[0] for each in panoptic.targets(ids.reshape(1, *labels.shape).astype(np.int32), 8.0))
    assert heat.sum() == pytest.approx(1199.5014206560058, rel=1e-6)
    assert heat[20, 40] == pytest.approx(0.4040365236633421, rel=1e-6)
    assert [tuple(place) for place in np.argwhere(heat == 1)] == [(12, 50), (24, 30), (30, 14), (32, 44)]
    np.testing.assert_array_equal(np.abs(ways).sum((0, 1)), [1944, 1944])


def brute_targets(ids, sigma):
    heat, ways = np.zeros(ids.shape), np.zeros((*ids.shape, 2))
    rows, columns = np.mgrid[: ids.shape[0], : ids.shape[1]]
    radius = int(3 * sigma + 1)
    for number in np.unique(ids[ids > 0]):
        y, x = (np.round(place[ids == number].mean()) for place in (rows, columns))
        near = (abs(rows - y) <= radius) & (abs(columns - x) <= radius)
        heat = np.maximum(heat, near * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2)))
        ways[ids == number] = np.stack([y - rows, x - columns], -1)[ids == number]
    return heat, ways


@pytest.mark.parametrize("sigma", [1.0, 2.6])
def test_targets_are_those_of_brute_force(sigma):
    random = np.random.default_rng(4)
    boxes = [(y, x, y + h, x + w) for y, x, h, w in random.integers(1, 12, (9, 4)) * [2, 5, 1, 2]]
    ids = np.stack([rectangles(30, 70, boxes), rectangles(30, 70, boxes[:3])])
    ids[0, :5] = 4095  # a number without neighbours
    heat, ways = panoptic.targets(ids, sigma)
    for image in range(2):
        expected = brute_targets(ids[image], sigma)
        np.testing.assert_allclose(heat[image], expected[0], atol=1e-6)
        np.testing.assert_array_equal(ways[image], expected[1])


def test_the_centre_of_a_large_instance_is_exact():
    """Whose sum of columns is more than 32 bits hold."""
    ids = np.zeros((1, 1400, 2200), np.int32)
    ids[:, :, :2197] = 7
    heat, _ = panoptic.targets(ids, 1.0)
    assert np.argwhere(heat[0] == 1).tolist() == [[700, 1098]]  # 699.5 goes to the even one


@pytest.mark.parametrize("jit", [False, True])
def test_the_loss_is_the_same_in_a_graph_and_compiled(jit):
    ids = np.where(np.random.default_rng(0).random((2, 8, 9)) < 0.2, UNKNOWN, rectangles(8, 9, [(0, 0, 4, 5)]))
    raw = np.random.default_rng(1).normal(0, 1, (2, 8, 9, 4)).astype(np.float32)
    traced = tf.function(Instances(sigma=1.0).loss, jit_compile=jit, autograph=False)
    for one, other in zip(traced(raw, ids.astype(np.int32)), loss_of(Instances(sigma=1.0), raw, ids), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_the_loss_by_hand():
    """Four pixels: an instance of two, nothing, and one that is not known."""
    target = np.array([[[3, 3, 0, UNKNOWN]]], np.int32)
    raw = np.zeros((1, 1, 4, 4), np.float32)
    raw[..., 1:3] = 0.25  # of four pixels
    raw[0, 0, 3] = 99
    task = Instances(sigma=1.0, centre_weight=200.0, offset_weight=0.01)
    # The centre, 0.5, is rounded to 0: the heat falls to the right. The ways are (0, 0) and (0, -1).
    heat = np.exp(-np.array([0, 1, 4]) / 2)
    expected = 200 * (heat**2).sum(), 0.01 * (1 + 1 + 1 + 2), 3 * np.log(2)
    total, count = loss_of(task, raw, target)
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    assert count.tolist() == [3, 2, 3]
    assert loss_of(PANOPTIC, raw[..., :3], target)[1].tolist() == [3, 2]


# === Answers ===


def head_of(ids, sigma=1.0):
    heat, ways = panoptic.targets(ids, sigma)
    logits = np.where(ids > 0, 9.0, -9.0)[..., None]
    return np.concatenate([10 * heat[..., None], ways / (4 * sigma), logits], -1).astype(np.float32)


def renumbered(ids):
    """1, 2, ... in the order of the rows and columns where numbers begin."""
    found = {0: 0}
    return np.vectorize(lambda number: found.setdefault(number, len(found)))(ids)


def test_the_head_of_a_map_gives_it_back():
    ids = rectangles(24, 40, [(1, 1, 9, 12), (2, 20, 12, 38), (14, 4, 22, 16), (13, 20, 23, 38)])[None]
    np.testing.assert_array_equal(Instances(sigma=1.0).decode(head_of(ids)), ids)


@pytest.mark.parametrize("factor", [(3, 3), (2, 4)])
def test_answers_of_another_size_are_those_of_the_head_enlarged(factor):
    ids = rectangles(24, 40, [(1, 1, 9, 12), (2, 20, 12, 38), (14, 4, 22, 16), (13, 20, 23, 38)])
    task = Instances(sigma=1.0)
    size = 24 * factor[0], 40 * factor[1]
    found = answers([task], {task.name: tf.constant(head_of(ids[None]))}, size)[task.name].numpy()[0]
    expected = np.kron(ids, np.ones(factor, int))
    assert found.shape == size and (found != expected).mean() < 0.06  # between pixels all is interpolated
    inside = np.kron(ids * ~outlines.edges(ids), np.ones(factor, int)) > 0
    np.testing.assert_array_equal(found[inside], expected[inside])


def test_a_flat_peak_is_one_centre():
    heat = np.zeros((1, 9, 12), np.float32)
    heat[0, 3:5, 4:6] = 0.8
    heat[0, 4, 10] = 0.8
    heat[0, 8, 0] = 0.09  # too cold
    centres, there = panoptic.peaks(heat, 1.0)
    assert centres.numpy()[there.numpy()].tolist() == [[3, 4], [4, 10]]


def test_no_centre_is_no_instance():
    raw = np.zeros((1, 5, 6, 4), np.float32)
    raw[..., 3] = 5
    assert (Instances(sigma=1.0).decode(raw).numpy() == 0).all()


def test_a_panoptic_map_by_hand():
    """Class of an instance: the most votes. Stuff that is too small, and things without a centre, are void."""
    semantic = np.full((1, 6, 10), 0)
    semantic[0, :, 5:] = 2
    semantic[0, 0, 5:7] = 3  # few votes for a person
    semantic[0, 5, 0] = 1  # a little sky
    numbers = np.where(semantic >= 2, 1, 0).astype(np.int32)
    found = panoptic.merged(semantic.astype(np.int32), numbers, PANOPTIC.is_thing, 0.05).numpy()[0]
    expected = np.where(semantic[0] >= 2, 2001, 0)
    expected[5, 0] = panoptic.VOID
    np.testing.assert_array_equal(found, expected)
    without = panoptic.merged(semantic.astype(np.int32), 0 * numbers, PANOPTIC.is_thing, 0.0).numpy()[0]
    np.testing.assert_array_equal(without, np.where(semantic[0] >= 2, panoptic.VOID, 1000 * semantic[0]))


def scene():
    """Labels of both tasks, and the heads that answer them."""
    ids = rectangles(24, 40, [(1, 1, 9, 12), (2, 20, 12, 38), (14, 4, 22, 16)])[None]
    semantic = np.where(ids == 2, 3, np.where(ids > 0, 2, np.arange(24)[None, :, None] < 12)).astype(np.int32)
    raws = {"semseg": tf.one_hot(semantic, 4) * 9.0, "instances": tf.constant(head_of(ids)[..., :3])}
    return ids, semantic, raws


def measured(raws, **labels):
    return {name: value.numpy()[0] for name, value in PANOPTIC.measured(raws, labels).items()}


def test_the_truth_has_a_panoptic_quality_of_100():
    ids, semantic, raws = scene()
    answer = PANOPTIC.answers(raws)["instances"].numpy()
    np.testing.assert_array_equal(answer, 1000 * semantic + np.where(ids > 0, ids, 0))
    sums = {
        name: value.numpy()[0]
        for name, value in PANOPTIC.measured(raws, {"semseg": semantic, "instances": ids}).items()
    }
    found = PANOPTIC.scores(sums)
    assert found.pop("pq_of") == dict.fromkeys(CLASSES, 100)
    assert found == dict.fromkeys((metric.name for metric in PANOPTIC.metrics), 100)
    ids = np.where(ids == 1, UNKNOWN, ids).astype(
        np.int32
    )  # a crowd: what is answered there is neither right nor wrong
    sums = {
        name: value.numpy()[0]
        for name, value in PANOPTIC.measured(raws, {"semseg": semantic, "instances": ids}).items()
    }
    assert sums["panoptic"].sum(0).tolist() == [4, 4, 0, 0] and sums["any"].tolist() == [2, 2, 0, 0]


def test_things_are_classes_of_the_segmentation():
    with pytest.raises(UsageError, match="instances: lorry is no class of semseg; name some of its classes: road, sky"):
        Instances(thing_names=("lorry",)).beside([SEGMENTATION])
    alone = Instances(thing_names=("car",))
    assert alone.beside([alone]) == alone and alone.channels == 4 and PANOPTIC.channels == 3
    assert alone.remark.endswith("no panoptic map: semseg is not trained beside them") and PANOPTIC.remark == ""
    assert Instances().remark.endswith("no panoptic map: the data set names no things")
    assert [metric.name for metric in alone.metrics] == ["pq_any_class"] and PANOPTIC.headline == "instances.pq"


# === Panoptic quality ===


def test_the_quality_equals_the_golden_values(shared):
    inputs = np.load(shared / "goldens/metric_inputs.npz")
    pq, sq, rq, there = quality(inputs["panoptic_target"], inputs["panoptic_prediction"], 19)
    assert np.flatnonzero(there).tolist() == [0, 2, 11, 13]
    assert pq[there] == pytest.approx([88.96952104499275, 97.36842105263158, 63.28022361984627, 28.70967742], rel=1e-6)
    assert pq[there].mean() == pytest.approx(69.58196078420636, rel=1e-6)
    assert sq[there].mean() == pytest.approx(84.30310379270482, rel=1e-6) and rq[there].mean() == pytest.approx(80)


def test_the_quality_by_hand():
    """Of class 1: a hit of IoU 3/4; a miss of IoU 1/2; a false one; one that is mostly void and not counted."""
    truth = [[1001] * 4, [1002] * 2 + [0] * 2, [0] * 4, [panoptic.VOID] * 3 + [0]]
    answer = [[1005] * 3 + [0], [1006] + [0] * 3, [1007] + [0] * 3, [1008] * 4]
    pq, sq, rq, there = quality(truth, answer, 2)
    assert (sq[1], rq[1], pq[1]) == pytest.approx((75, 100 / (1 + 0.5 * (2 + 1)), 75 / 2.5))
    assert there.all()


def test_pixels_that_are_void_in_the_truth_do_not_count_in_the_union():
    truth = [[1001, 1001, panoptic.VOID, panoptic.VOID]]
    assert quality(truth, [[1001] * 3 + [0]], 2)[0][1] == 100


def test_scores_of_any_class_by_hand():
    """The second instance is not found; a false one is answered."""
    target = rectangles(20, 30, [(1, 1, 9, 9), (1, 20, 9, 28)])[None]
    answered = rectangles(20, 30, [(1, 1, 9, 9), (11, 20, 19, 28)])[None]
    found = scores_of(Instances(sigma=1.0), head_of(answered), target)
    assert found == {"pq_any_class": pytest.approx(100 / 2)}


# === Labels ===


def written(folder, pixels):
    path = str(folder / "0.png")
    Image.fromarray(pixels).save(path)
    return path


def test_numbers_are_read_in_every_encoding(tmp_path):
    labels = InstanceLabels(ignore=9)
    np.testing.assert_array_equal(labels.read(written(tmp_path, np.uint8([[0, 1, 9, 4]]))), [[0, 1, UNKNOWN, 4]])
    labels = InstanceLabels("class_1000", ignore=65535)
    pixels = np.uint16([[7, 26000, 26001, 24000, 65535, 999]])
    np.testing.assert_array_equal(labels.read(written(tmp_path, pixels)), [[0, 2, 3, 1, UNKNOWN, 0]])
    labels = InstanceLabels("rgb24")
    pixels = np.uint8([[[0, 0, 0], [1, 2, 3], [0, 0, 1], [1, 0, 0]]])
    np.testing.assert_array_equal(labels.read(written(tmp_path, pixels)), [[0, 3, 2, 1]])


def test_too_many_instances_are_refused(tmp_path):
    path = written(tmp_path, np.arange(50 * 50, dtype=np.uint16).reshape(50, 50))
    with pytest.raises(UsageError, match="expected at most 2047 instances in a picture, got 2499; check the encoding"):
        InstanceLabels().read(path)


def test_numbers_beyond_16_bits_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 70000, np.int32)).save(tmp_path / "0.tif")
    with pytest.raises(UsageError, match=r"whole numbers 0\.\.65535, got 70000 \(16 pixels, first at"):
        InstanceLabels().read(str(tmp_path / "0.tif"))
    with pytest.raises(UsageError, match="got a RGB picture"):
        InstanceLabels().read(written(tmp_path, np.random.default_rng(0).integers(0, 9, (4, 4, 3), np.uint8)))


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"things": ["car"], "segmentation": "lanes"}, '"tasks.instances.segmentation" should be the name of a task'),
        ({"things": ["lorry"]}, '"tasks.instances.things" should be classes of semseg; it is lorry'),
        ({"encoding": "rgb"}, '"tasks.instances.encoding" should be one of ids, rgb24, class_1000'),
        ({"ignore": 0}, '"tasks.instances.ignore" should be a number other than 0'),
    ],
)
def test_a_wrong_section_is_told_in_one_line(tmp_path, section, told):
    semseg = {"classes": ["road", "car"], "palette": [[1, 1, 1], [2, 2, 2]]}
    content = {"semseg": semseg, "tasks": {"instances": {"kind": "instances", **section}}}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(UsageError) as error:
        descriptors.read(tmp_path)
    assert told in str(error.value) and "\n" not in str(error.value)


def test_pasted_instances_keep_apart():
    """Both pictures number theirs from 1."""
    ids = np.stack([rectangles(8, 8, [(0, 0, 8, 3), (0, 5, 8, 8)])] * 2)
    ids[1, 7] = UNKNOWN
    batch = {"image": tf.zeros((2, 8, 8, 3)), "instances": tf.constant(ids)}
    config = AugmentConfig(cutmix=1.0, cutmix_area=(0.5, 0.5))
    found = paste(batch, tf.constant([1, 2]), config, {"instances": InstanceLabels()})["instances"].numpy()
    for image in range(2):
        assert set(np.unique(found[image])) <= {0, 1, 2, 2049, 2050, UNKNOWN}
        assert {1, 2049} & set(np.unique(found[image])) == {1, 2049} or {2, 2050} <= set(np.unique(found[image]))


def test_masks_of_one_number_are_suspicious():
    labels = InstanceLabels()
    one, two = rectangles(4, 6, [(0, 0, 2, 2)]), rectangles(4, 6, [(0, 0, 2, 2), (2, 3, 4, 6)])
    for maps, told in (
        ([one, one], "no more than one instance"),
        ([one, two], None),
        ([0 * one] * 2, "no instance in"),
    ):
        seen = {"files": len(maps)}
        for label in maps:
            seen |= {name: seen.get(name, 0) + value for name, value in labels.seen("a.png", label).items()}
        found = list(labels.suspicions("instances", seen, None))
        assert (len(found) == 1 and told in found[0]) if told else found == []


def test_statistics_count_instances():
    labels, total = InstanceLabels(), {}
    for label in (rectangles(4, 6, [(0, 0, 2, 2), (2, 3, 4, 6)]), np.full((4, 6), UNKNOWN), rectangles(4, 6, [])):
        for name, value in labels.sums(label).items():
            total[name] = total.get(name, 0) + value
    assert labels.figures(total) == {"pixels": 48, "pictures": 2, "instances": 2, "covered": pytest.approx(1000 / 48)}
    assert labels.listed("it", total) == ["", "it: 2 instances, 1.0 a picture, on 20.8 % of the pixels"]


# === Files ===


def test_the_files_of_a_panoptic_answer():
    _, semantic, raws = scene()
    answer = PANOPTIC.answers(raws)["instances"].numpy()[0]
    number, picture, codes = (file.pixels for file in PANOPTIC.files(np.full((24, 40, 3), 90, np.uint8), answer))
    assert PANOPTIC.folders == ("instances", "instances_outlined", "instances_panoptic")
    np.testing.assert_array_equal(number, answer % 1000)
    np.testing.assert_array_equal(codes.astype(int) @ [1, 256, 65536], answer)
    assert (picture[answer % 1000 == 0] == 90).all() and (picture[1, 1:12] == 255).all()
    page = PANOPTIC.page_map(answer)["pixels"].astype(int)
    np.testing.assert_array_equal(page[..., 0], semantic[0])
    np.testing.assert_array_equal(page[..., 1:] @ [256, 1], number)
