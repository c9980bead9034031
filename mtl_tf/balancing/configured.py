"""The balance of a run, of its options and its tasks."""

from collections.abc import Sequence

from mtl_tf.balancing.balance import Balance
from mtl_tf.errors import UsageError
from mtl_tf.options import format_value
from mtl_tf.tasks import Task, loss_weight


def balance_of(config, tasks: Sequence[Task]) -> Balance:
    """What a run balances its tasks by.

    Args:
        config: `mtl_tf.config.Config`.
        tasks: what is trained, in the order of the losses.

    Raises:
        UsageError: the methods do not go with these tasks, or with how many there are.
    """
    balance = config.balance.made(len(tasks), _preference(config, tasks))
    without = [task.name for task in tasks if not loss_weight(config, task)]
    if without and config.balance.balances:
        raise UsageError(
            f"loss.weights has 0 for {', '.join(without)}, but balancing finds weights of its own; leave it out of "
            "--tasks"
        )
    signed = [task.name for task in tasks if task.loss_may_be_negative]
    if signed and balance.scalarizer.floor is not None and balance.scalarizer.floor >= 0:
        also = ", or set balance.base below the losses" if hasattr(balance.scalarizer.options, "base") else ""
        raise UsageError(
            f"balance.scalarizer={config.balance.scalarizer} takes losses of at least {balance.scalarizer.floor:g}, "
            f"but that of {', '.join(signed)} may be negative; choose fixed, dwa or rlw, which take any{also}"
        )
    return balance


def _preference(config, tasks):
    """The fixed weight of each task: that of its loss, or its share of balance.preference, with the same sum."""
    weights = tuple(loss_weight(config, task) for task in tasks)
    if not config.balance.preference:
        return weights
    preference = dict(config.balance.preference)
    for task in tasks:
        if task.name not in preference:
            raise UsageError(
                f"balance.preference={format_value(config.balance.preference)} has no number for {task.name}; the "
                f"tasks are {', '.join(each.name for each in tasks)}: give each one"
            )
    shares = [preference[task.name] for task in tasks]
    return tuple(share * sum(weights) / sum(shares) for share in shares)
