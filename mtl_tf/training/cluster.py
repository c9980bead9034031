"""Several processes that train one network: TensorFlow's own engine, told by TF_CONFIG who they are.

TF_CONFIG is TensorFlow's: {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}, the same
on all machines but for the index. Worker 0 is the chief, which alone writes to the run directory; all read it.
"""

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Callable

import tensorflow as tf

from mtl_tf.errors import StoppedError, UsageError

VARIABLE = "TF_CONFIG"
_ADDRESS = re.compile(r"[^\s:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")
_EXAMPLE = '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'
# What TensorFlow says when another process has gone, depending on what it was waiting for. Its kind of error does not
# tell: a fault of this process' own GPU is an InternalError too.
_LOST = re.compile(
    r"stopped sending heartbeats|heartbeat timeout|coordination (service|leader)|error reported from /job:"
    r"|from remote target|failed to connect to all addresses|connection re(set|fused)|socket closed"
    r"|remote process exited",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The processes of a run.

    Attributes:
        workers: how many there are.
        worker: the number of this one; 0 is the chief.
    """

    workers: int = 1
    worker: int = 0


ALONE = Cluster()


def cluster() -> Cluster:
    """What TF_CONFIG says; a single process where it is unset or names one worker.

    Raises:
        UsageError: it is not as TensorFlow expects it.
    """
    text = os.environ.get(VARIABLE, "")
    if not text.strip():
        return ALONE
    try:
        content = json.loads(text)
        roles, task = content["cluster"], content["task"]
        addresses, index = roles["worker"], task["index"]
        if set(roles) != {"worker"} or task["type"] != "worker":
            raise ValueError("it names other roles than worker")
        if not isinstance(addresses, list) or not all(_ADDRESS.fullmatch(str(address)) for address in addresses):
            raise ValueError("a worker is HOST:PORT")
        if not isinstance(index, int) or not 0 <= index < len(addresses):
            raise ValueError(f"task.index {index!r} is none of the {len(addresses)} workers")
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise UsageError(f"{VARIABLE} is not a cluster of workers ({reason}); expected {_EXAMPLE}") from None
    return Cluster(len(addresses), index) if len(addresses) > 1 else ALONE


def join() -> tf.distribute.MultiWorkerMirroredStrategy:
    """Waits for the other workers and returns the strategy of all.

    Raises:
        UsageError: this worker's port is in use, or the others do not come.
    """
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError) as error:
        text = " ".join(str(error).split())[:200]
        raise UsageError(
            f"this worker cannot join the cluster of {VARIABLE} ({text}); start all workers, each on a free port"
        ) from None


@contextlib.contextmanager
def noticing_lost_workers(processes: Cluster, run_dir: str, where: Callable[[], str]):
    """Inside, the error that TensorFlow raises when another worker has gone becomes a StoppedError.

    Args:
        processes: of the run.
        run_dir: its folder.
        where: says how far the run is, once it has happened.
    """
    try:
        yield
    except tf.errors.OpError as error:
        reason = _why_lost(error)
        if processes.workers == 1 or not reason:
            raise
        raise StoppedError(
            f"a worker of {run_dir} was lost; worker {processes.worker} of {processes.workers} noticed it {where()} "
            f"({type(error).__name__}: {reason}); start the same command on all workers again, it continues from there"
        ) from None


def _why_lost(error: tf.errors.OpError) -> str:
    """The line of an error that says that another worker has gone; "" where none does."""
    lines = (line.strip() for line in str(error).splitlines())
    # Between the lines of a graph's error stand the places in this code where the operation was made.
    line = next((line for line in lines if _LOST.search(line) and not line.startswith("File ")), "")
    return re.sub(r"^{{.*?}} ", "", line)[:300]
