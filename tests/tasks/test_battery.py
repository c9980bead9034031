"""What every kind of task has to do, on one small example of each."""

import json

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.config import AugmentConfig
from mtl_tf.data import descriptors
from mtl_tf.data.sets.packed import pack_pixels, unpack_pixels
from mtl_tf.inference.described import tasks_from_json, tasks_to_json
from mtl_tf.pictures import write_png
from mtl_tf.storage.windows import Part, Window, cut
from mtl_tf.tasks import KINDS, Move
from tests.helpers import TWO_LABELS
from tests.tasks.battery import EXAMPLES, loss_of, scores_of, statistics_of

SIZE = (7, 8)
every_kind = pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())


def test_every_kind_has_an_example():
    assert set(KINDS) == {example.task.kind for example in EXAMPLES.values()}
    for kind, labels in KINDS.items():
        assert (kind, kind) == (labels.kind, labels.task_type.kind)


@every_kind
def test_the_example_is_of_one_kind(example):
    raw, target = example.batch()
    assert target.shape == (5, *SIZE, *example.labels.shape) and target.dtype == example.labels.dtype
    assert raw.shape == (5, *SIZE, example.task.channels)
    assert type(example.task) is example.labels.task_type
    np.testing.assert_array_equal(example.task.valid(target), example.labelled(target).reshape(5, *SIZE))


# === Losses ===


@every_kind
@pytest.mark.parametrize("mask", ["none", "one", "all"])
@pytest.mark.parametrize("size", [0.0, 1e-20, 1.0, 1e6])
def test_gradients_are_finite_for_every_mask(example, mask, size):
    raw, target = example.batch()
    image = {"none": 1, "one": 2, "all": 3}[mask]
    raw, target = tf.constant(size * raw[[image]]), target[[image]]
    with tf.GradientTape() as tape:
        tape.watch(raw)
        total, count = map(tf.reduce_sum, example.task.loss(raw, tf.constant(target)))
    gradient = tape.gradient(total, raw).numpy()
    assert np.isfinite(total) and np.isfinite(gradient).all()
    assert (count == 0) == (mask == "none")
    assert (gradient[~np.asarray(example.task.valid(target))] == 0).all()
    if mask == "none":
        assert total == 0
    elif mask == "all" and size == 1:
        moved = np.abs(gradient[np.asarray(example.task.valid(target))]).max(-1) > 0
        assert moved.all() if example.every_pixel else moved.any()


@every_kind
@pytest.mark.parametrize("cut_at", [1, 3])
def test_losses_of_parts_of_a_batch_add_up(example, cut_at):
    raw, target = example.batch()
    total, count = loss_of(example.task, raw, target)
    parts = loss_of(example.task, raw[:cut_at], target[:cut_at]), loss_of(example.task, raw[cut_at:], target[cut_at:])
    np.testing.assert_array_equal(sum(part[1] for part in parts), count)
    np.testing.assert_array_equal(np.atleast_1d(example.task.count(tf.constant(target))), count)
    assert (count > 0).all()
    assert sum(part[0] for part in parts) == pytest.approx(total, rel=1e-6)


@every_kind
def test_a_perfect_head_costs_less(example):
    raw, target = example.batch()
    total, _ = loss_of(example.task, example.raw_of(target), target)
    assert total == pytest.approx(np.zeros_like(total), abs=1e-4)
    assert (loss_of(example.task, raw, target)[0] > 0.1).all()


# === Scores ===


@every_kind
def test_statistics_are_per_image_whatever_the_batch(example):
    raw, target = example.batch()
    whole = statistics_of(example.task, raw, target)
    for name, value in whole.items():
        assert value.dtype == np.float64 and len(value) == len(target), name
    for index in range(len(target)):
        alone = statistics_of(example.task, raw[index : index + 1], target[index : index + 1])
        for name, value in whole.items():
            np.testing.assert_allclose(alone[name][0], value[index], rtol=1e-12, err_msg=name)


