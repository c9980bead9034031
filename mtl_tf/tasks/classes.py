"""A class for every pixel: semantic segmentation, parts, lanes, ..."""

import dataclasses
from typing import ClassVar

import numpy as np

from mtl_tf.tasks._task import Metric, Task

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

    def baseline(self, label: np.ndarray) -> np.ndarray:
        """How often each class stands where, (H, W, C)."""
        valid = np.asarray(self.valid(label))
        return np.eye(self.channels, dtype=np.float32)[np.where(valid, label, 0)] * valid[..., None]

    def constant(self, sums: np.ndarray):
        return sums
