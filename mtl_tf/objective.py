"""What is minimised: the tasks' losses over the outputs of a network, weighted and summed."""

from collections.abc import Sequence

from keras import KerasTensor as Tensor
from keras import ops

from mtl_tf.config import Config
from mtl_tf.tasks import Task, loss_weight


def total_loss(config: Config, tasks: Sequence[Task], losses: dict[str, float | None]) -> float | None:
    """What is minimised: the weighted sum of the losses of the tasks, by the task's name; None where one is missing."""
    if None in losses.values():
        return None
    return sum(loss_weight(config, task) * losses[task.name] for task in tasks)


def raws_of(task: Task, outputs: dict[str, Tensor]) -> list[Tensor]:
    """The raw heads, float32, that the loss of a task is the mean over: the first, where there is one, and the last."""
    return [ops.cast(outputs[name], "float32") for name in (f"{task.name}_initial", task.name) if name in outputs]


def mean_losses(
    tasks: Sequence[Task], outputs: dict[str, Tensor], labels: dict[str, Tensor], counts: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The loss of every task, float32 scalars: of what the network answers, and of its first answers where it has any.

    Args:
        tasks: what is predicted.
        outputs: the network's.
        labels: targets (B, H, W) by the task's name.
        counts: what each task's sums are divided by: `Task.count` of these labels, or of all of which they are a share.
    """
    losses = {}
    for task in tasks:
        sums = [task.loss(raw, labels[task.name])[0] for raw in raws_of(task, outputs)]
        count = counts[task.name]  # of weighted pixels it may be below 1
        # Of a loss of several terms the sum of their means.
        losses[task.name] = ops.sum(sum(sums) / len(sums) / ops.where(count > 0, count, 1.0))
    return losses
