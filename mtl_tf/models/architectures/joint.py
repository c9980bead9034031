"""One branch for all tasks."""

from mtl_tf.models.branch import build_branch


def joint(config, tasks, pyramid):
    """One ASPP and decoder for all tasks."""
    feature = build_branch(config, pyramid, "shared")
    return {"": {task.name: feature for task in tasks}}
