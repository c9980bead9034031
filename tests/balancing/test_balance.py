"""A scalarizer and an aggregator together, in a compiled step; state, random draws and refusals."""

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.balancing import AGGREGATORS, SCALARIZERS, Balance, aggregate, scalarize
from mtl_tf.balancing.methods import initial
from mtl_tf.balancing.rows import gramian
from mtl_tf.errors import UsageError

RNG = np.random.default_rng(0)
COUNT = 3
SHAPES = ((4,), (2, 3))
ROWS = [RNG.normal(size=(COUNT, *shape)).astype(np.float32) for shape in SHAPES]
OTHERS = [RNG.normal(size=(COUNT, *shape)).astype(np.float32) for shape in SHAPES]
LOSSES = np.array([0.7, 1.9, 0.2], np.float32)
LOSSES_NOW = tf.constant(LOSSES)
EVERYONE = np.ones(COUNT, bool)
# What updates need besides.
BESIDE = {"norms": tf.constant([1.0, 2.0, 3.0]), "meta": tf.constant([1.0, -1.0, 2.0])}
BESIDE["losses_after"] = tf.constant(0.9 * LOSSES**1.1)


def flat(rows):
    return np.concatenate([np.reshape(row, [COUNT, -1]) for row in rows], 1)


def begun(balance):
    shapes = [row.shape for row in ROWS]
    return tf.nest.map_structure(tf.constant, {key: initial(slots, shapes) for key, slots in balance.state.items()})


def step(balance, state, rows=ROWS, present=EVERYONE, seed=(1, 2)):
    """What a training step does."""
    draws = balance.draws(tf.constant(seed), SHAPES)
    row_weights = balance.row_weights(state, LOSSES_NOW, present, draws)
    second = OTHERS if balance.aggregator.batches == 2 else None
    direction, weights, state = balance.direction(state, rows, present, row_weights, LOSSES, second, draws)
    return direction, weights, balance.update(state, LOSSES_NOW, present, **BESIDE)


# === Composition ===


@pytest.mark.parametrize("aggregator", ["mgda", "upgrad", "cagrad", "aligned", "config", "imtl_g"])
def test_a_scalarizer_scales_the_rows_that_the_aggregator_sees(aggregator):
    """w of diag(a) G diag(a), and a w of the raw rows."""
    own = scalarize("log", LOSSES.astype(np.float64), scale="own")
    direction, weights = aggregate(aggregator, own[:, None] * flat(ROWS).astype(np.float64), scale="own")
    balance = Balance(COUNT, "log", aggregator, scale="own")
    found, row_weights, _ = step(balance, begun(balance))
    np.testing.assert_allclose(np.concatenate([np.ravel(each) for each in found]), direction, atol=1e-5)
    np.testing.assert_allclose(row_weights, own * weights, rtol=1e-4, atol=1e-6)
    of_gramian, _ = balance.gramian_weights(begun(balance), gramian(ROWS), EVERYONE, own)
    np.testing.assert_allclose(of_gramian, row_weights, rtol=1e-5, atol=1e-6)


def test_the_golden_weights_of_compositions(goldens):
    inputs = goldens["sequence_inputs"]["k3"]
    jacobian = np.array(inputs["J"][2])
    options = {"cagrad_c0.4": ("cagrad", dict(c=0.4)), "upgrad": ("upgrad", dict(ridge="torchjd"))}
    for scalarizer, golden in goldens["composition"]["weights_on_raw_rows"].items():
        own = np.array(golden["row_weights"])
        for key in golden.keys() - {"row_weights", "note"}:
            name, chosen = options.get(key, (key, {}))
            if not isinstance(golden[key], list):
                continue
            found = Balance(COUNT, aggregator=name, aggregator_options=chosen, scale="own")
            matrix = tf.constant(jacobian @ jacobian.T)
            weights, _ = found.gramian_weights(begun(found), matrix, EVERYONE, own)
            np.testing.assert_allclose(weights, golden[key], atol=1e-6, err_msg=f"{scalarizer} {key}")


