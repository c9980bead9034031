"""The architectures, one file each: what becomes of an encoder's features.

An architecture is an `Architecture`: a name, options of its own, and a function of (model options, tasks, backbone).
It returns {label: {task name: feature}}, features (B, H/s, W/s, C) of which build_model makes a raw head by a 1x1
convolution with bias; or a `mtl_tf.models.outputs.Raw` where the architecture needs the raw head itself
(`mtl_tf.models.decoder.build_raw`). The answers have the label "", for every task; others, for all tasks or some, are
supervised too, and their outputs are named NAME + label: "_initial", or "@" and a name. `backbone`
(`mtl_tf.models.backbone.Backbone`) is a mapping of what the shared encoder gives, {"stride4": ..., "last": ...}. It
also has the encoder in stages, copies of it, the image, and the options of the architecture. Keras is imported inside
of the function, since names and options are asked for before.

A layer that needs to know how far training is has a method `begin_epoch` (`mtl_tf.models.epochs`).
"""

import dataclasses
from collections.abc import Callable, Mapping

from mtl_tf.options import Section
from mtl_tf.registry import Lazy, Registry

ARCHITECTURES: Registry = Registry(
    "architecture",
    {
        name: Lazy(f"models.architectures.{name}:ARCHITECTURE")
        for name in (
            *("joint", "branched", "distilled", "hps", "cross_stitch", "nddr", "mtan", "padnet", "mtinet"),
            *("atrc", "invpt", "mmoe", "cgc", "ple", "dselect_k", "ltb"),
        )
    },
)


@dataclasses.dataclass(frozen=True)
class Architecture:
    """An architecture; for `mtl_tf.register` too.

    Attributes:
        name: of the architecture, a value of model.architecture.
        build: see above.
        Options: its options, --arch.NAME.OPTION; None = it has none.
        exchanges: whether it needs at least two tasks, which exchange features.
        copies: whether it has copies of the encoder, or its stages, in the place of a whole one that is shared.
        weights: from its options to the weight of each label in the loss of a task; None = the mean over all labels.
    """

    name: str
    build: Callable[..., dict]
    Options: type[Section] | None = None
    exchanges: bool = False
    copies: bool = False
    weights: Callable[[Section], Mapping[str, float]] | None = None
