"""Which parameters are whose, and where a network is cut into what all tasks share and what each has alone."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import mtl_tf
from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models import build_model
from mtl_tf.models.cut import cut
from mtl_tf.models.reach import reach
from mtl_tf.objective import raws_of
from tests.balancing.step import TASKS, two_stages
from tests.helpers import as_built_in
from tests.models.common import pictures, randomise, unfilled_variables


@pytest.fixture(scope="module")
def network():
    """Networks on a tiny encoder, each built once: a function of the architecture and of whether it is recomputed."""

    @functools.cache
    def built(architecture, recompute=False):
        with as_built_in():
            mtl_tf.register(mtl_tf.Encoder("two_stages", two_stages))
            options = dict(skip_strides=(2,), architecture=architecture, recompute=recompute)
            model = build_model(ModelConfig(encoder="two_stages", **options), TASKS)
        randomise(model)
        return model

    return built


# Recomputed, a part of the network is a single layer of its graph.
KINDS = [("joint", False), ("branched", True), ("distilled", False)]
KINDS += [pytest.param(name, not recompute, marks=pytest.mark.slow) for name, recompute in KINDS]


@pytest.mark.parametrize(("architecture", "recompute"), KINDS)
def test_a_task_reaches_what_its_loss_has_a_gradient_of(network, architecture, recompute):
    model = network(architecture, recompute)
    with tf.GradientTape(persistent=True) as tape:
        outputs = model(pictures(2, 16, 24), training=True)
        losses = [tf.add_n([tf.reduce_sum(raw**2) for raw in raws_of(task, outputs).values()]) for task in TASKS]
    values = [variable.value for variable in model.trainable_variables]
    by_task = [[gradient is not None for gradient in tape.gradient(loss, values)] for loss in losses]
    expected = dict(zip((v.path for v in model.trainable_variables), zip(*by_task, strict=True), strict=True))
    assert reach(model, TASKS) == expected
    several = {path.split("/")[0] for path, reached in expected.items() if sum(reached) > 1}
    of_branches = {"branched": set(), "joint": {"shared"}, "distilled": {task.name for task in TASKS}}
    assert several == {"encoder"} | of_branches[architecture]


# Millions of parameters of ResNet34: what several tasks share, and what each has alone, by the number of tasks.
COUNTS = {
    "joint": {2: (26.71, 0.01), 3: (26.71, 0.01), 5: (26.71, 0.01)},
    "branched": {2: (21.28, 10.86), 3: (21.28, 16.28), 5: (21.28, 27.14)},
    "distilled": {2: (32.14, 2.37), 3: (37.56, 7.09), 5: (48.42, 23.60)},
}


@pytest.mark.parametrize(
    ("architecture", "count"),
    [
        pytest.param(name, count, marks=() if count == 2 else pytest.mark.slow)
        for name, counts in COUNTS.items()
        for count in counts
    ],
)
def test_how_much_of_a_network_is_shared(architecture, count):
    semseg, depth = mtl_tf.cityscapes_tasks()
    tasks = semseg, *(dataclasses.replace(depth, name=f"depth{number}") for number in range(count - 1))
    with unfilled_variables():
        model = build_model(ModelConfig(encoder="resnet34", architecture=architecture), tasks)
    reached = reach(model, tasks)
    sizes = {variable.path: np.prod(variable.shape) / 1e6 for variable in model.trainable_variables}
    shared = sum(size for path, size in sizes.items() if sum(reached[path]) > 1)
    assert (shared, sum(sizes.values()) - shared) == pytest.approx(COUNTS[architecture][count], abs=0.006)


@pytest.mark.parametrize(
    ("architecture", "recompute", "features"),
    [
        ("joint", False, 1),
        ("branched", True, 2),
        pytest.param("joint", True, 1, marks=pytest.mark.slow),
        pytest.param("branched", False, 2, marks=pytest.mark.slow),
    ],
)
def test_both_parts_of_a_network_one_after_the_other_are_the_network(network, architecture, recompute, features):
    """And all shared variables are in the first, all others in the second."""
    model, image = network(architecture, recompute), tf.constant(pictures(2, 16, 24))
    found = cut(model, TASKS)
    passed = keras.tree.flatten(found.trunk(image, training=False))
    assert len(passed) == len(found.names) == features
    outputs = found.head([image, *passed], training=False)
    for name, expected in model(image, training=False).items():
        np.testing.assert_array_equal(outputs[name], expected)
    shared = {path for path, tasks in reach(model, TASKS).items() if sum(tasks) > 1}
    assert {variable.path for variable in found.trunk.trainable_variables} == shared
    alone = {variable.path for variable in found.head.trainable_variables}
    assert alone == {variable.path for variable in model.trainable_variables} - shared


def test_a_network_whose_tasks_exchange_features_is_not_cut(network):
    told = r"balance\.source=features needs features that all tasks share.*use balance\.source=parameters"
    with pytest.raises(UsageError, match=told):
        cut(network("distilled"), TASKS)
