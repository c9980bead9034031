"""A branch for every task."""

from mtl_tf.models.architectures import Architecture


def build(config, tasks, backbone):
    """An ASPP and a decoder for every task."""
    from mtl_tf.models.branch import build_branch

    return {"": {task.name: build_branch(config, backbone, task.name) for task in tasks}}


ARCHITECTURE = Architecture("branched", build)
