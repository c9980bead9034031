"""Which single thing every pixel belongs to; with a segmentation, a panoptic map."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from mtl_tf import keys
from mtl_tf.errors import UsageError, did_you_mean
from mtl_tf.options import Section, option
from mtl_tf.tasks._maps import MapLabels, encoding, named
from mtl_tf.tasks._task import Metric, PredictedFile, Task
from mtl_tf.tasks.classes import Segmentation

UNKNOWN = 65535  # of a pixel without a label
MOST = 2047  # instances of a label file; as many more come from a picture that is pasted in (`InstanceLabels.pasted`)
_SIGMA, _SIGMA_AT = 8.0, 1025 * 2049  # pixels, in pictures of so many (Cheng et al., CVPR 2020)
# Of a raw head: so its numbers are about 1, and learnt at the rates that other tasks have, by plain SGD as well.
_HEAT_UNIT, _WAY_UNIT = 0.1, 4.0  # heat; sigmas
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


@dataclasses.dataclass(frozen=True)
class Instances(Task):
    """Instances by their centres (Panoptic-DeepLab, Cheng et al., CVPR 2020); labels are int32, see `mtl_tf.panoptic`.

    The head has the heat of a centre, in tenths, and the way to it, down and right, in units of four sigmas. Beside the
    segmentation that tells things from stuff the answer is a panoptic map, class * 1000 + number, 255000 = void.
    Without one the head has a logit of things more, and the answer is the number alone, 0 = no thing.

    Attributes:
        sigma: of the heat of a centre, pixels.
        centre_weight, offset_weight: of the two terms in the loss.
        smallest_stuff: share of a picture; stuff that covers less is void.
        segmentation: name of the task that classes come from.
        thing_names: its classes that have instances.
        classes, palette: of the segmentation; none without one.
    """

    kind: ClassVar[str] = "instances"
    title: ClassVar[str] = "Instances"
    of_classes: ClassVar[tuple[str, str]] = ("pq_of", "PQ")

    sigma: float = _SIGMA
    centre_weight: float = 200.0
    offset_weight: float = 0.01
    smallest_stuff: float = 0.0
    segmentation: str = "semseg"
    thing_names: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    name: str = "instances"

    def beside(self, tasks: Sequence[Task]) -> "Instances":
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
    def channels(self) -> int:
        """Heat, two ways, and without a segmentation a logit of things."""
        return 3 if self.classes else 4

    def _parts(self, raw):
        """The heat (B, H, W) and the ways (B, H, W, 2), pixels, of a raw head."""
        return _HEAT_UNIT * raw[..., 0], _WAY_UNIT * self.sigma * raw[..., 1:3]

    # === Learning ===

    def valid(self, target):
        return target != UNKNOWN

    def _is_instance(self, target):
        return (target > 0) & (target != UNKNOWN)

    def loss(self, raw, target) -> tuple:
        """Squared error of the heat, absolute error of the ways, and binary cross-entropy of things, as terms.

        The first and the last count pixels, the second those of instances.
        """
        from keras import ops

        from mtl_tf import losses, panoptic

        valid, there = self.valid(target), self._is_instance(target)
        true_heat, true_ways = panoptic.targets(ops.where(there, target, 0), self.sigma)
        heat, ways = self._parts(raw)
        terms = [
            (self.centre_weight, losses.over_pixels(ops.square(heat - true_heat), valid)),
            (self.offset_weight, losses.over_pixels(ops.sum(ops.abs(ways - true_ways), -1), there)),
        ]
        if not self.classes:
            logits = raw[..., 3]
            terms.append((1.0, losses.over_pixels(ops.softplus(ops.where(there, -logits, logits)), valid)))
        return ops.stack([weight * total for weight, (total, _) in terms]), self.count(target)

    def count(self, target):
        from keras import ops

        masks = self.valid(target), self._is_instance(target)
        pixels, things = (ops.sum(ops.cast(mask, "float32")) for mask in masks)
        return ops.stack([pixels, things] if self.classes else [pixels, things, pixels])

    # === Answers ===

    def decode(self, raw):
        """The numbers of the instances, int32 (B, H, W), of a head that has no segmentation beside it."""
        return self.answers({self.name: raw})[self.name]

    def answers(self, raws, size=None) -> dict:
        """The panoptic map, or the numbers alone: int32 (B, H, W)."""
        from keras import ops

        from mtl_tf import kernels, panoptic

        raw = ops.cast(raws[self.name], "float32")
        # Centres are found in the head as it is: enlarged, a peak of it would be a plateau.
        centres, there = panoptic.peaks(self._parts(raw)[0], self.sigma)
        fine = self.resized(raw, size)
        shapes = [ops.cast(ops.stack(ops.shape(each)[1:3]), "float32") for each in (fine, raw)]
        scale = shapes[0] / shapes[1]
        centres, ways = (ops.cast(centres, "float32") + 0.5) * scale - 0.5, self._parts(fine)[1] * scale
        if not self.classes:
            things = fine[..., 3] > 0
            return {self.name: panoptic.group(ways, centres, there, things)}
        semantic = ops.cast(kernels.argmax(self.resized(raws[self.segmentation], size)), "int32")
        things = ops.take(ops.convert_to_tensor(self.is_thing), semantic)
        numbers = panoptic.group(ways, centres, there, things)
        return {self.name: panoptic.merged(semantic, numbers, self.is_thing, self.smallest_stuff)}

    # === Scores ===

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (*_PANOPTIC, _ANY) if self.classes else (dataclasses.replace(_ANY, main=True, note=_NOTE),)

    def measure(self, raw, target) -> dict:
        return self.measured({self.name: raw}, {self.name: target})

    def measured(self, raws, labels) -> dict:
        """Sums of `panoptic.matches`: of instances whatever their class (B, 4), and of all classes (B, C, 4)."""
        import tensorflow as tf

        from mtl_tf import panoptic

        answer, ids = self.answers(raws)[self.name], labels[self.name]
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
        answers = tf.where(answer == panoptic.VOID, -1, answer // panoptic.BASE * 2**16 + number)
        # A thing of which no instance is known says nothing of instances; stuff is none.
        truth = tf.where(thing & (ids <= 0), -1, tf.where(known & ~thing, 2**16, truth))
        return {
            "any": panoptic.matches(truth, found, 2)[:, 0],
            "panoptic": panoptic.matches(truths, answers, len(self.classes)),
        }

    def scores(self, statistics: dict[str, np.ndarray]) -> dict:
        """Percentages; means over the classes that are in the truth or in the answer."""
        from mtl_tf import panoptic

        found = {}
        if self.classes:
            *qualities, there = panoptic.quality(statistics["panoptic"])
            for name, values in zip(("pq", "sq", "rq"), qualities, strict=True):
                found[name] = float(values[there].mean()) if there.any() else None
            for name, those in (("pq_things", there & self.is_thing), ("pq_stuff", there & ~self.is_thing)):
                found[name] = float(qualities[0][those].mean()) if those.any() else None
        (overall, _, _, there) = panoptic.quality(statistics["any"][None])
        found["pq_any_class"] = float(overall[0]) if there[0] else None
        if self.classes:
            *qualities, there = panoptic.quality(statistics["panoptic"])
            rows = zip(self.classes, qualities[0], there, strict=True)
            found["pq_of"] = {name: float(value) if here else None for name, value, here in rows}
        return found

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

    # === What a network has to beat ===

    def baseline(self, label: np.ndarray) -> np.ndarray:
        """Heat and ways, and how many pixels of things and labelled ones there are, (H, W, 5)."""
        from mtl_tf import panoptic

        label = np.asarray(label)
        there, known = self._is_instance(label), self.valid(label)
        heat, ways = (np.asarray(each)[0] for each in panoptic.targets(np.where(there, label, 0)[None], self.sigma))
        return np.concatenate([(heat * known)[..., None], ways, np.stack([there, known], -1)], -1).astype(np.float64)

    def constant(self, sums: np.ndarray):
        """The mean heat and the mean way of each position, and the logit of how often a thing is there."""
        things, pixels = sums[..., 3], sums[..., 4]
        heat = sums[..., 0] / np.maximum(pixels, 1)
        ways = sums[..., 1:3] / np.maximum(things, 1)[..., None]
        odds = np.log(things + 1e-6) - np.log(pixels - things + 1e-6)
        parts = [heat[..., None] / _HEAT_UNIT, ways / (_WAY_UNIT * self.sigma), odds[..., None]]
        return np.concatenate(parts, -1)[..., : self.channels]


ENCODINGS = {  # what a label file holds
    "ids": "grey or palette picture, the number of the instance",
    "rgb24": "8-bit RGB, number = R + 256 G + 65536 B",
    "class_1000": "grey of 16 bits, class * 1000 + number; below 1000: a class without an instance",
}


@dataclasses.dataclass(frozen=True)
class InstanceLabels(MapLabels):
    """How instances are stored; 0 = none.

    Attributes:
        encoding: a key of `ENCODINGS`.
        ignore: the stored number that says that nothing is known; None = there is none.
        segmentation: name of the task whose classes they have.
        things: its classes that have instances; empty = instances of no class.
    """

    kind: ClassVar[str] = "instances"
    name: ClassVar[str] = "instances"
    keys: ClassVar[tuple[str, ...]] = ("encoding", "ignore", "segmentation", "things")
    example: ClassVar[str] = '{"things": ["person", "car"]}'
    task_type: ClassVar[type[Task]] = Instances
    dtype: ClassVar[type] = np.int32
    noun: ClassVar[str] = "a number"
    regions: ClassVar[bool] = True
    # Ids of two pictures that are pasted together must differ.
    _SHIFT: ClassVar[int] = MOST + 1

    encoding: str = "ids"
    ignore: int | None = None
    segmentation: str = "semseg"
    things: tuple[str, ...] = ()

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """How instances are learnt and told apart."""

        centre_weight: float = option(200.0, "Weight of the heat of centres in the loss.", minimum=0.0, before=200.0)
        offset_weight: float = option(0.01, "Weight of the ways to centres, pixels.", minimum=0.0, before=0.01)
        sigma: float = option(
            0.0,
            "Standard deviation of the heat of a centre, pixels; 0 = 8 at 1025x2049 and in proportion, at least 2.",
            minimum=0.0,
            before=0.0,
        )
        smallest_stuff: float = option(
            0.001, "Share of a picture; stuff that covers less is void.", minimum=0.0, maximum=1.0, before=0.001
        )

    @property
    def blank(self) -> int:
        return UNKNOWN

    @classmethod
    def parse(cls, entry) -> "InstanceLabels":
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

    def among(self, tasks) -> "InstanceLabels":
        """Without their segmentation they are of no class."""
        return self if self.segmentation in tasks else dataclasses.replace(self, things=())

    def adapting(self, other, name: str, their: str, our: str) -> tuple:
        """Where a data set does not count all things that are counted here, what has no number may be one of these."""
        same, strangers = super().adapting(other, name, their, our)
        if not other.things or set(self.things) <= set(other.things):
            return same, strangers
        return lambda label: np.where(label == 0, UNKNOWN, label), strangers

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

    def task(self, name: str, data_set: str, config) -> Instances:
        options = config.task[self.kind]
        size = config.data.crop_size or config.data.image_size
        sigma = options.sigma or max(_SIGMA * (size[0] * size[1] / _SIGMA_AT) ** 0.5, 2.0) if size else _SIGMA
        return self.task_type(
            options.sigma or round(sigma, 3),
            options.centre_weight,
            options.offset_weight,
            options.smallest_stuff,
            self.segmentation,
            self.things,
            name=name,
        )
