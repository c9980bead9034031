"""Memory over many training steps: `python -m tests.faults.memory 20000` prints its slope, in bytes a step.

The smallest network trains in a process of its own, validation, checkpoints and logging included; the memory that only
it has (RssAnon of Linux) is noted twice a second, and a line is fitted to it by least squares, after a warm-up.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from mtl_tf.progress import Progress
from tests.helpers import ROOT, TINY, write_dataset

WARM_UP = 0.2  # share of the steps
OPTIONS = (
    *TINY,
    "--tasks=depth",
    "--nomodel.skip",
    "--model.encoder=mobilenetv3_small",
    "--train.batch_size=1",
    "--data.crop_size=32,32",
    "--log.every=20",
    "--log.panels_every=500",
    "--train.checkpoint_every=1000",
)


def measure(steps: int, folder: pathlib.Path, epochs: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Trains and watches.

    Args:
        steps: of the whole run.
        folder: empty; for data and run.
        epochs: into which they are divided.

    Returns:
        The steps at which memory was noted, and the bytes.
    """
    dataset, run_dir = write_dataset(folder / "data", {"train": steps // epochs, "val": 20}), folder / "run"
    own = [f"--data.root={dataset}", f"--run_dir={run_dir}", f"--train.epochs={epochs}"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), "train", *OPTIONS, *own],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    noted, progress, before = [], Progress("training", steps, "steps"), 0
    while process.poll() is None:
        time.sleep(0.5)
        step, used = _last_step(run_dir / "steps.csv"), _anonymous(process.pid)
        if step and used:
            noted.append((step, used))
            progress.advance(step - before, f"{used / 2**20:.0f} MiB")
            before = step
    assert process.returncode == 0, process.stderr.read()
    return np.array(noted).T


def slope(steps: np.ndarray, used: np.ndarray, warm_up: float = WARM_UP) -> tuple[float, float]:
    """Bytes a step after the warm-up (a share of the steps), and the standard error of that."""
    late = steps > warm_up * steps.max()
    (found, _), covariance = np.polyfit(steps[late], used[late].astype(float), 1, cov="unscaled")
    residual = used[late] - np.polyval(np.polyfit(steps[late], used[late].astype(float), 1), steps[late])
    return found, float(np.sqrt(covariance[0, 0] * (residual**2).sum() / max(late.sum() - 2, 1)))


def _last_step(path):
    try:
        with open(path, "rb") as file:
            file.seek(max(os.stat(path).st_size - 1000, 0))
            rows = file.read().split(b"\n")
    except OSError:
        return 0
    cell = rows[-2].partition(b",")[0] if len(rows) > 1 else b""
    return int(cell) if cell.isdigit() else 0


def _anonymous(pid):
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("steps", type=int)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mtl_tf_memory_") as name:
        steps, used = measure(options.steps, pathlib.Path(name), options.epochs)
    print("| step | MiB |\n|---|---|")
    for share in np.linspace(0.1, 1, 10):
        place = np.searchsorted(steps, share * steps.max())
        print(f"| {steps[place]} | {used[place] / 2**20:.1f} |")
    found, error = slope(steps, used)
    print(f"slope after {WARM_UP:.0%} of the steps: {found:.1f} +- {error:.1f} bytes a step ({len(steps)} notes)")
