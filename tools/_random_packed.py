"""Packed data sets of any number of random samples, for measuring how reading grows with their number."""

import functools
import json
import pathlib

import numpy as np

from mtl_tf.data import descriptors, packing, shards
from mtl_tf.data.sets.synthetic import SYNTHETIC
from mtl_tf.data.source import Source

SIZE = (16, 16)  # pixels
DIFFERENT = 1000  # samples that come again and again


class RandomSource(Source):
    """Samples of random pixels."""

    tasks = ("semseg", "depth")

    def __init__(self, count: int):
        self.ids = NumberTexts(count)

    def path(self, index):
        """The name of a sample."""
        return f"sample {index}"

    def read(self, index, window=None):
        """A sample, a function of its index."""
        random = np.random.default_rng(index % DIFFERENT)
        return {
            "image": random.integers(0, 256, (*SIZE, 3), np.uint8),
            "semseg": random.integers(0, 19, SIZE, np.int32),
            "depth": random.uniform(4, 300, SIZE).astype(np.float32),
        }


class NumberTexts:
    """The texts of the numbers below a count."""

    def __init__(self, count: int):
        self._range = range(count)

    def __len__(self):
        return len(self._range)

    def __getitem__(self, index):
        return str(self._range[index])


def pack(root: pathlib.Path, count: int, shard_samples: int = 5000) -> None:
    """Writes a packed data set with one split, train."""
    source = RandomSource(count)
    descriptors.write(root, SYNTHETIC)
    (root / shards.MARK).write_text(json.dumps({"format": shards.FORMAT, "content": "pixels", "data": "random"}))
    features = functools.partial(packing.pixel_features, source, SYNTHETIC, lambda index: source.tasks, False)
    make = functools.cache(features)
    packing.pack_split(source, "train", root, lambda index: dict(make(index % DIFFERENT)), shard_samples, workers=1)
