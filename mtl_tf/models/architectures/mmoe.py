"""MMoE: several encoders, of which every task mixes all by a gate of its own (Ma et al., KDD 2018).

For dense prediction as in LibMTL (Lin and Zhang, JMLR 2023): an expert is a whole encoder, and a gate weighs them image
by image. It sees a thumbnail of the image, see `mtl_tf.models.gates`.
"""

import dataclasses

from mtl_tf.models.architectures import Architecture
from mtl_tf.models.family_options import dropout_option, experts_option, head_option
from mtl_tf.options import Section


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """Of mmoe."""

    experts: int = experts_option()
    head: str = head_option()
    dropout: float = dropout_option()


def build(config, tasks, backbone):
    """Encoders, a gate and a head for every task."""
    from mtl_tf.models.experts import build_mixtures, number_of_experts
    from mtl_tf.models.gates import softmax_gates

    count = number_of_experts(backbone.options.experts, tasks, "arch.mmoe.experts")
    return {"": build_mixtures(tasks, backbone, softmax_gates(backbone.image), count)}


ARCHITECTURE = Architecture("mmoe", build, Options, copies=True)
