"""What every task can do. A kind of task is a subclass in a file of its own; a task is an instance of a kind."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np

MISSING = "\N{EN DASH}"


@dataclasses.dataclass(frozen=True)
class Metric:
    """One score of a task.

    Attributes:
        name: in files, below that of the task.
        label: its name in the field.
        digits: decimals that are shown.
        unit: printed after the number.
        higher: whether more is better; None: neither.
        per_image: whether a single image has it; pooled scores say nothing new of one.
        main: whether it is one of the few that stand where there is little room.
        group: heading under which it stands in a table of all.
        note: what a reader has to know of it, a sentence without its name.
    """

    name: str
    label: str
    digits: int = 2
    unit: str = ""
    higher: bool | None = None
    per_image: bool = True
    main: bool = False
    group: str = "Overall"
    note: str = ""

    @property
    def better(self) -> str:
        """Which way is better, in a word."""
        return {True: "higher", False: "lower", None: ""}[self.higher]

    def show(self, value: float | None) -> str:
        """The number with its unit, or a dash."""
        return MISSING if value is None else f"{value:.{self.digits}f}{self.unit}"

    def gain(self, value: float) -> float:
        """The value, larger being better."""
        return value if self.higher else -value


class PredictedFile(NamedTuple):
    """A file of a prediction.

    Attributes:
        folder: it stands in.
        pixels: of a PNG file, uint8 (H, W) or (H, W, 3), or uint16 (H, W); of a NumPy file float32 (H, W, ...).
        palette: the colour of each value, where they are class ids.
        beyond: how many pixels have a value that the file does not hold.
    """

    folder: str
    pixels: np.ndarray
    palette: tuple | None = None
    beyond: int = 0


class Task:
    """A map that is predicted for every picture; kinds are frozen dataclasses. NumPy only until a method needs more.

    B, H and W are the sides of a batch of pictures; a raw head is what the network's last convolution gives. Label maps
    and answers (B, H, W) are (B, H, W, *shape) where the label of a pixel has a shape (see `Labels`).

    Attributes:
        kind: name of the kind.
        title: the same for people, capitalised.
        standard_weight: of its loss in the total, unless `loss.weights` names the task.
        of_classes: key of the score of each class in `scores`, and its name in the field; none by default.
        data_ending: of the files in the first of `folders`; .npy where a PNG does not hold the answers.
        tolerance: how much worse the headline score may be when the network is quantised, in its unit.
        name: of the task; of its labels, head and scores.
    """

    # What a kind has of its own; every other method may stay.
    REQUIRED: ClassVar[tuple[str, ...]] = (
        *("channels", "valid", "loss", "decode", "metrics", "compare", "scores", "random"),
        *("columns", "page", "page_map", "folders", "files", "baseline", "constant"),
    )

    kind: ClassVar[str]
    title: ClassVar[str]
    standard_weight: ClassVar[float] = 0.5
    of_classes: ClassVar[tuple[str, str]] = ("", "")
    data_ending: ClassVar[str] = ".png"
    tolerance: ClassVar[float] = 1.0

    name: str

    @property
    def headline(self) -> str:
        """The score that stands for the task, TASK.METRIC: the first of its table."""
        return f"{self.name}.{self.metrics[0].name}"

    @property
    def loss_may_be_negative(self) -> bool:
        """Whether `loss` may be below 0; some ways of balancing take no such losses and refuse the task then."""
        return False

    @property
    def channels(self) -> int:
        """Channels of the raw head."""
        raise NotImplementedError

    def valid(self, target):
        """Which pixels of a label map (B, H, W) count: bool (B, H, W)."""
        raise NotImplementedError

    def loss(self, raw, target) -> tuple:
        """What is minimised, with its mask a part of it.

        Args:
            raw: raw head, float32 (B, H, W, channels).
            target: label map (B, H, W).

        Returns:
            Sum and count, float32 scalars, so that parts of a batch merge exactly; the mean is sum / count. A loss of
            several terms that count different things gives both of each, (terms,); it is the sum of their means. The
            gradient of the sum is finite for any mask and target.
        """
        raise NotImplementedError

    def count(self, target):
        """The count of the loss, of the labels alone (the loss of a raw head of zeros is never computed)."""
        from keras import ops

        return self.loss(ops.zeros((*ops.shape(target)[:3], self.channels)), target)[1]

    @property
    def regions(self):
        """What classes the labels divide a picture into, a `Regions`; None where they divide it into none.

        Architectures that relate tasks by regions (ATRC) learn to tell these apart.
        """
        return None

    def decode(self, raw):
        """The answer of a raw head (B, H, W, channels)."""
        raise NotImplementedError

    def resized(self, raw, size):
        """A raw head (B, h, w, channels) for answers of another size (H, W); None = as it is."""
        if size is None:
            return raw
        import tensorflow as tf

        return tf.image.resize(raw, size)

    def answers(self, raws, size=None) -> dict:
        """All that the network says of this task: its answer under its name, and what else there is under NAME_WHAT.

        Args:
            raws: the raw heads (B, h, w, channels) of all tasks, by name.
            size: (H, W) of the answers; None = that of the heads.
        """
        return {self.name: self.decode(self.resized(raws[self.name], size))}

    @property
    def units(self) -> dict[str, str]:
        """What each of `answers` is, for people: its meaning and unit."""
        return {self.name: ""}

    def beside(self, tasks: "Sequence[Task]") -> "Task":
        """The same task in a network of these tasks, of which it may need another's head and labels."""
        return self

    @property
    def metrics(self) -> Sequence[Metric]:
        """What `scores` gives, in the order of the tables; the first is the one that stands for the task."""
        raise NotImplementedError

    def compare(self, answer, target) -> dict:
        """Additive statistics of an answer and its label: name -> float64 (B, ...), a row for each image.

        Whoever merges images adds rows up, exactly.
        """
        raise NotImplementedError

    def measure(self, raw, target) -> dict:
        """The same of a raw head (B, H, W, channels)."""
        return self.measured({self.name: raw}, {self.name: target})

    def measured(self, raws, labels) -> dict:
        """The same of the raw heads and the labels of all tasks, by name."""
        return self.compared(self.answers(raws), labels)

    def compared(self, answers, labels) -> dict:
        """The same of the answers and the labels of all tasks, by name."""
        return self.compare(answers[self.name], labels[self.name])

    def scores(self, statistics: dict[str, np.ndarray]) -> dict:
        """The scores of a sum of statistics over images; None where nothing was counted."""
        raise NotImplementedError

    @property
    def remark(self) -> str:
        """What training says of the task before it begins, where it is not what may be expected."""
        return ""

    @property
    def stated(self) -> dict[str, str]:
        """What files of scores say besides them, where it is not what everyone would take for granted."""
        return {}

    def random(self, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Label maps (B, H, W) without meaning, all of whose pixels count: for measurements of speed."""
        raise NotImplementedError

    # === Pictures and files ===

    def columns(self, truth: np.ndarray | None, answer: np.ndarray | None) -> list[tuple[str, np.ndarray]]:
        """Captions and pictures, uint8 (h, w, 3), of the maps that there are."""
        raise NotImplementedError

    def page(self) -> dict:
        """What the report page draws the maps of this task by: "kind", of report/drawings.js, and what that needs."""
        raise NotImplementedError

    def page_map(self, values: np.ndarray, truth: bool = False) -> dict:
        """A map for the report page; "pixels" uint8 (H, W) or (H, W, 3) become a picture in it.

        Args:
            values: labels or an answer (H, W, ...).
            truth: whether it is a label map.
        """
        raise NotImplementedError

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders of the files of a prediction, that of its data first."""
        raise NotImplementedError

    def files(self, image: np.ndarray, answer: np.ndarray) -> list[PredictedFile]:
        """The files of a prediction (H, W) of an image (H, W, 3), one in each of `folders`."""
        raise NotImplementedError

    @property
    def most_in_files(self) -> str:
        """The largest value that the files hold, for people; empty where they hold every one."""
        return ""

    def histograms(self, truth: np.ndarray, answer: np.ndarray) -> dict[str, np.ndarray]:
        """Tag -> values of label maps and answers (B, H, W) that are to be counted; none where they are no quantity."""
        return {}

    # === What a network has to beat ===

    def baseline(self, label: np.ndarray) -> np.ndarray:
        """What the position baseline sums up over the label maps (H, W) of the training split."""
        raise NotImplementedError

    def constant(self, sums: np.ndarray):
        """The raw head (H, W, channels) of the best answer that knows only a pixel's position, of such a sum."""
        raise NotImplementedError
