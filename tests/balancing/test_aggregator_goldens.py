"""Aggregators against published implementations and exact solutions of 31 Jacobians, on their authors' scale."""

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.balancing import AGGREGATORS, aggregate
from mtl_tf.balancing.methods import made

# Where no solution exists, or only by rules that are tested in test_absent.py and test_invariants.py.
WITHOUT_SOLUTION = ("stationary", "zero_row")
ALL = ()


def check(goldens, answer, found, skipped=ALL, key="direction", within=1e-9, weights=1e-7):
    """Compares directions within a part of |J|, and weights where they are unique."""
    compared = 0
    for name, case in goldens["cases"].items():
        golden = found(name)
        if any(part in name for part in skipped) or golden.get(key) is None:
            continue
        jacobian = np.array(case["J"])
        direction, row_weights = answer(jacobian)
        np.testing.assert_allclose(direction, golden[key], rtol=0, atol=within * np.linalg.norm(jacobian), err_msg=name)
        np.testing.assert_allclose(row_weights @ jacobian, direction, atol=1e-12 * np.linalg.norm(jacobian))
        if key == "direction" and "weights" in golden and case["rank"] == len(jacobian):
            np.testing.assert_allclose(row_weights, golden["weights"], rtol=weights, atol=weights, err_msg=name)
        compared += 1
    assert compared > 20


def results(goldens, name, variant=None):
    every = goldens["aggregators"][name]["results"]
    return lambda case: every[case] if variant is None else every[case].get(variant, {})


def answer(name, **options):
    return lambda jacobian: aggregate(name, jacobian, scale="own", **options)


def test_no_balancing_is_the_mean(goldens):
    check(goldens, answer("none"), results(goldens, "mean"), within=1e-12)


def test_mgda(goldens):
    """A row of zeros takes no part: the published answer is to stop all tasks."""
    check(goldens, answer("mgda"), results(goldens, "mgda"), skipped=("zero_row",))


@pytest.mark.parametrize("normalisation", ["l2", "loss", "loss+"])
def test_mgda_with_normalised_rows(goldens, normalisation):
    golden = goldens["mgda_normalised"][normalisation]
    jacobian = np.array(goldens["cases"][golden["case"]]["J"])
    options = dict(losses=golden["losses"], normalisation=normalisation, scale="own")
    direction, weights = aggregate("mgda", jacobian, **options)
    np.testing.assert_allclose(weights, golden["weights"], rtol=1e-7)
    np.testing.assert_allclose(direction, golden["direction_on_raw_rows"], rtol=1e-7)


@pytest.mark.parametrize("name", ["upgrad", "dualproj"])
def test_projections_on_the_dual_cone(goldens, name):
    check(goldens, answer(name), results(goldens, name), key="unregularised_direction", within=1e-8)


@pytest.mark.parametrize("name", ["upgrad", "dualproj"])
def test_projections_as_torchjd_regularises_them(goldens, name):
    check(goldens, answer(name, ridge="torchjd"), results(goldens, name))
    golden = goldens["aggregators"][name]["preference"]
    jacobian = np.array(goldens["cases"]["k3_conflicting"]["J"])
    weights = aggregate(name, jacobian, ridge="torchjd", scale="own", preference=golden["preference"])[1]
    np.testing.assert_allclose(weights, golden["k3_conflicting"], rtol=1e-7)


@pytest.mark.parametrize("c", [0.4, 0.5])
def test_cagrad(goldens, c):
    found = results(goldens, "cagrad", f"c{c}")
    check(goldens, answer("cagrad", c=c), found, WITHOUT_SOLUTION, within=1e-6, weights=1e-6)


def test_imtl_g(goldens):
    """In k3_between the published direction points against all rows; ours is turned round."""
    found = results(goldens, "imtl_g")
    check(goldens, answer("imtl_g"), found, (*WITHOUT_SOLUTION, "k3_between"), within=1e-6, weights=1e-6)
    jacobian = np.array(goldens["cases"]["k3_between"]["J"])
    direction, weights = aggregate("imtl_g", jacobian, scale="own")
    np.testing.assert_allclose(weights, -np.array(found("k3_between")["weights"]), rtol=1e-6)
    assert (jacobian @ direction > 0).all()


