"""The step of every method is the same on any number of devices and processes, in parts, and in half precision."""

import concurrent.futures
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.balancing import step as rigs
from tests.balancing.by_hand import ByHand, assert_same_steps
from tests.balancing.step import KINDS
from tests.helpers import ROOT, tool_module


def _answers(path, devices, workers, settings):
    """What the steps of these settings are on so many devices of so many processes."""
    script = ROOT / "tests" / "balancing" / "step.py"
    addresses = [f"127.0.0.1:{port}" for port in tool_module("local_cluster").free_ports(workers)]
    processes = []
    for index in range(workers):
        cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        told = {"TF_CONFIG": json.dumps(cluster)} if workers > 1 else {}
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **told}
        command = [sys.executable, script, str(devices), path, *settings]
        processes.append(subprocess.Popen(command, env=environment))
    assert [process.wait(900) for process in processes] == [0] * workers
    return np.load(path)


def _all_answers(tmp_path, jobs):
    """The same of several jobs (devices, workers, settings), two at once."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda job: _answers(tmp_path / f"{job[0]}_{job[1]}.npz", *job), jobs))


def _assert_same(one, other, settings):
    for setting in settings:
        steps, first, last, state = (_below(one, f"{setting}/{part}") for part in ("step", "first", "last", "state"))
        theirs = _below(other, f"{setting}/step")
        for name, value in steps.items():
            assert name.endswith("balance") or np.isfinite(value).all(), (setting, name)
            # Cosines near 0, and weights near it, are differences of what is not.
            np.testing.assert_allclose(theirs[name], value, rtol=1e-4, atol=1e-5, err_msg=f"{setting} {name}")
        rigs.assert_same_values(last, _below(other, f"{setting}/last"), first)
        theirs = _below(other, f"{setting}/state")
        assert state.keys() == theirs.keys()
        for name, value in state.items():
            close = dict(rtol=1e-4, atol=1e-5 * max(np.abs(value).max(), 1e-3), err_msg=f"{setting} {name}")
            np.testing.assert_allclose(theirs[name], value, **close)


def _below(answers, prefix):
    return {name: answers[name] for name in answers.files if name.startswith(prefix)}


@pytest.mark.slow
def test_devices_and_processes_equal_one(tmp_path):
    """Three steps on the same global batches; whole devices have no label of a task."""
    methods = list({**rigs.METHODS, **dict.fromkeys(KINDS)})
    jobs = [(2, 1, methods), (1, 1, methods), (1, 2, methods), (3, 1, KINDS)]
    two, one, processes, three = _all_answers(tmp_path, jobs)
    _assert_same(one, two, methods)
    _assert_same(one, processes, methods)
    _assert_same(one, three, KINDS)


@pytest.mark.slow
def test_devices_equal_one_in_parts(tmp_path):
    """Batch norm's statistics are those of each part, so that steps in parts are compared with steps in parts."""
    settings = [f'{name},{{"train.accumulate": 2}}' for name in KINDS]
    one, two = _all_answers(tmp_path, [(1, 1, settings), (2, 1, settings)])
    _assert_same(one, two, settings)


@pytest.mark.slow
@pytest.mark.parametrize("setting", [name for name in KINDS if not name.startswith("features")])
def test_weights_in_parts_are_those_of_the_summed_rows(setting, by_operation):
    """Every method's weights are of the whole batch: of the sums over parts of losses and of rows."""
    rig = rigs.rig({**rigs.SETTINGS[setting], "train.accumulate": 2})
    assert_same_steps(rig, ByHand(rig))


@pytest.mark.slow
@pytest.mark.parametrize("setting", KINDS)
def test_float16_is_the_same_at_any_loss_scale(setting, by_operation):
    """Up to what underflows in sixteen bits: a power of two changes nothing else, in rows, losses or state."""
    rig = rigs.rig({**rigs.SETTINGS[setting], "train.precision": "mixed_float16"})
    variables = [*rig.model.variables, *rig.step.optimizer.variables, *rig.step.variables]
    first = [np.array(variable) for variable in variables]
    found = {}
    for scale in (2.0**15, 2.0**12, 1.0):
        for variable, value in zip(variables, first, strict=True):
            variable.assign(value)
        rig.step.loss_scale.assign(scale)
        steps = rigs.run(rig, rigs.batches())
        weights = rig.model.trainable_variables
        begin = dict(zip(map(id, variables), first, strict=True))
        found[scale] = steps, np.concatenate([(v.numpy() - begin[id(v)]).ravel() for v in weights])
    # What underflows differs between CPUs: with oneDNN the norms of db_mtl's rows differ by 25 millionths.
    bound = 3e-5 if setting == "db_mtl" else 1e-5
    for scale, close, of_weights in ((2.0**12, 1e-4, bound), (1.0, 2e-2, 5e-2)):
        (steps, change), (theirs, their_change) = found[2.0**15], found[scale]
        for one, other in zip(steps, theirs, strict=True):
            assert one["updated"] and other["updated"]
            np.testing.assert_allclose(other["balance"], one["balance"], rtol=of_weights, atol=of_weights)
        assert np.linalg.norm(change - their_change) <= close * np.linalg.norm(change)
