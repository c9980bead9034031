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
import os
import pathlib
import random
import sys

import numpy as np
from _turns import Command, take_turns, told, window_of
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

    def window(self):
        """Images, seconds and CPU seconds of a window."""
        for _ in range(IDLE):
            next(self._batches)
        return window_of(lambda: next(self._batches), self._size, self._seconds, self._processes)


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
    measured = {"PyTorch DataLoader": Loader(options)}
    measured |= {command: Command(command) for command in options.against}
    print(told(take_turns(measured, options.rounds)))


if __name__ == "__main__":
    main()
