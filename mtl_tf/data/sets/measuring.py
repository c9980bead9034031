"""Statistics that training needs and nobody has measured: measured on the way, from the samples to train on."""

import dataclasses
from collections.abc import Callable

from mtl_tf.config import Config, replace
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.sets import open_split, open_training, open_validation
from mtl_tf.data.statistics import measure, summarise, usable


def lacking(config: Config, descriptor: Descriptor) -> tuple[str, ...]:
    """The tasks of `config.tasks` whose labels lack statistics that the configuration needs."""
    return tuple(task for task in config.tasks if descriptor[task].wants_measuring(config))


def completed(config: Config, descriptor: Descriptor, after_each: Callable[[], None]) -> Descriptor:
    """The descriptor with what `lacking` names measured, as tools/dataset_statistics.py measures it.

    Of a mix all samples count.

    Args:
        config: whose training samples are read.
        descriptor: of the data set.
        after_each: is called after each sample; it may raise to end the work.

    Raises:
        UsageError: a sample cannot be read, no pixel has a label of a task, or all labels of one have one value.
    """
    tasks = lacking(config, descriptor)
    if not tasks:
        return descriptor
    if config.data.mix_names:  # whose parts need not have labels of all tasks
        source = open_training(config, descriptor)
    else:
        alone = replace(config, tasks=tasks, model__architecture="joint")
        source = open_split(alone, config.data.train_split, descriptor)
    open_validation(config, descriptor)  # what is wrong with it is said before the work
    print(f"measuring the statistics of {' and '.join(tasks)}, once, of {len(source)} training images", flush=True)
    sums = measure(source, descriptor, config.data, after_each)
    found = usable(summarise(sums, descriptor), sums, config.data.train_split)
    rgb = {} if descriptor.rgb_mean else dict(rgb_mean=found.rgb_mean, rgb_std=found.rgb_std)
    return dataclasses.replace(descriptor.with_labels(**{task: found[task] for task in tasks}), **rgb)
