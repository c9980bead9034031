"""Scalarizers against published implementations, step by step, on their authors' scale."""

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.balancing import SCALARIZERS, scalarize
from mtl_tf.balancing.learned import meta_gradient, virtual
from mtl_tf.balancing.methods import made


def steps(goldens, name, variant="", table="scalarizers"):
    """Inputs and golden answers of five steps for each number of tasks."""
    for count in (2, 3, 5):
        golden = goldens[table][name]["results"][f"k{count}{variant}"]
        inputs = goldens["sequence_inputs"][f"k{count}"]
        yield from ([(inputs, golden)])


def paired(inputs, golden):
    return zip(inputs["losses"], golden, strict=True)


@pytest.mark.parametrize(("name", "key"), [("uw", "log_var"), ("imtl_l", "log_scale")])
def test_learned_by_sgd(goldens, name, key):
    for inputs, golden in steps(goldens, name):
        state = {}
        for losses, each in paired(inputs, golden):
            weights = scalarize(name, losses, state=state, scale="own", rate=0.1, optimizer="sgd")
            np.testing.assert_allclose(weights, each["row_weights"], atol=1e-12)
            np.testing.assert_allclose(state[key], each["state_after"], atol=1e-12)


def test_uw_begins_where_it_is_told_to(goldens):
    golden = goldens["scalarizers"]["uw"]["libmtl_first_row_weights"]
    weights = scalarize("uw", [1.0, 2.0, 3.0], init=golden["init"], scale="own")
    np.testing.assert_allclose(weights, golden["row_weights"], atol=1e-12)


def test_dwa(goldens):
    for inputs, golden in steps(goldens, "dwa"):
        state = {}
        for losses, each in paired(inputs, golden):
            weights = scalarize("dwa", losses, state=state, scale="own")
            np.testing.assert_allclose(weights, each["row_weights"], atol=1e-12)


def test_dwa_goes_by_the_mean_of_an_epoch(goldens):
    """Two batches an epoch, whose mean is the golden epoch's."""
    for inputs, golden in steps(goldens, "dwa"):
        state = {}
        for epoch, (losses, each) in enumerate(paired(inputs, golden)):
            for factor in (0.5, 1.5):
                weights = scalarize("dwa", factor * np.array(losses), state=state, scale="own", epoch=epoch)
                np.testing.assert_allclose(weights, each["row_weights"], atol=1e-12)


def test_gls(goldens):
    for inputs, golden in steps(goldens, "gls"):
        for losses, each in paired(inputs, golden):
            weights = scalarize("gls", losses, scale="own")
            np.testing.assert_allclose(weights, each["row_weights"], rtol=1e-12)
            np.testing.assert_allclose(weights * losses, weights[0] * losses[0], rtol=1e-12)


def test_stch(goldens):
    for inputs, golden in steps(goldens, "stch"):
        for losses, each in paired(inputs, golden):
            weights = scalarize("stch", losses, mu=0.1, scale="own")
            np.testing.assert_allclose(weights, each["row_weights"], rtol=1e-10)
            options = dict(preference=each["preference"], reference=each["reference"])
            weights = scalarize("stch", losses, mu=0.1, scale="own", **options)
            np.testing.assert_allclose(weights, each["row_weights_pref"], rtol=1e-10)


def test_stch_of_its_authors_code(goldens):
    for inputs, golden in steps(goldens, "stch_mtl"):
        state = {}
        for losses, each in paired(inputs, golden):
            weights = scalarize("stch", losses, variant="mtl", state=state, scale="own", epoch=each["epoch"])
            np.testing.assert_allclose(weights, each["row_weights"], rtol=1e-10)


def test_log_and_uw_so(goldens):
    for inputs, golden in steps(goldens, "log_sum_and_uw_so"):
        for losses, each in paired(inputs, golden):
            np.testing.assert_allclose(scalarize("log", losses, scale="own"), each["log_sum_row_weights"], rtol=1e-12)
            for temperature in (1.0, 10.0):
                weights = scalarize("uw_so", losses, T=temperature, scale="own")
                np.testing.assert_allclose(weights, each[f"uw_so_T{temperature}"], rtol=1e-12)


@pytest.mark.parametrize("gamma", [0.001, 0.01])
def test_famo(goldens, gamma):
    for inputs, golden in steps(goldens, "famo", f"_gamma{gamma}"):
        state = {}
        for losses, after, each in zip(inputs["losses"], inputs["losses_after"], golden, strict=True):
            weights = scalarize("famo", losses, losses_after=after, gamma=gamma, state=state, scale="own")
            np.testing.assert_allclose(weights, each["row_weights"], atol=1e-9)
            np.testing.assert_allclose(state["logits"], each["logits_after"], atol=1e-9)


def test_rlw(goldens):
    for inputs, golden in steps(goldens, "rlw"):
        for losses, each in paired(inputs, golden):
            for key, distribution, suffix in (("normal", "normal", ""), ("exponential", "dirichlet", "_dirichlet")):
                method = made(SCALARIZERS, "rlw", len(losses), {"distribution": distribution})
                weights = method.weights(
                    {}, tf.constant(losses, tf.float64), [True] * len(losses), None, np.array(each[key])
                )
                np.testing.assert_allclose(weights, each[f"row_weights{suffix}"], rtol=1e-12)


def test_gradnorm(goldens):
    for inputs, golden in steps(goldens, "gradnorm", table="sequences"):
        state = {}
        for jacobian, losses, each in zip(inputs["J"], inputs["losses"], golden, strict=True):
            options = dict(norms=np.linalg.norm(jacobian, axis=1), state=state, scale="own", optimizer="sgd")
            np.testing.assert_allclose(scalarize("gradnorm", losses, **options), each["weights_used"], atol=1e-12)
            np.testing.assert_allclose(state["weights"], each["weights_after"], atol=1e-12)


def test_auto_lambda(goldens):
    golden = goldens["auto_lambda"]

    def gradients(problems, theta):
        return np.array([np.transpose(each["M"]) @ (each["M"] @ theta - each["y"]) for each in problems])

    theta = np.array(golden["theta"])
    rows = gradients(golden["train"], theta)
    options = {"momentum": golden["momentum"], "decay": golden["weight_decay"]}
    direction = np.array(golden["lambda"]) @ rows
    after = virtual(theta, direction, np.array(golden["momentum_buffer"]), golden["rate"], **options)
    np.testing.assert_allclose(after, golden["virtual_theta"], rtol=1e-10)
    outer = gradients(golden["valid"], after).sum(0)
    meta = meta_gradient([dict(enumerate(rows))], [outer], [golden["rate"]], len(rows))
    np.testing.assert_allclose(meta, golden["meta_gradient_exact"], rtol=1e-10)
    state = {}
    scalarize("auto_lambda", [1.0, 1.0, 1.0], meta=meta.numpy(), state=state)
    np.testing.assert_allclose(state["lambda"], 0.1 + 1e-4, rtol=1e-6)  # Adam's first step is the rate
