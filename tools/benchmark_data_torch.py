"""Compares the input pipeline with a PyTorch DataLoader that does the same work with Pillow, in alternating windows.

Needs torch and Pillow, and nothing of this project, whose pipelines are commands that `--against` names:

PYTHON_WITH_TORCH tools/benchmark_data_torch.py --root=NYUV2/train --scale=0.001 \\
    --against="PYTHON tools/benchmark.py --part=data --turns --seconds=5 --data.name=nyuv2 --data.root=NYUV2 ..."

The work: pictures, classes and 16-bit depth of a split in the project's layout, a random crop, a random flip, tensors
(float32 pictures, int64 classes, float32 metres), batches. Each window starts with batches that are not counted, so
that what a pipeline has prepared in its pause is used up. CPU time is that of all its processes. Both are told: images
a second, and images a second of CPU time; and for each command the median, least and largest of the ratios of its
windows to the PyTorch windows just before them.
"""

import argparse
import json
import os
import pathlib
import random
import shlex
import statistics
import subprocess
import sys
import time

import numpy as np
from PIL import Image

try:
    import torch
except ImportError:
    sys.exit("error: this comparison needs PyTorch: run it with a Python that has torch, numpy and pillow")

IDLE = 12  # batches a loader can have prepared: these are not counted


class Samples(torch.utils.data.Dataset):
    """The samples of a split, cropped and mirrored at random."""

    def __init__(self, root, crop, scale):
        self.root, self.crop, self.scale = pathlib.Path(root), crop, scale
        self.images = sorted((self.root / "rgb").iterdir())

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        path = self.images[index]
        pictures = [Image.open(path).convert("RGB")]
        pictures += [Image.open(self.root / part / f"{path.stem}.png") for part in ("semseg", "depth")]
        width, height = pictures[0].size
        left, top = random.randint(0, width - self.crop), random.randint(0, height - self.crop)
        pictures = [picture.crop((left, top, left + self.crop, top + self.crop)) for picture in pictures]
        if random.random() < 0.5:
            pictures = [picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in pictures]
        image, semseg, depth = map(np.array, pictures)
        return {
            "image": torch.from_numpy(image).permute(2, 0, 1).contiguous().float(),
            "semseg": torch.from_numpy(semseg).long(),
            "depth": torch.from_numpy(depth.astype(np.float32) * np.float32(self.scale)),
        }


class Loader:
    """An endless DataLoader, measured in windows."""

    def __init__(self, options):
        data = Samples(options.root, options.crop, options.scale)
        endless = torch.utils.data.RandomSampler(data, replacement=True, num_samples=10**9)
        self._batches = iter(
            torch.utils.data.DataLoader(data, options.batch, sampler=endless, num_workers=options.workers)
        )
        self._seconds, self._size = options.seconds, options.batch
        self._processes = [os.getpid(), *(worker.pid for worker in getattr(self._batches, "_workers", ()))]

    def _cpu(self):
        ticks = 0
        for process in self._processes:
            fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def window(self):
        """Images, seconds and CPU seconds of a window."""
        for _ in range(IDLE):
            next(self._batches)
        start, cpu, images = time.perf_counter(), self._cpu(), 0
        while time.perf_counter() - start < self._seconds:
            next(self._batches)
            images += self._size
        return {"images": images, "seconds": time.perf_counter() - start, "cpu_seconds": self._cpu() - cpu}


class Command:
    """A process that measures a window for each line that it gets."""

    def __init__(self, command):
        self._process = subprocess.Popen(
            shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def window(self):
        """Images, seconds and CPU seconds of a window."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        sys.exit("error: a command of --against has ended; run it alone to see why")


def speeds(window):
    """Images a second, elapsed and of CPU time."""
    return window["images"] / window["seconds"], window["images"] / window["cpu_seconds"]


def main():
    """Measures and prints a line for each pipeline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder of a split: rgb, semseg, depth")
    parser.add_argument("--against", action="append", default=[], help="a command; may be given several times")
    parser.add_argument("--scale", type=float, default=0.001, help="metres a unit of depth")
    parser.add_argument("--crop", type=int, default=256, help="pixels")
    parser.add_argument("--batch", type=int, default=4, help="images")
    parser.add_argument("--workers", type=int, default=2, help="processes of the DataLoader")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a window")
    parser.add_argument("--rounds", type=int, default=10, help="windows of each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pipelines = [Loader(options), *map(Command, options.against)]
    for pipeline in pipelines:
        pipeline.window()  # to get warm
    found = [[] for _ in pipelines]
    for number in range(options.rounds):
        for windows, pipeline in zip(found, pipelines, strict=True):
            windows.append(speeds(pipeline.window()))
        print(f"round {number + 1}/{options.rounds}:", found[0][-1], *(each[-1] for each in found[1:]), file=sys.stderr)
    for name, windows in zip(["PyTorch DataLoader", *options.against], found, strict=True):
        print(name)
        for kind, label in enumerate(("images/s", "images/s of CPU time")):
            values = [window[kind] for window in windows]
            ratios = [window[kind] / base[kind] for window, base in zip(windows, found[0], strict=True)]
            print(
                f"  {label:<22} median {statistics.median(values):8.1f}   ratio median {statistics.median(ratios):.2f}"
                f" ({min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()
