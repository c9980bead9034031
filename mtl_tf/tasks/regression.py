"""Any quantity: a number for every pixel, or several."""

import dataclasses
from typing import ClassVar

from mtl_tf.options import Section
from mtl_tf.tasks._maps import reduction_option
from mtl_tf.tasks._numbers import NumberLabels, NumberMap, loss_option


@dataclasses.dataclass(frozen=True)
class Regression(NumberMap):
    """Numbers of any quantity; the four sides of a picture and its perspective leave them as they are."""

    kind: ClassVar[str] = "regression"
    title: ClassVar[str] = "Regression"

    name: str = "regression"


@dataclasses.dataclass(frozen=True)
class RegressionLabels(NumberLabels):
    """How any quantity is stored."""

    kind: ClassVar[str] = "regression"
    name: ClassVar[str] = "regression"
    task_type: ClassVar[type[Regression]] = Regression

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """How any quantity is learnt."""

        loss: str = loss_option("maps of numbers")
        reduction: str = reduction_option("pixels")
