"""A kind of task of your own: shadows. Labels are masks, `<split>/<task>/<id>.png`: 0 = lit, any other number = shadow.

In dataset.json: "tasks": {"shadows": {"kind": "shadow"}}. Then
`main.py train --plugin=docs/examples/kind.py --tasks=semseg,shadows --task.shadow.threshold=0.4 ...`
"""

import dataclasses
from typing import ClassVar

import numpy as np

import mtl_tf
from mtl_tf.tasks import BinaryLabels, BinaryMap

METRICS = (
    mtl_tf.Metric("ber", "Balanced error rate", 2, " %", higher=False, main=True, group="Shadows"),
    mtl_tf.Metric("shadow_iou", "IoU of shadows", 2, " %", higher=True, group="Shadows"),
)


@dataclasses.dataclass(frozen=True)
class Shadows(BinaryMap):
    """Which pixels lie in shadow.

    Attributes:
        threshold: the probability from which scores take a pixel as shadow.
        positive: weight of shadow in the loss; negative = the share of lit pixels in each image.
    """

    kind: ClassVar[str] = "shadow"
    title: ClassVar[str] = "Shadows"

    threshold: float = 0.5
    positive: float = -1.0
    name: str = "shadow"

    @property
    def metrics(self) -> tuple[mtl_tf.Metric, ...]:
        return METRICS

    def compare(self, answer, target) -> dict:
        """Confusion matrices (B, 2, 2): row = truth, column = answer."""
        from mtl_tf import metrics

        return {"confusion": metrics.confusion(answer >= self.threshold, target, self.valid(target), 2)}

    def scores(self, statistics: dict[str, np.ndarray]) -> dict:
        """BER = 1 - (TP / P + TN / N) / 2 (Vicente et al., ECCV 2016), percent, pooled over images."""
        (lit, false), (missed, found) = np.asarray(statistics["confusion"], np.float64)
        shares = [right / (right + wrong) for right, wrong in ((lit, false), (found, missed)) if right + wrong]
        union = false + missed + found
        return {
            "ber": float(100 * (1 - sum(shares) / len(shares))) if shares else None,
            "shadow_iou": float(100 * found / union) if union else None,
        }


@mtl_tf.register
@dataclasses.dataclass(frozen=True)
class ShadowLabels(BinaryLabels):
    """How shadows are stored: as masks."""

    kind: ClassVar[str] = "shadow"
    name: ClassVar[str] = "shadow"
    task_type: ClassVar[type[Shadows]] = Shadows

    @dataclasses.dataclass(frozen=True)
    class Options(mtl_tf.Section):
        """How shadows are scored."""

        threshold: float = mtl_tf.option(
            0.5, "Probability from which a pixel is scored as shadow.", minimum=0.0, maximum=1.0
        )

    def task(self, name: str, data_set: str, config: mtl_tf.Config) -> Shadows:
        return Shadows(config.task[self.kind].threshold, name=name)
