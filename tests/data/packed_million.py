"""Memory while an epoch of a large packed data set is read in shuffled order.

`python -m tests.data.packed_million 1000000` packs that many random samples of 16x16 pixels into a temporary folder,
reads each once as training does, and prints the memory of the process as it goes: RssAnon, which programs allocate, and
RssFile, to which belong the parts of the index that were read. At the end the slope of each over the samples.
"""

import pathlib
import sys
import tempfile
import time

import numpy as np

from mtl_tf import config as configuration
from tests.helpers import memory_of, tool_module

BATCH = 64


def config_of(root, count):
    """The configuration of one epoch over all samples."""
    options = dict(data__name="packed", data__root=str(root), data__crop_size=(8, 8), augment__reflect=True)
    return configuration.replace(
        configuration.Config(), **options, train__batch_size=min(BATCH, count), train__epochs=1, data__workers=2
    )


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
                found.append({name: size / 2**20 for name, size in memory_of().items()})
                print(places[-1], found[-1], f"{places[-1] / (time.monotonic() - start):.0f} samples/s", flush=True)
    assert seen.sum() == data.steps_per_epoch * data.batch_size, "a sample came twice"
    return np.array(places), found


def main(count):
    """Packs, reads and prints the slopes."""
    with tempfile.TemporaryDirectory() as folder:
        root, start = pathlib.Path(folder), time.monotonic()
        tool_module("_random_packed").pack(root, count)
        print(f"packed {count} samples in {time.monotonic() - start:.0f} s", flush=True)
        places, found = read(root, count)
    late = places > count / 10
    for name in found[0]:
        values = np.array([each[name] for each in found])
        slope = np.polyfit(places[late], values[late], 1)[0] * 2**20
        print(f"{name}: {values[late][0]:.1f} to {values[-1]:.1f} MiB; slope {slope:.2f} bytes a sample after a tenth")


if __name__ == "__main__":
    main(int(sys.argv[1]))
