"""Encoders: an image in, a feature pyramid by stride out.

The contract: a builder takes (dilation, consistent, excite) and returns a functional `keras.Model` named "encoder"
from an image (B, H, W, 3), RGB 0..255, to a dict {"stride2": ..., "stride4": ..., "last": ...}. A feature "strideR"
has the size ceil(H / R); where dilation gives two stages the same stride, the later one stands. "last" is the deepest
feature. Whitening is inside. An encoder's row in the registry names its builder and the statistics of its input.
"""

from collections.abc import Callable

import keras

from mtl_tf.models.encoders import applications, resnet

ENCODERS: dict[str, Callable[..., keras.Model]] = {**resnet.ENCODERS, **applications.ENCODERS}


def build_encoder(
    name: str, dilation: tuple[int, ...] = (0, 0, 0), consistent: bool = False, excite: bool = False
) -> keras.Model:
    """Builds an encoder by name.

    Args:
        name: a key of `ENCODERS`.
        dilation: for layers 2, 3, 4, whether the stride of the layer is traded for dilation.
        consistent: whether BasicBlocks dilate so that the features of a strided network are kept.
        excite: whether every residual block has squeeze-and-excitation.
    """
    return ENCODERS[name](dilation=dilation, consistent=consistent, excite=excite)
