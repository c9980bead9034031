"""What the direction of every aggregator has to do, on random rows of two to six tasks."""

import numpy as np
import pytest

from mtl_tf.balancing import AGGREGATORS, aggregate
from tests.balancing.common import conflict, jacobians

# Options, the power of the length that the direction has, and its length where all rows are the same one g.
OWN_SCALE = {
    "none": ({}, 1, lambda count, g: g),
    "mgda": ({}, 1, lambda count, g: g),
    "imtl_g": ({}, 1, lambda count, g: g),
    "cagrad": ({}, 1, lambda count, g: 1.4 * g),
    "nash": (dict(max_norm=0), 0, lambda count, g: np.sqrt(count)),
    "fairgrad": (dict(max_norm=0), -1 / 3, lambda count, g: count ** (1 / 3) * g ** (-1 / 3)),
    "aligned": ({}, 1, lambda count, g: g),
    "upgrad": ({}, 1, lambda count, g: g),
    "dualproj": ({}, 1, lambda count, g: g),
    "config": ({}, 1, lambda count, g: count * g),
    "pcgrad": ({}, 1, lambda count, g: count * g),
    "gradvac": (dict(eps=0), 1, lambda count, g: count * g),
    "graddrop": ({}, 1, lambda count, g: count * g),
}
# Their methods fix the length, or have averages that begin at 0.
OTHER_LENGTHS = ("moco", "db_mtl", "nash", "fairgrad", "pcd")
IN_ANY_ORDER = [name for name in OWN_SCALE if name not in ("pcgrad", "gradvac", "graddrop")]
RANDOM_ROWS = list(jacobians(np.random.default_rng(0), 10))


def direction(name, jacobian, **options):
    return aggregate(name, jacobian, scale="own", **OWN_SCALE[name][0], **options)[0]


@pytest.mark.parametrize("name", ["mgda", "upgrad", "dualproj", "nash", "fairgrad", "config"])
def test_no_task_loses(name):
    for jacobian in RANDOM_ROWS:
        found = direction(name, jacobian)
        assert np.linalg.norm(found) > 1e-9 * np.linalg.norm(jacobian)
        assert conflict(jacobian, found) >= -1e-6


def test_no_task_loses_by_cagrad_with_a_large_radius():
    found = [aggregate("cagrad", jacobian, c=1.5)[0] for jacobian in RANDOM_ROWS]
    assert min(map(conflict, RANDOM_ROWS, found)) >= -1e-6


def test_random_rows_are_in_conflict_without_balancing():
    """So that the two tests above can fail."""
    assert sum(conflict(jacobian, jacobian.mean(0)) < -0.05 for jacobian in RANDOM_ROWS) > 10


@pytest.mark.parametrize("name", ["pcgrad", "gradvac"])
def test_neither_of_two_tasks_loses_by_surgery(name):
    """Then it is twice upgrad, whatever the order."""
    for jacobian in RANDOM_ROWS[:10]:
        found = direction(name, jacobian)
        assert conflict(jacobian, found) >= -1e-6
        np.testing.assert_allclose(found, 2 * direction("upgrad", jacobian), atol=1e-7 * np.linalg.norm(jacobian))


@pytest.mark.parametrize("name", IN_ANY_ORDER)
def test_the_order_of_the_tasks_does_not_matter(name):
    rng = np.random.default_rng(1)
    for jacobian in RANDOM_ROWS[5::15]:
        one, other = direction(name, jacobian), direction(name, rng.permutation(jacobian))
        np.testing.assert_allclose(other, one, atol=1e-6 * np.linalg.norm(one))


@pytest.mark.parametrize("name", list(OWN_SCALE))
def test_the_direction_follows_the_length_of_the_rows(name):
    for jacobian, factor in zip(RANDOM_ROWS[5::15], (1e-3, 300.0, 0.02), strict=True):
        scaled = direction(name, jacobian) * factor ** OWN_SCALE[name][1]
        found = direction(name, factor * jacobian)
        np.testing.assert_allclose(found, scaled, rtol=1e-7, atol=1e-6 * np.linalg.norm(scaled))


