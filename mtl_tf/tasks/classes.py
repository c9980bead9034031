"""A class for every pixel: semantic segmentation, parts, lanes, ..."""

import dataclasses
from typing import ClassVar

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.options import Section
from mtl_tf.tasks._class_entries import IGNORE, entries_of, shares, some
from mtl_tf.tasks._class_options import MEASURED, ClassOptions
from mtl_tf.tasks._labels import Adapted, Labels
from mtl_tf.tasks._matching import match
from mtl_tf.tasks._regions import Regions
from mtl_tf.tasks._task import Metric, PredictedFile, Task

UNLABELLED = 255  # in the maps of the report page

METRICS = tuple(
    Metric(name, label, 2, " %", higher=True, per_image=per_image, main=per_image, group="Segmentation", note=note)
    for name, label, per_image, note in (
        ("miou", "mIoU", True, "absent classes are left out"),
        ("miou_all_classes", "mIoU of all classes", False, "absent classes count as 0"),
        ("pixel_accuracy", "Pixel accuracy", True, ""),
    )
)


@dataclasses.dataclass(frozen=True)
class Segmentation(Task):
    """A class for every pixel; labels are class ids, int32.

    Attributes:
        classes: the names, in the order of their ids.
        palette: their colours, RGB.
        ignore: the label value that no loss or metric counts.
        objective: what is minimised, one of `_class_options.LOSSES`.
        gamma: of the focal loss.
        weights: of each class in the loss, 0 = its pixels do not count; () = equal.
        smoothing: of the labels in cross-entropy.
        hardest: the share of each image's pixels that the loss of pixels is the mean of, those that cost most.
    """

    kind: ClassVar[str] = "classes"
    title: ClassVar[str] = "Segmentation"
    of_classes: ClassVar[tuple[str, str]] = ("iou", "IoU")

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore: int = 255
    name: str = "semseg"
    objective: str = "cross_entropy"
    gamma: float = 2.0
    weights: tuple[float, ...] = ()
    smoothing: float = 0.0
    hardest: float = 1.0

    @property
    def channels(self) -> int:
        """One logit a class."""
        return len(self.classes)

    def valid(self, target):
        return target != self.ignore

    @property
    def regions(self) -> Regions:
        """The classes, by their weights in the loss."""
        return Regions(self.channels, lambda target: target, self._weights)

    def _weights(self, target):
        """What a pixel counts in the loss, float32 (B, H, W)."""
        from keras import ops

        known = self.valid(target)
        weights = ops.cast(known, "float32")
        if self.weights:
            weights *= ops.take(ops.convert_to_tensor(self.weights, "float32"), ops.where(known, target, 0), 0)
        return weights

    def decode(self, raw):
        """Class ids, int32 (B, H, W)."""
        from mtl_tf import kernels

        return kernels.argmax(raw)

    def answers(self, raws, size=None) -> dict:
        """The class, and NAME_probability: of that class, 0..1."""
        from keras import ops

        raw = self.resized(raws[self.name], size)
        return {self.name: self.decode(raw), f"{self.name}_probability": ops.max(ops.softmax(raw, -1), -1)}

    @property
    def units(self) -> dict[str, str]:
        return {self.name: "class id", f"{self.name}_probability": "probability of that class, 0..1"}

    def loss(self, raw, target) -> tuple:
        """The objective over the pixels that are not ignored; a sum has two terms.

        Cross-entropy and focal count pixels, by the weights of their classes. What is of an image (its hardest pixels,
        how regions overlap) counts images.
        """
        from keras import ops

        from mtl_tf import class_losses, losses

        labels, weights = ops.where(self.valid(target), target, 0), self._weights(target)
        valid, terms = weights > 0, []
        for term in self.objective.split("+"):
            if term in class_losses.REGION_LOSSES:
                means = class_losses.REGION_LOSSES[term](raw, labels, valid)
                terms.append(losses.over_images(means, valid))
                continue
            if term == "focal":
                costs = class_losses.focal(raw, labels, self.gamma)
            else:
                costs = class_losses.cross_entropy(raw, labels, self.smoothing)
            if self.hardest < 1:
                terms.append(losses.over_images(class_losses.hardest_mean(costs, weights, self.hardest), valid))
            else:
                terms.append(losses.over_pixels(costs, weights))
        return terms[0] if len(terms) == 1 else tuple(map(ops.stack, zip(*terms, strict=True)))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return METRICS

    def compare(self, answer, target) -> dict:
        """Confusion matrices (B, C, C): row = truth, column = answer."""
        from mtl_tf import metrics

        return {"confusion": metrics.confusion(answer, target, self.valid(target), self.channels)}

    def scores(self, statistics: dict[str, np.ndarray]) -> dict:
        """Percentages 0..100."""
        from mtl_tf import metrics

        return metrics.overlaps(statistics["confusion"], self.classes)

    def random(self, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return random.integers(0, self.channels, shape, np.int32)

    def columns(self, truth, answer) -> list[tuple[str, np.ndarray]]:
        from mtl_tf import pictures

        named = {f"true {self.name}": truth, f"predicted {self.name}": answer}
        return [(n, pictures.colour_labels(v, self.palette, self.ignore)) for n, v in named.items() if v is not None]

    def page(self) -> dict:
        colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in self.palette]
        return {"kind": "labels", "classes": list(self.classes), "palette": colours}

    def page_map(self, values: np.ndarray, truth: bool = False) -> dict:
        known = (values != self.ignore) & (values >= 0) & (values < min(len(self.classes), UNLABELLED))
        return {"pixels": np.where(known, values, UNLABELLED).astype(np.uint8)}

    @property
    def folders(self) -> tuple[str, ...]:
        return self.name, "overlay" if self.name == type(self).name else f"{self.name}_overlay"

    def files(self, image: np.ndarray, answer: np.ndarray) -> list[PredictedFile]:
        """Class ids, and their colours over the image."""
        from mtl_tf import pictures

        data, overlay = self.folders
        return [
            PredictedFile(data, answer.astype(np.uint8), self.palette),
            PredictedFile(overlay, pictures.overlay(image, answer, self.palette)),
        ]

    def baseline(self, label: np.ndarray) -> np.ndarray:
        """How often each class stands where, (H, W, C)."""
        valid = np.asarray(self.valid(label))
        return np.eye(self.channels, dtype=np.float32)[np.where(valid, label, 0)] * valid[..., None]

    def constant(self, sums: np.ndarray):
        return sums


