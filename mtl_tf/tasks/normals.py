"""Which way the surface at every pixel faces."""

import dataclasses
from typing import ClassVar

from mtl_tf.options import Section, option
from mtl_tf.tasks._vectors import VECTOR_OBJECTIVES, VectorLabels, VectorMap
from mtl_tf.tasks.depth import DepthLabels


@dataclasses.dataclass(frozen=True)
class Normals(VectorMap):
    """Surface normals in the axes of the camera; that of a surface that faces it is (0, 0, -1).

    Attributes:
        objective: what is minimised, one of `VECTOR_OBJECTIVES`.
    """

    kind: ClassVar[str] = "normals"
    title: ClassVar[str] = "Surface normals"
    faces_camera: ClassVar[bool] = True

    objective: str = "cosine"
    name: str = "normals"

    @property
    def standard_weight(self) -> float:
        """In the total loss: half of the 1 (Liu et al., CVPR 2019) and 10 (Vandenhende et al., TPAMI 2021) of papers.

        Half, since segmentation and depth, which have 1 there, have 0.5 here.
        """
        return 0.5 if self.objective == "cosine" else 5.0


_FINE = ("uint16_scaled", "uint16_rotated", "npy", "numbers")  # depth whose steps are small


@dataclasses.dataclass(frozen=True)
class NormalLabels(VectorLabels):
    """How surface normals are stored, or that they are derived from depth."""

    kind: ClassVar[str] = "normals"
    name: ClassVar[str] = "normals"
    task_type: ClassVar[type[Normals]] = Normals

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """How surface normals are learnt."""

        loss: str = option("cosine", "Loss of the surface normals.", choices=VECTOR_OBJECTIVES, before="cosine")

    def wanted_source(self, theirs) -> str:
        suited = isinstance(theirs, DepthLabels) and theirs.unit == "metres"
        return "" if suited else "the name of a task of kind depth, in metres"

    def derived(self, label, theirs, camera=None):
        """Of depth, metres (H, W); codes of 8 bits and of disparity are steps that planes are fitted through."""
        from mtl_tf import surfaces

        radius, spacing = self.fit or ((0, 1) if theirs.encoding in _FINE else (4, 2))
        return surfaces.normals_of_depth(label, camera or self.camera, radius, spacing)

    def task(self, name: str, data_set: str, config) -> Normals:
        self.check_turns(name, data_set, config)
        return self.task_type(config.task[self.kind].loss, name=name)
