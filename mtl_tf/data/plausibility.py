"""What is implausible in the contents of label files: hints at labels that are read as something they are not.

A warning is no error, since any of it may be right. What is looked for, the kind of a task says (`Labels.seen`,
`Labels.suspicions`). Of `Evidence` there is as much as files were looked at: all by tools/check_dataset.py, some at
equal distances by tools/describe_dataset.py and at the start of training.
"""

import concurrent.futures
from collections.abc import Mapping

from mtl_tf.data.descriptors import Descriptor
from mtl_tf.errors import UsageError

LOOK_AT = 40  # files of each task, where not all are looked at
_THREADS = 8


class Evidence:
    """What some label files of a data set show together.

    Attributes:
        descriptor: how they are read.
        seen: task name -> the sum of what its label files show, and "files", their number.
    """

    def __init__(self, descriptor: Descriptor):
        self.descriptor = descriptor
        self.seen: dict[str, dict] = {}

    def add(self, task: str, found: Mapping) -> None:
        """Adds what a label file shows (`Labels.seen`); nothing where that is empty."""
        if found:
            self._sum(task, {"files": 1, **found})

    def merge(self, other: "Evidence") -> None:
        """Adds another evidence of the same data set."""
        for task, found in other.seen.items():
            self._sum(task, found)

    def _sum(self, task, found):
        mine = self.seen.setdefault(task, {})
        for name, value in found.items():
            if name not in mine:
                mine[name] = value
            elif not isinstance(value, str):  # of texts the first stays
                mine[name] = mine[name] + value

    def warnings(self, trained: Mapping[str, Mapping]) -> list[str]:
        """What is implausible, a line each.

        Args:
            trained: task name -> what all the labels to train on show together; it lacks where not all are known.
        """
        order = [*self.descriptor.labels, *(task for task in self.seen if task not in self.descriptor.labels)]
        return [
            text
            for task in order
            if task in self.seen
            for text in self.descriptor[task].suspicions(task, self.seen[task], trained.get(task))
        ]


def look(source, most: int = LOOK_AT) -> list[str]:
    """Warnings about the labels that a network is to be trained on, by some of them at equal distances.

    What cannot be read is left to who reads it; derived labels are as those that they are derived from.

    Args:
        source: of samples; of a mixture each part is looked at.
        most: files of each task.
    """
    if len(source.parts) > 1:
        return [f"{part.name}: {text}" for part in source.parts for text in look(part.source, most)]
    if source.descriptor is None:
        return []
    evidence, complete = Evidence(source.descriptor), []
    for task in source.tasks:
        if source.descriptor[task].source:
            continue
        places = [place for place in range(len(source)) if source.has(task, place)]
        if len(places) > most:
            places = [places[number * len(places) // most] for number in range(most)]
        else:
            complete.append(task)
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            for found in pool.map(lambda place, task=task: _see_sample(source, task, place), places):
                evidence.add(task, found)
    return evidence.warnings({task: seen for task, seen in evidence.seen.items() if task in complete})


def _see_sample(source, task, place):
    labels = source.descriptor[task]
    try:
        if path := source.label_file(task, place):
            return labels.seen(path)
        return labels.seen(source.path(place), source.read(place)[task])
    except UsageError:
        return {}
