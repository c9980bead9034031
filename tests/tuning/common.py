"""What the tests of searches share: the command, stubbed trials, what a search left behind."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

from mtl_tf.training.run_directory import read_table
from tests.helpers import ROOT

STUB = pathlib.Path(__file__).parent / "stub"


def arguments(run_dir, space, *more) -> list[str]:
    """`tune` with a space of this text."""
    path = pathlib.Path(run_dir).with_suffix(".toml")
    path.write_text(space)
    return ["tune", f"--run_dir={run_dir}", f"--space={path}", *map(str, more)]


def start(given, *, stubbed=True, **environment) -> subprocess.Popen:
    """The command in a process of its own."""
    path = os.pathsep.join([*([str(STUB)] if stubbed else []), str(ROOT)])
    variables = {name: value for name, value in os.environ.items() if not name.startswith("KERASTUNER_")}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), *given],
        env=variables | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(what, seconds=120):
    """Waits until a condition holds."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def ran(run_dir) -> list[str]:
    """The trials that a stubbed search ran, in order."""
    path = pathlib.Path(run_dir) / "ran.txt"
    return path.read_text().split() if path.exists() else []


def rows(run_dir) -> list[dict[str, str]]:
    """trials.csv."""
    return read_table(pathlib.Path(run_dir) / "trials.csv")


def statuses(run_dir) -> dict[str, str]:
    """What Keras Tuner's own files say of every trial."""
    files = sorted((pathlib.Path(run_dir) / "search").glob("trial_*/trial.json"))
    return {found["trial_id"]: found["status"] for found in (json.loads(file.read_text()) for file in files)}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
