"""CGC: encoders that all tasks share and encoders of each task, which it mixes by a gate (Tang et al., RecSys 2020).

For dense prediction as in LibMTL (Lin and Zhang, JMLR 2023); gates as with `mmoe`.
"""

from mtl_tf.models.architectures import Architecture
from mtl_tf.models.family_options import MixtureOptions


def build(config, tasks, backbone):
    """Encoders, a gate and a head for every task."""
    from mtl_tf.models.experts import build_mixtures
    from mtl_tf.models.gates import softmax_gates

    options = backbone.options
    return {"": build_mixtures(tasks, backbone, softmax_gates(backbone.image), options.experts, options.own)}


ARCHITECTURE = Architecture("cgc", build, MixtureOptions, copies=True)
