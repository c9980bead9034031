"""Memory while an epoch of a large packed data set is read in shuffled order.

`python -m tests.data.packed_million 1000000` packs that many random samples of 16x16 pixels into a temporary folder,
reads each once as training does, and prints the memory of the process as it goes: RssAnon, which programs allocate, and
RssFile, to which belong the parts of the index that were read. At the end the slope of each over the samples.
"""

import functools
import json
import pathlib
import sys
import tempfile
import time

import numpy as np

from mtl_tf import config as configuration
from mtl_tf.data import descriptors, packing, shards
from mtl_tf.data.sets.synthetic import SYNTHETIC

SIZE, BATCH = (16, 16), 64


class RandomSource:
    """Samples of random pixels, a thousand different ones again and again."""

    tasks = ("semseg", "depth")

    def __init__(self, count):
        self.ids = range_of_names(count)

    def __len__(self):
        return len(self.ids)

    def path(self, index):
        """The name of a sample."""
        return f"sample {index}"

    def read(self, index, window=None):
        """A sample, a function of its index."""
        random = np.random.default_rng(index % 1000)
        return {
            "image": random.integers(0, 256, (*SIZE, 3), np.uint8),
            "semseg": random.integers(0, 19, SIZE, np.int32),
            "depth": random.uniform(4, 300, SIZE).astype(np.float32),
        }


class range_of_names:  # noqa: N801 - as `range`
    """The texts of the numbers below a count."""

    def __init__(self, count):
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
    make = functools.cache(functools.partial(packing.pixel_features, source, lambda index: source.tasks, False))
    packing.pack_split(source, "train", root, lambda index: dict(make(index % 1000)), shard_samples, workers=1)


def config_of(root, count):
    """The configuration of one epoch over all samples."""
    options = dict(data__name="packed", data__root=str(root), data__crop_size=(8, 8), augment__reflect=True)
    return configuration.replace(
        configuration.Config(), **options, train__batch_size=min(BATCH, count), train__epochs=1, data__workers=2
    )


def memory() -> dict[str, float]:
    """Resident memory of the process, MiB."""
    lines = (line.split() for line in pathlib.Path("/proc/self/status").read_text().splitlines())
    return {line[0][:-1]: int(line[1]) / 1024 for line in lines if line[0] in ("RssAnon:", "RssFile:")}


def read(root, count, points=40):
    """Reads an epoch; returns the numbers of samples read and the memory at each of them."""
    from mtl_tf.data.pipeline import TrainingData
    from mtl_tf.data.sets import describe, open_split

    config = config_of(root, count)
    data = TrainingData(open_split(config, "train"), config, describe(config.data))
    places, found, seen, start = [], [], np.zeros(count, bool), time.monotonic()
    with data.naming_errors():
        for step, batch in enumerate(data.dataset().as_numpy_iterator(), 1):
            seen[batch["index"]] = True
            if step % max(data.steps_per_epoch // points, 1) == 0:
                places.append(step * data.batch_size)
                found.append(memory())
                print(places[-1], found[-1], f"{places[-1] / (time.monotonic() - start):.0f} samples/s", flush=True)
    assert seen.sum() == data.steps_per_epoch * data.batch_size, "a sample came twice"
    return np.array(places), found


def main(count):
    """Packs, reads and prints the slopes."""
    with tempfile.TemporaryDirectory() as folder:
        root, start = pathlib.Path(folder), time.monotonic()
        pack(root, count)
        print(f"packed {count} samples in {time.monotonic() - start:.0f} s", flush=True)
        places, found = read(root, count)
    late = places > count / 10
    for name in found[0]:
        values = np.array([each[name] for each in found])
        slope = np.polyfit(places[late], values[late], 1)[0] * 2**20
        print(f"{name}: {values[late][0]:.1f} to {values[-1]:.1f} MiB; slope {slope:.2f} bytes a sample after a tenth")


if __name__ == "__main__":
    main(int(sys.argv[1]))
