"""Samples of the data set that `data.name` names: one file each, its descriptor and how its files are read."""

import contextlib
import dataclasses

from mtl_tf.config import DATA_SETS, BalanceConfig, Config, DataConfig
from mtl_tf.data import derived, mixture, share
from mtl_tf.data.descriptors import FILE_NAME, Descriptor, read
from mtl_tf.data.known_statistics import with_statistics
from mtl_tf.data.sets import folder
from mtl_tf.errors import UsageError
from mtl_tf.storage import files


def describe(data: DataConfig) -> Descriptor:
    """The descriptor of the data set that data.name names.

    Its statistics are those in the file `data.statistics`; without one its own; where a known data set has none,
    those in a dataset.json that tools/dataset_statistics.py --write has put into `data.root`.

    Raises:
        UsageError: a file that it stands in is missing or wrong.
    """
    descriptor = DATA_SETS[data.name].describe(data)
    if data.statistics:
        return with_statistics(descriptor, data.statistics)
    path = files.join(data.root, FILE_NAME)
    lacks = any(labels.missing for labels in descriptor.labels.values())
    known = data.name != "folder" and lacks and data.root and files.is_file(path)
    if known and read(data.root).name == descriptor.name:
        return with_statistics(descriptor, path)
    return descriptor


def describe_training(data: DataConfig) -> Descriptor:
    """What a network is trained on: data.name, and what that lacks of the first further data set of a mix that has it.

    Raises:
        UsageError: as `describe`.
    """
    found = describe(data)
    for other in mixture.further(data):
        with mixture.naming(other):
            found = mixture.completed(found, describe(other))
    return found


def splits_of(data: DataConfig) -> list[str]:
    """The names of the splits that are there."""
    found = DATA_SETS[data.name].splits(data)
    return [*found, data.val_split] if data.val_share and data.val_split not in found else found


def named_splits(data: DataConfig) -> tuple[str, ...]:
    """The splits that data.split names, separated by commas; a name of a split that is there may hold commas itself.

    Raises:
        UsageError: a name is empty or comes twice.
    """
    if "," not in data.split or data.split in splits_of(data):
        return (data.split,)
    found = tuple(data.split.split(","))
    if len(set(found)) < len(found) or not all(found):
        raise UsageError(f"--data.split={data.split} should be different names of splits, separated by commas")
    return found


def known_as(data: DataConfig) -> list[str]:
    """The names of the built-in data sets in whose layout the files in data.root lie; the project's own is none."""
    found = []
    for name in DATA_SETS.built_in:
        with contextlib.suppress(UsageError):  # which says that it is none of these
            known = DATA_SETS[name]
            own = known.to_order or known.open is folder.open_split
            if not own and known.splits(dataclasses.replace(data, name=name)):
                found.append(name)
    return found


def tasks_of_tools(config: Config, descriptor: Descriptor) -> tuple[str, ...]:
    """The tasks that a tool works on: those named, else all that have label files; of rendered data the usual ones."""
    if config.tasks or DATA_SETS[config.data.name].to_order:
        return descriptor.chosen(config.tasks)
    return descriptor.task_names


def open_split(config: Config, split: str, descriptor: Descriptor | None = None):
    """The samples of a split of the data set that data.name names.

    Args:
        config: its data and tasks; no task = all that the descriptor has.
        split: name of the split.
        descriptor: what its labels are to mean; a run keeps the one it was trained with.

    Raises:
        UsageError: the data set or the split is not there.
    """
    data = config.data
    config = _with_tasks(config, descriptor or describe(data))
    lacks = descriptor and data.mix_names and not all(task in describe(data) for task in config.tasks)
    if lacks or (descriptor and _stored_otherwise(data, descriptor, config.tasks)):
        return derived.with_derived(_open_part(config, data, split, descriptor), config.tasks, descriptor)
    return _open(config, split, descriptor or describe(data))


