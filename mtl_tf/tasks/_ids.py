"""A number for every pixel that tells single things apart: what kinds share whose labels are ids."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from mtl_tf import keys
from mtl_tf.errors import UsageError, did_you_mean
from mtl_tf.storage.codecs import MOST_IDS
from mtl_tf.storage.codecs import UNKNOWN_ID as UNKNOWN
from mtl_tf.tasks._labels import Adapted
from mtl_tf.tasks._maps import MapLabels, encoding, named
from mtl_tf.tasks._matching import match
from mtl_tf.tasks._task import Metric, PredictedFile, Task
from mtl_tf.tasks.classes import Segmentation

_NOTE = "a segment counts where its IoU is more than a half"
_ANY = Metric("pq_any_class", "PQ of any class", 2, " %", higher=True, group="Instances, whatever their class")
_PANOPTIC = tuple(
    Metric(name, label, 2, " %", higher=True, main=name == "pq", group="Panoptic", note=note)
    for name, label, note in (
        ("pq", "PQ", _NOTE),
        ("sq", "SQ", ""),
        ("rq", "RQ", ""),
        ("pq_things", "PQ of things", ""),
        ("pq_stuff", "PQ of stuff", ""),
    )
)


class IdMap(Task):
    """The number of the single thing that a pixel belongs to; labels are int32, 0 = none, see `mtl_tf.panoptic`.

    Beside the segmentation that tells things from stuff the answer is a panoptic map, class * 1000 + number, 255000 =
    void; without one it is the number alone. Kinds have the fields:

    Attributes:
        segmentation: name of the task that classes come from.
        thing_names: its classes that have instances.
        classes, palette: of the segmentation; none without one.
    """

    of_classes: ClassVar[tuple[str, str]] = ("pq_of", "PQ")

    segmentation: str
    thing_names: tuple[str, ...]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]

    def beside(self, tasks: Sequence[Task]) -> "IdMap":
        """With the classes of its segmentation, where that is among them and things are named."""
        found = [task for task in tasks if task.name == self.segmentation and isinstance(task, Segmentation)]
        if not found or not self.thing_names:
            return self
        for name in self.thing_names:
            if name not in found[0].classes:
                hint = did_you_mean(name, found[0].classes, f"name some of its classes: {', '.join(found[0].classes)}")
                raise UsageError(f"{self.name}: {name} is no class of {self.segmentation}; {hint}")
        return dataclasses.replace(self, classes=found[0].classes, palette=found[0].palette)

    @property
    def is_thing(self) -> np.ndarray:
        """Which classes have instances, bool (classes,)."""
        return np.isin(self.classes, self.thing_names)

    @property
    def remark(self) -> str:
        """That there are no classes, where there is no segmentation."""
        if self.classes:
            return ""
        alone = (
            f"{self.segmentation} is not trained beside them" if self.thing_names else "the data set names no things"
        )
        return f"{self.name}: numbers alone, no classes and no panoptic map: {alone}"

    @property
    def units(self) -> dict[str, str]:
        alone = "number of the instance, 0 = none"
        return {self.name: "class * 1000 + number of the instance, 255000 = none" if self.classes else alone}

    def valid(self, target):
        return target != UNKNOWN

    def is_instance(self, target):
        """Which pixels have a number: bool (B, H, W)."""
        return (target > 0) & (target != UNKNOWN)

    # === Scores ===

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (*_PANOPTIC, _ANY) if self.classes else (dataclasses.replace(_ANY, main=True, note=_NOTE),)

    def compared(self, answers, labels) -> dict:
        """Sums of `panoptic.matches`: of instances whatever their class (B, 4), and of all classes (B, C, 4)."""
        import tensorflow as tf

        from mtl_tf import panoptic

        answer, ids = answers[self.name], labels[self.name]
        ids = tf.where(self.valid(ids), ids, -1)
        number = answer % panoptic.BASE
        # As one class, beside which all else is another.
        found = tf.where(number > 0, number, 2**16)
        truth = tf.where(ids > 0, ids, tf.where(ids == 0, 2**16, -1))
        if not self.classes:
            return {"any": panoptic.matches(truth, found, 2)[:, 0]}
        semantic = labels[self.segmentation]
        known = (semantic >= 0) & (semantic < len(self.classes))
        thing = tf.gather(self.is_thing, tf.where(known, semantic, 0)) & known
        of_class = semantic * 2**16
        truths = tf.where(thing, tf.where(ids > 0, of_class + ids, -1), tf.where(known, of_class, -1))
        classed = tf.where(answer == panoptic.VOID, -1, answer // panoptic.BASE * 2**16 + number)
        # A thing of which no instance is known says nothing of instances; stuff is none.
        truth = tf.where(thing & (ids <= 0), -1, tf.where(known & ~thing, 2**16, truth))
        return {
            "any": panoptic.matches(truth, found, 2)[:, 0],
            "panoptic": panoptic.matches(truths, classed, len(self.classes)),
        }

    def scores(self, statistics: dict[str, np.ndarray]) -> dict:
        """Percentages; means over the classes that are in the truth or in the answer."""
        from mtl_tf import panoptic

        overall, *_, counted = panoptic.quality(statistics["any"][None])
        whatever = {"pq_any_class": float(overall[0]) if counted[0] else None}
        if not self.classes:
            return whatever
        pq, sq, rq, there = panoptic.quality(statistics["panoptic"])

        def mean(values, those):
            return float(values[those].mean()) if those.any() else None

        of_class = {name: mean(pq, there & (np.array(self.classes) == name)) for name in self.classes}
        things = {"pq_things": mean(pq, there & self.is_thing), "pq_stuff": mean(pq, there & ~self.is_thing)}
        every = {name: mean(values, there) for name, values in (("pq", pq), ("sq", sq), ("rq", rq))}
        return every | things | whatever | {"pq_of": of_class}

    def random(self, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Four rectangles a picture."""
        _, height, width = shape
        rows, columns = (np.arange(side) >= (side + 1) // 2 for side in (height, width))
        ids = 1 + 2 * rows[:, None] + columns[None]
        return np.broadcast_to(ids, shape).astype(np.int32)

    # === Pictures and files ===

    def columns(self, truth, answer) -> list[tuple[str, np.ndarray]]:
        from mtl_tf import outlines

        numbers = None if answer is None else self._numbers(answer)
        return named(self, truth, numbers, outlines.colour_instances)

    def _numbers(self, answer):
        """The numbers of the instances of an answer, int32 (H, W); `UNKNOWN` = void."""
        from mtl_tf import panoptic

        answer = np.asarray(answer)
        return np.where(answer == panoptic.VOID, UNKNOWN, answer % panoptic.BASE)

    def page(self) -> dict:
        """Of codes of three bytes: class, 255 = not known, and number, 0 = none, 65535 = no label."""
        colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in self.palette]
        return {"kind": "instances", "classes": list(self.classes), "palette": colours}

    def page_map(self, values: np.ndarray, truth: bool = False) -> dict:
        from mtl_tf import panoptic

        values = np.asarray(values)
        of_class = np.full_like(values, 255) if truth or not self.classes else values // panoptic.BASE
        number = values if truth else self._numbers(values)
        return {"pixels": np.stack([of_class, number >> 8, number & 255], -1).astype(np.uint8)}

    @property
    def folders(self) -> tuple[str, ...]:
        return self.name, f"{self.name}_outlined", *([f"{self.name}_panoptic"] if self.classes else [])

    def files(self, image: np.ndarray, answer: np.ndarray) -> list[PredictedFile]:
        """Numbers of instances in 16 bits; their outlines on the image; the panoptic map, R + 256 G + 65536 B."""
        from mtl_tf import outlines, panoptic

        answer = np.asarray(answer)
        number = answer % panoptic.BASE
        contents = [number.astype(np.uint16), outlines.outlined(image, number)]
        if self.classes:
            contents.append(np.stack([answer & 255, answer >> 8 & 255, answer >> 16], -1).astype(np.uint8))
        return [PredictedFile(*pair) for pair in zip(self.folders, contents, strict=True)]