def test_the_preference_is_not_multiplied_in_twice():
    preference = (0.2, 0.5, 0.3)
    for scalarizer, length in (("fixed", 1), ("dwa", 1), ("stch", 1 / 9)):
        options = {"mu": 1e6} if scalarizer == "stch" else {}  # so smooth that it is equal weights
        balance = Balance(COUNT, scalarizer, "upgrad", preference=preference, scalarizer_options=options)
        direction = np.concatenate([np.ravel(each) for each in step(balance, begun(balance))[0]])
        expected = length * aggregate("upgrad", flat(ROWS), preference=preference)[0]
        np.testing.assert_allclose(direction, expected, atol=1e-5)
    for scalarizer in ("fixed", "dwa", "gradnorm"):
        balance = Balance(COUNT, scalarizer, preference=preference)
        direction, weights, _ = step(balance, begun(balance))
        np.testing.assert_allclose(weights, preference, rtol=1e-6)
        np.testing.assert_allclose(direction[0], np.array(preference) @ ROWS[0], rtol=1e-4)


@pytest.mark.parametrize("name", ["dwa", "rlw", "gradnorm", "famo", "uw_so"])
def test_the_mean_scale_keeps_the_sum_of_the_fixed_weights(name):
    equal, preference = [0.8, 0.8, 0.8], (0.5, 0.25, 1.0)
    weights = scalarize(name, equal, preference=preference)
    total = weights / preference if name == "rlw" else weights  # of unequal weights p_k a_k has no fixed sum
    assert total.sum() == pytest.approx(3 if name == "rlw" else 1.75)


def test_rows_of_replicas_are_added_before_their_products(goldens):
    golden = goldens["replicas"]
    one, other = np.array(golden["J_of_each"])
    np.testing.assert_allclose(gramian([tf.constant(one + other)]), golden["gramian"], atol=1e-9)
    wrong = gramian([tf.constant(one)]) + gramian([tf.constant(other)])
    np.testing.assert_allclose(wrong, golden["wrong_sum_of_gramians"], atol=1e-9)


@pytest.mark.parametrize(
    ("scalarizer", "aggregator"), [("gradnorm", "db_mtl"), ("famo", "moco"), ("gradnorm", "excess"), ("famo", "db_mtl")]
)
def test_two_controllers_of_one_quantity_are_refused(scalarizer, aggregator):
    with pytest.raises(UsageError, match=f"{scalarizer} and aggregator {aggregator} control one quantity"):
        Balance(COUNT, scalarizer, aggregator)


@pytest.mark.parametrize("aggregator", ["pcgrad", "gradvac", "graddrop", "none", "moco"])
def test_smoothing_is_refused_where_there_is_nothing_to_smooth(aggregator):
    with pytest.raises(UsageError, match=f"smooth averages no weights of {aggregator}; set smooth=0, or take mgda"):
        Balance(COUNT, aggregator=aggregator, smooth=0.9)


# === Steps that are compiled ===


@pytest.mark.parametrize("name", list(AGGREGATORS))
def test_aggregators_do_the_same_in_a_graph(name):
    options = {"db_mtl": dict(beta=0.9)}.get(name, {})
    balance = Balance(COUNT, aggregator=name, aggregator_options=options)
    compiled = tf.function(lambda state, present: step(balance, state, present=present), autograph=False)
    states = [begun(balance), begun(balance)]
    for present in (np.array([True, False, True]), EVERYONE):
        one, other = step(balance, states[0], present=present), compiled(states[1], tf.constant(present))
        for a, b in zip(tf.nest.flatten(one), tf.nest.flatten(other), strict=True):
            assert (a is b is None) or np.allclose(b, a, rtol=1e-4, atol=1e-5)
        states = [one[2], other[2]]
    assert all(each.shape == row.shape[1:] and each.dtype == np.float32 for each, row in zip(one[0], ROWS, strict=True))
    slots = balance.state["aggregator"]
    for key, value in states[1]["aggregator"].items():
        if not slots[key].like_rows:
            assert (value.shape, value.dtype) == (slots[key].shape, slots[key].dtype)