def _stored_otherwise(data, descriptor, tasks):
    """Whether a data set says that its files are read otherwise than a descriptor does."""
    try:
        own = describe(data)
    except UsageError:  # it says nothing
        return False
    if not all(task in own for task in tasks):
        return False
    names = derived.stored(tasks, own)
    if any(own.pattern(name) != descriptor.pattern(name) for name in ("rgb", *names)):
        return True
    if own.split_lists != descriptor.split_lists:
        return True
    return all(name in descriptor for name in names) and any(own[n].storage != descriptor[n].storage for n in names)


def open_training(config: Config, descriptor: Descriptor):
    """The samples to train on: the training split of data.name, or a mix of it with those of data.mix_names.

    Raises:
        UsageError: one is not there, or has nothing in common with the first.
    """
    data, split = config.data, config.data.train_split
    config = _with_tasks(config, descriptor)
    if not data.mix_names:
        return open_split(config, split, descriptor)
    parts, others = [_open_part(config, data, split, descriptor)], mixture.further(data)
    pairs = mixture.class_pairs(data, descriptor, [_described(other) for other in others])
    for other in others:
        with mixture.naming(other):
            parts.append(_open_part(config, other, split, descriptor, pairs))
    return derived.with_derived(mixture.Mixture(parts, data.mix_weights), config.tasks, descriptor)


def open_validation(config: Config, descriptor: Descriptor):
    """The samples that every epoch is validated on.

    Raises:
        UsageError: the split is not there, or has no labels of a task that data.name has labels of: no epoch could be
            scored by it. A mix may train a task that data.name knows nothing of; it has no scores then.
    """
    data = config.data
    source = open_split(config, data.val_split, descriptor)
    own = describe(data) if data.mix_names else descriptor
    for task in config.tasks:
        if task in own and not source.labelled[task]:
            others = ",".join(name for name in config.tasks if name != task)
            without = f", leave the task out (--tasks={others})" if others else ""
            held_out = "" if data.val_share else ", or hold a share of the training images out (--data.val_share=0.1)"
            raise UsageError(
                f"no sample of split {data.val_split} has a {task} label, so that no epoch could be scored: "
                f"{source.where.get(task, 'use data that has them')}{without}{held_out}"
            )
    return source


def _with_tasks(config, descriptor):
    """The configuration, with all tasks of the descriptor where none is named."""
    return config if config.tasks else dataclasses.replace(config, tasks=descriptor.chosen(()))


def _described(other):
    with mixture.naming(other):
        return describe(other)


def _open_part(config, data, split, descriptor, pairs=()):
    """A data set of a mix: it may lack tasks, and its labels may mean something else."""
    own = describe(data)
    reads = derived.read_for(config.tasks, descriptor)
    tasks = tuple(task for task in reads if task in own)
    if not tasks:
        own.check_has(reads)
    source = _open(Config(data=data, tasks=tasks, seed=config.seed), split, own)
    return mixture.Part(source, own, descriptor, reads, pairs)


def _open(config, split, descriptor):
    """A split of one data set; with data.val_share the validation split is a part of the training split."""
    data, tasks = config.data, config.tasks
    descriptor.check_has(tasks)
    # What is read is not what is trained, which options of balancing name.
    config = dataclasses.replace(config, tasks=derived.stored(tasks, descriptor), balance=BalanceConfig())
    return derived.with_derived(_open_stored(config, data, split, descriptor), tasks, descriptor)


def _open_stored(config, data, split, descriptor):
    opened = DATA_SETS[data.name].open
    if not data.val_share or split not in (data.train_split, data.val_split):
        return opened(config, split, descriptor)
    whole = opened(config, data.train_split, descriptor)
    if len(whole) < 2:
        raise UsageError(
            f"data.val_share={data.val_share:g}: split {data.train_split} has one sample, of which none can be held "
            "out; add samples"
        )
    kept, held_out = share.divide(whole, data.val_share, config.seed, data.val_by != "sample")
    return held_out if split == data.val_split else kept
