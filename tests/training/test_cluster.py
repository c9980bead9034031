"""Several processes: what TF_CONFIG may say, the shares of the data, and that nothing is lost when one of them goes."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from mtl_tf import config as configuration
from mtl_tf.commands import main
from mtl_tf.data.pipeline import ALL, EvaluationData, Share, TrainingData
from mtl_tf.data.sets import describe, open_split
from mtl_tf.errors import StoppedError, UsageError
from mtl_tf.training import runtime
from mtl_tf.training.cluster import ALONE, Cluster, cluster, join, noticing_lost_workers
from mtl_tf.training.run_directory import open_directory
from tests.helpers import (
    ROOT,
    TINY,
    assert_same_run,
    children_of,
    one_line_error,
    tool_module,
    wait_until,
    write_dataset,
)

local_cluster = tool_module("local_cluster")


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


def test_all_gpus_make_one_strategy(monkeypatch):
    given, shown = [], []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu0", "gpu1"] if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, grow: None)
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda gpus, kind: shown.append(gpus))
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda devices: given.append(devices) or "mirrored")
    monkeypatch.setattr(runtime, "join", lambda: "joined")

    def start(devices, processes=ALONE):
        changes = dict(train__devices=devices, train__batch_size=4)
        return runtime.start(configuration.replace(configuration.Config(), **changes), processes)

    assert start(0).strategy == "mirrored" and given == [["GPU:0", "GPU:1"]]
    assert start(1).strategy is tf.distribute.get_strategy() and start(1).devices == ("GPU:0",)
    with pytest.raises(UsageError, match=r"--train\.devices=3, but this machine has 2 GPUs"):
        start(3)
    found = start(1, Cluster(2, 1))
    assert found.strategy == "joined" and found.replicas == 2 and shown == [["gpu0"]]


# === What goes wrong ===

TRACE = (
    'Graph execution error:\n\nDetected at node CollectiveReduceV2 defined at (most recent call last):\n  File "a.py"\n'
)
RECORDED = {
    "a follower was killed": TRACE
    + "Collective ops is aborted by: Error reported from /job:worker/task:2: The following "
    "tasks are unhealthy (stopped sending heartbeats):\n/job:worker/replica:0/task:2\nThe tasks have crashed.",
    "the chief was killed": "{{function_node __wrapped__CollectiveReduceV2_device_/job:worker/replica:0/task:1}} "
    "Collective ops is aborted by: failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:32881: "
    "Failed to connect to remote host: Connection refused\nAdditional GRPC error information from remote target "
    "/job:worker/replica:0/task:0 while calling /tensorflow.WorkerService/CompleteInstance:",
}


@pytest.mark.parametrize("what", RECORDED)
def test_a_lost_worker_is_told_by_what_tensorflow_says(what):
    with pytest.raises(StoppedError) as error, noticing_lost_workers(Cluster(3, 1), "runs/a", lambda: "at step 9"):
        raise tf.errors.UnavailableError(None, None, RECORDED[what])
    line = str(error.value)
    assert "a worker of runs/a was lost; worker 1 of 3 noticed it at step 9 (UnavailableError: Collective ops" in line
    reason = {
        "a follower was killed": "from /job:worker/task:2: The following tasks",
        "the chief was killed": "refused);",
    }
    assert reason[what] in line and "Detected" not in line


@pytest.mark.parametrize(
    ("kind", "text", "processes"),
    [
        (tf.errors.InternalError, f"{TRACE}CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access", 2),
        (tf.errors.InternalError, "Collective ops is aborted by: CUDNN_STATUS_EXECUTION_FAILED", 2),
        (tf.errors.FailedPreconditionError, "Could not find variable encoder/kernel", 2),
        (tf.errors.UnavailableError, RECORDED["the chief was killed"], 1),
    ],
)
def test_other_faults_are_no_lost_worker(kind, text, processes):
    with pytest.raises(kind), noticing_lost_workers(Cluster(processes, 0), "runs/a", lambda: ""):
        raise kind(None, None, text)


def test_what_keeps_a_worker_from_joining_is_one_line(monkeypatch):
    def fail():
        raise tf.errors.UnknownError(None, None, "Could not start\ngRPC server")

    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", fail)
    with pytest.raises(
        UsageError, match=r"cannot join the cluster of TF_CONFIG \(Could not start gRPC server\); start"
    ):
        join()


def test_a_worker_of_another_configuration_is_refused(dataset, tmp_path):
    config = configuration.replace(configuration.Config(), run_dir=str(tmp_path / "run"))
    descriptor = describe(configuration.replace(config, data__name="folder", data__root=str(dataset)).data)
    with open_directory(config, chief=True) as chief:
        with (
            open_directory(config, chief=False) as follower,
            pytest.raises(UsageError, match=f"--run_dir={tmp_path}/run is not the chief's: it has no run.flags"),
        ):
            follower.claim(descriptor)
        chief.claim(descriptor)
        with open_directory(config, chief=False) as follower:
            follower.claim(descriptor)
        other = configuration.replace(config, optim__learning_rate=0.5)
        with open_directory(other, chief=False) as follower, pytest.raises(UsageError) as error:
            follower.claim(descriptor)
    expected = f"not that of the chief of --run_dir={tmp_path}/run (--optim.learning_rate is 0.01, here 0.5); start all"
    assert expected in str(error.value)


def test_workers_that_have_read_different_checkpoints_do_not_train(dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runtime.Runtime, "exchange", lambda self, value: [value, 4])
    status = main(["train", *TINY, f"--data.root={dataset}", f"--run_dir={tmp_path / 'run'}"])
    assert "different checkpoints, workers 0, 1, ... those of steps 0, 4" in one_line_error(
        status, capsys.readouterr().err
    )
    assert not (tmp_path / "run" / "steps.csv").exists()


# === The tool ===


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([0, 0], 0),
        ([4, 4], 4),
        ([4, 2], 2),
        ([2, 4, 3], 3),
        ([4, -signal.SIGKILL], 1),
        ([-signal.SIGSEGV, 2], 2),
        ([0, 137], 1),
    ],
)
def test_the_most_telling_status_is_that_of_all(statuses, expected):
    assert local_cluster.most_telling(statuses) == expected


@pytest.mark.parametrize("argv", [["2"], ["two", "train"], ["0", "train"], ["65", "train"]])
def test_wrong_usage_of_the_tool(argv):
    with pytest.raises(UsageError, match=r"expected tools/local_cluster\.py N train .*, N from 1 to 64; got '"):
        local_cluster.main(argv)


def test_a_worker_that_does_not_end_is_killed_and_told(monkeypatch, capsys):
    monkeypatch.setattr(local_cluster, "PATIENCE", 0.1)
    commands = ("import sys; sys.exit(4)", "import time; time.sleep(600)")
    workers = [subprocess.Popen([sys.executable, "-c", command]) for command in commands]
    assert local_cluster.wait(workers) == 1
    told = capsys.readouterr().out
    assert "worker 1 did not end within 0.1 s after another and was killed" in told
    assert "exit status of worker 0, 1, ...: 4, SIGKILL" in told


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


def lose(dataset, run_dir, worker, step):
    """Kills a worker at some step; returns what the tool has shown of the other, which must end by itself."""
    tool = start(dataset, run_dir)
    wait_until(lambda: reached(run_dir, step), 300)
    workers = sorted(children_of(tool.pid))
    os.kill(workers[worker], signal.SIGKILL)
    died = time.monotonic()
    output, _ = tool.communicate(timeout=300)
    assert time.monotonic() - died < 100
    assert tool.returncode == 1 and "was killed" not in output, output
    assert f"a worker of {run_dir} was lost" in output and "Traceback" not in output, output
    return output


@pytest.mark.slow
def test_a_run_of_two_processes_that_was_stopped_and_lost_each_ends_as_if_nothing_had_happened(dataset, tmp_path):
    """SIGTERM to one process stops both; when one is killed, the chief too, the other ends with status 4."""
    whole = start(dataset, tmp_path / "whole")
    output, _ = whole.communicate(timeout=600)
    assert whole.returncode == 0, output
    assert "each step 2 images at learning rate 0.01; worker 0 of 2 (writes) reads 1 of them" in output, output
    assert "worker 1 of 2 (follows) reads 1 of them" in output
    run_dir = tmp_path / "run"

    stopped = start(dataset, run_dir)
    wait_until(lambda: reached(run_dir, 3), 300)
    workers = sorted(children_of(stopped.pid))
    assert all(os.getpgid(worker) == worker for worker in workers)  # Ctrl-C reaches the tool alone
    os.kill(workers[1], signal.SIGTERM)
    output, _ = stopped.communicate(timeout=300)
    assert stopped.returncode == 4 and "exit status of worker 0, 1, ...: 4, 4" in output, output
    assert "stopped by a signal to another worker" in output and "[worker 1] error: stopped by SIGTERM" in output, (
        output
    )

    output = lose(dataset, run_dir, 1, 6)
    assert "error: a worker" in output and "worker 0 of 2 noticed it at step" in output, output
    assert "exit status of worker 0, 1, ...: 4, SIGKILL" in output, output
    output = lose(dataset, run_dir, 0, 10)
    assert "[worker 1] error: a worker" in output and "exit status of worker 0, 1, ...: SIGKILL, 4" in output, output

    assert start(dataset, run_dir).wait(600) == 0
    assert_same_run(tmp_path / "whole", run_dir)