def test_nash(goldens):
    check(goldens, answer("nash", max_norm=0), results(goldens, "nash"), WITHOUT_SOLUTION, weights=1e-9)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_fairgrad(goldens, alpha):
    found = results(goldens, "fairgrad", f"alpha{alpha}")
    check(goldens, answer("fairgrad", alpha=alpha, max_norm=0), found, WITHOUT_SOLUTION, weights=1e-9)


@pytest.mark.parametrize("mode", ["min", "median", "rmse"])
def test_aligned(goldens, mode):
    check(goldens, answer("aligned", scale_mode=mode), results(goldens, "aligned", mode), within=1e-7)


def test_config(goldens):
    check(goldens, answer("config"), results(goldens, "config"), within=1e-7)


# === Random draws, which are inputs here ===


def as_tensors(jacobian):
    jacobian = np.array(jacobian)
    active = np.linalg.norm(jacobian, axis=1) > 0
    return tf.constant(jacobian @ jacobian.T), tf.constant(active)


def drawn(goldens, name):
    for case, golden in goldens["aggregators"][name]["results"].items():
        for each in golden:
            yield np.array(goldens["cases"][case]["J"]), each


@pytest.mark.parametrize("name", ["pcgrad", "gradvac"])
def test_surgery(goldens, name):
    compared = 0
    for jacobian, golden in drawn(goldens, name):
        method = made(AGGREGATORS, name, len(jacobian), {})
        gramian, active = as_tensors(jacobian)
        state = {"phi": tf.zeros([len(jacobian)] * 2, tf.float64)} if name == "gradvac" else {}
        weights, state = method.weights(state, gramian, active, None, tf.constant(golden["orders"]))
        size = np.linalg.norm(jacobian)
        np.testing.assert_allclose(weights.numpy() @ jacobian, golden["direction"], rtol=0, atol=1e-9 * size)
        if name == "gradvac":
            np.testing.assert_allclose(state["phi"], golden["phi_after"], atol=1e-9)
        compared += 1
    assert compared > 50


def test_graddrop(goldens):
    compared = 0
    for jacobian, golden in drawn(goldens, "graddrop"):
        method = made(AGGREGATORS, "graddrop", len(jacobian), {"leak": golden["leak"]})
        direction = method.direction([tf.constant(jacobian)], None, [tf.constant(golden["uniform"], tf.float64)])
        np.testing.assert_allclose(direction[0], golden["direction"], atol=1e-12 * np.abs(jacobian).max())
        compared += 1
    assert compared > 50


# === Sequences, step by step ===


def steps(goldens, name, variant=""):
    """Inputs and golden answers of five steps for each number of tasks."""
    for count in (2, 3, 5):
        golden = goldens["sequences"][name]["results"][f"k{count}{variant}"]
        yield goldens["sequence_inputs"][f"k{count}"], golden


def test_gradvac_step_by_step(goldens):
    for inputs, golden in steps(goldens, "gradvac"):
        count = len(inputs["J"][0])
        method = made(AGGREGATORS, "gradvac", count, {})
        state = {"phi": tf.zeros([count] * 2, tf.float64)}
        for jacobian, each in zip(inputs["J"], golden, strict=True):
            weights, state = method.weights(state, *as_tensors(jacobian), None, tf.constant(each["orders"]))
            np.testing.assert_allclose(weights, each["weights"], atol=1e-9)
            np.testing.assert_allclose(state["phi"], each["phi_after"], atol=1e-9)


