"""The tasks: published classes and statistics, what counts, and answers decoded into classes and metres."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.tasks import Depth, Segmentation, cityscapes_tasks

# Train ids of Cityscapes, in order.
CLASSES = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)


def test_the_tasks_of_the_study():
    semseg, depth = cityscapes_tasks()
    assert (semseg.name, depth.name) == ("semseg", "depth")
    assert semseg.classes == CLASSES
    assert (semseg.channels, semseg.ignore, depth.channels) == (19, 255, 1)
    assert len(set(semseg.palette)) == 19
    colours = dict(zip(semseg.classes, semseg.palette, strict=True))
    assert (colours["road"], colours["sky"], colours["car"]) == ((128, 64, 128), (70, 130, 180), (0, 0, 142))
    assert (depth.minimum, depth.maximum, depth.codec) == (4, 300, "inverse_uint8")
    assert (depth.mean, depth.std, depth.log_mean, depth.log_std) == (27.0727, 29.1264, 2.89, 0.866)


def test_tasks_are_plain_frozen_values():
    assert cityscapes_tasks() == cityscapes_tasks()
    for task in cityscapes_tasks():
        with pytest.raises(dataclasses.FrozenInstanceError):
            task.name = "other"


def test_the_answer_is_the_class_of_the_largest_logit():
    task = Segmentation(("a", "b", "c"), ((0, 0, 0),) * 3)
    found = task.decode(tf.constant([[[[0.0, 2.0, 1.0], [-3.0, -2.0, -1.0]]]]))
    assert found.dtype == tf.int32
    np.testing.assert_array_equal(found, [[[1, 2]]])


def test_what_counts():
    semseg, depth = cityscapes_tasks()
    np.testing.assert_array_equal(semseg.valid(np.array([0, 18, 255])), [True, True, False])
    metres = np.array([0.0, 3.99, 4.0, 300.0, 300.1, -4.0, np.nan, np.inf])
    np.testing.assert_array_equal(depth.valid(metres), [False, False, True, True] + [False] * 4)


@pytest.mark.parametrize("space", ["linear", "log"])
def test_metres_come_back_from_their_encoding(space):
    task = dataclasses.replace(cityscapes_tasks()[1], space=space)
    metres = np.geomspace(4, 300, 50).astype(np.float32).reshape(1, 5, 10)
    np.testing.assert_allclose(task.decode(task.encode(metres)[..., None]), metres, rtol=1e-5)


def test_heads_are_decoded_by_hand():
    """Linear: z = p * std + mean; log: z = exp(p * log_std + log_mean)."""
    linear = Depth(1.0, 50.0, mean=10.0, std=5.0, log_mean=2.0, log_std=0.5)
    raw = np.array([-1.0, 0.0, 2.0], np.float32).reshape(1, 1, 3, 1)
    np.testing.assert_allclose(linear.decode(raw), [[[5, 10, 20]]])
    log = dataclasses.replace(linear, space="log")
    np.testing.assert_allclose(log.decode(raw), np.exp([[[1.5, 2, 3]]]), rtol=1e-6)


@pytest.mark.parametrize("space", ["linear", "log"])
def test_answers_stay_in_the_range(space):
    """Also those of a head that would overflow an exponential, and of sixteen bits."""
    task = dataclasses.replace(cityscapes_tasks()[1], space=space)
    raw = np.array([-1e30, -1e4, 1e4, 1e30], np.float32).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(task.decode(raw), [[[4, 4], [300, 300]]])
    half = task.decode(tf.cast(raw[:, :, 1:] * 0 + 0.5, tf.bfloat16))
    assert half.dtype == tf.float32 and 4 < float(half[0, 0, 0]) < 300


@pytest.mark.parametrize("space", ["linear", "log"])
def test_decoding_is_the_same_inside_a_graph(space):
    """Evaluation and export decode in TensorFlow functions without AutoGraph."""
    semseg, depth = cityscapes_tasks()
    depth = dataclasses.replace(depth, space=space)
    raw = np.random.default_rng(0).normal(0, 3, (2, 4, 5, 19)).astype(np.float32)
    in_graph = tf.function(
        lambda x: (semseg.decode(x), depth.decode(x[..., :1]), depth.encode(x**2 + 4)), autograph=False
    )
    eager = (semseg.decode(raw), depth.decode(raw[..., :1]), depth.encode(raw**2 + 4))
    for found, expected in zip(in_graph(raw), eager, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
