"""Scalarizers by hand: fixed points, first steps, epochs, and losses at the edge of what they take."""

import numpy as np
import pytest

from mtl_tf.balancing import scalarize


def own(name, losses, **options):
    return scalarize(name, losses, scale="own", **options)


def test_fixed_weights_are_the_preference():
    np.testing.assert_allclose(scalarize("fixed", [3.0, -1.0], preference=(0.5, 2)), [0.5, 2])
    np.testing.assert_allclose(scalarize("fixed", [3.0, 1.0, 9.0]), 1 / 3)


def test_by_hand():
    np.testing.assert_allclose(own("log", [0.5, 4.0]), [2, 0.25])
    np.testing.assert_allclose(own("gls", [1.0, 4.0]), [1, 0.25])  # sqrt(4) / (2 L)
    np.testing.assert_allclose(own("uw", [7.0, 9.0], init=np.log(2)), 0.25)
    np.testing.assert_allclose(own("uw", [7.0, 9.0], init=np.log(2), half=False), 0.5)
    np.testing.assert_allclose(own("stch", [1.0, 0.0], mu=0.01), [0.5, 0], atol=1e-12)
    np.testing.assert_allclose(own("famo", [1.0, 4.0]), [0.8, 0.2], rtol=1e-7)  # z / L, of sum 1


@pytest.mark.parametrize(("name", "factor"), [("uw", 0.5), ("imtl_l", 1.0)])
def test_learned_weights_end_at_the_inverse_of_the_losses(name, factor):
    losses, state = np.array([0.5, 2.0]), {}
    for _ in range(60):
        weights = own(name, losses, state=state, rate=0.3, optimizer="sgd")
    np.testing.assert_allclose(weights, factor / losses, rtol=1e-3)


def test_a_loss_of_zero_does_not_carry_a_learned_weight_away():
    state = {}
    for _ in range(60):
        weights = own("uw", [0.0, 1.0], state=state, rate=1.0, optimizer="sgd")
    assert state["log_var"][0] == -10 and np.isfinite(weights).all()


def test_equal_relative_progress_does_not_move_famo():
    state = {}
    own("famo", [1.0, 4.0], losses_after=[0.9, 3.6], state=state, gamma=0.0)
    np.testing.assert_allclose(state["logits"], 0, atol=1e-3)  # Adam makes a step of rounding errors
    own("famo", [1.0, 4.0], losses_after=[0.9, 2.0], state=state, gamma=0.0)
    assert state["logits"][0] > 0.01 > -0.01 > state["logits"][1]  # more for the one that fell less


def test_famo_without_the_losses_after_the_step_learns_nothing():
    state = {}
    own("famo", [1.0, 4.0], state=state)
    assert not state["logits"].any() and not state["steps"].any()


def test_losses_of_zero_get_no_weight_where_a_logarithm_is_taken():
    for name in ("gls", "famo"):
        weights = own(name, [0.0, 2.0])
        assert weights[0] == 0 and weights[1] > 0
    assert np.isfinite(own("log", [0.0, 2.0])).all()
    assert np.isfinite(own("uw_so", [0.0, 2.0])).all()


def test_dwa_of_a_task_that_an_epoch_lacked_goes_by_the_epochs_that_had_it():
    state, on, off = {}, [True, True], [True, False]
    for losses, present in (([1.0, 4.0], on), ([1.0, 0.0], off), ([1.0, 2.0], on)):
        own("dwa", losses, present=present, state=state)
    np.testing.assert_allclose(own("dwa", [1.0, 1.0], state=state), 2 * np.exp([0.5, 0.25]) / np.exp([0.5, 0.25]).sum())


def test_epochs_between_count():
    state = {}
    own("stch", [1.0, 4.0], variant="mtl", warmup_epoch=2, state=state, epoch=2)
    weights = own("stch", [0.5, 4.0], variant="mtl", warmup_epoch=2, state=state, epoch=3)
    ratios = np.array([0.5, 1.0])  # of the means of epoch 2; softmax of their logarithms
    np.testing.assert_allclose(weights, 2 * ratios / ratios.sum() / [0.5, 4.0])
    np.testing.assert_allclose(weights @ [0.5, 4.0], 2)


def test_igb_measures_by_an_epoch():
    state = {}
    np.testing.assert_allclose(own("igb", [1.0, 4.0], state=state), [1, 0.25])
    weights = own("igb", [0.5, 4.0], state=state)
    parts = np.exp([0.5, 1.0]) / np.exp([0.5, 1.0]).sum()
    np.testing.assert_allclose(weights, 2 * parts / [0.5, 4.0])


def test_a_task_that_the_measuring_epoch_lacked_is_measured_by_its_first_loss():
    state = {}
    own("igb", [1.0, 9.0], present=[True, False], state=state)
    own("igb", [1.0, 9.0], present=[True, False], state=state)
    own("igb", [1.0, 3.0], state=state)
    np.testing.assert_allclose(state["base"], [1, 3])


def test_gradnorm_pulls_the_slow_task():
    state = {}
    own("gradnorm", [1.0, 1.0], norms=[1.0, 1.0], state=state)
    np.testing.assert_allclose(state["weights"], 1)
    own("gradnorm", [0.5, 1.0], norms=[1.0, 1.0], state=state)
    assert state["weights"][1] > 1 > state["weights"][0]
    assert state["weights"].sum() == pytest.approx(2)


@pytest.mark.parametrize("name", ["gls", "log", "uw_so"])
def test_scaling_all_losses(name):
    """gls keeps its weights; log divides them; uw_so tells nothing of equal losses."""
    losses = np.array([0.3, 1.2, 0.9])
    one, other = own(name, losses), own(name, 2 * losses)
    if name == "uw_so":
        one, other = own(name, [0.4] * 3), own(name, [0.8] * 3)
    np.testing.assert_allclose(other, one / 2 if name == "log" else one)
