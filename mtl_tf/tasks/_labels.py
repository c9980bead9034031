"""What a data set says of the labels of a task: how they are stored, and what they mean."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.options import Section
from mtl_tf.storage import listing

if TYPE_CHECKING:
    from mtl_tf.config import AugmentConfig, Config
    from mtl_tf.keys import Keys
    from mtl_tf.storage.windows import Part
    from mtl_tf.surfaces import Intrinsics
    from mtl_tf.tasks._matching import Pair
    from mtl_tf.tasks._task import Task


class Move(NamedTuple):
    """What a crop did to the picture, as tensors.

    Attributes:
        scale: sides of the window that was cut over those of the crop that it became.
        mirrored: whether left and right were exchanged, bool.
        turn: float32 (3, 3), takes a direction in camera axes (x right, y down, z forward) of the picture to one in
            those of the crop before it was mirrored; None = as it was.
    """

    scale: Any
    mirrored: Any = False
    turn: Any = None


class Adapted(NamedTuple):
    """How labels of one data set become such as those of another.

    Attributes:
        label: the function of a label map.
        classes: those of the other data set's that it has labels of, where a label is a class.
        ignored: the classes that are none there; their pixels have no label.
    """

    label: Callable
    classes: Sequence[str] = ()
    ignored: Sequence[str] = ()


def blanks_of(tasks: "Mapping[str, Labels]") -> dict[str, float]:
    """Task name -> value of a pixel without a label."""
    return {name: labels.blank for name, labels in tasks.items()}


class Labels:
    """The section of a task in dataset.json; a frozen dataclass of each kind of task. NumPy only.

    A label map in memory is (H, W, *shape); its pixels without a label have the value `blank`.

    Attributes:
        kind: of the task.
        name: of a task of this kind whose name nobody says.
        keys: entries of the section.
        example: of a section, for messages.
        task_type: what is predicted of such labels.
        usual: whether the task of this name is trained where nobody names tasks, and has its section at the top of
            dataset.json.
        dtype: of a label map in memory.
        shape: of the label of a pixel.
        measured: entries that tools/dataset_statistics.py measures.
        needs_measured: whether no task can be trained without them; else an option may ask for them.
        source: the task whose labels these are derived from; "" = they lie in files.
        late: whether they are derived after augmentation, in the graph, instead of after reading.
        Options: of the kind (`--task.KIND.NAME`), a frozen dataclass; None = it has none.
        turns: whether a label is a direction in space, so that the geometry of a crop turns it.
        noun: what a pixel has that has a label.
        regions: whether pixels of one number are one region, so that edges are where numbers differ.
        eigen: whether the label is scored only inside the crop of Eigen et al. where that is asked for.
    """

    # What a kind has of its own; every other method may stay.
    REQUIRED: ClassVar[tuple[str, ...]] = ("parse", "content", "told", "storage", "read", "task")

    kind: ClassVar[str]
    name: ClassVar[str]
    keys: ClassVar[tuple[str, ...]]
    example: ClassVar[str]
    task_type: ClassVar[type["Task"]]
    usual: ClassVar[bool] = False
    dtype: ClassVar[type]
    shape: ClassVar[tuple[int, ...]] = ()
    measured: ClassVar[tuple[str, ...]] = ()
    needs_measured: ClassVar[bool] = True
    source: ClassVar[str] = ""
    noun: ClassVar[str] = "a label"
    regions: ClassVar[bool] = False
    eigen: ClassVar[bool] = False
    late: ClassVar[bool] = False
    turns: ClassVar[bool] = False
    Options: ClassVar[type[Section] | None] = None

    @property
    def camera(self):
        """Of the pictures, where it is known: `surfaces.Intrinsics`."""
        return None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the classes, where a label is one."""
        return ()

    @property
    def blank(self) -> float:
        """The value of a pixel without a label, and what is filled in outside of a picture."""
        return 0

    def empty(self, size: tuple[int, int]) -> np.ndarray:
        """A label map of (H, W) pixels, none of which has a label."""
        return np.full((*size, *self.shape), self.blank, self.dtype)

    # === dataset.json ===

    @classmethod
    def parse(cls, entry: "Keys") -> "Labels":
        """The section that a file holds; fails with one line where something is not as expected."""
        raise NotImplementedError

    def content(self) -> dict[str, Any]:
        """The section, as `parse` reads it."""
        raise NotImplementedError

    def told(self, name: str) -> str:
        """How the label files of a task are read, for people."""
        raise NotImplementedError

    def section(self, name: str) -> str:
        """Where dataset.json has the section of a task, for messages: semseg, or tasks.lanes."""
        return name if self.usual and name == self.name else f"tasks.{name}"

    @property
    def storage(self) -> tuple:
        """All that turns stored values into labels; two data sets may differ in it."""
        raise NotImplementedError

    # === Labels that follow from others ===

    @classmethod
    def implied(cls, labels: "Mapping[str, Labels]") -> "Labels | None":
        """Labels of this kind that follow from those of a data set, by task, which does not declare any."""
        return None

    def in_files(self) -> "Labels":
        """Of labels that are derived: the same, as they are where they lie in files."""
        return dataclasses.replace(self, source="")

    def wanted_source(self, theirs: "Labels") -> str:
        """What the labels of `source` have to be, where these are not that; else empty."""
        return ""

    def misfit(self, others: "Mapping[str, Labels]") -> "tuple[str, str, Any] | None":
        """An entry that does not go with the labels of the other tasks of a data set: key, what is expected, entry."""
        return None

    def among(self, tasks: Sequence[str]) -> "Labels":
        """The same in a data set that has these tasks only."""
        return self

    def derived(self, label, theirs: "Labels", camera: "Intrinsics | None" = None):
        """The label map that follows from one of the task `source`.

        Args:
            label: of that task, (H, W); a tensor where this is `late`.
            theirs: its labels.
            camera: of this picture, where it has one of its own; never where this is `late`.
        """
        raise NotImplementedError

    # === Files ===

    @property
    def endings(self) -> tuple[str, ...]:
        """Of the label files that are read, lower case."""
        return listing.LABELS

    @property
    def other_endings(self) -> tuple[str, ...]:
        """Those that are read in a folder without any file of these."""
        return ()

    @property
    def beside(self) -> tuple[str, ...]:
        """The ends of the names of files that are read with a label file, which they are called by: "_mask.npy"."""
        return ()

    def read(self, path: str, part: "Part | None" = None) -> np.ndarray:
        """A label file in one of the project's own encodings.

        Args:
            path: of the file; all of it is checked.
            part: of its picture that is wanted, `blank` outside; None = all.

        Raises:
            UsageError: it cannot be read, holds a value that has no meaning, or is not as large as its picture.
        """
        raise NotImplementedError

    def emptiness(self, path: str, label: np.ndarray) -> list[str]:
        """What is wrong with a label map of which no pixel is labelled; nothing with any other."""
        return []

    def moved(self, label, move: Move, config: "AugmentConfig"):
        """The values of a label map (H, W), a tensor, after its pixels were moved; as they are by default."""
        return label

    def pasted(self, label):
        """The values of a label map, a tensor, that is pasted into one of another picture; as they are by default."""
        return label

    def adapting(self, other: "Labels", name: str, their: str, our: str, pairs: "Sequence[Pair]" = ()) -> "Adapted":
        """How label maps of another data set become such as these.

        Args:
            other: the labels of that data set.
            name: of the task.
            their, our: names of the data sets, for messages.
            pairs: classes of that data set that are called otherwise here (`data.mix_classes`).

        Raises:
            UsageError: they cannot, since they mean something else.
        """
        if type(other) is not type(self):
            raise UsageError(
                f"{name} of data set {their} is of kind {other.kind}, that of {our} is of kind {self.kind}; leave the "
                "data set or the task out"
            )
        return Adapted(lambda label: label)

    # === What label files hold ===

    def seen(self, path: str, label: np.ndarray | None = None) -> Mapping[str, Any]:
        """What a label file shows, for `suspicions`; nothing by default.

        Args:
            path: of the file.
            label: its label map, where the file is not in one of the project's own encodings; None = read the file.

        Returns:
            Name -> value. Those of several files are added up with +; of texts the first stays.

        Raises:
            UsageError: the file cannot be read.
        """
        return {}

    def suspicions(self, name: str, seen: Mapping[str, Any], trained: Mapping[str, Any] | None) -> Iterable[str]:
        """What is implausible in label files, a line each; nothing by default.

        Args:
            name: of the task.
            seen: the sum of what they show, and "files", their number.
            trained: the same of all labels to train on; None = not all are known.
        """
        return ()

    def sums(self, label: np.ndarray) -> dict[str, np.ndarray]:
        """Figures of a label map that add up over a data set, float64; none where no pixel has a label."""
        labelled = (label != self.blank).reshape(*label.shape[:2], -1).any(-1)
        return {"pixels": np.array(labelled.sum(), np.float64)} if labelled.any() else {}

    def measured_from(self, sums: Mapping[str, np.ndarray]) -> "Labels":
        """The labels with the entries `measured`, of the `sums` of a data set."""
        return self

    def figures(self, sums: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """What the `sums` of a data set say, for JSON; "pixels" = how many they are of."""
        return {"pixels": int(sums["pixels"])}

    def listed(self, name: str, sums: Mapping[str, np.ndarray]) -> list[str]:
        """The same for people, in lines: each a `moments.row`, or those of a table of its own, the first empty."""
        return []

    # === Tasks ===

    @property
    def missing(self) -> tuple[str, ...]:
        """Those of the entries `measured` that have not been measured."""
        return tuple(key for key in self.measured if getattr(self, key) is None)

    @property
    def lacks_statistics(self) -> bool:
        """Whether statistics of the labels that the task is trained with have not been measured."""
        return self.needs_measured and bool(self.missing)

    def wants_measuring(self, config: "Config") -> bool:
        """Whether a configuration needs statistics of the labels that have not been measured."""
        return self.lacks_statistics

    @property
    def assumed(self) -> "Labels":
        """The same with 1 for each entry that has not been measured: options can be checked by it beforehand."""
        return dataclasses.replace(self, **dict.fromkeys(self.missing, 1.0))

    @property
    def unmeasured(self) -> "Labels":
        """The same without the entries `measured`."""
        return dataclasses.replace(self, **dict.fromkeys(self.measured))

    def check_measured(self, name: str, data_set: str) -> None:
        """Raises a UsageError if the statistics of a task, whose name is given, have not been measured."""
        if self.missing:
            raise UsageError(
                f"data set {data_set} lacks the {name} statistics {', '.join(self.missing)}, which depend on your "
                "files: measure them once with tools/dataset_statistics.py --write (into dataset.json in data.root), "
                "or with --output=FILE and train with --data.statistics=FILE"
            )

    def said(self, config: "Config", *names: str) -> dict[str, Any]:
        """Options of the kind, by name, but for those that the `Options` of a plugin lack."""
        options = config.task[self.kind]
        return {name: getattr(options, name) for name in names if hasattr(options, name)}

    def task(self, name: str, data_set: str, config: "Config") -> "Task":
        """The task of these labels.

        Args:
            name: of the task.
            data_set: its name, for messages.
            config: its options are read.

        Raises:
            UsageError: something is missing, or does not go with an option.
        """
        raise NotImplementedError