def test_nash_step_by_step(goldens):
    for inputs, golden in steps(goldens, "nash"):
        for jacobian, each in zip(inputs["J"], golden, strict=True):
            weights = aggregate("nash", jacobian, max_norm=0.0)[1]
            np.testing.assert_allclose(weights, each["weights_exact"], rtol=1e-9)
            direction, weights = aggregate("nash", jacobian)
            np.testing.assert_allclose(weights, each["weights_clipped_to_norm_1"], rtol=1e-9)
            assert np.linalg.norm(direction) == pytest.approx(1)


def test_modo_step_by_step(goldens):
    for inputs, golden in steps(goldens, "modo"):
        state = {}
        for one, other, each in zip(inputs["J"], inputs["J2"], golden, strict=True):
            direction, weights = aggregate("modo", one, second=other, state=state, scale="own")
            np.testing.assert_allclose(weights, each["weights"], atol=1e-12)
            np.testing.assert_allclose(state["weights"], each["weights"], atol=1e-12)
            np.testing.assert_allclose(direction, weights @ (np.array(one) + other) / 2, atol=1e-12)


def test_sdmgrad_step_by_step(goldens):
    for inputs, golden in steps(goldens, "sdmgrad"):
        state = {}
        for one, other, each in zip(inputs["J"], inputs["J2"], golden, strict=True):
            weights = aggregate("sdmgrad", one, second=other, state=state, scale="own")[1]
            np.testing.assert_allclose(weights, each["weights"], atol=1e-10)
            np.testing.assert_allclose(state["weights"], each["inner"], atol=1e-10)


def test_moco_step_by_step(goldens):
    for inputs, golden in steps(goldens, "moco"):
        state = {}
        for jacobian, each in zip(inputs["J"], golden, strict=True):
            direction, weights = aggregate("moco", jacobian, state=state, scale="own")
            np.testing.assert_allclose(weights, each["weights"], atol=1e-12)
            np.testing.assert_allclose(direction, each["direction"], atol=1e-12)
            np.testing.assert_allclose(state["rows"], each["tracked"], atol=1e-12)


@pytest.mark.parametrize(("beta", "sigma"), [(0.9, 0.0), (0.9, 0.5), (0.0, 0.0)])
def test_db_mtl_step_by_step(goldens, beta, sigma):
    for inputs, golden in steps(goldens, "db_mtl", f"_beta{beta}_sigma{sigma}"):
        state = {}
        for jacobian, losses, each in zip(inputs["J"], inputs["losses"], golden, strict=True):
            options = dict(losses=losses, beta=beta, sigma=sigma, state=state)
            direction, weights = aggregate("db_mtl", jacobian, **options)
            np.testing.assert_allclose(direction, each["direction"], rtol=1e-9, atol=1e-9)
            if beta:
                np.testing.assert_allclose(weights, each["weights_on_buffer"], rtol=1e-9)
                np.testing.assert_allclose(state["rows"], each["buffer"], rtol=1e-9, atol=1e-12)


def test_excess_step_by_step(goldens):
    for inputs, golden in steps(goldens, "excess"):
        state = {}
        for jacobian, each in zip(inputs["J"], golden, strict=True):
            weights = aggregate("excess", jacobian, eta=0.5, state=state, scale="own")[1]
            np.testing.assert_allclose(weights, each["weights_sum_k"], atol=1e-8)


def test_pcd_step_by_step(goldens):
    for inputs, golden in steps(goldens, "pcd"):
        state = {}
        for jacobian, each in zip(inputs["J"], golden, strict=True):
            weights = aggregate("pcd", jacobian, state=state)[1]
            np.testing.assert_allclose(weights, each["weights"], atol=1e-9)
            np.testing.assert_allclose(state["squares"], each["ema_after"], atol=1e-9)


def test_smoothed_mgda_step_by_step(goldens):
    for inputs, golden in steps(goldens, "cr_mogm_mgda"):
        state = {}
        for jacobian, each in zip(inputs["J"], golden, strict=True):
            weights = aggregate("mgda", jacobian, smooth=0.9, state=state, scale="own")[1]
            np.testing.assert_allclose(weights, each["weights"], atol=1e-9)
