"""What draws the eye: one thing, or several, before all else."""

import dataclasses
from typing import ClassVar

import numpy as np

from mtl_tf.options import Section
from mtl_tf.tasks._binary import BinaryLabels, BinaryMap, weight_option
from mtl_tf.tasks._task import Metric

METRICS = tuple(
    Metric(name, label, 2, " %", higher=True, main=name in ("maxF_pooled", "sal_miou"), group="Saliency", note=note)
    for name, label, note in (
        ("maxF_pooled", "maxF of all pixels", "as in ATRC"),
        ("maxF_second_sigmoid", "maxF of sigmoid(p)", "as the public code of InvPT scores"),
        ("sal_miou", "mIoU over images", "at the best of 15 thresholds, as in ASTMT"),
        ("maxF_images", "maxF of mean P and R", "beta = 1, as in ASTMT"),
    )
)


@dataclasses.dataclass(frozen=True)
class Saliency(BinaryMap):
    """Whether a pixel is salient. `positive` is the weight of those in `losses.balanced_cross_entropy`."""

    kind: ClassVar[str] = "saliency"
    title: ClassVar[str] = "Saliency"
    standard_weight: ClassVar[float] = 2.5  # half of the papers' 5, as of other tasks

    positive: float = -1.0
    name: str = "saliency"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return METRICS

    def compare(self, answer, target) -> dict:
        from mtl_tf import metrics

        return metrics.saliency(answer, target == 1, self.valid(target))

    def scores(self, statistics: dict[str, np.ndarray]) -> dict:
        """Percentages under the four names that the field has for them; they do not compare with each other."""
        from mtl_tf import metrics

        return metrics.saliency_scores(statistics)


@dataclasses.dataclass(frozen=True)
class SaliencyLabels(BinaryLabels):
    """How salient pixels are stored."""

    kind: ClassVar[str] = "saliency"
    name: ClassVar[str] = "saliency"
    keys: ClassVar[tuple[str, ...]] = ("encoding", "ignore")  # it follows from no other label
    task_type: ClassVar[type[Saliency]] = Saliency
    example: ClassVar[str] = '{"encoding": "grey"}'

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """How salient pixels are learnt."""

        weight: float = weight_option(-1.0, "salient")