@pytest.mark.parametrize("name", list(SCALARIZERS))
def test_scalarizers_do_the_same_in_a_graph(name):
    balance = Balance(COUNT, name)

    def steps(state, present):
        weights = balance.row_weights(state, LOSSES_NOW, present, balance.draws(tf.constant([1, 2])))
        return weights, balance.epoch_end(balance.update(state, LOSSES_NOW, present, **BESIDE))

    compiled = tf.function(steps, autograph=False)
    states = [begun(balance), begun(balance)]
    for present in (np.array([True, False, True]), EVERYONE):
        one, other = steps(states[0], present), compiled(states[1], tf.constant(present))
        tf.nest.map_structure(lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6), one, other)
        states = [one[1], other[1]]
    for key, value in states[1]["scalarizer"].items():
        slot = balance.state["scalarizer"][key]
        assert (value.shape, value.dtype) == (slot.shape, slot.dtype)


def test_no_gradient_flows_through_the_weights():
    with tf.GradientTape() as tape:
        losses = tf.Variable(LOSSES)
        balance = Balance(COUNT, "gls")
        total = tf.reduce_sum(balance.row_weights(begun(balance), losses, EVERYONE))
    assert tape.gradient(total, losses) is None


def test_rows_that_are_not_finite_give_such_a_direction_and_no_error():
    """The step is then passed over; a solver that ends with an error would end the training."""
    rows = [ROWS[0].copy(), *ROWS[1:]]
    rows[0][1, 2] = np.inf
    for name in ("mgda", "nash", "cagrad", "upgrad", "aligned", "config", "pcd", "pcgrad"):
        balance = Balance(COUNT, aggregator=name)
        direction, weights, _ = step(balance, begun(balance), rows)
        assert not np.isfinite(direction[0]).all() and np.isnan(weights).all(), name


# === State and random draws ===


@pytest.mark.parametrize("name", ["gradvac", "moco", "excess", "pcd"])
def test_a_state_that_was_kept_goes_on_as_if_it_had_not_been(name):
    rows = np.random.default_rng(3).normal(size=(5, COUNT, 6))
    state = {}
    whole = [aggregate(name, each, state=state, seed=number)[0] for number, each in enumerate(rows)]
    kept = {}
    for number in range(3):
        aggregate(name, rows[number], state=kept, seed=number)
    kept = {key: np.array(value) for key, value in kept.items()}
    for number in (3, 4):
        np.testing.assert_array_equal(aggregate(name, rows[number], state=kept, seed=number)[0], whole[number])


@pytest.mark.parametrize("name", ["pcgrad", "graddrop"])
def test_draws_come_from_the_seed(name):
    rows = np.random.default_rng(4).normal(size=(5, 30))
    found = [aggregate(name, rows, seed=seed)[0] for seed in (7, 7, 8, (7, 1))]
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any() and (found[0] != found[3]).any()


def test_orders_are_those_of_the_others():
    for seed in range(5):
        orders = AGGREGATORS["pcgrad"](4).draws(tf.constant([seed, 0])).numpy()
        assert [sorted([*order, row]) for row, order in enumerate(orders.tolist())] == [[0, 1, 2, 3]] * 4


@pytest.mark.parametrize("distribution", ["normal", "dirichlet"])
def test_random_weights_are_equal_on_average(distribution):
    weights = [scalarize("rlw", LOSSES, seed=seed, distribution=distribution) for seed in range(30)]
    np.testing.assert_allclose(np.mean(weights, 0), 1 / 3, atol=0.12)
    np.testing.assert_allclose(np.sum(weights, 1), 1, rtol=1e-5)


def test_a_single_task_is_as_without_balancing():
    row = np.array([[3.0, -4.0]])
    for name in AGGREGATORS:
        options = dict(second=row) if AGGREGATORS[name].batches == 2 else {}
        options |= dict(losses=[2.0]) if name == "db_mtl" else {}
        np.testing.assert_allclose(aggregate(name, row, **options)[0], row[0], err_msg=name)
