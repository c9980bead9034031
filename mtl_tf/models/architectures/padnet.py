"""PAD-Net: initial predictions, distillation between their features, final predictions (Xu et al., CVPR 2018).

With the blocks of Vandenhende et al., "Multi-Task Learning for Dense Prediction Tasks: A Survey", TPAMI 2021.
"""

import dataclasses

from mtl_tf.models.architectures import Architecture
from mtl_tf.models.family_options import final_option
from mtl_tf.options import Section, option


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """Of padnet."""

    feature: str = option(
        "last",
        "What all tasks start from: the encoder's last feature, or all of them fused as by HRNet's head.",
        choices=("last", "fused"),
        before="last",
    )
    distillation: str = option(
        "gate_source",
        "Messages between tasks: gated by their source or their target, added as they are, or features side by side.",
        choices=("gate_source", "gate_target", "add", "concat"),
        before="gate_source",
    )
    final: tuple[str, ...] = final_option()
    initial_weight: float = option(
        1.0, "Weight of the initial prediction in the loss of a final task.", minimum=0.0, before=1.0
    )


def build(config, tasks, backbone):
    """Two Bottlenecks for the initial feature of every task, two for the distilled one of every final task."""
    from mtl_tf.models.branch import in_memory
    from mtl_tf.models.distillation import distil, final_names
    from mtl_tf.models.heads import build_bottlenecks, build_family_head

    options = backbone.options
    final = final_names("padnet", options.final, tasks)
    fused = options.feature == "fused"
    feature = build_family_head("hrnet", backbone, "shared/fused") if fused else backbone["last"]

    def refined(x, path):
        return in_memory(config, build_bottlenecks(x.shape[-1], path))(x)

    initial = {task.name: refined(feature, f"{task.name}/blocks_initial") for task in tasks}
    distilled = distil(config, initial, final, options.distillation)
    answers = {name: refined(distilled[name], f"{name}/blocks") for name in final}
    return {"_initial": {name: initial[name] for name in final}, "": initial | answers}


def weights(options):
    """Of the labels in the loss of a task."""
    return {"": 1.0, "_initial": options.initial_weight}


ARCHITECTURE = Architecture("padnet", build, Options, exchanges=True, weights=weights)
