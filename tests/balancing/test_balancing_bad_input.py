"""What balancing refuses, in one line that says what to do instead."""

import subprocess
import sys

import numpy as np
import pytest

from mtl_tf.balancing import AGGREGATORS, SCALARIZERS, aggregate, scalarize
from mtl_tf.errors import UsageError
from tests.helpers import ROOT

ROWS = np.random.default_rng(0).normal(size=(3, 5))
LOSSES = [0.5, 1.0, 2.0]


def refusal(job, *args, **kwargs):
    with pytest.raises(UsageError) as error:
        job(*args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mdga", {}, "no aggregator is called 'mdga'; did you mean mgda?"),
        ("famo", {}, "no aggregator is called 'famo'; there are none, mgda"),
        ("mgda", dict(c=0.4), "mgda takes no option 'c'; its options are normalisation"),
        ("cagrad", dict(rescal=1), "cagrad takes no option 'rescal'; did you mean rescale?"),
        ("imtl_g", dict(alpha=2), "imtl_g takes no option 'alpha'; it has no options"),
        ("cagrad", dict(c=-1), "cagrad: c must be at least 0.0, got -1.0"),
        ("cagrad", dict(rescale=3), "cagrad: rescale takes one of 0, 1, 2; got '3'"),
        ("aligned", dict(scale_mode="max"), "aligned: scale_mode takes one of min, median, rmse; got 'max'"),
        ("fairgrad", dict(alpha=0), "fairgrad: alpha must be above 0, got 0"),
        ("graddrop", dict(leak=(0.1, 0.2)), "graddrop: leak takes one number or 3"),
        ("pcd", dict(primary=3), "pcd: primary is the index of a task, 0 to 2; got 3"),
        ("db_mtl", {}, "db_mtl needs the losses of the step: losses=[3 numbers]"),
        ("mgda", dict(normalisation="loss"), "mgda needs the losses of the step"),
        ("db_mtl", dict(losses=[1.0, -1.0, 1.0]), "db_mtl takes losses of at least 0, got losses[1]=-1; choose upgrad"),
        ("modo", {}, r"modo needs the rows of a second batch: second= an array of (3, 5)"),
        ("mgda", dict(second=ROWS), "mgda takes no second batch"),
        ("modo", dict(second=ROWS[:2]), "second should have the shape of jacobian, (3, 5); got (2, 5)"),
        ("mgda", dict(scale="sum"), "scale takes one of mean, own; got 'sum'"),
        ("mgda", dict(preference=(1, 2)), "preference takes 3 numbers"),
        ("mgda", dict(preference=(1, -2, 1)), "none below 0 and not all 0"),
        ("mgda", dict(smooth=1.0), "smooth takes a number from 0 to below 1, got 1.0"),
        ("mgda", dict(present=[1, 0, 2]), "present takes 3 truth values, one a task"),
        ("mgda", dict(state={"phi": 1}), "state has 'phi', but mgda keeps none"),
        ("gradvac", dict(state={"phi": np.zeros(2)}), "state['phi'] should have the shape (3, 3), got (2,)"),
        ("mgda", dict(losses=[1.0, 2.0]), "losses takes 3 numbers"),
        ("mgda", dict(seed=(1, 2, 3)), "seed takes a whole number or two"),
    ],
)
def test_aggregators_refuse(name, options, message):
    assert message in refusal(aggregate, name, ROWS, **options)


def test_rows_that_are_none_are_refused():
    message = "jacobian takes an array (K, n) of numbers, a row for each task; got (3,)"
    assert message in refusal(aggregate, "mgda", LOSSES)
    assert "for each task; got a list of something else" in refusal(aggregate, "mgda", [["a", "b"]])
    rows = ROWS.copy()
    rows[1, 2] = np.nan
    assert "jacobian[1] is not finite" in refusal(aggregate, "mgda", rows)
    aggregate("mgda", rows, present=[True, False, True])


@pytest.mark.parametrize("name", ["log", "gls", "uw", "imtl_l", "famo", "uw_so", "igb"])
def test_negative_losses_are_refused_where_they_mean_nothing(name):
    message = refusal(scalarize, name, [0.5, -0.25, 1.0])
    assert f"{name} takes losses of at least 0, got losses[1]=-0.25; choose" in message
    scalarize(name, [0.5, -0.25, 1.0], present=[True, False, True])


def test_famo_takes_negative_losses_above_its_base():
    assert (scalarize("famo", [0.5, -0.25], base=-1.0) > 0).all()
    assert "at least -1, got losses_after[0]=-2" in refusal(
        scalarize, "famo", [0.5, -0.25], losses_after=[-2.0, 0.0], base=-1.0
    )


@pytest.mark.parametrize("name", ["fixed", "dwa", "rlw", "stch"])
def test_others_take_any_loss(name):
    assert np.isfinite(scalarize(name, [0.5, -0.25, 1.0])).all()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fammo", {}, "no scalarizer is called 'fammo'; did you mean famo?"),
        ("mgda", {}, "no scalarizer is called 'mgda'; "),
        ("log", dict(temperature=1), "log takes no option 'temperature'; it has no options"),
        ("dwa", dict(temperature=0), "dwa: temperature must be at least 1e-06, got 0.0"),
        ("rlw", dict(distribution="uniform"), "rlw: distribution takes one of normal, dirichlet; got 'uniform'"),
        ("stch", dict(reference=(1, 2)), "stch: reference takes 3 numbers, one a task; got 2"),
        ("dwa", dict(state={"phi": 1}), "state has 'phi', but dwa keeps loss_sum, batches, previous, epochs"),
        ("gradnorm", dict(norms=[1.0]), "norms takes 3 numbers"),
    ],
)
def test_scalarizers_refuse(name, options, message):
    assert message in refusal(scalarize, name, LOSSES, **options)


def test_losses_that_are_none_are_refused():
    assert "losses[1] is not finite" in refusal(scalarize, "log", [1.0, np.inf])
    assert "losses takes K numbers" in refusal(scalarize, "log", [[1.0, 2.0]])
    assert "losses takes K numbers, one a task; got a list of something else" in refusal(scalarize, "log", ["a"])


def test_an_epoch_that_is_over_is_refused():
    state = {}
    scalarize("dwa", LOSSES, state=state, epoch=3)
    assert "the state is of epoch 3 already" in refusal(scalarize, "dwa", LOSSES, state=state, epoch=2)


def test_the_names_are_known_without_tensorflow():
    """So that `--help` starts at once."""
    code = "import sys; from mtl_tf.balancing import AGGREGATORS; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_others_can_register_a_method():
    """A row of the table, by the name of which it is called; a built-in one keeps its name."""

    class First(AGGREGATORS["none"]):
        def weights(self, state, gramian, active, share, draws=None, losses=None):
            return [1.0, 0.0, 0.0], state

    table = type(AGGREGATORS)("aggregator", dict.fromkeys(AGGREGATORS))
    with pytest.raises(UsageError, match="'mgda' is built in"):
        table.add("mgda", First)
    AGGREGATORS.add("first_of_three", First)
    try:
        np.testing.assert_allclose(aggregate("first_of_three", ROWS, scale="own")[0], ROWS[0])
    finally:
        del AGGREGATORS._rows["first_of_three"]
    assert "first_of_three" not in AGGREGATORS and "fixed" in SCALARIZERS
