"""Samples that are rendered: road scenes, made when the split is opened and kept in memory."""

import concurrent.futures
import dataclasses
import functools
import multiprocessing
import os
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from mtl_tf.config import Config
from mtl_tf.data.sets.data_set import DataSet
from mtl_tf.data.sets.miniscapes import MINISCAPES
from mtl_tf.data.source import Source
from mtl_tf.progress import Progress
from mtl_tf.storage.windows import Choose, cut_sample
from mtl_tf.tasks import CITYSCAPES_THINGS, InstanceLabels, NormalLabels

SIZE = (256, 256)  # pixels, where data.image_size is unset

# Statistics of 300 rendered scenes of 256x256 pixels.
SYNTHETIC = dataclasses.replace(
    MINISCAPES,
    name="synthetic",
    rgb_mean=(109.7, 115.8, 115.2),
    rgb_std=(61.1, 63.6, 72.6),
    splits=("train", "val"),
    crop_multiple=0,
).with_labels(
    semseg=dataclasses.replace(
        MINISCAPES["semseg"],
        frequency=(
            *(0.31844, 0.033387, 0.1193, 0.010004, 0.0042623, 0.010157, 0.00090139, 0.0049699, 0.11775, 0.035402),
            *(0.27811, 0.0030627, 0.0010888, 0.046512, 0.0047964, 0.0044636, 0.0054855, 0.0011335, 0.00077438),
        ),
        frequency_where_present=(
            *(0.31844, 0.041734, 0.13712, 0.030013, 0.011624, 0.010329, 0.0021126, 0.0059402, 0.12266, 0.039046),
            *(0.27811, 0.0050209, 0.0019677, 0.049306, 0.017548, 0.020601, 0.056747, 0.0036963, 0.00176),
        ),
    ),
    depth=dataclasses.replace(MINISCAPES["depth"], mean=20.96, std=28.98, log_mean=2.580, log_std=0.867),
    normals=NormalLabels(axes="right,down,forward"),  # as they are in memory
    instances=InstanceLabels(things=CITYSCAPES_THINGS),
)

# Normals are kept as multiples of 1 / 32767: half the memory of float32, and right to 0.002 degrees.
_NORMAL_STEPS = 32767

# Starting processes costs about as much as rendering this many scenes.
_FEW = 24


class SyntheticSource(Source):
    """The rendered scenes of one split; a pure function of data.synthetic_seed, the split's name and the size."""

    def __init__(self, config: Config, split: str):
        data = config.data
        count = data.synthetic_train if split == data.train_split else data.synthetic_val
        count = min(count, data.limit) if data.limit else count
        self.split = split
        self.tasks = config.tasks
        self.ids = [str(index) for index in range(count)]
        self.labelled = dict.fromkeys(self.tasks, count)
        self._scenes = _render_all(data.synthetic_seed, split, count, data.image_size or SIZE, self.tasks)

    def path(self, index: int) -> str:
        return f"synthetic {self.split} scene {self.ids[index]}"

    def read(self, index: int, window: Choose | None = None) -> dict[str, np.ndarray]:
        kinds = {"image": np.uint8} | {name: labels.dtype for name, labels in SYNTHETIC.labels.items()}
        sample = cut_sample(self._scenes[index], window, SYNTHETIC.blanks)
        if "normals" in sample:
            sample = sample | {"normals": sample["normals"] * np.float32(1 / _NORMAL_STEPS)}
        return {name: part.astype(kinds[name]) for name, part in sample.items()}

    def size(self, index: int) -> tuple[int, int]:
        return self._scenes[index]["image"].shape[:2]


def _render_all(seed, split, count, size, tasks):
    render = functools.partial(_render, seed, split, size, tasks)
    processes = min(os.cpu_count() or 1, count)
    if count <= _FEW or processes == 1:
        return list(_progress(map(render, range(count)), split, count))
    # Spawned, not forked: the parent may already run TensorFlow's threads, the children never import it.
    context = multiprocessing.get_context("spawn")
    scenes = []
    try:
        with concurrent.futures.ProcessPoolExecutor(processes, context) as pool:
            for scene in _progress(pool.map(render, range(count), chunksize=4), split, count):
                scenes.append(scene)
    except BrokenProcessPool:
        # Processes cannot be started from everywhere (an unguarded script, a machine short of memory); go on alone.
        scenes += [render(index) for index in range(len(scenes), count)]
    return scenes


def _render(seed, split, size, tasks, index):
    from mtl_tf.data.synthetic import render, sample_seed

    scene = render(sample_seed(seed, split), index, *size, extras=tasks)
    scene["semseg"] = scene["semseg"].astype(np.uint8)  # a quarter of the memory; ids and 255 fit
    if "normals" in scene:
        scene["normals"] = np.rint(scene["normals"] * _NORMAL_STEPS).astype(np.int16)
    return {name: scene[name] for name in ("image", *tasks)}


def _progress(scenes, split, count):
    """The same scenes; a line says how far it is where there are more than a few."""
    progress = Progress(f"rendering {split}", count, "scenes") if count > _FEW else None
    for scene in scenes:
        if progress:
            progress.advance()
        yield scene
    if progress:
        progress.close()


DATA_SET = DataSet(
    describe=lambda data: SYNTHETIC,
    splits=lambda data: [data.train_split, data.val_split],
    open=lambda config, split, descriptor: SyntheticSource(config, split),
    to_order=True,
)