@pytest.mark.parametrize("name", list(OWN_SCALE))
def test_rows_that_are_all_the_same(name):
    row = np.array([0.3, -2.0, 1.1, 0.2])
    length = np.linalg.norm(row)
    for count in (2, 4):
        found = direction(name, np.tile(row, (count, 1)))
        np.testing.assert_allclose(found, OWN_SCALE[name][2](count, length) * row / length, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in AGGREGATORS if name not in OTHER_LENGTHS])
def test_the_mean_scale_is_that_of_the_weighted_sum(name):
    """Where all rows are the same one, the direction is that of sum_k p_k g_k, so that rates stay usable."""
    rows = np.tile([0.3, -2.0, 1.1, 0.2], (3, 1))
    options = dict(second=rows) if AGGREGATORS[name].batches == 2 else {}
    for preference, total in (((0.5, 0.25, 1.0), 1.75), (None, 1.0)):
        found = aggregate(name, rows, preference=preference, **options)[0]
        np.testing.assert_allclose(found, total * rows[0], rtol=1e-6)


def test_weights_sum_up_as_they_should():
    for jacobian in RANDOM_ROWS[::9]:
        assert aggregate("mgda", jacobian)[1].sum() == pytest.approx(1)
        assert abs(aggregate("imtl_g", jacobian)[1].sum()) <= 1 + 1e-9
        assert aggregate("upgrad", jacobian)[1].sum() >= 1 - 1e-12
        assert aggregate("dualproj", jacobian)[1].sum() >= 1 - 1e-12
        assert aggregate("cagrad", jacobian, scale="own")[1].sum() >= 1


@pytest.mark.parametrize(("name", "options"), [("mgda", {}), ("upgrad", {}), ("dualproj", {}), ("cagrad", {"c": 1.5})])
def test_training_rests_where_a_sum_of_the_rows_vanishes(name, options):
    rng = np.random.default_rng(2)
    for count in (2, 3, 5):
        jacobian = rng.normal(size=(count, 12))
        jacobian[-1] = -rng.uniform(0.2, 1, count - 1) @ jacobian[:-1]
        assert np.linalg.norm(aggregate(name, jacobian, **options)[0]) <= 1e-7 * np.linalg.norm(jacobian)


def test_equal_projections_of_imtl_g_and_equal_angles_of_config():
    for jacobian in RANDOM_ROWS[::9]:
        units = jacobian / np.linalg.norm(jacobian, axis=1, keepdims=True)
        for name in ("imtl_g", "config"):
            projections = units @ direction(name, jacobian)
            np.testing.assert_allclose(projections, projections[0], rtol=1e-6)
            assert projections[0] > 0


def test_float32_rows_give_what_float64_rows_give():
    for name in OWN_SCALE:
        for jacobian in RANDOM_ROWS[14::25]:
            one, other = direction(name, jacobian), direction(name, jacobian.astype(np.float32))
            assert other.dtype == np.float32
            np.testing.assert_allclose(other, one, rtol=0, atol=1e-4 * np.linalg.norm(jacobian), err_msg=name)


def test_eigenvalues_below_the_rounding_of_float32_are_dropped():
    """Of two rows that are one but for rounding the direction is that row, not what the rounding says."""
    row = np.random.default_rng(3).normal(size=1000).astype(np.float32)
    rows = np.stack([row, np.nextafter(row, np.float32(np.inf)), row])
    for name, factor in (("aligned", 1), ("config", 3), ("imtl_g", 1)):
        np.testing.assert_allclose(direction(name, rows), factor * row, rtol=1e-4, atol=1e-4)


def test_the_preference_pulls_the_direction():
    jacobian = RANDOM_ROWS[15]
    for name in AGGREGATORS:
        if AGGREGATORS[name].prefers and AGGREGATORS[name].batches == 1:
            even, pulled = (aggregate(name, jacobian, preference=p)[0] for p in ((1, 1, 1), (2.98, 0.01, 0.01)))
            cosines = [each @ jacobian[0] / np.linalg.norm(each) for each in (even, pulled)]
            assert cosines[1] > cosines[0], name
