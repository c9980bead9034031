"""Tasks whose maps are drawn as vectors and as probabilities; they do nothing but stand in a page."""

import dataclasses
from typing import ClassVar

import numpy as np

from mtl_tf.tasks import Metric, Task


@dataclasses.dataclass(frozen=True)
class Directions(Task):
    """Unit vectors (H, W, 3): x right, y up, z towards the camera; zeros where there is no label."""

    kind: ClassVar[str] = "normals"
    title: ClassVar[str] = "Surface normals"
    name: str = "normals"
    weight: str = "normals_weight"

    @property
    def metrics(self):
        return (Metric("mean_angle", "Mean angle", 1, "°", higher=False, main=True, group="Surface normals"),)

    def page(self):
        return {"kind": "vectors"}

    def page_map(self, values, truth=False):
        known = (values != 0).any(-1, keepdims=True)
        return {"pixels": np.where(known, np.rint(255 * (values + 1) / 2), 0).astype(np.uint8)}


@dataclasses.dataclass(frozen=True)
class Chances(Task):
    """Probabilities (H, W), NaN where there is no label."""

    kind: ClassVar[str] = "edges"
    title: ClassVar[str] = "Edges"
    name: str = "edges"
    weight: str = "edges_weight"

    @property
    def metrics(self):
        return (Metric("f_score", "F-score", 2, " %", higher=True, main=True, group="Edges"),)

    def page(self):
        return {"kind": "probability"}

    def page_map(self, values, truth=False):
        return {"pixels": np.where(np.isnan(values), 255, np.trunc(254 * np.nan_to_num(values))).astype(np.uint8)}


class Salience(Chances):
    """Another kind of task that is drawn the same way."""

    kind: ClassVar[str] = "saliency"
    title: ClassVar[str] = "Saliency"
