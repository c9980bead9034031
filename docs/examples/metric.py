"""A metric of your own: IoU weighted by how often each class is. In dataset.json:
"tasks": {"semseg": {"kind": "weighted_classes", ...}}, with the entries of "semseg".
`main.py train --plugin=docs/examples/metric.py --train.best_metric=fw_iou ...`
"""

import dataclasses
from typing import ClassVar

import numpy as np

import mtl_tf
from mtl_tf.tasks import ClassLabels, Segmentation

FW_IOU = mtl_tf.Metric("fw_iou", "frequency-weighted IoU", 2, " %", higher=True, per_image=False, group="Segmentation")


@dataclasses.dataclass(frozen=True)
class WeightedClasses(Segmentation):
    """Segmentation with one score more."""

    kind: ClassVar[str] = "weighted_classes"

    @property
    def metrics(self) -> tuple[mtl_tf.Metric, ...]:
        return (*super().metrics, FW_IOU)

    def scores(self, statistics: dict[str, np.ndarray]) -> dict:
        """fw_iou = sum of n_c IoU_c / sum of n_c, n_c = pixels of class c (Long et al., CVPR 2015), percent."""
        confusion = np.asarray(statistics["confusion"], np.float64)
        right, true = np.diag(confusion), confusion.sum(1)
        iou = right / np.maximum(true + confusion.sum(0) - right, 1)
        total = true.sum()
        return super().scores(statistics) | {"fw_iou": float(100 * (true * iou).sum() / total) if total else None}


@mtl_tf.register
@dataclasses.dataclass(frozen=True)
class WeightedClassLabels(ClassLabels):
    """As those of classes."""

    kind: ClassVar[str] = "weighted_classes"
    name: ClassVar[str] = "weighted_classes"
    task_type: ClassVar[type[WeightedClasses]] = WeightedClasses
    usual: ClassVar[bool] = False
