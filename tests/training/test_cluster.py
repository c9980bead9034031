"""Several processes: what TF_CONFIG may say, the shares of the data, and that nothing is lost when one of them goes."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mtl_tf import config as configuration
from mtl_tf.data.pipeline import ALL, EvaluationData, Share, TrainingData
from mtl_tf.data.sets import describe, open_split
from mtl_tf.errors import UsageError
from mtl_tf.training import runtime
from mtl_tf.training.cluster import ALONE, Cluster, cluster
from tests.helpers import ROOT, TINY, assert_same_run, children_of, wait_until, write_dataset


def set_config(monkeypatch, workers, index=0, **changes):
    content = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}} | changes
    monkeypatch.setenv("TF_CONFIG", json.dumps(content))


def test_who_this_process_is(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert cluster() == ALONE
    set_config(monkeypatch, ["host0:1000", "host1:1000", "[::1]:1000"], 2)
    assert cluster() == Cluster(3, 2)
    set_config(monkeypatch, ["localhost:1000"])
    assert cluster() == ALONE


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cluster": {"worker": ["a:1", "b:2"], "ps": ["c:3"]}}, "other roles than worker"),
        ({"cluster": {"chief": ["a:1"]}}, "'worker' is missing"),
        ({"cluster": {"worker": ["a", "b:2"]}}, "a worker is HOST:PORT"),
        ({"task": {"type": "worker", "index": 2}}, "task.index 2 is none of the 2 workers"),
        ({"task": {"type": "worker", "index": "0"}}, "is none of the 2 workers"),
        ({"task": None}, "expected {"),
    ],
)
def test_a_wrong_cluster_is_one_line(monkeypatch, change, text):
    set_config(monkeypatch, ["a:1", "b:2"], **change)
    with pytest.raises(UsageError, match="TF_CONFIG is not a cluster of workers") as error:
        cluster()
    assert text in str(error.value) and "\n" not in str(error.value)


def test_what_is_no_json(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "worker0")
    with pytest.raises(UsageError, match="TF_CONFIG is not a cluster of workers"):
        cluster()


def test_a_process_of_a_cluster_without_gpus_has_one_device():
    config = configuration.replace(configuration.Config(), train__devices=2, train__batch_size=4)
    with pytest.raises(UsageError, match=r"--train\.devices=2, but a process of a cluster without GPUs has one device"):
        runtime.start(config, Cluster(2, 0))


# === Shares of the data ===


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("cluster") / "data", {"train": 10, "val": 5})


def joined(datasets, workers, replicas):
    """The global batches, put together from those of the replicas of each worker."""
    streams = [list(dataset.as_numpy_iterator()) for dataset in datasets]
    assert len({len(stream) for stream in streams}) == 1
    steps = range(len(streams[0]) // replicas)
    rows = [[stream[step * replicas + r] for stream in streams for r in range(replicas)] for step in steps]
    return [{name: np.concatenate([part[name] for part in parts]) for name in parts[0]} for parts in rows]


@pytest.mark.parametrize(("workers", "replicas"), [(2, 1), (4, 1), (2, 2), (1, 2)])
@pytest.mark.parametrize("pasted", [False, True])
def test_the_shares_of_all_processes_are_the_batches(dataset, workers, replicas, pasted):
    options = dict(data__name="folder", data__root=str(dataset), train__batch_size=4, train__epochs=2)
    options |= dict(augment__reflect=True, augment__cutmix=0.6) if pasted else {}
    config = configuration.replace(configuration.Config(), **options)
    descriptor = describe(config.data)
    shares = [Share(worker, workers, replicas) for worker in range(workers)]
    training = TrainingData(open_split(config, "train"), config, descriptor)
    evaluation = EvaluationData(open_split(config, "val"), config, descriptor)
    for make in (lambda share: training.dataset(1, share), lambda share: evaluation.dataset(4, share)):
        whole = list(make(ALL).as_numpy_iterator())
        found = joined([make(share) for share in shares], workers, replicas)
        assert len(found) == len(whole) > 1
        for one, other in zip(found, whole, strict=True):
            assert one.keys() == other.keys()
            for name in one:
                np.testing.assert_array_equal(one[name], other[name])


# === A run of two processes ===


def start(dataset, run_dir):
    options = ["--train.epochs=3", "--train.checkpoint_every=1", "--train.average=ema", "--log.observed=0"]
    arguments = ["2", "train", *TINY, *options, f"--data.root={dataset}", f"--run_dir={run_dir}"]
    tool = [sys.executable, str(ROOT / "tools" / "local_cluster.py"), *arguments, "--log.panels_every=0"]
    return subprocess.Popen(tool, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ)


def reached(run_dir, step):
    path = run_dir / "steps.csv"
    return path.exists() and path.read_text().count("\n") > step


@pytest.mark.slow
def test_a_run_of_two_processes_that_was_stopped_and_lost_one_ends_as_if_nothing_had_happened(dataset, tmp_path):
    """Stopped by SIGTERM, then one process killed: each time both end in bounded time with status 4."""
    whole = start(dataset, tmp_path / "whole")
    output, _ = whole.communicate(timeout=600)
    assert whole.returncode == 0, output
    assert "worker 0 of 2 (writes): each step 2 images" in output and "[worker 1]" in output
    run_dir = tmp_path / "run"

    stopped = start(dataset, run_dir)
    wait_until(lambda: reached(run_dir, 3), 300)
    stopped.send_signal(signal.SIGTERM)
    output, _ = stopped.communicate(timeout=300)
    assert stopped.returncode == 4 and "the same command continues" in output, output

    broken = start(dataset, run_dir)
    wait_until(lambda: reached(run_dir, 8), 300)
    _, other = sorted(children_of(broken.pid))
    os.kill(other, signal.SIGKILL)
    died = time.monotonic()
    output, _ = broken.communicate(timeout=300)
    assert broken.returncode == 4, output
    assert time.monotonic() - died < 100
    assert f"a worker of {run_dir} was lost" in output and "Traceback" not in output, output

    assert start(dataset, run_dir).wait(600) == 0
    assert_same_run(tmp_path / "whole", run_dir)
