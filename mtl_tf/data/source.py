"""The samples of a split: what every source of them gives, with what most of them share as defaults."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mtl_tf.storage.windows import Choose
from mtl_tf.surfaces import Intrinsics

if TYPE_CHECKING:
    from mtl_tf.data.descriptors import Descriptor

# Told of "rgb" or a task, the path for messages, the decoded pixels, and the file where it is in an own encoding.
Watch = Callable[[str, str, np.ndarray, str | None], None]


def watch_nothing(modality: str, path: str, pixels: np.ndarray, file: str | None) -> None:
    """Takes no notice; the `Watch` where nobody looks."""


class Source:
    """Samples that can be read one by one; a source of its own overrides what differs.

    Attributes:
        tasks: the labels that a sample has.
        ids: the names of the samples.
        labelled: task name -> number of samples that have its label.
        passed_over: the files that are not read.
        where: task name -> what to do to get its labels, for messages.
        descriptor: of the data set; None where labels need no looking at.
        weights: the share of each part in a batch, in any unit.
    """

    tasks: tuple[str, ...] = ()
    ids: Sequence[str] = ()
    labelled: Mapping[str, int] = {}
    passed_over: Sequence = ()
    where: Mapping[str, str] = {}
    descriptor: "Descriptor | None" = None
    weights: Sequence[float] = (1.0,)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def reads(self) -> tuple[str, ...]:
        """The labels that `read` gives: those of the tasks, and what late ones are derived from (`data.derived`)."""
        return self.tasks

    @property
    def parts(self) -> "tuple[Source, ...]":
        """The data sets that it is mixed of; one is its only part."""
        return (self,)

    def bounds(self, index: int) -> tuple[int, int]:
        """Of a sample, the first index of its part and the one after its last."""
        return 0, len(self)

    def told(self, shares: Sequence[tuple[int, int, float]], batch_size: int) -> str:
        """What each batch holds, where that is not all of one data set."""
        return ""

    def path(self, index: int) -> str:
        """The image file of a sample, for messages."""
        raise NotImplementedError

    def read(self, index: int, window: Choose | None = None) -> dict[str, np.ndarray]:
        """One sample.

        Args:
            index: of the sample.
            window: from the height and width of its picture to the part that is wanted; None = all of it.

        Returns:
            "image" uint8 (H, W, 3) RGB, and for each of `reads` its label map (H, W, ...): class ids, int32; depth,
            float32 metres. A pixel without a label has the value `Labels.blank`, all of a label that the sample lacks.

        Raises:
            UsageError: a file cannot be read, is not of the expected kind, or differs from the image in size.
        """
        raise NotImplementedError

    def has(self, task: str, index: int) -> bool:
        """Whether a sample has the label of a task."""
        return True

    def label_file(self, task: str, index: int) -> str | None:
        """The file of a label that a sample has; None where it is not in one of the project's own encodings."""
        return None

    def camera(self, index: int) -> Intrinsics | None:
        """The own camera of a picture; None = it has that of the data set, if it is known.

        Raises:
            UsageError: its file cannot be read.
        """
        return None

    def sizes(self, index: int) -> dict[str, int]:
        """The bytes of each file of a sample."""
        return {}

    def size(self, index: int) -> tuple[int, int] | None:
        """Height and width of a picture, pixels; None where it cannot be read."""
        return self.read(index)["image"].shape[:2]

    def one_size(self) -> bool:
        """Whether all pictures have the same size; unreadable ones are left to `read`."""
        return len({self.size(index) for index in range(len(self))} - {None}) <= 1

    def faults(self) -> list[tuple[str, Callable[..., list[str]]]]:
        """Every sample, those without a picture too: its id, and a function that reads it and says what is wrong.

        The function takes a `Watch`, which is told of every picture and label that can be read.
        """
        raise NotImplementedError


class Around(Source):
    """A source that is as another in all that it does not override.

    Args:
        source: the other.
    """

    def __init__(self, source: Source):
        self.source = source
        self.tasks, self.ids, self.labelled = source.tasks, source.ids, source.labelled
        self.passed_over, self.where = source.passed_over, source.where
        self.descriptor, self.weights = source.descriptor, source.weights

    def __len__(self) -> int:
        return len(self.source)

    @property
    def parts(self) -> "tuple[Source, ...]":
        return self.source.parts if len(self.source.parts) > 1 else (self,)

    def bounds(self, index: int) -> tuple[int, int]:
        return self.source.bounds(index)

    def told(self, shares: Sequence[tuple[int, int, float]], batch_size: int) -> str:
        return self.source.told(shares, batch_size)

    def path(self, index: int) -> str:
        return self.source.path(index)

    def read(self, index: int, window: Choose | None = None) -> dict[str, np.ndarray]:
        return self.source.read(index, window)

    def has(self, task: str, index: int) -> bool:
        return self.source.has(task, index)

    def label_file(self, task: str, index: int) -> str | None:
        return self.source.label_file(task, index)

    def camera(self, index: int) -> Intrinsics | None:
        return self.source.camera(index)

    def sizes(self, index: int) -> dict[str, int]:
        return self.source.sizes(index)

    def size(self, index: int) -> tuple[int, int] | None:
        return self.source.size(index)

    def one_size(self) -> bool:
        return self.source.one_size()

    def faults(self) -> list[tuple[str, Callable[..., list[str]]]]:
        return self.source.faults()
