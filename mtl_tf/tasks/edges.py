"""Where the outlines of things are."""

import dataclasses
from typing import ClassVar

import numpy as np

from mtl_tf.options import Section
from mtl_tf.tasks._binary import BinaryLabels, BinaryMap, region_edges, weight_option
from mtl_tf.tasks._task import Metric

TOLERANCE = 0.0075  # of the diagonal (Martin et al., TPAMI 2004)
METRICS = tuple(
    Metric(f"{name.lower()}_distance", f"{name} by distance", 2, " %", higher=True, main=name == "F", group="Edges")
    for name in ("F", "Precision", "Recall")
)


@dataclasses.dataclass(frozen=True)
class Edges(BinaryMap):
    """Edges of things, or of classes. `positive` is their weight in the loss, see `losses.balanced_cross_entropy`."""

    kind: ClassVar[str] = "edges"
    title: ClassVar[str] = "Edges"
    standard_weight: ClassVar[float] = 25.0  # half of the papers' 50, as of other tasks

    positive: float = 0.95
    name: str = "edges"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return METRICS

    def compare(self, answer, target) -> dict:
        """Of edges whose probability is 0.5 or more; for odsF see `mtl_tf.boundaries` and tools/score_edges.py."""
        from mtl_tf import metrics

        return metrics.near_edges(answer >= 0.5, target == 1, self.valid(target), TOLERANCE)

    def scores(self, statistics: dict[str, np.ndarray]) -> dict:
        """Percentages, pooled over images."""
        from mtl_tf import metrics

        return metrics.near_edge_scores(statistics)


@dataclasses.dataclass(frozen=True)
class EdgeLabels(BinaryLabels):
    """How edges are stored, or that they are those between the classes or the instances of another task."""

    kind: ClassVar[str] = "edges"
    name: ClassVar[str] = "edges"
    task_type: ClassVar[type[Edges]] = Edges
    late: ClassVar[bool] = True
    most: ClassVar[float] = 0.5

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """How edges are learnt."""

        weight: float = weight_option(0.95, "edge")

    @classmethod
    def implied(cls, labels) -> "EdgeLabels | None":
        """Of the first map of classes, else of instances."""
        found = [name for name, theirs in labels.items() if theirs.regions]
        found.sort(key=lambda name: not labels[name].class_names)
        return cls(source=found[0]) if found else None

    def derived(self, label, theirs, camera=None):
        return region_edges(label, theirs.blank)
