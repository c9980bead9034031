"""LTB: an encoder for every task, each stage of which learns whose features to go on from (Guo et al., ICML 2020).

As in LibMTL (Lin and Zhang, JMLR 2023), but the network answers by what it has chosen, not by draws. What no task has
chosen is left out where a run's network is exported, or answers.
"""

import dataclasses

from mtl_tf.models.architectures import Architecture
from mtl_tf.models.family_options import dropout_option, head_option
from mtl_tf.options import Section, option


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """Of ltb."""

    warm_up: str = option(
        "mean",
        "What a stage begins with in the first hundredth of the epochs, of the features of all tasks; sum published.",
        choices=("mean", "sum"),
        before="mean",
    )
    head: str = head_option()
    dropout: float = dropout_option()


def build(config, tasks, backbone):
    """Encoders in stages, a choice before each of the four, a head for every task."""
    from mtl_tf.models.choice import Choice
    from mtl_tf.models.encoder_layers import EXCHANGE
    from mtl_tf.models.heads import build_task_head
    from mtl_tf.models.layers import scope
    from mtl_tf.models.staged import build_stages

    options = backbone.options
    encoders = [build_stages(backbone, task.name) for task in tasks]
    features = [stages[0].model(backbone.image) for stages in encoders]
    pyramids: list[dict] = [{} for _ in tasks]
    for stage in range(1, len(encoders[0])):
        before, features = features, []
        for number, (task, stages, pyramid) in enumerate(zip(tasks, encoders, pyramids, strict=True)):
            # Its own first, which is chosen as long as no other is better.
            parents = [before[number], *before[:number], *before[number + 1 :]]
            with scope(EXCHANGE):
                x = Choice(options.warm_up, name=f"choice_stage{stage}_{task.name}")(parents)
            features.append(stages[stage].model(x))
            pyramid |= {f"stride{stages[stage].stride}": features[-1], "last": features[-1]}
    return {
        "": {task.name: build_task_head(task, pyramid, options) for task, pyramid in zip(tasks, pyramids, strict=True)}
    }


ARCHITECTURE = Architecture("ltb", build, Options, exchanges=True, copies=True)