ENCODINGS = {  # what a label file holds
    "ids": "grey or palette picture, the number of the instance",
    "rgb24": "8-bit RGB, number = R + 256 G + 65536 B",
    "class_1000": "grey of 16 bits, class * 1000 + number; below 1000: a class without an instance",
}


@dataclasses.dataclass(frozen=True)
class IdLabels(MapLabels):
    """How instances are stored; 0 = none.

    Attributes:
        encoding: a key of `ENCODINGS`.
        ignore: the stored number that says that nothing is known; None = there is none.
        segmentation: name of the task whose classes they have.
        things: its classes that have instances; empty = instances of no class.
    """

    keys: ClassVar[tuple[str, ...]] = ("encoding", "ignore", "segmentation", "things")
    example: ClassVar[str] = '{"things": ["person", "car"]}'
    dtype: ClassVar[type] = np.int32
    noun: ClassVar[str] = "a number"
    regions: ClassVar[bool] = True
    # Ids of two pictures that are pasted together must differ.
    _SHIFT: ClassVar[int] = MOST_IDS + 1

    encoding: str = "ids"
    ignore: int | None = None
    segmentation: str = "semseg"
    things: tuple[str, ...] = ()

    @property
    def blank(self) -> int:
        return UNKNOWN

    @classmethod
    def parse(cls, entry) -> "IdLabels":
        ignore = entry.take("ignore", keys.whole, default=None)
        if ignore == 0:
            entry.fail("ignore", "a number other than 0, which is no instance", ignore)
        return cls(
            encoding(entry, tuple(ENCODINGS)),
            ignore,
            entry.take("segmentation", keys.text, default="semseg"),
            entry.take("things", keys.names, default=()),
        )

    def told(self, name: str) -> str:
        unknown = f", {self.ignore} = unknown" if self.ignore is not None else ""
        things = f"; {', '.join(self.things)} of {self.segmentation}" if self.things else ""
        return f"{name}: {ENCODINGS[self.encoding]}, 0 = none{unknown}{things}"

    @property
    def storage(self) -> tuple:
        return self.encoding, self.ignore

    def misfit(self, others) -> tuple[str, str, object] | None:
        """Things are classes of a class map of the data set."""
        theirs = others.get(self.segmentation)
        if not self.things:
            return None
        if theirs is None or not theirs.class_names:
            return "segmentation", "the name of a task of kind classes, of which things are", self.segmentation
        strange = [name for name in self.things if name not in theirs.class_names]
        return ("things", f"classes of {self.segmentation}", strange[0]) if strange else None

    def among(self, tasks) -> "IdLabels":
        """Without their segmentation they are of no class."""
        return self if self.segmentation in tasks else dataclasses.replace(self, things=())

    def adapting(self, other, name: str, their: str, our: str, pairs=()) -> Adapted:
        """Where a data set does not count all things that are counted here, what has no number may be one of these."""
        same = super().adapting(other, name, their, our)
        if not other.things or set(self.things) <= set(match(other.things, self.things, pairs).values()):
            return same
        return Adapted(lambda label: np.where(label == 0, UNKNOWN, label))

    def pasted(self, label):
        """Numbers that the picture which it is pasted into does not have."""
        import tensorflow as tf

        return tf.where((label > 0) & (label != UNKNOWN), label + self._SHIFT, label)

    def read(self, path, part=None) -> np.ndarray:
        """Numbers of instances, int32 (H, W)."""
        from mtl_tf.storage import windows
        from mtl_tf.tasks.reading import instance_files

        label = instance_files.read_instances(path, self.encoding, self.ignore, UNKNOWN)
        return windows.cut(label, part and part.of(path, label.shape), UNKNOWN)

    def seen(self, path: str, label=None) -> dict:
        from mtl_tf.tasks.reading import instance_files

        if label is None:
            return instance_files.seen_in(path, self.encoding, self.ignore, UNKNOWN)
        return instance_files.seen(label, UNKNOWN)

    def suspicions(self, name: str, seen, trained):
        from mtl_tf.tasks.reading import instance_files

        return instance_files.suspicions(name, self.encoding, seen)

    def sums(self, label) -> dict:
        found, ids = super().sums(label), label[(label > 0) & (label != UNKNOWN)]
        counted = {"instances": np.unique(ids).size, "covered": ids.size, "pictures": 1}
        return found and found | {key: np.array(value, np.float64) for key, value in counted.items()}

    def figures(self, sums) -> dict:
        """How many instances there are, and what share of the labelled pixels they cover."""
        found = {key: int(sums[key]) for key in ("pixels", "pictures", "instances")}
        return found | {"covered": float(100 * sums["covered"] / sums["pixels"])}

    def listed(self, name: str, sums) -> list[str]:
        each = sums["instances"] / sums["pictures"]
        told = f"{int(sums['instances'])} instances, {each:.1f} a picture, on {self.figures(sums)['covered']:.1f} %"
        return ["", f"{name}: {told} of the pixels"]
