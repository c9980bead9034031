"""What all encoders share: the walk over four stages that keeps count of stride and dilation."""

import dataclasses

import keras


@dataclasses.dataclass(frozen=True)
class Stage:
    """How one stage samples.

    Attributes:
        stride: of its first block (1 where it was traded for dilation).
        first_dilation: the dilation that its input has: what was traded before this stage.
        dilation: the running dilation, this stage included.
        flagged: whether this stage traded its stride.
    """

    stride: int
    first_dilation: int
    dilation: int
    flagged: bool


def stages(dilation: tuple[int, ...]) -> list[Stage]:
    """The four stages of a residual network for the flags of layers 2, 3 and 4; the first has no stride."""
    found, running = [Stage(1, 1, 1, False)], 1
    for flag in dilation:
        before, running = running, running * (2 if flag else 1)
        found.append(Stage(1 if flag else 2, before, running, bool(flag)))
    return found


def encoder_model(image, features: list[tuple[int, keras.KerasTensor]]) -> keras.Model:
    """The encoder's model from its image to its features, given as (stride, feature) from shallow to deep."""
    pyramid = {f"stride{stride}": feature for stride, feature in features}
    return keras.Model(image, {**pyramid, "last": features[-1][1]}, name="encoder")
