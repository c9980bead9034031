"""A whole training, as a user starts it: `main.py train` in a process of its own, watched from outside."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from _benchmark import ROOT
from _benchmark.measuring import WARM_UP, speeds
from mtl_tf import flags
from mtl_tf.config import Config, replace
from mtl_tf.errors import MtlError
from mtl_tf.training.run_directory import read_table

LOOK = 0.02  # seconds between looks at what is written


def measure_run(config: Config) -> dict:
    """Trains with these options in a temporary run directory and measures it.

    Returns:
        `startup_seconds` from the start of the process to the end of its first step; speed and share of waiting of the
        steps after the first few; `whole_images_per_second` of all that follows the first step: steps, validation
        and checkpoints.

    Raises:
        MtlError: the training failed; it has said why.
    """
    with tempfile.TemporaryDirectory(prefix="mtl_tf_benchmark_") as folder:
        run_dir, options = pathlib.Path(folder) / "run", pathlib.Path(folder) / "options.flags"
        options.write_text(flags.run_flags(replace(config, log__every=1)), encoding="utf-8")
        start = time.perf_counter()
        command = [sys.executable, str(ROOT / "main.py"), "train", f"--flagfile={options}", f"--run_dir={run_dir}"]
        process = subprocess.Popen(command, stdout=sys.stderr, env=os.environ | {"KERAS_BACKEND": "tensorflow"})
        first = None
        while process.poll() is None:
            if first is None and _has_a_step(run_dir / "steps.csv"):
                first = time.perf_counter()
            time.sleep(LOOK if first is None else 10 * LOOK)
        end = time.perf_counter()
        if process.returncode:
            error = MtlError("the training ended early; its last line says why")
            error.exit_status = process.returncode
            raise error
        rows = read_table(run_dir / "steps.csv")
        whole = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
    took = [float(row["step_ms"]) / 1e3 for row in rows]
    waited = [float(row["wait_ms"]) / 1e3 for row in rows]
    warm = min(WARM_UP, len(rows) - 1)
    first = first or end
    return {
        **speeds(config.train.batch_size, took[warm:]),
        "startup_seconds": round(first - start, 2),
        "steps": len(rows) - warm,
        "seconds": round(end - start, 2),
        "wait_share": round(sum(waited[warm:]) / sum(took[warm:]), 5),
        "whole_images_per_second": round((len(rows) - 1) * config.train.batch_size / max(end - first, 1e-9), 4),
        "peak_memory_mb": whole["peak_memory_mb"],
        "parameters": whole["parameters"],
    }


def _has_a_step(file):
    try:
        return file.read_bytes().count(b"\n") > 1
    except OSError:
        return False
