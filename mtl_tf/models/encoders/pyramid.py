"""What encoders share: the walk over four stages that keeps count of stride and dilation, and what some refuse."""

import dataclasses
from collections.abc import Sequence

import keras

from mtl_tf.errors import UsageError
from mtl_tf.models.encoder_layers import number_blocks
from mtl_tf.options import format_value


@dataclasses.dataclass(frozen=True)
class Stage:
    """How one stage samples; by default it does not.

    Attributes:
        stride: of its first block (1 where it was traded for dilation).
        first_dilation: the dilation that its input has: what was traded before this stage.
        dilation: the running dilation, this stage included.
        flagged: whether this stage traded its stride.
    """

    stride: int = 1
    first_dilation: int = 1
    dilation: int = 1
    flagged: bool = False


PLAIN = Stage()


def stages(dilation: tuple[int, ...]) -> list[Stage]:
    """The four stages of a residual network for the flags of layers 2, 3 and 4; the first has no stride."""
    found, running = [PLAIN], 1
    for flag in dilation:
        before, running = running, running * (2 if flag else 1)
        found.append(Stage(1 if flag else 2, before, running, bool(flag)))
    return found


def refuse_dilation(name: str, dilation: tuple[int, ...], excite: bool, why: str):
    """Refuses the options that an encoder without strided residual blocks lacks.

    Args:
        name: of the encoder.
        dilation: as it was asked for.
        excite: the same, of squeeze-and-excitation.
        why: there is no dilation; follows "which".

    Raises:
        UsageError: one of them is asked for.
    """
    if any(dilation):
        raise UsageError(
            f"model.dilation={format_value(dilation)} is not defined for model.encoder={name}, which {why}; set "
            "model.dilation=0,0,0"
        )
    if excite:
        raise UsageError(f"model.squeeze_excitation is not defined for model.encoder={name}; turn it off")


def encoder_model(image, features: list[tuple[int, keras.KerasTensor]], blocks: Sequence = ()) -> keras.Model:
    """The encoder's model from its image to its features.

    It has them all as its attribute `features`; of those of one stride its output has the deepest.

    Args:
        image: its input.
        features: (stride, feature) from shallow to deep.
        blocks: what its parts give that are to have a learning rate each, from the first to the last, where these are
            not what lies between the features; see `number_blocks`.
    """
    pyramid = {f"stride{stride}": feature for stride, feature in features}
    model = keras.Model(image, {**pyramid, "last": features[-1][1]}, name="encoder")
    model.features = tuple(features)
    number_blocks(model, blocks)
    return model
