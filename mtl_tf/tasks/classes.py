"""A class for every pixel: semantic segmentation, parts, lanes, ..."""

import dataclasses
from typing import ClassVar

import numpy as np

from mtl_tf.tasks._task import Metric, PredictedFile, Task

UNLABELLED = 255  # in the maps of the report page

METRICS = tuple(
    Metric(name, label, 2, " %", higher=True, per_image=per_image, main=per_image, group="Segmentation")
    for name, label, per_image in (
        ("miou", "mIoU", True),
        ("miou_all_classes", "mIoU of all classes", False),
        ("pixel_accuracy", "Pixel accuracy", True),
    )
)


@dataclasses.dataclass(frozen=True)
class Segmentation(Task):
    """A class for every pixel; labels are class ids, int32.

    Attributes:
        classes: the names, in the order of their ids.
        palette: their colours, RGB.
        ignore: the label value that no loss or metric counts.
    """

    kind: ClassVar[str] = "classes"
    title: ClassVar[str] = "Segmentation"

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore: int = 255
    name: str = "semseg"
    weight: str = "semseg_weight"

    @property
    def channels(self) -> int:
        """One logit a class."""
        return len(self.classes)

    def valid(self, target):
        return target != self.ignore

    def decode(self, raw):
        """Class ids, int32 (B, H, W)."""
        from mtl_tf import kernels

        return kernels.argmax(raw)

    def answers(self, raw) -> dict:
        """The class, and NAME_probability: of that class, 0..1."""
        from keras import ops

        return {self.name: self.decode(raw), f"{self.name}_probability": ops.max(ops.softmax(raw, -1), -1)}

    def loss(self, raw, target) -> tuple:
        """Softmax cross-entropy over the pixels that are not ignored; counts pixels."""
        from keras import ops

        from mtl_tf import losses

        valid = self.valid(target)
        return losses.cross_entropy(raw, ops.where(valid, target, 0), valid)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return METRICS

    def measure(self, raw, target) -> dict:
        """Confusion matrices (B, C, C): row = truth, column = answer."""
        from mtl_tf import metrics

        return {"confusion": metrics.confusion(self.decode(raw), target, self.valid(target), self.channels)}

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
