"""NDDR-CNN: an encoder for every task, whose features are mixed by 1x1 convolutions (Gao et al., CVPR 2019).

Units after the stem too, as in Vandenhende et al., TPAMI 2021.
"""

import dataclasses

from mtl_tf.models.architectures import Architecture
from mtl_tf.models.family_options import alpha_option, beta_option, dropout_option, head_option, runs_option
from mtl_tf.options import Section, option


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """Of nddr."""

    alpha: float = alpha_option()
    beta: float = beta_option()
    shortcut: bool = option(
        False,
        "Heads see the mixed features of all stages, resized to the last, by a 1x1 convolution, as in the paper.",
        before=False,
    )
    head: str = head_option()
    dropout: float = dropout_option()
    runs: tuple[str, ...] = runs_option()


def build(config, tasks, backbone):
    """Encoders in stages, a unit after the stem and after each of the four, a head for every task."""
    from mtl_tf.models.exchange import build_nddr
    from mtl_tf.models.staged import build_staged

    options, names = backbone.options, [task.name for task in tasks]

    def exchange(features, stage):
        return build_nddr(features, names, options.alpha, options.beta, stage)

    return {"": build_staged(tasks, backbone, exchange, options, after_stem=True, shortcut=options.shortcut)}


ARCHITECTURE = Architecture("nddr", build, Options, exchanges=True, copies=True)
