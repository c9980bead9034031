"""Tasks that a batch lacks, or whose gradient is zero: the answer is that of the problem without them."""

import numpy as np
import pytest

from mtl_tf.balancing import AGGREGATORS, SCALARIZERS, aggregate, scalarize

PRESENT = np.array([True, False, True, True])
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(3, 4, 7))
LOSSES = RNG.uniform(0.2, 2, (3, 4))
# Random orders and draws are of all tasks, and so of others than those of the problem without the task.
DRAWN = ("pcgrad", "gradvac", "rlw")


def given(name, step, kept=slice(None)):
    """What else an aggregator takes."""
    needs = {}
    if AGGREGATORS[name].batches == 2:
        needs["second"] = ROWS[step - 1][kept]
    if name == "db_mtl":
        needs["losses"] = LOSSES[step][kept]
    return needs


def beside(name, step, kept=slice(None)):
    """What else a scalarizer takes."""
    each = {
        "famo": dict(losses_after=0.9 * LOSSES[step] ** 1.1),
        "gradnorm": dict(norms=np.arange(1.0, 5)),
        "auto_lambda": dict(meta=np.arange(-2.0, 2)),
    }
    return {key: value[kept] for key, value in each.get(name, {}).items()}


@pytest.mark.parametrize(
    ("name", "scale"),
    [*((name, "own") for name in AGGREGATORS if name not in DRAWN), ("cagrad", "mean"), ("config", "mean")],
)
def test_an_absent_row_is_the_problem_without_it(name, scale):
    garbage = ROWS[0].copy()
    garbage[~PRESENT] = np.nan
    options = dict(seed=3, scale=scale)
    whole, weights = aggregate(name, garbage, present=PRESENT, **given(name, 0), **options)
    part, others = aggregate(name, ROWS[0][PRESENT], **given(name, 0, PRESENT), **options)
    np.testing.assert_allclose(whole, part, rtol=0, atol=1e-6 * np.linalg.norm(part))
    if weights is not None:
        assert weights[1] == 0
        np.testing.assert_allclose(weights[PRESENT], others, atol=1e-6)


@pytest.mark.parametrize("name", ["pcgrad", "gradvac"])
def test_surgery_of_a_pair_has_no_order_and_does_not_see_a_third(name):
    pair = np.array([True, False, True])
    whole, weights = aggregate(name, ROWS[0][:3], present=pair)
    np.testing.assert_allclose(whole, aggregate(name, ROWS[0][:3][pair])[0], rtol=1e-12)
    assert weights[1] == 0


@pytest.mark.parametrize("name", [name for name in AGGREGATORS if name not in ("moco", "nash", "fairgrad", "db_mtl")])
def test_a_single_task_has_its_own_gradient(name):
    alone = np.array([False, False, True, False])
    preference = (1, 1, 0.3, 1) if name != "pcd" else None
    direction, _ = aggregate(name, ROWS[0], present=alone, preference=preference, **given(name, 0))
    row = (ROWS[0] + ROWS[-1])[2] / 2 if AGGREGATORS[name].batches == 2 else ROWS[0][2]
    np.testing.assert_allclose(direction, (0.3 if name != "pcd" else 1) * row, rtol=1e-9)


@pytest.mark.parametrize("name", list(AGGREGATORS))
def test_no_task_at_all_moves_nothing(name):
    state = {}
    aggregate(name, ROWS[0], state=state, **given(name, 0))
    before = {key: value.copy() for key, value in state.items()}
    direction, weights = aggregate(name, ROWS[1], present=[False] * 4, state=state, **given(name, 1))
    assert not direction.any()
    assert weights is None or not weights.any()
    for key, value in state.items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("name", [name for name in AGGREGATORS if AGGREGATORS[name](4).state or name == "db_mtl"])
def test_what_an_aggregator_knows_of_an_absent_task_stays(name):
    options = {"db_mtl": dict(beta=0.9), "sdmgrad": dict(rate=0.01)}.get(name, {})
    state = {}
    aggregate(name, ROWS[0], state=state, **given(name, 0), **options)
    before = {key: value.copy() for key, value in state.items()}
    aggregate(name, ROWS[1], present=PRESENT, state=state, **given(name, 1), **options)
    moved = []
    for key, value in state.items():
        if key == "phi":
            np.testing.assert_array_equal(value[:, 1], before[key][:, 1])
        if key != "risk":  # is of this step
            np.testing.assert_array_equal(value[1], before[key][1], err_msg=key)
        moved.append((value != before[key]).any())
    assert any(moved)


