"""A share of the training samples in place of a validation split: disjoint from the rest, and the same every time.

Frames of one sequence look alike: held out one by one, validation would score what was nearly trained on. So whole
sequences are held out.
"""

import hashlib
from collections.abc import Callable

import numpy as np

from mtl_tf.data.source import Around, Source
from mtl_tf.storage.windows import Choose
from mtl_tf.surfaces import Intrinsics


def divide(source: Source, share: float, seed: int, by_sequence: bool = True) -> tuple["Some", "Some"]:
    """The samples to train on and those that are held out, both in the order of the source.

    Args:
        source: all samples; at least two.
        share: of them that is held out, 0..1; at least one sample is, and at least one is not.
        seed: with the id of a sample or the name of a sequence, all that decides whether it is held out.
        by_sequence: whether sequences (see `sequence_of`) are held out whole; of a single one samples are.
    """
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(source.ids):
        groups.setdefault(sequence_of(name) if by_sequence else name, []).append(index)
    if len(groups) == 1:
        groups = {name: [index] for index, name in enumerate(source.ids)}

    def draw(name):
        return hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest()

    count = min(max(round(share * len(source)), 1), len(source) - 1)
    held_out = set(_nearest([groups[name] for name in sorted(groups, key=draw)], count))
    kept = [index for index in range(len(source)) if index not in held_out]
    return Some(source, kept), Some(source, sorted(held_out), named=())


def sequence_of(name: str) -> str:
    """The sequence of a sample by its id: its folder; what lies in none is a sequence of its own."""
    return name.rpartition("/")[0] or name


def _nearest(groups, count):
    """The indices of groups, the first that bring their number nearer to a count; at least of one, never of all."""
    found, whole = [], sum(map(len, groups))
    for group in groups:
        more = len(found) + len(group)
        if more < whole and abs(count - more) < abs(count - len(found)):
            found += group
    return found or min(groups, key=len)


class Some(Around):
    """Some of the samples of a source; its attributes and methods are those of the source.

    Args:
        source: all samples.
        chosen: the indices of those meant.
        named: the files that are passed over; None = those of the source.
    """

    def __init__(self, source: Source, chosen: list[int], named: tuple | None = None):
        super().__init__(source)
        self._chosen = chosen
        self.ids = [source.ids[index] for index in chosen]
        self.labelled = {task: sum(source.has(task, index) for index in chosen) for task in source.tasks}
        self.passed_over = source.passed_over if named is None else named

    def __len__(self) -> int:
        return len(self._chosen)

    def path(self, index: int) -> str:
        return self.source.path(self._chosen[index])

    def size(self, index: int) -> tuple[int, int] | None:
        return self.source.size(self._chosen[index])

    def has(self, task: str, index: int) -> bool:
        return self.source.has(task, self._chosen[index])

    def label_file(self, task: str, index: int) -> str | None:
        return self.source.label_file(task, self._chosen[index])

    def camera(self, index: int) -> Intrinsics | None:
        return self.source.camera(self._chosen[index])

    def read(self, index: int, window: Choose | None = None) -> dict[str, np.ndarray]:
        return self.source.read(self._chosen[index], window)

    def bounds(self, index: int) -> tuple[int, int]:
        return 0, len(self)

    def sizes(self, index: int) -> dict[str, int]:
        return self.source.sizes(self._chosen[index])

    def faults(self) -> list[tuple[str, Callable[..., list[str]]]]:
        mine = set(self.ids)
        return [found for found in self.source.faults() if found[0] in mine]
