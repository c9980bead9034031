"""The classes that the labels of every kind divide a picture into, and outputs that have a loss of their own."""

import math

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.evaluation import Evaluator
from mtl_tf.objective import count_of, mean_losses
from mtl_tf.tasks import Cost, Depth, Edges, Normals, Regression, Segmentation
from mtl_tf.tasks._regions import STEPS, directions
from tests.tasks.battery import EXAMPLES

DEPTH = Depth(0.5, 20.0, 4.0, 2.0, log_mean=1.0, log_std=0.4)
CLASSES = Segmentation(("a", "b"), ((0, 0, 0),) * 2, weights=(1.0, 3.0))


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_every_labelled_pixel_has_a_class(example):
    _, target = example.batch()
    regions = example.task.regions
    if regions is None:
        # Of instances there are any number.
        assert example.task.kind == "instances" or getattr(example.task, "channels", 1) > 1
        return
    classes, valid = np.asarray(regions.classes(tf.constant(target))), np.asarray(example.task.valid(target))
    counted = np.asarray(regions.weights(tf.constant(target))) > 0
    assert not np.any(counted & ~valid) and valid.any()
    assert np.all((classes[valid] >= 0) & (classes[valid] < regions.channels))
    raw = tf.random.stateless_normal((*valid.shape, regions.channels), [0, 0])
    with tf.GradientTape() as tape:
        tape.watch(raw)
        total, count = regions.loss(raw, tf.constant(target))
    gradient = tape.gradient(total, raw)
    assert float(count) == pytest.approx(float(regions.count(tf.constant(target)))) and math.isfinite(float(total))
    assert np.array_equal(np.any(gradient.numpy() != 0, -1), counted)


def test_steps_of_depth_by_hand():
    """The mean begins the upper half of the 40; 2.5 deviations hold 20 steps, an eighth of a deviation each."""
    metres = np.exp([1.001, 1.0 + 0.4 * 0.13, 1.0 - 0.4 * 0.01, 1.0 + 0.4 * 2.49, 2.9, -0.6])
    assert DEPTH.regions.classes(tf.constant(metres, tf.float32)).numpy().tolist() == [20, 21, 19, 39, 39, 0]


def test_steps_of_numbers_by_hand():
    task = Regression((10.0,), (4.0,))
    assert task.regions.classes(tf.constant([10.0, 0.1, 19.9, -50.0])).numpy().tolist() == [20, 0, 39, 0]
    assert Regression((0.0, 0.0), (1.0, 1.0)).regions is None


def test_directions_are_spread_and_the_nearest_is_found():
    for half in (False, True):
        found = directions(half)
        np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1.0, rtol=1e-6)
        nearest = np.sort(np.degrees(np.arccos(np.clip(found @ found.T, -1, 1))))[:, 1]
        assert nearest.min() > (15 if half else 20) and (found[:, 2] < 0).mean() == (1.0 if half else 0.5)
    classes = Normals().regions.classes(tf.constant(directions(True)))
    assert classes.numpy().tolist() == list(range(STEPS))


def test_edges_weigh_what_they_do_in_their_loss():
    target = tf.constant([[[1, 0, 0, 255]]], tf.uint8)
    np.testing.assert_allclose(Edges(positive=0.9).regions.weights(target), [[[0.9, 0.1, 0.1, 0.0]]], rtol=1e-6)
    np.testing.assert_allclose(Edges(positive=-1).regions.weights(target), [[[2 / 3, 1 / 3, 1 / 3, 0]]], rtol=1e-6)


def test_an_output_with_a_loss_of_its_own_adds_its_mean():
    """Whose count differs from that of the answer: depth counts images, classes by their weights."""
    random, tasks = np.random.default_rng(0), (CLASSES, DEPTH)
    labels = {
        "semseg": tf.constant(random.choice([0, 1, 255], (2, 4, 4)), tf.int32),
        "depth": tf.constant(random.uniform(0, 6, (2, 4, 4)), tf.float32),
    }
    channels = {"semseg": 2, "depth": 1, "semseg@regions": 2, "depth@regions": STEPS, "depth@cost": 1}
    outputs = {name: tf.constant(random.normal(size=(2, 4, 4, n)), tf.float32) for name, n in channels.items()}
    weights = {"": 1.0, "@regions": 0.5, "@cost": 2.0}
    counts = {task.name: count_of(task, labels[task.name], weights) for task in tasks}
    found = mean_losses(tasks, outputs, labels, counts, weights)

    def mean(judge, name, target):
        total, count = judge.loss(outputs[name], labels[target])
        return float(total / count)

    expected = {
        "semseg": mean(CLASSES, "semseg", "semseg") + 0.5 * mean(CLASSES.regions, "semseg@regions", "semseg"),
        "depth": mean(DEPTH, "depth", "depth")
        + 0.5 * mean(DEPTH.regions, "depth@regions", "depth")
        + 2 * mean(Cost(DEPTH), "depth@cost", "depth"),
    }
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-5)

    def network(image, training):
        return outputs

    network.label_weights = weights
    batch = {**labels, "image": tf.zeros((2, 4, 4, 3)), "index": tf.constant([0, 1], tf.int64)}
    evaluated = Evaluator(tf.distribute.get_strategy(), network, tasks).run([batch])
    for task in tasks:
        assert evaluated.losses[task.name] == pytest.approx(expected[task.name], rel=1e-5)
        assert evaluated.last_losses[task.name] == pytest.approx(mean(task, task.name, task.name), rel=1e-5)