@every_kind
@pytest.mark.parametrize("cuts", [(1,), (2, 4), (1, 2, 3, 4)])
def test_any_split_into_batches_gives_the_same_scores(example, cuts):
    raw, target = example.batch()
    total = {}
    for part, truth in zip(np.split(raw, cuts), np.split(target, cuts), strict=True):
        for name, value in statistics_of(example.task, part, truth).items():
            total[name] = total.get(name, 0) + value.sum(0)
    found = example.task.scores(total)
    found |= found.pop("iou", {})
    assert found == pytest.approx(scores_of(example.task, raw, target), rel=1e-12)


@every_kind
def test_all_is_the_same_inside_a_graph(example):
    """Also of a size that is not known before, and of a head of 16 bits."""
    task, (raw, target) = example.task, example.batch()
    raw = tf.cast(raw, tf.bfloat16)

    def everything(raw, target):
        return task.answers({task.name: raw}), task.loss(tf.cast(raw, tf.float32), target), task.measure(raw, target)

    signature = [tf.TensorSpec((None,) * 4, tf.bfloat16), tf.TensorSpec((None,) * target.ndim, target.dtype)]
    traced = tf.function(everything, input_signature=signature, autograph=False)(raw, tf.constant(target))
    eager = everything(raw, tf.constant(target))
    tf.nest.assert_same_structure(traced, eager)
    for one, other in zip(tf.nest.flatten(traced), tf.nest.flatten(eager), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert traced[0][task.name].shape[1:3] == SIZE


@every_kind
def test_a_perfect_answer_scores_best(example):
    raw, target = example.batch()
    found, worse = (scores_of(example.task, head, target) for head in (example.raw_of(target), raw))
    directed = [metric for metric in example.task.metrics if metric.higher is not None]
    assert directed and directed[0] == example.task.metrics[0]
    for metric in directed:
        assert found[metric.name] == pytest.approx(100 if metric.higher else 0, abs=1e-3), metric.name
        assert metric.gain(found[metric.name]) > metric.gain(worse[metric.name]), metric.name


@every_kind
def test_nothing_labelled_has_no_scores(example):
    raw, target = example.batch()
    assert set(scores_of(example.task, raw[1:2], target[1:2]).values()) == {None}


@every_kind
def test_pixels_without_a_label_change_nothing(example):
    raw, target = example.batch()
    other = np.where(np.asarray(example.task.valid(target))[..., None], raw, -raw[:, ::-1])
    assert (other != raw).any()
    np.testing.assert_array_equal(loss_of(example.task, other, target), loss_of(example.task, raw, target))
    if not example.pointwise:
        return  # a centre may be where there is no label
    for name, value in statistics_of(example.task, raw, target).items():
        np.testing.assert_array_equal(statistics_of(example.task, other, target)[name], value, err_msg=name)


@every_kind
def test_random_labels_all_count(example):
    target = example.task.random(np.random.default_rng(0), (2, 3, 4))
    assert target.shape == (2, 3, 4, *example.labels.shape) and target.dtype == example.labels.dtype
    assert np.asarray(example.task.valid(target)).all()


@every_kind
def test_the_best_answer_by_position_of_one_image_is_its_label(example):
    task, target = example.task, example.batch()[1]
    sums = sum(task.baseline(label) for label in target[[0, 1, 3]])
    raw = tf.cast(task.constant(sums), tf.float32)
    assert raw.shape == (*SIZE, task.channels) and np.isfinite(raw).all()
    raw = tf.cast(task.constant(task.baseline(target[3])), tf.float32)[None]
    assert scores_of(task, raw, target[[3]])[task.metrics[0].name] == pytest.approx(
        100 if task.metrics[0].higher else 0, abs=1e-2
    )


# === Files ===


@every_kind
def test_predictions_read_back_as_labels(example, tmp_path):
    target = example.batch()[1][3]
    answer = np.asarray(example.task.decode(tf.constant(example.raw_of(target[None]), tf.float32)))[0]
    data = example.task.files(np.zeros((*SIZE, 3), np.uint8), answer)[0]
    path = str(tmp_path / f"0{example.task.data_ending}")
    if path.endswith(".npy"):
        np.save(path, data.pixels)
    else:
        write_png(path, data.pixels, data.palette)
    found = example.labels.read(path)
    assert found.dtype == example.labels.dtype and found.shape == target.shape
    np.testing.assert_allclose(found, target, atol=example.step, rtol=0)
    window = Window(-2, 3, 6, 9, mirrored=True)
    np.testing.assert_array_equal(
        example.labels.read(path, Part("", SIZE, window)), cut(found, window, example.labels.blank)
    )


@every_kind
def test_packed_labels_are_the_same_bit_for_bit(example):
    labels, target = example.labels, example.batch()[1]
    descriptor = descriptors.Descriptor("data", {"it": labels})
    for label in target:
        features = pack_pixels({"image": np.zeros((*SIZE, 3), np.uint8), "it": label}, ("it",), descriptor.blanks)
        for window in (None, Window(-2, 3, 6, 9, mirrored=True), Window(1, 2, 3, 4)):
            found = unpack_pixels(features, ("it",), descriptor, lambda size, window=window: window)["it"]
            assert found.dtype == labels.dtype
            np.testing.assert_array_equal(found, cut(label, window, labels.blank))
    np.testing.assert_array_equal(labels.empty(SIZE), target[1])


@every_kind
def test_sections_of_the_data_set_read_back(example, tmp_path):
    labels = (example.labels, *example.others)
    tasks = {f"task{number}": each for number, each in enumerate(labels)}
    written = descriptors.Descriptor("data", TWO_LABELS | tasks)  # of which some are derived
    path = descriptors.write(tmp_path, written)
    assert descriptors.read(tmp_path) == written
    for section in json.loads(path.read_text())["tasks"].values():
        assert set(section) <= {"kind", *example.labels.keys}
    assert all(each.told("it").startswith("it") for each in labels)


@every_kind
def test_a_label_map_without_labels_is_named(example):
    target = example.batch()[1]
    (fault,) = example.labels.emptiness("a.png", target[1])
    assert fault.startswith("a.png: no pixel has a")
    assert example.labels.emptiness("a.png", target[2]) == []


@every_kind
def test_tasks_travel_as_json(example):
    assert tasks_from_json(tasks_to_json((example.task,))) == (example.task,)


# === Moved ===


@every_kind
def test_mirrored_twice_is_as_before(example):
    target, config = example.batch()[1], AugmentConfig()

    @tf.function(autograph=False)
    def moved(label, mirrored):
        return example.labels.moved(label, Move(1.0, mirrored, tf.eye(3)), config)

    for label in target:
        once = moved(label, True)
        assert once.shape == label.shape and once.dtype == label.dtype
        np.testing.assert_array_equal(moved(once, True), label)
        np.testing.assert_array_equal(moved(label, False), label)
        np.testing.assert_array_equal(example.labels.moved(label, Move(1.0), config), label)


# === Pictures ===


@every_kind
def test_pictures_have_the_size_of_the_map(example):
    task, (raw, target) = example.task, example.batch()
    answer, truth = np.asarray(task.decode(raw))[0], target[0]
    for values, is_truth in ((answer, False), (truth, True), (target[1], True)):
        found = task.page_map(values, is_truth)
        pixels = found.pop("pixels")
        assert pixels.dtype == np.uint8 and pixels.shape in (SIZE, (*SIZE, 3))
        json.dumps(found)
    assert json.loads(json.dumps(task.page()))["kind"]
    columns = task.columns(truth, answer)
    assert [caption for caption, _ in columns] == [f"true {task.name}", f"predicted {task.name}"]
    assert task.columns(None, None) == [] and len(task.columns(None, answer)) == len(task.columns(truth, None)) == 1
    for _, picture in columns:
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    files = task.files(np.zeros((*SIZE, 3), np.uint8), answer)
    assert [file.folder for file in files] == list(task.folders) and task.folders[0] == task.name
    kinds = (np.float32,) if task.data_ending == ".npy" else (np.uint8, np.uint16)
    assert files[0].pixels.shape[:2] == SIZE and files[0].pixels.dtype in kinds
