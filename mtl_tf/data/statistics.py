"""Statistics of the colours and of each task's labels over all pixels of some samples, at the size that files have."""

import concurrent.futures
import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Mapping

import numpy as np

from mtl_tf.config import DataConfig
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.source import Source
from mtl_tf.errors import UsageError
from mtl_tf.progress import Progress
from mtl_tf.tasks.reading.moments import digits, mean_std, moments

Sums = Mapping[str, Mapping[str, np.ndarray]]


def measure(source: Source, descriptor: Descriptor, data: DataConfig, after_each: Callable[[], None] = lambda: None):
    """Sums over all samples, with progress on standard error.

    Args:
        source: the samples.
        descriptor: of their labels.
        data: how many are read in parallel, and whether those that cannot be read are left out.
        after_each: is called after each sample; it may raise to end the work.

    Returns:
        "rgb" and task name -> their sums (`Labels.sums`; "moments" of the colours, (3, 3)), and "samples", how many
        have such a label. What no sample has is left out.

    Raises:
        UsageError: a sample cannot be read, or no pixel has a label of a task.
    """
    totals, skipped = {}, 0
    progress = Progress("measuring", len(source))
    pool = concurrent.futures.ThreadPoolExecutor(data.workers or os.cpu_count())
    try:
        for sample in pool.map(functools.partial(_sums, source, descriptor, data.skip_bad), range(len(source))):
            skipped += not sample
            for name, found in sample.items():
                total = totals.setdefault(name, {})
                for key, value in {"samples": 1, **found}.items():
                    total[key] = total.get(key, 0) + value
            progress.advance()
            after_each()
    finally:
        pool.shutdown(cancel_futures=True)
        progress.close()
    if skipped:
        print(f"{skipped} samples that cannot be read are left out", file=sys.stderr)
    if not totals:
        raise UsageError("no sample can be read; tools/check_dataset.py says why")
    for task, count in source.labelled.items():
        if count and task not in totals and task in source.reads:
            noun = descriptor[task].noun
            raise UsageError(f"no pixel of the split has {noun} ({task}); tools/check_dataset.py says more")
    return {name: totals[name] for name in ("rgb", *source.tasks) if name in totals}


def _sums(source, descriptor, skip_bad, index):
    try:
        sample = source.read(index)
    except UsageError:
        if skip_bad:
            return {}
        raise
    found = {"rgb": {"moments": moments(sample["image"].reshape(-1, 3))}}
    # A sample without a label comes with one that is all blank; its pixels are no part of the shares.
    found |= {task: descriptor[task].sums(sample[task]) for task in source.tasks if task in sample}
    return {name: sums for name, sums in found.items() if sums}


def summarise(sums: Sums, descriptor: Descriptor) -> Descriptor:
    """The descriptor with the measured statistics."""
    mean, std = mean_std(sums["rgb"]["moments"])
    measured = {name: labels.measured_from(sums[name]) for name, labels in descriptor.labels.items() if name in sums}
    rgb = dict(rgb_mean=tuple(map(digits, mean)), rgb_std=tuple(map(digits, std)))
    return dataclasses.replace(descriptor.with_labels(**measured), **rgb)


def usable(described: Descriptor, sums: Sums, split: str) -> Descriptor:
    """What was measured, as a file of statistics may hold it: without the colours where a standard deviation is 0.

    Raises:
        UsageError: all labels of a task have one value, so that training could not whiten them.
    """
    for name in described.labels.keys() & sums.keys():
        labels = described[name]
        for key in labels.measured:
            mean, std = key.replace("std", "mean"), getattr(labels, key)
            if key.endswith("std") and _vanishes(std, getattr(labels, mean)):
                raise UsageError(
                    f"{name}: the standard deviation ({key}) over split {split} is 0, since all its labels have one "
                    "value; training divides by it: add samples, or check the files (tools/check_dataset.py)"
                )
    if _vanishes(described.rgb_std, described.rgb_mean):
        print(
            f'the pictures of split {split} have a colour channel of one value only; "rgb" is not written',
            file=sys.stderr,
        )
        return dataclasses.replace(described, rgb_mean=(), rgb_std=())
    return described


def _vanishes(std, mean):
    """Whether a standard deviation is 0 but for rounding, (channels,) or a number."""
    return bool((np.asarray(std) <= 1e-6 * np.abs(mean)).any())
