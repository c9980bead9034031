"""The networks of keras.applications that have a feature pyramid, under our names.

An encoder is the network without its top, replayed (`replay.py`). Its layers are called as in keras.applications, so
that weights can be mapped by name: `encoder/LAYER/VARIABLE`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from keras import applications

from mtl_tf.errors import UsageError
from mtl_tf.models import encoders
from mtl_tf.models.encoders.pyramid import encoder_model
from mtl_tf.models.encoders.replay import replay
from mtl_tf.models.encoders.squeeze_excitation import squeeze_excitation
from mtl_tf.models.layers import IMAGENET, Whiten, scope

# What the networks see of an image, as options of `Whiten`.
_SEES = {
    "imagenet": IMAGENET,
    "bgr": dict(mean=(103.939, 116.779, 123.68), reverse=True),
    "unit": dict(mean=(127.5,) * 3, std=(127.5,) * 3),  # -1..1
    "v2": dict(mean=(128.0,) * 3, std=(128.0,) * 3),
}


@dataclasses.dataclass(frozen=True)
class Application:
    """A row of the table.

    Attributes:
        network: builder in keras.applications.
        whitening: options of `Whiten`: what the network sees of an image.
        branch_end: how the name of the last layer of a residual branch ends, which squeeze-and-excitation follows;
            empty where that is not defined.
    """

    network: Callable[..., keras.Model]
    whitening: dict[str, Any]
    branch_end: str = ""

    def without_top(self, **options) -> keras.Model:
        """The network as keras.applications builds it, for images of any size."""
        return self.network(include_top=False, weights=None, input_shape=(None, None, 3), **options)


APPLICATIONS = {
    name: Application(getattr(applications, network), _SEES[sees], *more)
    for name, (network, sees, *more) in encoders.APPLICATIONS.items()
}


def build(name: str, dilation: tuple[int, ...], consistent: bool, excite: bool = False) -> keras.Model:
    """An encoder of the table; it always keeps the strided network's features, so that `consistent` changes nothing.

    Raises:
        UsageError: `excite` is asked of a network for which it is not defined.
    """
    del consistent
    row = APPLICATIONS[name]
    if excite and not row.branch_end:
        there = ", ".join(known for known, other in APPLICATIONS.items() if other.branch_end)
        raise UsageError(
            f"model.squeeze_excitation is not defined for model.encoder={name}, only for torchvision's networks and "
            f"{there}; turn it off, or use one of these"
        )

    def after(layer, feature):
        if not excite or not layer.endswith(row.branch_end):
            return feature
        return squeeze_excitation(feature, layer.removesuffix(row.branch_end))

    with keras.StatelessScope(initialize_variables=False):  # its layers are copied: its own weights would fill memory
        network = row.without_top()
    image = keras.Input((None, None, 3), name="image")
    traded = {stride for flag, stride in zip(dilation, (8, 16, 32), strict=True) if flag}
    with scope("encoder"):
        whitened = Whiten(**row.whitening, name="whiten")(image)
        features = replay(network, image, whitened, traded, after)
    return encoder_model(image, features)
