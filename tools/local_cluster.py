"""tools/local_cluster.py N train --option=value ...: N processes on this machine train one network together.

For trying out on one machine what several would do: each process is a worker of TensorFlow's
MultiWorkerMirroredStrategy, told by TF_CONFIG; all run `main.py` with the same options and divide each batch. The
chief's lines appear as they are, those of worker 1, 2, ... behind their name. When a worker dies the others end by
themselves with status 4, and the same command continues. Ends with the most telling status of a worker: 3 diverged,
2 something must be changed, 1 a crash (a line names a signal), 4 stopped.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

from _tool import ROOT

from mtl_tf.errors import UsageError, exit_status

MOST = 64
PATIENCE = 120  # seconds that the others may take to notice that a worker has died


def start(count: int, arguments: list[str]) -> list[subprocess.Popen]:
    """Starts the workers; their lines are shown by threads.

    Args:
        count: number of workers.
        arguments: of main.py.
    """
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    workers = []
    for index in range(count):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        pipe = None if index == 0 else subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "main.py"), *arguments],
            env={**os.environ, "TF_CONFIG": json.dumps(task)},
            stdout=pipe,
            stderr=None if index == 0 else subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C reaches this tool only, which passes it on; a second one would kill
        )
        workers.append(process)
        if index:
            threading.Thread(target=_show, args=(f"worker {index}", process.stdout), daemon=True).start()
    return workers


def _show(name, lines):
    for line in lines:
        print(f"[{name}] {line}", end="", flush=True)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody uses."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def wait(workers: list[subprocess.Popen]) -> int:
    """Waits for all; those that do not notice that another has died are ended. Returns the exit status."""
    failed_at = None
    while any(worker.poll() is None for worker in workers):
        time.sleep(0.2)
        if failed_at is None and any(worker.returncode for worker in workers):
            failed_at = time.monotonic()
        if failed_at and time.monotonic() - failed_at > PATIENCE:
            for index, worker in enumerate(workers):
                if worker.poll() is None:
                    worker.kill()
                    print(f"worker {index} did not end within {PATIENCE} s after another and was killed", flush=True)
                    worker.wait()
    statuses = [worker.returncode for worker in workers]
    if any(statuses):
        print(f"exit status of worker 0, 1, ...: {', '.join(map(_named, statuses))}", flush=True)
    return most_telling(statuses)


def _named(status):
    return signal.Signals(-status).name if status < 0 else str(status)


def most_telling(statuses: list[int]) -> int:
    """The exit status of all, given that of each: 3, 2, a crash (1, or the negative number of a signal), 4, 0."""
    found = {status if status in (0, 2, 3, 4) else 1 for status in statuses}
    return next(status for status in (3, 2, 1, 4, 0) if status in found)


def main(argv: list[str]) -> int:
    """Runs the tool; returns the exit status."""
    if not argv or argv[0].lstrip("-") in ("help", "helpshort", "h"):
        print(__doc__)
        return 0
    if not argv[0].isdecimal() or not 1 <= int(argv[0]) <= MOST or len(argv) < 2:
        raise UsageError(
            f"expected tools/local_cluster.py N train --option=value ..., N from 1 to {MOST}; got {' '.join(argv)!r}"
        )
    workers = start(int(argv[0]), argv[1:])

    def pass_on(number, frame):
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    return wait(workers)


if __name__ == "__main__":
    status = []
    failed = exit_status(lambda: status.append(main(sys.argv[1:])))
    sys.exit(failed or status[0])
