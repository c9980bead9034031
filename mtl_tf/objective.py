"""What is minimised: the tasks' losses over the outputs of a network, weighted and summed."""

from collections.abc import Callable, Mapping, Sequence

from keras import KerasTensor as Tensor
from keras import ops

from mtl_tf.config import Config
from mtl_tf.models.outputs import outputs_of
from mtl_tf.tasks import Cost, Task, loss_weight

# Label of an output -> from a task to what has a loss of its own for it, or None; others have the task's. Their means
# are terms of the task's loss.
JUDGES: dict[str, Callable] = {"@regions": lambda task: task.regions, "@cost": Cost}


def total_loss(config: Config, tasks: Sequence[Task], losses: dict[str, float | None]) -> float | None:
    """What is minimised: the weighted sum of the losses of the tasks, by the task's name; None where one is missing."""
    if None in losses.values():
        return None
    return sum(loss_weight(config, task) * losses[task.name] for task in tasks)


def raws_of(task: Task, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Label -> raw head, float32, that the loss of a task is made of: its answer "", and what else is supervised."""
    return {label: ops.cast(raw, "float32") for label, raw in outputs_of(task, outputs).items()}


def count_of(task: Task, target: Tensor, weights: Mapping[str, float]) -> Tensor:
    """What the sums of a task are divided by, of its labels alone: float32 (), or (terms,).

    Args:
        task: whose loss it is.
        target: its labels (B, H, W).
        weights: the network's `label_weights`.
    """
    count, judges = task.count(target), _judges(task, weights)
    return _terms(count, [judge.count(target) for judge in judges.values()]) if judges else count


def sums_of(
    task: Task, outputs: dict[str, Tensor], target: Tensor, weights: Mapping[str, float]
) -> tuple[Tensor, Tensor]:
    """What a task's loss over a batch sums up, of all that is supervised and of the answer alone; see `count_of`.

    Args:
        task: whose loss it is.
        outputs: the network's.
        target: labels (B, H, W) of the task.
        weights: the network's `label_weights`.
    """
    raws, judges = raws_of(task, outputs), _judges(task, weights)
    sums = {label: task.loss(raw, target)[0] for label, raw in raws.items() if label not in judges}
    every = sum(value if weights[label] == 1.0 else weights[label] * value for label, value in sums.items())
    if not judges:
        return every, sums[""]
    # An architecture may have such an output for some tasks only.
    own = [
        weights[label] * judge.loss(raws[label], target)[0] if label in raws else ops.zeros(())
        for label, judge in judges.items()
    ]
    return _terms(every, own), _terms(sums[""], [ops.zeros(()) for _ in own])


def mean_losses(
    tasks: Sequence[Task],
    outputs: dict[str, Tensor],
    labels: dict[str, Tensor],
    counts: dict[str, Tensor],
    weights: Mapping[str, float],
) -> dict[str, Tensor]:
    """The loss of every task, float32 scalars: the weighted sum of those of its answer and of other supervised outputs.

    Args:
        tasks: what is predicted.
        outputs: the network's.
        labels: targets (B, H, W) by the task's name.
        counts: what each task's sums are divided by: `count_of` of these labels, or of all of which they are a share.
        weights: the network's `label_weights`.
    """
    losses = {}
    for task in tasks:
        sums, _ = sums_of(task, outputs, labels[task.name], weights)
        count = counts[task.name]  # of weighted pixels it may be below 1
        # Of a loss of several terms the sum of their means.
        losses[task.name] = ops.sum(sums / ops.where(count > 0, count, 1.0))
    return losses


def _judges(task, weights):
    """Label -> what judges the task's output of that label, where it is not the task itself."""
    found = {label: JUDGES[label](task) for label in weights if label in JUDGES}
    return {label: judge for label, judge in found.items() if judge is not None}


def _terms(first, others):
    """Terms of a loss in one tensor; `first` may be several."""
    return ops.concatenate([ops.reshape(first, (-1,)), ops.stack(others)])
