"""Memory over many training steps: `python -m tests.faults.memory 20000` prints its slope, in bytes a step.

The smallest network trains in a process of its own, validation, checkpoints and logging included; the memory that only
it has (RssAnon of Linux) is noted twice a second, and a line is fitted to it by least squares, after a warm-up.
"""

import argparse
import pathlib
import tempfile
import time

import numpy as np

from mtl_tf.progress import Progress
from tests.helpers import TINY, last_step, memory_of, start_command, write_dataset

WARM_UP = 0.2  # share of the steps
OPTIONS = (
    *TINY,
    "--tasks=depth",
    "--nomodel.skip",
    "--model.encoder=mobilenetv3_small",
    "--train.batch_size=1",
    "--data.crop_size=32,32",
    "--log.every=20",
    "--log.panels_every=50",
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
    process = start_command("train", *OPTIONS, *own)
    noted, progress, before = [], Progress("training", steps, "steps"), 0
    while process.poll() is None:
        time.sleep(0.5)
        step, used = last_step(run_dir), memory_of(process.pid).get("RssAnon", 0)
        if step and used:
            noted.append((step, used))
            progress.advance(step - before, f"{used / 2**20:.0f} MiB")
            before = step
    assert process.returncode == 0, process.stderr.read()
    return np.array(noted).T


def slope(steps: np.ndarray, used: np.ndarray, warm_up: float = WARM_UP) -> tuple[float, float]:
    """Bytes a step after the warm-up (a share of the steps), and the standard error of that."""
    late = steps > warm_up * steps.max()
    line, covariance = np.polyfit(steps[late], used[late].astype(float), 1, cov="unscaled")
    residual = used[late] - np.polyval(line, steps[late])
    return line[0], float(np.sqrt(covariance[0, 0] * (residual**2).sum() / max(late.sum() - 2, 1)))


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
