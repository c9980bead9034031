"""One branch for all tasks."""

from mtl_tf.models.architectures import Architecture


def build(config, tasks, backbone):
    """One ASPP and decoder for all tasks."""
    from mtl_tf.models.branch import build_branch

    feature = build_branch(config, backbone, "shared")
    return {"": {task.name: feature for task in tasks}}


ARCHITECTURE = Architecture("joint", build)
