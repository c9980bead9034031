"""Cross-stitch networks: an encoder for every task, which exchange features after each stage (Misra et al., CVPR 2016).

By channel as in Vandenhende et al., TPAMI 2021, with their shares in the beginning; by one number as in the paper.
"""

import dataclasses

from mtl_tf.models.architectures import Architecture
from mtl_tf.models.family_options import alpha_option, beta_option, dropout_option, head_option, runs_option
from mtl_tf.options import Section, option


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """Of cross_stitch."""

    alpha: float = alpha_option()
    beta: float = beta_option()
    by: str = option(
        "channel",
        "Numbers of a unit: one for each channel, or one for all.",
        choices=("channel", "all"),
        before="channel",
    )
    head: str = head_option()
    dropout: float = dropout_option()
    runs: tuple[str, ...] = runs_option()


def build(config, tasks, backbone):
    """Encoders in stages, a unit after each of the four, a head for every task."""
    from mtl_tf.models.exchange import build_stitch
    from mtl_tf.models.staged import build_staged

    options = backbone.options

    def exchange(features, stage):
        return build_stitch(features, options.alpha, options.beta, options.by == "channel", stage)

    return {"": build_staged(tasks, backbone, exchange, options)}


ARCHITECTURE = Architecture("cross_stitch", build, Options, exchanges=True, copies=True)
