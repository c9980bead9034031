"""From samples to batches: read, resize, augment, batch, with tf.data.

A batch is a dict: "image" float32 (B, H, W, 3) RGB in 0..255; for each of `config.tasks` its label maps (B, H, W), as
`Source.read` gives them; "index" int64 (B,), the sample.
"""

import contextlib
import copy
import functools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mtl_tf.config import Config, replace
from mtl_tf.data import augment as augmentation
from mtl_tf.data import geometry
from mtl_tf.data.derived import complete
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.pasting import paste
from mtl_tf.data.reading import Reader
from mtl_tf.data.schedule import Schedule, fold
from mtl_tf.errors import UsageError
from mtl_tf.tasks import Labels, blanks_of

# Separate the random streams that grow from one seed; `schedule.ORDER` is 0.
_AUGMENT, _PASTE = 1, 2


class Share(NamedTuple):
    """The part of each batch that one of several processes takes: neighbouring samples, divided by its replicas.

    Attributes:
        worker: number of the process, from 0.
        workers: how many there are.
        replicas: devices of each, which get batches of their own. The product of the two divides the batch.
    """

    worker: int = 0
    workers: int = 1
    replicas: int = 1


ALL = Share()


class TrainingData:
    """Endless augmented batches in an order of their own each epoch.

    Every sample is a pure function of (seed, epoch, index), and what is pasted within a batch one of (seed, step):
    training can go on from any step without the state of an iterator, and sees the same data on any number of devices.
    """

    def __init__(self, source, config: Config, descriptor: Descriptor):
        """Reads one sample, where its size is not set by an option.

        Args:
            source: the samples (`sets.open_training`).
            config: data, augment, tasks, seed and train are used.
            descriptor: of the data set.

        Raises:
            UsageError: there are fewer samples than a batch has, or none with the labels of a task.
        """
        self.config, self.descriptor, self.source = config, descriptor, source
        self.tasks = {name: descriptor[name] for name in source.tasks}
        self._reads = {name: descriptor[name] for name in source.reads}
        self.batch_size = config.train.batch_size
        self.schedule = self._schedule(config.seed)
        self.steps_per_epoch = self.schedule.steps_per_epoch
        if not self.steps_per_epoch:
            raise UsageError(
                f"train.batch_size={self.batch_size} takes more than the {len(source.parts[0])} samples that "
                f"{config.data.name} has in split {config.data.train_split}; set a smaller --train.batch_size, or use "
                "more samples"
            )
        for task in source.tasks:
            if not source.labelled[task]:
                where = source.where.get(task, "use data that has them")
                raise UsageError(
                    f"no sample of split {config.data.train_split} has a {task} label; leave the task out (--tasks), "
                    f"or {where}"
                )
        self._reader = Reader(source, config, descriptor)
        fixed = config.data.image_size or config.data.crop_size
        self._size = (None, None) if fixed else self._reader.demand_one_size()

    def reordered(self, seed: int) -> "TrainingData":
        """The same samples in the order and with the augmentation of another seed; what is kept of them is shared."""
        other = copy.copy(self)
        other.config = replace(self.config, seed=seed)
        other.schedule = self._schedule(seed)
        return other

    def _schedule(self, seed):
        return Schedule([len(part) for part in self.source.parts], self.source.weights, self.batch_size, seed)

    def told(self) -> str:
        """Of a mix of data sets, what each batch holds; of one, nothing."""
        return self.source.told(self.schedule.shares(), self.batch_size)

    @property
    def bad(self) -> dict[str, str]:
        """File name -> fault of the samples skipped so far (data.skip_bad)."""
        return self._reader.bad

    def naming_errors(self) -> contextlib.AbstractContextManager:
        """Inside, iterating raises the UsageError that names the bad file."""
        return self._reader.naming_errors()

    def dataset(self, start_step: int = 0, share: Share = ALL) -> tf.data.Dataset:
        """The batches from a global step on to the end of the last epoch, or a process' share of them.

        Memory does not grow with the number of samples.
        """
        pasted = self.config.augment.cutmix or self.config.augment.classmix
        read = ALL if pasted else share  # what is pasted may come from anywhere in the batch
        total = max(self.config.train.all_epochs * self.steps_per_epoch, start_step)

        def one(position):
            epoch, index = self.schedule.at(position)
            return self._sample(index, epoch)

        positions = _positions(start_step, total, self.batch_size, read)
        samples = positions.map(_as_is(one), num_parallel_calls=self._reader.parallel, deterministic=True)
        batches = samples.batch(self.batch_size // (read.workers * read.replicas), drop_remainder=True)
        if pasted:
            batches = batches.enumerate(start_step).map(_as_is(self._paste), self._reader.parallel, deterministic=True)
            batches = _shared(batches, self.batch_size, share)
        return batches.prefetch(self.config.data.prefetch)

    def _paste(self, step, batch):
        return paste(batch, fold(self.config.seed, _PASTE, step), self.config.augment, self.tasks)

    def _sample(self, index, epoch):
        data, augment = self.config.data, self.config.augment
        seed = fold(self.config.seed, _AUGMENT, epoch, index)
        cropped = not data.image_size and not augmentation.bends(augment) and bool(data.crop_size or augment.reflect)
        sample = self._reader.in_graph(
            index,
            data.crop_size if cropped and data.crop_size else self._size,
            augmentation.draw(seed),
            functools.partial(augmentation.window, config=augment, crop_size=data.crop_size) if cropped else None,
        )
        read, _ = sample.pop("index"), sample.pop("asked")
        sample = geometry.resized(sample, data.image_size, data.fit)
        sample = augmentation.augment(
            geometry.in_frame(sample, data.image_size, data.fit, blanks_of(self._reads)),
            seed,
            augment,
            data.crop_size,
            self._reads,
            cropped,
        )
        return complete(sample, self.source.tasks, self.descriptor) | {"index": read}


class EvaluationData:
    """Whole pictures in natural order, once."""

    def __init__(self, source, config: Config, descriptor: Descriptor):
        """Reads nothing yet.

        Args:
            source: the samples (`sets.open_split`).
            config: data and tasks are used.
            descriptor: of the data set.
        """
        self.config, self.descriptor, self.source = config, descriptor, source
        self._reader = Reader(source, config, descriptor)

    @property
    def bad(self) -> dict[str, str]:
        """File name -> fault of the samples left out so far (data.skip_bad)."""
        return self._reader.bad

    def naming_errors(self) -> contextlib.AbstractContextManager:
        """Inside, iterating raises the UsageError that names the bad file."""
        return self._reader.naming_errors()

    def steps(self, batch_size: int) -> int:
        """The number of batches."""
        return -(-len(self.source) // batch_size)

    def one_size(self) -> bool:
        """Whether batches of more than one sample can be made."""
        return bool(self.config.data.image_size) or self.source.one_size()

    def single(self, index: int) -> dict[str, np.ndarray]:
        """One sample as a batch of one, as arrays."""
        return self._as_batches([index])[0]

    def observed(self, count: int) -> list[dict[str, np.ndarray]]:
        """Batches of one sample each, as arrays: `count` samples at equal distances over the split."""
        return self._as_batches(range(0, len(self.source), max(len(self.source) // count, 1))[:count]) if count else []

    def _as_batches(self, indices):
        positions = tf.data.Dataset.from_tensor_slices(np.array(indices, np.int64))
        samples = positions.map(_as_is(lambda position: self._sample(position, len(self.source), (None, None))))
        with self.naming_errors():
            return list(samples.batch(1).as_numpy_iterator())

    def dataset(self, batch_size: int, share: Share = ALL) -> tf.data.Dataset:
        """All samples at data.image_size (or as they are, cropped to the data set's `crop_multiple`).

        The last batch is filled up by repeating a sample, with index -1 and no labels; so are samples that cannot be
        read (data.skip_bad). Samples of different sizes need data.image_size or a batch size of 1. With data.eigen_crop
        labels that are meant have none outside the crop. A process' share of each batch where that is given.
        """
        size = (None, None)
        if batch_size > 1 and not self.config.data.image_size:
            size = self._reader.demand_one_size()
        count = len(self.source)
        positions = _positions(0, self.steps(batch_size), batch_size, share)

        def one(position):
            return self._sample(position, count, size, self.config.data.eigen_crop)

        samples = positions.map(_as_is(one), num_parallel_calls=self._reader.parallel, deterministic=True)
        batches = samples.batch(batch_size // (share.workers * share.replicas), drop_remainder=True)
        return batches.prefetch(self.config.data.prefetch)

    def _sample(self, position, count, size, eigen=False):
        data = self.config.data
        sample = self._reader.in_graph(tf.minimum(position, count - 1), size)
        index, real = sample.pop("index"), sample.pop("asked") & (position < count)
        sample = geometry.resized(sample, data.image_size, data.fit)
        reads = {name: self.descriptor[name] for name in self.source.reads}
        sample = eigen_crop(sample, reads) if eigen else sample  # of the picture, not of what it is padded to
        sample = geometry.in_frame(sample, data.image_size, data.fit, blanks_of(reads))
        if not data.image_size:
            sample = top_left(sample, self.descriptor.crop_multiple)
        sample = complete(sample, self.source.tasks, self.descriptor)
        for task in self.source.tasks:
            blank = self.descriptor[task].blank
            sample[task] = tf.where(real, sample[task], tf.cast(blank, sample[task].dtype))
        return sample | {"image": tf.cast(sample["image"], tf.float32), "index": tf.where(real, index, -1)}


# AutoGraph would read the source file again when a pipeline is built, and fail where it has changed since.
_as_is = tf.autograph.experimental.do_not_convert

# === The parts, each a pure function ===


def _positions(start, stop, batch_size, share):
    """The positions, in order, that a process takes of the batches start..stop-1."""
    mine = batch_size // share.workers
    counts = tf.data.Dataset.range(start * mine, stop * mine)
    if share.workers == 1:
        return counts
    return counts.map(lambda count: count // mine * batch_size + share.worker * mine + count % mine)


def _shared(batches, batch_size, share):
    """A process' share of whole batches."""
    if share == ALL:
        return batches
    mine = batch_size // share.workers
    begin = share.worker * mine
    batches = batches.map(lambda batch: {name: value[begin : begin + mine] for name, value in batch.items()})
    return batches if share.replicas == 1 else batches.unbatch().batch(mine // share.replicas, drop_remainder=True)


def eigen_crop(sample, tasks: Mapping[str, Labels]):
    """A sample without labels outside the crop that depth of NYUv2 is scored in; those not meant are as they were.

    Rows 45..470 and columns 41..600 of 480x640 (Eigen et al., NIPS 2014); other sizes in proportion, rounded down.
    """
    height, width = tf.unstack(tf.shape(sample["image"])[:2])
    rows, columns = tf.range(height), tf.range(width)
    inside_rows = (rows >= 45 * height // 480) & (rows < 471 * height // 480)
    inside_columns = (columns >= 41 * width // 640) & (columns < 601 * width // 640)
    inside = inside_rows[:, None] & inside_columns[None, :]
    cropped = {}
    for name, labels in tasks.items():
        if labels.eigen:
            shaped = tf.reshape(inside, (height, width, *(1 for _ in labels.shape)))
            cropped[name] = tf.where(shaped, sample[name], tf.cast(labels.blank, sample[name].dtype))
    return sample | cropped


def top_left(sample, multiple: int):
    """The largest part from the top left whose sides are multiples of `multiple` pixels; a shorter side stays."""
    if not multiple:
        return sample
    height, width = (_floor_to(side, multiple) for side in tf.unstack(tf.shape(sample["image"])[:2]))
    return {name: value[:height, :width] for name, value in sample.items()}


def _floor_to(side, multiple):
    return tf.where(side < multiple, side, side // multiple * multiple)
