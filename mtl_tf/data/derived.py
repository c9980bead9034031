"""Labels that are derived from those of another task: where a sample is read, or late, from its crop."""

from collections.abc import Mapping, Sequence

import numpy as np

from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.source import Around, Source
from mtl_tf.storage.windows import Choose, cut_sample


def stored(tasks: Sequence[str], descriptor: Descriptor) -> tuple[str, ...]:
    """The tasks whose label files are read for the labels of some tasks."""
    return tuple(dict.fromkeys(descriptor[task].source or task for task in tasks))


def read_for(tasks: Sequence[str], descriptor: Descriptor) -> tuple[str, ...]:
    """The labels that samples are read with for the labels of some tasks: those of late ones are derived afterwards."""
    late = {task: descriptor[task].source for task in tasks if descriptor[task].source and descriptor[task].late}
    return tuple(dict.fromkeys(late.get(task, task) for task in tasks))


def with_derived(source: Source, tasks: Sequence[str], descriptor: Descriptor) -> Source:
    """The samples with the labels of these tasks; the source as it is where none is derived.

    Args:
        source: of the labels that are `stored`, or derived already.
        tasks: the labels that a sample is to have.
        descriptor: of the data set.
    """
    return source if tuple(tasks) == tuple(source.tasks) else Derived(source, tasks, descriptor)


def complete(sample: Mapping, tasks: Sequence[str], descriptor: Descriptor) -> dict:
    """A sample, tensors, with its late labels derived; labels that only served for that are left out."""
    found = {name: value for name, value in sample.items() if name in tasks or name not in descriptor}
    for task in tasks:
        if task not in found:
            labels = descriptor[task]
            found[task] = labels.derived(sample[labels.source], descriptor[labels.source])
    return found


class Derived(Around):
    """The samples of a source, with derived labels.

    Args:
        source: of the labels that they are derived from.
        tasks: the labels that a sample is to have.
        descriptor: of the data set.
    """

    def __init__(self, source: Source, tasks: Sequence[str], descriptor: Descriptor):
        super().__init__(source)
        self.tasks, self._target = tuple(tasks), descriptor
        self._origin = {task: task if task in source.tasks else descriptor[task].source for task in self.tasks}
        self.labelled = {task: source.labelled[origin] for task, origin in self._origin.items()}
        self.where = {task: source.where[origin] for task, origin in self._origin.items() if origin in source.where}
        self._early = [task for task in tasks if task not in source.tasks and not descriptor[task].late]
        self._reads = read_for(tasks, descriptor)

    @property
    def reads(self) -> tuple[str, ...]:
        return self._reads

    def has(self, task: str, index: int) -> bool:
        return self.source.has(self._origin[task], index)

    def label_file(self, task: str, index: int) -> str | None:
        return self.source.label_file(task, index) if self._origin[task] == task else None

    def read(self, index: int, window: Choose | None = None) -> dict[str, np.ndarray]:
        """A sample with the labels of `reads`; whole pictures are read where labels are derived of them."""
        sample = self.source.read(index, None if self._early else window)
        if not self._early:
            return {name: value for name, value in sample.items() if name in ("image", *self.reads)}
        for task in self._early:
            labels, origin = self._target[task], self._origin[task]
            sample[task] = labels.derived(sample[origin], self._target[origin], self.source.camera(index))
        sample = {name: value for name, value in sample.items() if name in ("image", *self.reads)}
        return cut_sample(sample, window, {task: self._target[task].blank for task in self.reads})
