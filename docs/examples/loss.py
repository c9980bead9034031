"""A loss of your own: depth by the Huber loss. In dataset.json: "tasks": {"depth": {"kind": "huber_depth", ...}}, with
the entries of "depth". Then `main.py train --plugin=docs/examples/loss.py --task.huber_depth.bend=0.2 ...`
"""

import dataclasses
from typing import ClassVar

import mtl_tf
from mtl_tf.tasks import Depth, DepthLabels


@dataclasses.dataclass(frozen=True)
class HuberDepth(Depth):
    """Depth whose objective may be "huber", too.

    Attributes:
        bend: the error, of whitened depth, from which on the loss is a line.
    """

    kind: ClassVar[str] = "huber_depth"

    bend: float = 0.5

    def loss(self, raw, target) -> tuple:
        """Huber, "Robust estimation of a location parameter", 1964: e^2 / 2 up to the bend b, then b (|e| - b / 2)."""
        from keras import ops

        from mtl_tf import losses

        if self.objective != "huber":
            return super().loss(raw, target)
        valid = self.valid(target)
        # What is not valid is replaced before anything is computed of it: else gradients are NaN.
        error = ops.abs(ops.where(valid, raw[..., 0] - self.encode(ops.where(valid, target, self.mean)), 0.0))
        line = self.bend * (error - 0.5 * self.bend)
        return losses.mean_by_image(ops.where(error <= self.bend, 0.5 * ops.square(error), line), valid)


@mtl_tf.register
@dataclasses.dataclass(frozen=True)
class HuberDepthLabels(DepthLabels):
    """As those of depth."""

    kind: ClassVar[str] = "huber_depth"
    name: ClassVar[str] = "huber_depth"
    task_type: ClassVar[type[HuberDepth]] = HuberDepth
    usual: ClassVar[bool] = False

    @dataclasses.dataclass(frozen=True)
    class Options(DepthLabels.Options):
        """Those of depth, and where the loss bends."""

        loss: str = mtl_tf.option("huber", "Depth loss.", choices=("huber", "l2", "l1", "berhu", "silog"))
        bend: float = mtl_tf.option(
            0.5, "huber: error, of whitened depth, from which the loss is a line.", minimum=0.001
        )

    def task(self, name: str, data_set: str, config: mtl_tf.Config) -> HuberDepth:
        return dataclasses.replace(super().task(name, data_set, config), bend=config.task[self.kind].bend)
