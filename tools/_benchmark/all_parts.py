"""All parts one after another, each in a process of its own: peaks of memory and what a backend keeps would mix."""

import json
import pathlib
import subprocess
import sys
import tempfile

from _tool import given_options

from _benchmark import ROOT
from mtl_tf.errors import MtlError

PARTS = {
    "tensorflow": ("data", "train", "run", "inference", "latency"),
    "jax": ("train", "inference", "latency"),
}


def measure_all(parsed) -> dict[str, dict]:
    """What tools/benchmark.py gives for each part of the backend, with the same options.

    The whole training has one epoch where --train.epochs is not given.

    Raises:
        MtlError: a part failed; it has said why.
    """
    own = parsed.own
    options = [*given_options(parsed), f"--backend={own.backend}", f"--seconds={own.seconds}", f"--rate={own.rate}"]
    if "train.epochs" not in parsed.given:
        options.append("--train.epochs=1")
    return {part: _measured(part, options) for part in PARTS[own.backend]}


def _measured(part, options):
    with tempfile.TemporaryDirectory(prefix="mtl_tf_benchmark_") as folder:
        file = pathlib.Path(folder) / "part.json"
        command = [sys.executable, str(ROOT / "tools" / "benchmark.py"), *options, f"--part={part}", f"--json={file}"]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            error = MtlError(f"--part={part} ended early; its last line says why")
            error.exit_status = done.returncode
            raise error
        return json.loads(file.read_text(encoding="utf-8"))
