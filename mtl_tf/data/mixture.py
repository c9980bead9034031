"""Several data sets as one: labels by the class names of the first, depth in its range, partial labels kept apart."""

import contextlib
import dataclasses
from collections.abc import Sequence

import numpy as np

from mtl_tf.config import DataConfig
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.source import Around, Source
from mtl_tf.errors import said_of
from mtl_tf.storage.windows import Choose
from mtl_tf.tasks._class_entries import some
from mtl_tf.tasks._matching import Pair, check_pairs

NO_ROOT = "-"  # in data.mix_roots: a data set without a folder


def further(data: DataConfig) -> list[DataConfig]:
    """The options of each further data set of a mix."""
    alone = dataclasses.replace(
        data, statistics="", mix_names=(), mix_roots=(), mix_weights=(), mix_classes=(), val_share=0.0
    )
    return [
        dataclasses.replace(alone, name=name, root="" if root == NO_ROOT else root)
        for name, root in zip(data.mix_names, data.mix_roots, strict=True)
    ]


def naming(data: DataConfig) -> contextlib.AbstractContextManager:
    """Inside, a UsageError says that it is about a further data set."""
    return said_of(f"data.mix_names={data.name}, data.mix_roots={data.root or NO_ROOT}")


def class_pairs(data: DataConfig, descriptor: Descriptor, others: Sequence[Descriptor]) -> tuple[Pair, ...]:
    """The pairs of `data.mix_classes`.

    Args:
        data: the options of the mix.
        descriptor: what is trained.
        others: the descriptors of the further data sets.

    Raises:
        UsageError: a pair names a class that neither has.
    """
    pairs = tuple(Pair(*map(str.strip, pair.split("=", 1))) for pair in data.mix_classes)
    theirs = [name for other in others for labels in other.labels.values() for name in labels.class_names]
    check_pairs(pairs, theirs, [name for labels in descriptor.labels.values() for name in labels.class_names])
    return pairs


def completed(descriptor: Descriptor, other: Descriptor) -> Descriptor:
    """The descriptor, with the labels that it lacks from another."""
    labels = {**other.labels, **descriptor.labels}
    # What they say of classes is of the other's; where ours are others, they are of none.
    fitting = {name: theirs.among(()) if theirs.misfit(labels) else theirs for name, theirs in labels.items()}
    return dataclasses.replace(descriptor, labels=fitting)


class Part(Around):
    """The samples of one data set, with the labels of another's descriptor.

    Attributes:
        name: of the data set.
        adapted: task -> how its labels become those of the descriptor (`tasks.Adapted`), of the tasks it has labels of.
    """

    def __init__(self, source, own: Descriptor, target: Descriptor, tasks: Sequence[str], pairs: Sequence[Pair] = ()):
        """Opens nothing.

        Args:
            source: the samples, opened with those of the tasks that the data set has labels of.
            own: its descriptor.
            target: the descriptor that its samples are to follow.
            tasks: the labels that a sample is to have; of one that is not in `source.tasks` it has none.
            pairs: classes of its own that the descriptor calls otherwise.

        Raises:
            UsageError: the two have no class in common, a class may be several, or depth has different units.
        """
        super().__init__(source)
        self.tasks, self.name, self.descriptor = tuple(tasks), own.name, None
        self.labelled = {task: source.labelled.get(task, 0) for task in self.tasks}
        self._target = target
        self.adapted = {
            task: target[task].adapting(own[task], task, own.name, target.name, pairs) for task in source.tasks
        }

    def supervision(self) -> str:
        """Which of the classes of each task its labels teach, in words; empty where no label is a class."""
        return "; ".join(
            _supervision(task, classes, self.adapted.get(task) if self.labelled[task] else None)
            for task in self.tasks
            if (classes := self._target[task].class_names)
        )

    def has(self, task: str, index: int) -> bool:
        return task in self.source.tasks and self.source.has(task, index)

    def label_file(self, task: str, index: int) -> str | None:
        return None

    def read(self, index: int, window: Choose | None = None) -> dict[str, np.ndarray]:
        """A sample or a window of it: its classes by name, depth in range, what it lacks ignored or invalid."""
        sample = self.source.read(index, window)
        for task in self.tasks:
            if task not in sample:
                sample[task] = self._target[task].empty(sample["image"].shape[:2])
            else:
                sample[task] = self.adapted[task].label(sample[task])
        return sample


