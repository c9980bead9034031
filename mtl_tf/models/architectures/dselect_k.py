"""DSelect-k: as `mmoe`, but a task takes k of the encoders, which it learns to select (Hazimeh et al., NeurIPS 2021).

For dense prediction as in LibMTL (Lin and Zhang, JMLR 2023), but the cost of every task's selection is a term of its
loss; gates as with `mmoe`.
"""

import dataclasses

from mtl_tf.errors import UsageError
from mtl_tf.models.architectures import Architecture
from mtl_tf.models.family_options import dropout_option, experts_option, head_option
from mtl_tf.options import Section, option


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """Of dselect_k."""

    experts: int = experts_option()
    k: int = option(2, "Encoders that a task selects at most.", minimum=1, before=2)
    regulariser: float = option(
        1e-6, "Weight of the entropy of a task's selection in its loss.", minimum=0.0, before=1e-6
    )
    head: str = head_option()
    dropout: float = dropout_option()


def build(config, tasks, backbone):
    """Encoders, a selecting gate and a head for every task; what the selection costs."""
    from mtl_tf.models.experts import build_mixtures, number_of_experts
    from mtl_tf.models.gates import selecting_gate, thumbnail
    from mtl_tf.models.outputs import Raw

    options, seen, costs = backbone.options, thumbnail(backbone.image), {}
    count = number_of_experts(options.experts, tasks, "arch.dselect_k.experts")
    if options.k > count:
        raise UsageError(
            f"--arch.dselect_k.k={options.k}: there are {count} experts; use at most as many, or more "
            "--arch.dselect_k.experts"
        )

    def weigh(task, count):
        weights, cost = selecting_gate(seen, count, options.k, options.regulariser, f"{task.name}/gate")
        costs[task.name] = Raw(cost)
        return weights

    return {"": build_mixtures(tasks, backbone, weigh, count), "@cost": costs}


def weights(options):
    """The cost has its weight already: that of its second part is 1."""
    return {"": 1.0, "@cost": 1.0}


ARCHITECTURE = Architecture("dselect_k", build, Options, copies=True, weights=weights)
