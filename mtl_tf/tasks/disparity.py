"""How far a point moves between the two pictures of a stereo pair."""

import dataclasses
from typing import ClassVar

from mtl_tf.errors import UsageError
from mtl_tf.options import Section
from mtl_tf.tasks._maps import reduction_option
from mtl_tf.tasks._numbers import NOTHING, NumberLabels, NumberMap, loss_option
from mtl_tf.tasks._task import Metric

BAD = Metric("bad_3px", "Off by more than 3 px and 5 %", 2, " %", higher=False, main=True)


@dataclasses.dataclass(frozen=True)
class Disparity(NumberMap):
    """Disparity in pixels of the stored picture, whatever it is resized to; 0 and more."""

    kind: ClassVar[str] = "disparity"
    title: ClassVar[str] = "Disparity"
    least: ClassVar[float] = 0.0

    name: str = "disparity"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (*super().metrics, dataclasses.replace(BAD, group=self.title))

    def compare(self, answer, target) -> dict:
        from mtl_tf import metrics

        truth, valid = self._deep(target)[..., 0], self.valid(target)
        return super().compare(answer, target) | metrics.bad_disparities(answer, truth, valid)

    def scores(self, statistics) -> dict:
        """Also the outliers of KITTI's benchmark (Menze and Geiger, CVPR 2015), percent."""
        pixels = float(statistics["pixels"])
        bad = 100 * float(statistics["bad"]) / pixels if pixels else None
        return super().scores(statistics) | {BAD.name: bad}


@dataclasses.dataclass(frozen=True)
class DisparityLabels(NumberLabels):
    """How disparity is stored."""

    kind: ClassVar[str] = "disparity"
    name: ClassVar[str] = "disparity"
    task_type: ClassVar[type[Disparity]] = Disparity
    example: ClassVar[str] = '{"encoding": "grey", "scale": 0.00390625, "invalid": [0]}'

    scale: float = 1 / 256
    invalid: tuple[float, ...] = (0.0,)
    unit: str = " px"

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """How disparity is learnt."""

        loss: str = loss_option("disparity")
        reduction: str = reduction_option("pixels")

    def moved(self, label, move, config):
        """Over the factor by which a window is larger: what is s times as far away has 1 / s of the disparity."""
        if not config.zoom_depth:
            return label
        import tensorflow as tf

        return tf.where(label > NOTHING / 2, label / tf.cast(move.scale, tf.float32), label)

    def task(self, name: str, data_set: str, config) -> Disparity:
        if self.channels != 1:
            raise UsageError(f"data set {data_set}: {name} has {self.channels} channels; a disparity has one")
        return super().task(name, data_set, config)
