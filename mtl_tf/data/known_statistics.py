"""Statistics that a file or a run has of the same labels, for a description that lacks them."""

import dataclasses

from mtl_tf.data.descriptors import Descriptor, read_file
from mtl_tf.errors import UsageError


def with_statistics(descriptor: Descriptor, path: str) -> Descriptor:
    """The descriptor with the statistics in a file like dataset.json, as tools/dataset_statistics.py writes it.

    Raises:
        UsageError: the file is missing or wrong, or its statistics are of other data.
    """
    try:
        found = read_file(path)
    except OSError as error:
        raise UsageError(
            f"{path}: {(error.strerror or str(error)).lower()}; expected statistics, which "
            "tools/dataset_statistics.py --output=FILE writes"
        ) from None
    return _with_measured(descriptor, found, path)


def with_statistics_of(descriptor: Descriptor, kept: Descriptor) -> Descriptor:
    """The descriptor with what another one has measured of the same labels, where it lacks it."""
    labels = dict(descriptor.labels)
    for name, own in descriptor.labels.items():
        theirs = kept.labels.get(name)
        if own.missing and theirs and theirs.unmeasured == own.unmeasured:
            labels[name] = theirs
    rgb = {} if descriptor.rgb_mean else dict(rgb_mean=kept.rgb_mean, rgb_std=kept.rgb_std)
    return dataclasses.replace(descriptor, labels=labels, **rgb)


def _with_measured(descriptor, found, path):
    """The descriptor with what another of the same data has measured."""
    labels = dict(descriptor.labels)
    differing = [("name", found.name, descriptor.name)] if found.name != descriptor.name else []
    for name, own in descriptor.labels.items():
        other = found.labels.get(name)
        if not own.measured or (not own.needs_measured and (other is None or other.missing)):
            continue
        if other is None or other.unmeasured != own.unmeasured:
            differing.append((name, other.told(name) if other else "missing", own.told(name)))
        else:
            labels[name] = dataclasses.replace(own, **{key: getattr(other, key) for key in own.measured})
    for what, theirs, ours in differing:
        raise UsageError(
            f"{path}: statistics of other data: {what} is {theirs}, but {ours} in data set {descriptor.name}; measure "
            "them with tools/dataset_statistics.py --output=FILE"
        )
    return dataclasses.replace(descriptor, labels=labels, rgb_mean=found.rgb_mean, rgb_std=found.rgb_std)