@pytest.mark.parametrize("name", ["moco", "modo", "sdmgrad"])
def test_learned_weights_keep_their_sum_while_a_task_is_absent(name):
    state = {}
    options = dict(rate=0.01) if name == "sdmgrad" else {}
    for step, present in enumerate(([True] * 4, PRESENT, [True] * 4)):
        weights = aggregate(name, ROWS[step], present=present, state=state, **given(name, step), **options)[1]
        assert state["weights"].sum() == pytest.approx(1) and weights.sum() == pytest.approx(1)


def test_smoothed_weights_of_an_absent_task_stay():
    state = {}
    for step, present in enumerate(([True] * 3 + [False], [True] * 4, PRESENT)):
        before = dict(state)
        weights = aggregate("mgda", ROWS[step], present=present, smooth=0.5, state=state)[1]
        raw = aggregate("mgda", ROWS[step], present=present)[1]
        if step == 1:  # the first of the last task is not averaged
            np.testing.assert_allclose(weights[:3], (before["smoothed"][:3] + raw[:3]) / 2, rtol=1e-9)
            np.testing.assert_allclose(weights[3], raw[3], rtol=1e-9)
    assert weights[1] == 0
    assert state["smoothed"][1] == before["smoothed"][1] != 0


@pytest.mark.parametrize("scale", ["own", "mean"])
@pytest.mark.parametrize("name", [name for name in SCALARIZERS if name not in DRAWN])
def test_an_absent_loss_is_the_problem_without_it(name, scale):
    garbage = LOSSES[0].copy()
    garbage[~PRESENT] = -np.inf
    whole_state, part_state = {}, {}
    for step in range(3):
        garbage = LOSSES[step].copy()
        garbage[~PRESENT] = -np.inf
        options = dict(state=whole_state, scale=scale, present=PRESENT)
        whole = scalarize(name, garbage, **options, **beside(name, step))
        part = scalarize(name, LOSSES[step][PRESENT], state=part_state, scale=scale, **beside(name, step, PRESENT))
        np.testing.assert_allclose(whole[PRESENT], part, rtol=1e-9, err_msg=f"step {step}")
        assert whole[1] == 0
    for key, value in whole_state.items():
        if value.ndim:
            np.testing.assert_allclose(value[..., PRESENT], part_state[key], rtol=1e-9)


@pytest.mark.parametrize("name", [name for name in SCALARIZERS if SCALARIZERS[name](4).state])
def test_what_a_scalarizer_knows_of_an_absent_task_stays(name):
    state = {}
    scalarize(name, LOSSES[0], state=state, **beside(name, 0))
    before = {key: value.copy() for key, value in state.items()}
    scalarize(name, LOSSES[1], present=PRESENT, state=state, **beside(name, 1))
    for key, value in state.items():
        if value.ndim:
            np.testing.assert_array_equal(value[..., 1], before[key][..., 1], err_msg=key)
    assert any((value != before[key]).any() for key, value in state.items())


def test_a_present_gradient_of_zero_stops_nobody():
    rows = ROWS[0].copy()
    rows[1] = 0
    for name in ("mgda", "cagrad", "nash", "imtl_g"):
        found, weights = aggregate(name, rows)
        assert np.linalg.norm(found) > 1e-3
        assert weights[1] == 0
        part = aggregate(name, ROWS[0][PRESENT], preference=(0.5, 0.1, 0.2))[0]
        found = aggregate(name, rows, preference=(0.5, 0.2, 0.1, 0.2))[0]
        np.testing.assert_allclose(found, part, atol=1e-9)
    for name in ("upgrad", "aligned"):  # its part of the preference stays with it, as in the weighted sum
        part = aggregate(name, ROWS[0][PRESENT], preference=(0.5, 0.1, 0.2))[0]
        np.testing.assert_allclose(aggregate(name, rows, preference=(0.5, 0.2, 0.1, 0.2))[0], part, atol=1e-9)


def test_the_golden_weights_without_a_task(goldens):
    golden = goldens["absent"]
    jacobian = np.array(goldens["cases"][golden["case"]]["J"])
    options = {"cagrad": dict(c=0.4), "nash": dict(max_norm=0), "fairgrad": dict(alpha=2.0, max_norm=0)}
    for key, expected in golden["weights"].items():
        name = next(name for name in AGGREGATORS if key.startswith(name))
        found = aggregate(name, jacobian, golden["present"], scale="own", **options.get(name, {}))[1]
        np.testing.assert_allclose(found, expected, atol=1e-7, err_msg=key)
