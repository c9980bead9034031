"""InvPT: a transformer decoder in which all positions of all tasks attend to each other (Ye and Xu, ECCV 2022).

On any encoder: stages at strides 32, 16 and 8, the last two of which see the encoder's features of that stride again.
"""

import dataclasses

from mtl_tf.errors import UsageError
from mtl_tf.models.architectures import Architecture
from mtl_tf.options import Section, format_value, option

_BUILDS = {"full": (512, 64, ()), "small": (128, 32, (128, 256, 512))}  # embed, extra, project
_PARTS = 8  # the last stage has a quarter of the width, in two heads


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """Of invpt."""

    size: str = option(
        "full",
        "The published network, or a small one for convolutional encoders; says what embed, extra and project are.",
        choices=tuple(_BUILDS),
        before="full",
    )
    embed: int = option(
        None, "Channels of each task's preliminary feature; empty = of the size: 512 or 128.", minimum=1, before=None
    )
    extra: int = option(
        None, "Channels that the first stage has beyond embed; empty = of the size: 64 or 32.", minimum=0, before=None
    )
    project: tuple[int, ...] = option(
        None,
        "Channels that the features of strides 8, 16 and 32 are brought to first; empty = of the size: none, or "
        "128,256,512.",
        minimum=1,
        lengths=(3,),
        before=None,
    )
    preliminary_weight: float = option(
        1.0, "Weight of the preliminary predictions' loss; that of the answers is 1.", minimum=0.0, before=1.0
    )

    def __post_init__(self):
        super().__post_init__()
        embed, extra, _ = self.widths
        if (embed + extra) % _PARTS:
            raise UsageError(
                f"arch.invpt.embed + arch.invpt.extra must be a multiple of {_PARTS}, since the last stage has a "
                f"quarter of it, in two heads; got {format_value(embed)} + {format_value(extra)}"
            )

    @property
    def widths(self) -> tuple[int, int, tuple[int, ...]]:
        """`embed`, `extra` and `project`, () = none, as given or of the size."""
        given = self.embed, self.extra, self.project
        return tuple(of_size if own is None else own for own, of_size in zip(given, _BUILDS[self.size], strict=True))


def build(config, tasks, backbone):
    """Preliminary predictions at stride 32, and a decoder that begins with them."""
    from mtl_tf.models.invpt import build_invpt

    final, preliminary = build_invpt(tasks, backbone, *backbone.options.widths)
    return {"@preliminary": preliminary, "": final}


def weights(options):
    """Of each label in a task's loss."""
    return {"@preliminary": options.preliminary_weight, "": 1.0}


ARCHITECTURE = Architecture("invpt", build, Options, weights=weights)
