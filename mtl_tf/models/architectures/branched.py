"""A branch for every task."""

from mtl_tf.models.branch import build_branch


def branched(config, tasks, pyramid):
    """An ASPP and a decoder for every task."""
    return {"": {task.name: build_branch(config, pyramid, task.name) for task in tasks}}
