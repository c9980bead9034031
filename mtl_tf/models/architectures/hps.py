"""Hard parameter sharing: one encoder, and a head of the papers for every task."""

import dataclasses

from mtl_tf.models.architectures import Architecture
from mtl_tf.models.family_options import dropout_option, head_option
from mtl_tf.options import Section


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """Of hps."""

    head: str = head_option()
    dropout: float = dropout_option()


def build(config, tasks, backbone):
    """A head for every task on the features of one encoder."""
    from mtl_tf.models.heads import build_task_head

    return {"": {task.name: build_task_head(task, backbone, backbone.options) for task in tasks}}


ARCHITECTURE = Architecture("hps", build, Options)
