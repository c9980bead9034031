"""The solvers by the conditions that only an exact solution meets, on rows that are easy, dependent, long and short."""

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.balancing import solvers
from mtl_tf.errors import UsageError
from tests.balancing.common import jacobians


def gramians(seed=0, rounds=3):
    """Of random rows, of the same with dependent ones, and with one that is 10^4 times as long."""
    for index, jacobian in enumerate(jacobians(np.random.default_rng(seed), rounds)):
        if index % 3 == 1:
            jacobian[-1] = jacobian[0] - 0.5 * jacobian[-2]
        elif index % 3 == 2:
            jacobian[0] *= 1e4
        yield jacobian @ jacobian.T


def test_the_shortest_vector_has_no_duality_gap():
    for gramian in gramians():
        weights = solvers.min_norm(tf.constant(gramian)).numpy()
        assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
        products = gramian @ weights
        assert (weights @ products - products).max() <= 1e-8 * np.trace(gramian)


def test_projections_on_the_dual_cone_meet_the_conditions_of_kuhn_and_tucker():
    rng = np.random.default_rng(1)
    for gramian in gramians(seed=1):
        lengths = np.sqrt(np.diag(gramian))
        cosines = gramian / np.outer(lengths, lengths)
        bounds = rng.uniform(0, 1, (3, len(gramian)))
        projected = solvers.dual_cone(tf.constant(bounds), tf.constant(cosines)).numpy()
        for bound, found in zip(bounds, projected, strict=True):
            slope = cosines @ found
            assert (found >= bound).all()
            assert slope.min() >= -1e-6 * np.abs(found).max()
            assert np.abs((found - bound) * slope).max() <= 1e-6 * np.abs(found).max() ** 2


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
def test_fair_weights_solve_their_equation(alpha):
    for index, gramian in enumerate(gramians(seed=2)):
        if index % 3 != 1:
            weights = solvers.fair(tf.constant(gramian), alpha).numpy()
            np.testing.assert_allclose(gramian @ weights * weights ** (1 / alpha), 1, rtol=1e-9)


def test_rows_without_a_fair_solution_get_a_short_direction():
    """Of opposed rows w (Gw) = 1 has no solution; the ridge leaves weights of 1e4 over the length."""
    weights = solvers.fair(tf.constant([[4.0, -2.0], [-2.0, 1.0]], tf.float64), 1.0).numpy()
    np.testing.assert_allclose(weights * [2, 1], 1e4, rtol=1e-3)


@pytest.mark.parametrize("c", [0.4, 1.5])
def test_no_direction_of_the_ball_beats_cagrad(c):
    rng = np.random.default_rng(3)
    for jacobian in jacobians(rng, 2):
        centre, radius = jacobian.mean(0), c * np.linalg.norm(jacobian.mean(0))
        direction = solvers.cagrad(tf.constant(jacobian @ jacobian.T), c).numpy() @ jacobian
        assert np.linalg.norm(direction - centre) == pytest.approx(radius, rel=1e-6)
        others = rng.normal(size=(500, jacobian.shape[1]))
        near = direction + 0.01 * radius * others
        for tried in (others, near - centre):
            tried = centre + radius * tried / np.linalg.norm(tried, axis=1, keepdims=True)
            assert (tried @ jacobian.T).min(1).max() <= (jacobian @ direction).min() + 1e-9 * radius


def test_the_nearest_point_of_the_simplex():
    rng = np.random.default_rng(4)
    for count in range(2, 7):
        for point in rng.normal(size=(5, count)):
            found = solvers.project_simplex(tf.constant(point)).numpy()
            assert found.min() >= 0 and found.sum() == pytest.approx(1)
            moved = point - found  # the same where the weight is not 0, no more elsewhere
            np.testing.assert_allclose(moved[found > 0], moved.max(), atol=1e-12)
    held = solvers.project_simplex(tf.constant([5.0, 0.3, 0.2], tf.float64), tf.constant([False, True, True]))
    np.testing.assert_allclose(held, [0, 0.55, 0.45])


def test_the_main_row_is_turned_no_further_than_others_need():
    for gramian in gramians(seed=5):
        weights = solvers.priority(tf.constant(gramian), 0.02).numpy()
        squares = np.diag(gramian)
        slack = (gramian @ weights - 0.02 * squares)[1:]
        assert weights[0] == 1 and weights.min() >= 0
        if weights[1:].any():
            assert (slack >= -1e-6 * squares[1:]).all()
            assert np.abs(slack * weights[1:]).max() <= 1e-6 * squares.max() * max(1, weights.max())


def test_the_main_row_stands_where_the_others_contradict_each_other():
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    np.testing.assert_allclose(solvers.priority(tf.constant(rows @ rows.T), 0.02), [1, 0, 0])


def test_a_row_that_takes_no_part_changes_nothing():
    active = np.array([True, False, True, True])
    rng = np.random.default_rng(6)
    for _ in range(3):
        rows = rng.normal(size=(4, 6)) * active[:, None]
        whole, part = tf.constant(rows @ rows.T), tf.constant(rows[active] @ rows[active].T)
        for solver in (
            solvers.min_norm,
            lambda matrix, on=None: solvers.fair(matrix, 2.0, on),
            lambda matrix, on=None: solvers.cagrad(matrix, 0.4, on),
            lambda matrix, on=None: solvers.priority(matrix, 0.02, on),
        ):
            found = solver(whole, tf.constant(active)).numpy()
            np.testing.assert_allclose(found[active], solver(part), rtol=1e-9, atol=1e-12)
            assert found[1] == 0


def test_too_many_tasks_for_subsets_are_refused():
    with pytest.raises(UsageError, match="at most 8 tasks, got 9"):
        solvers.min_norm(tf.eye(9, dtype=tf.float64))
