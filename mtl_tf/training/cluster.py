"""Several processes that train one network: TensorFlow's own engine, told by TF_CONFIG who they are.

TF_CONFIG is TensorFlow's: {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}, the same
on all machines but for the index. Worker 0 is the chief, which alone writes to the run directory; all read it.
"""

import contextlib
import dataclasses
import json
import os
import re

import tensorflow as tf

from mtl_tf.errors import StoppedError, UsageError

VARIABLE = "TF_CONFIG"
_ADDRESS = re.compile(r"[^\s:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")
_EXAMPLE = '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'
# What TensorFlow raises when another process has gone, depending on what it was waiting for.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.FailedPreconditionError,
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
    except (*_LOST, tf.errors.UnknownError, RuntimeError) as error:
        text = " ".join(str(error).split())[:200]
        raise UsageError(
            f"this worker cannot join the cluster of {VARIABLE} ({text}); start all workers, each on a free port"
        ) from None


@contextlib.contextmanager
def noticing_lost_workers(run_dir: str):
    """Inside, the error that TensorFlow raises when another worker has gone becomes a StoppedError."""
    try:
        yield
    except _LOST as error:
        raise StoppedError(
            f"a worker of {run_dir} was lost ({type(error).__name__}); start the same command on all workers again, it "
            "continues from the last checkpoint"
        ) from None
