"""The architectures, one file each: what becomes of an encoder's features. Their names are options: imported late.

The contract: a function of (model options, tasks, pyramid) that returns {suffix: {task name: feature}}, features
(B, H/s, W/s, C) of which build_model makes the raw head of every task by a 1x1 convolution. The answers have the suffix
""; others, such as "_initial", are supervised too and named NAME + suffix. `pyramid` is what the encoder gives:
{"stride4": ..., "last": ...}.
"""

import dataclasses
from collections.abc import Callable

from mtl_tf.registry import Lazy, Registry

ARCHITECTURES: Registry = Registry(
    "architecture",
    {
        "joint": Lazy("models.architectures.joint:joint"),
        "branched": Lazy("models.architectures.branched:branched"),
        "distilled": Lazy("models.architectures.distilled:distilled"),
    },
)


@dataclasses.dataclass(frozen=True)
class Architecture:
    """An architecture from outside, for `mtl_tf.register`.

    Attributes:
        name: of the architecture, a value of model.architecture.
        build: see the contract above.
    """

    name: str
    build: Callable[..., dict]