@dataclasses.dataclass(frozen=True)
class ClassLabels(Labels):
    """How class ids are stored.

    Attributes:
        classes: names in the order of their ids.
        palette: their colours, RGB 0..255.
        ignore: the label value of pixels without a class.
        encoding: what a label file holds, index = a number a pixel, colour = one of `palette`.
        values: pairs of a stored value and what it means, a class or `IGNORE`; "R,G,B" stands for a colour, `OTHER` for
            every value that is not listed. Empty = a number is its class or `ignore`. A stored number that is not
            listed is an error; a colour may also be one of `palette`.
        key: the name of the array in a file that holds several; "" = the only one that is a map.
        frequency: share of each class in the pixels of the training split that have one; None = not measured yet.
        frequency_where_present: the pixels of each class over all pixels of the label maps that it occurs in.
    """

    kind: ClassVar[str] = "classes"
    name: ClassVar[str] = "semseg"
    keys: ClassVar[tuple[str, ...]] = (
        *("classes", "palette", "ignore", "encoding", "values", "key"),
        *("frequency", "frequency_where_present"),
    )
    example: ClassVar[str] = '{"classes": ["road", "car"], "palette": [[128, 64, 128], [0, 0, 142]], "ignore": 255}'
    task_type: ClassVar[type[Task]] = Segmentation
    usual: ClassVar[bool] = True
    Options: ClassVar[type[Section]] = ClassOptions
    dtype: ClassVar[type] = np.int32
    measured: ClassVar[tuple[str, ...]] = ("frequency", "frequency_where_present")
    needs_measured: ClassVar[bool] = False
    noun: ClassVar[str] = "a class"
    regions: ClassVar[bool] = True

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore: int = 255
    encoding: str = "index"
    values: tuple[tuple[str, str], ...] = ()
    key: str = ""
    frequency: tuple[float, ...] | None = None
    frequency_where_present: tuple[float, ...] | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes

    @property
    def blank(self) -> int:
        return self.ignore

    @classmethod
    def parse(cls, entry) -> "ClassLabels":
        found = entries_of(entry)
        measured = {key: entry.take(key, shares, default=None) for key in cls.measured}
        count = len(found["classes"])
        for key, each in measured.items():
            if each and len(each) != count:
                entry.fail(key, f"one share for each of the {count} classes", f"{len(each)} shares")
        return cls(**found, **measured)

    def content(self) -> dict:
        found = {
            "classes": list(self.classes),
            "palette": [list(colour) for colour in self.palette],
            "ignore": self.ignore,
        }
        found |= {"encoding": self.encoding} if self.encoding != "index" else {}
        found |= {"values": dict(self.values)} if self.values else {}
        found |= {"key": self.key} if self.key else {}
        return found | {key: list(shares) for key in self.measured if (shares := getattr(self, key))}

    def told(self, name: str) -> str:
        named = [*map(str, range(len(self.classes)))]
        if self.encoding == "colour":
            named = [",".join(map(str, colour)) for colour in self.palette]
        plain = not (self.values and self.encoding == "index")
        meanings = dict(zip(named, self.classes, strict=True)) if plain else {}
        meanings |= self.values or ({str(self.ignore): IGNORE} if self.encoding == "index" else {})
        shown = "; ".join(f"{value} = {meaning}" for value, meaning in meanings.items())
        return f"{name} by {'number' if self.encoding == 'index' else 'colour'}: {shown}"

    @property
    def storage(self) -> tuple:
        """Names and colours of classes are none of it, where they do not say how ids are stored."""
        colours = self.palette if self.encoding == "colour" else ()
        named = self.classes if self.encoding == "colour" or self.values else ()
        return self.encoding, self.values, self.key, named, colours, self.ignore

    @property
    def other_endings(self) -> tuple[str, ...]:
        from mtl_tf.storage import arrays

        return arrays.MAPS

    def read(self, path, part=None) -> np.ndarray:
        """Class ids, int32 (H, W)."""
        from mtl_tf.storage.windows import cut
        from mtl_tf.tasks.reading.class_files import read_labels

        labels = read_labels(path, self)
        return cut(labels, part and part.of(path, labels.shape), self.ignore)

    def emptiness(self, path: str, label: np.ndarray) -> list[str]:
        return [f"{path}: no pixel has a class; all are ignore ({self.ignore})"] * bool((label == self.ignore).all())

    def seen(self, path: str, label=None) -> dict:
        from mtl_tf.tasks.reading import suspect_classes

        return suspect_classes.seen(self, path, label)

    def suspicions(self, name: str, seen, trained):
        from mtl_tf.tasks.reading import suspect_classes

        return suspect_classes.suspicions(self, name, seen, trained)

    def sums(self, label) -> dict:
        """The pixels of each label value, and those of the maps that it occurs in, (256,)."""
        if (label == self.ignore).all():
            return {}
        counts = np.bincount(label.ravel(), minlength=256).astype(np.float64)
        return {"counts": counts, "where_present": np.where(counts > 0, label.size, 0.0)}

    def wants_measuring(self, config) -> bool:
        weights = self.said(config, "class_weights").get("class_weights", ())
        return bool(self.missing) and len(weights) == 1 and weights[0] in MEASURED

    @property
    def assumed(self) -> "ClassLabels":
        return dataclasses.replace(self, **dict.fromkeys(self.missing, (1 / len(self.classes),) * len(self.classes)))

    def measured_from(self, sums) -> "ClassLabels":
        from mtl_tf.tasks.reading.moments import digits

        counts, where_present = (sums[key][: len(self.classes)] for key in ("counts", "where_present"))
        shares = (counts / max(counts.sum(), 1), counts / np.maximum(where_present, 1))
        return dataclasses.replace(
            self, **{key: tuple(map(digits, found)) for key, found in zip(self.measured, shares, strict=True)}
        )

    def figures(self, sums) -> dict:
        """Percentages of all pixels of the label maps."""
        percent = 100 * sums["counts"] / sums["counts"].sum()
        classes = dict(zip(self.classes, percent.tolist(), strict=False))
        return {"pixels": int(sums["counts"].sum()), "classes": classes, "ignore": float(percent[self.ignore])}

    def listed(self, name: str, sums) -> list[str]:
        found = self.figures(sums)
        shares = found["classes"] | {f"({IGNORE})": found["ignore"]}
        header = f"{f'{name} class':<16}{'% of pixels':>12}"
        return ["", header, *(f"{each:<16}{share:>12.3f}" for each, share in shares.items())]

    def adapting(self, other, name: str, their: str, our: str, pairs=()) -> Adapted:
        """Classes by their names; pixels of the others have none."""
        super().adapting(other, name, their, our)
        matched = match(other.classes, self.classes, pairs)
        if not matched:
            raise UsageError(
                f"data set {their} has no class in common with {our}: it has {some(other.classes)}, expected some of "
                f"{some(self.classes)}; classes are matched by name: say which is which by "
                "--data.mix_classes=THEIRS=OURS, or leave the data set out"
            )
        ids = np.full(256, self.ignore, np.int32)
        for number, each in enumerate(other.classes):
            if each in matched:
                ids[number] = self.classes.index(matched[each])
        supervised = tuple(each for each in self.classes if each in matched.values())
        return Adapted(lambda label: ids[label], supervised, tuple(n for n in other.classes if n not in matched))

    def task(self, name: str, data_set: str, config) -> Segmentation:
        options = config.task[self.kind] if self.Options else None
        if not isinstance(options, ClassOptions):  # a kind of its own, which is learnt as it says itself
            return self.task_type(self.classes, self.palette, self.ignore, name=name)
        options.check(self.kind)
        return self.task_type(
            self.classes,
            self.palette,
            self.ignore,
            objective=options.loss,
            gamma=options.gamma,
            weights=options.weights_of(self, name, data_set),
            smoothing=options.label_smoothing,
            hardest=options.hardest,
            name=name,
        )
