"""What a step with balancing does not apply, and where there is none."""

import collections
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf.errors import UsageError
from mtl_tf.tasks import Depth
from mtl_tf.training.step import TrainingStep
from tests.balancing import step as rigs

BROKEN, NEGATIVE = -1.0, -2.0  # depths that are no labels


@tf.custom_gradient
def _with_gradient(value, factor):
    """The value, whose gradient is multiplied."""
    return value, lambda upstream: (upstream * factor, None)


@dataclasses.dataclass(frozen=True)
class Breaking(Depth):
    """Depth whose loss has a gradient that is not finite, or is negative, where a label says so."""

    def loss(self, raw, target):
        """See `Task.loss`."""
        total, count = super().loss(raw, target)
        total = _with_gradient(total, tf.where(tf.reduce_any(target == BROKEN), np.nan, 1.0))
        return total - tf.where(tf.reduce_any(target == NEGATIVE), 1e6, 0.0), count


SEMSEG, DEPTH, NORMALS = rigs.TASKS
TASKS = (SEMSEG, Breaking(**{field.name: getattr(DEPTH, field.name) for field in dataclasses.fields(DEPTH)}), NORMALS)


def _batch(depth=None):
    """A batch of all labels, in which one pixel has no depth but this."""
    batch = rigs.batches(1)[0]
    batch["depth"][2, 3, 4] = 0 if depth is None else depth
    return rigs.tensors(batch)


def _made(setting):
    """A step after its first, its arguments, and all that it may change."""
    rig = rigs.rig(rigs.SETTINGS[setting], TASKS)
    second = _batch() if rig.step.needs_second_batch else None
    assert rig.step(_batch(), **rig.step.at(0, second))["updated"]
    rig.step.end_epoch()
    return rig, rig.step.at(2, second), [*rig.model.variables, *rig.step.optimizer.variables, *rig.step.variables]


@pytest.mark.parametrize(
    "setting",
    [
        *("famo", "features", "moco"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("auto_lambda_aligned", "gradvac")),
    ],
)
def test_a_row_that_is_not_finite_moves_neither_network_nor_state_and_is_named(setting):
    """Its loss is finite, and so are the other tasks' rows."""
    rig, at, variables = _made(setting)
    before = [np.array(variable) for variable in variables]
    found = rig.step(_batch(BROKEN), **at)
    assert np.isfinite([found["loss"], *(found[f"loss_{task.name}"] for task in TASKS)]).all()
    assert not found["updated"] and not found["good"]
    named = rig.step.trained()[int(found["broken_gradient"])].path
    assert named.startswith(("encoder/", "shared/"))
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    # The next step goes on as if that one had not been.
    assert rig.step(_batch(), **at)["updated"]
    assert any((np.array(variable) != value).any() for variable, value in zip(variables, before, strict=True))


@pytest.mark.parametrize("setting", ["log_cagrad", pytest.param("log", marks=pytest.mark.slow)])
def test_losses_below_what_a_scalarizer_takes_are_refused_and_move_nothing(setting):
    rig, at, variables = _made(setting)
    before = [np.array(variable) for variable in variables]
    found = rig.step(_batch(NEGATIVE), **at)
    assert not found["updated"] and found["broken_gradient"] == -1
    losses = {f"loss_{task.name}": float(found[f"loss_{task.name}"]) for task in TASKS}
    with pytest.raises(UsageError, match=r"the loss of depth is -\d+.*, but balance\.scalarizer=log takes losses of"):
        rig.step.demand_allowed(losses)
    rig.step.demand_allowed(losses | {"loss_depth": 0.1})
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_without_balancing_the_step_is_the_plain_one():
    """Also where the options of balancing are named, with the values that they have."""
    operations = []
    for options in ({}, {"balance.scalarizer": "fixed", "balance.aggregator": "none", "balance.every": 1}):
        step = rigs.rig(options).step
        assert type(step) is TrainingStep and step.tracked == step.at(3) == {}
        assert step.record is None and step.told == "" and not step.needs_second_batch
        graph = step.__call__.get_concrete_function(_batch()).graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        operations.append(collections.Counter(node.op for node in nodes))
    assert operations[0] == operations[1]


def test_a_single_task_has_the_plain_step_and_says_so():
    rig = rigs.rig({"balance.aggregator": "mgda", "tasks": ("semseg",)}, TASKS[:1])
    assert type(rig.step) is TrainingStep
    assert rig.step.told == "a single task: balance.* has nothing to balance"


@pytest.mark.parametrize("setting", ["branched", pytest.param("features_branched", marks=pytest.mark.slow)])
def test_a_network_that_shares_nothing_that_is_trained_says_so_and_is_trained(setting):
    """Branches on an encoder that stays frozen; the tasks' own parameters move by their own losses."""
    rig = rigs.rig({**rigs.SETTINGS[setting], "train.freeze_encoder": -1})
    assert rig.step.told == "no trained parameter is shared: balance.aggregator has nothing to combine"
    before = {variable.path: variable.numpy() for variable in rig.model.trainable_variables}
    found = rig.step(_batch(), True, **rig.step.at(0))
    assert found["updated"]
    for variable in rig.model.trainable_variables:
        moved = (variable.numpy() != before[variable.path]).any()
        assert moved == (not variable.path.startswith("encoder/")), variable.path
    columns = rig.step.record.columns(found["balance"].numpy())
    assert columns["weight_semseg"] == pytest.approx(0.4) and columns["norm_semseg"] is None