class Mixture(Source):
    """The samples of several data sets, one after another.

    Attributes:
        names: what its parts are called.
        ids: those of the first part, and "NAME:ID" of the others.
    """

    def __init__(self, parts: Sequence, weights: Sequence[float] = ()):
        """Opens nothing.

        Args:
            parts: sources, that of data.name first.
            weights: their shares, in any unit; none = equal.
        """
        self._parts, self.weights = tuple(parts), tuple(weights) or (1.0,) * len(parts)
        first, *others = self.parts
        self.tasks, self.names = first.tasks, [first.name]
        for part in others:
            self.names.append(part.name if part.name not in self.names else f"{part.name} ({len(self.names) + 1})")
        self.ids = _Ids(self)
        self.labelled = {task: sum(part.labelled[task] for part in self.parts) for task in first.labelled}
        self.passed_over = [passed for part in self.parts for passed in part.passed_over]
        self._starts = np.cumsum([0, *(len(part) for part in self.parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def parts(self) -> tuple[Source, ...]:
        return self._parts

    def find(self, index: int) -> tuple[int, int]:
        """Of a sample, the number of its part, and its index there."""
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return number, index - int(self._starts[number])

    def bounds(self, index: int) -> tuple[int, int]:
        number, _ = self.find(index)
        return int(self._starts[number]), int(self._starts[number + 1])

    def path(self, index: int) -> str:
        number, place = self.find(index)
        return self.parts[number].path(place)

    def read(self, index: int, window: Choose | None = None) -> dict[str, np.ndarray]:
        number, place = self.find(index)
        return self.parts[number].read(place, window)

    def sizes(self, index: int) -> dict[str, int]:
        number, place = self.find(index)
        return self.parts[number].sizes(place)

    def size(self, index: int) -> tuple[int, int] | None:
        number, place = self.find(index)
        return self.parts[number].size(place)

    def one_size(self) -> bool:
        sizes = {part.read(0)["image"].shape for part in self.parts}
        return len(sizes) == 1 and all(part.one_size() for part in self.parts)

    def told(self, shares: Sequence[tuple[int, int, float]], batch_size: int) -> str:
        """What each batch holds, a line; and which classes each data set supervises, a line each.

        Args:
            shares: fewest, most and mean number of samples of each part (`Schedule.shares`).
            batch_size: samples a batch.
        """
        held, lines = [], []
        for part, name, (low, high, mean) in zip(self.parts, self.names, shares, strict=True):
            tasks = ", ".join(task for task in self.tasks if part.labelled[task]) or "no labels"
            count = f"{low}" if low == high else f"{low} or {high} (mean {mean:.2f})"
            held.append(f"{count} {name} [{tasks}; {len(part)} images]")
            if supervision := part.supervision():
                lines.append(f"{name} supervises {supervision}")
        return "\n".join([f"each batch of {batch_size}: {', '.join(held)}; an epoch is the first once", *lines])


def _supervision(task, classes, adapted):
    """Which classes of a task a data set has labels of, the shorter way; and which of its own are ignored."""
    if adapted is None:
        return f"no {task} class"
    count, missing = f"{len(adapted.classes)} of {len(classes)} {task} classes", set(classes) - set(adapted.classes)
    if not missing:
        told = f"all {len(classes)} {task} classes"
    elif len(missing) < len(adapted.classes):
        told = f"{count}, all but {', '.join(name for name in classes if name in missing)}"
    else:
        told = f"{count}: {', '.join(adapted.classes)}"
    return told + (f" (ignored: its {some(adapted.ignored)})" if adapted.ignored else "")


class _Ids(Sequence):
    """The ids of a mix, made when they are asked for."""

    def __init__(self, mixture: Mixture):
        self._mixture = mixture

    def __len__(self):
        return len(self._mixture)

    def __getitem__(self, index):
        number, place = self._mixture.find(range(len(self))[index])
        name = self._mixture.parts[number].ids[place]
        return f"{self._mixture.names[number]}:{name}" if number else name
