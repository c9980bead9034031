"""What a run says before its first step: the network, the data, what of them is passed over, and who does what."""

from collections.abc import Iterator, Sequence

from mtl_tf.config import Config
from mtl_tf.data.pipeline import TrainingData
from mtl_tf.data.sets.settle import some_sizes, told_fit, told_untrained
from mtl_tf.data.share import sequence_of
from mtl_tf.kernels import on_tensorflow
from mtl_tf.storage.listing import labels_of, told_of
from mtl_tf.tasks import Task
from mtl_tf.training.runtime import Runtime


def lines(
    config: Config,
    begin: str,
    tasks: Sequence[Task],
    parameters: int,
    data: TrainingData,
    validated,
    machine: Runtime,
) -> Iterator[str]:
    """The lines.

    Args:
        config: of the run.
        begin: where it begins, for the beginning of the first line.
        tasks: the network's.
        parameters: the number of those of the network that are trained.
        data: the training samples.
        validated: the source of the validation samples.
        machine: where the run is.
    """
    model, train = config.model, config.train
    validation = f"{_counted(validated, 'validation')}{_held_out(config.data, validated)}"
    yield (
        f"{begin}: {model.architecture} {model.encoder}, {parameters / 1e6:.2f} M parameters; "
        f"{_counted(data.source, 'training')} and {validation}; "
        f"{train.all_epochs} epochs{_extended(train)} of {data.steps_per_epoch} steps; "
        f"{len(machine.devices)} x {machine.devices[0].partition(':')[0]}, {train.precision}{_shares(config, machine)}"
    )
    told = [told_of(data.source, config.data.train_split), told_of(validated, config.data.val_split)]
    told += told_untrained(config)
    fit = told_fit(some_sizes(data.source), config.data.image_size, config.data.fit)
    yield from filter(None, [*told, fit, data.told(), *(task.remark for task in tasks), _imprecise(train.precision)])


def _held_out(data, validated):
    if not data.val_share:
        return ""
    count = len({sequence_of(name) for name in validated.ids})
    whole = data.val_by != "sample" and count < len(validated)
    told = f", {count} whole {'sequence' if count == 1 else 'sequences'}" if whole else ""
    return f" held out of the training images (data.val_share={data.val_share:g}{told})"


def _extended(train):
    if not train.extend:
        return ""
    first, last = train.scheduled(train.all_epochs - 1)
    schedule = "a schedule of their own" if first else f"the schedule of {last} epochs"
    return f" ({train.extend[-1]} more, by {schedule}; train.extend_schedule={train.extend_schedule})"


def _imprecise(precision):
    if on_tensorflow.sums_in_float32(precision.removeprefix("mixed_")):
        return ""
    return (
        f"warning: train.precision={precision}: this CPU has no arithmetic of its own for it, and sums gradients in "
        "sixteen bits: biases hardly learn; use --train.precision=float32"
    )


def _counted(source, what):
    return f"{len(source)} {what} images ({labels_of(source)})"


def _shares(config, machine):
    """The global batch and its rate, and what each of several processes and devices has of it."""
    workers, worker, replicas = machine.cluster.workers, machine.cluster.worker, machine.replicas
    size, optim, augment = config.train.batch_size, config.optim, config.augment
    told = f"; each step {size} images at learning rate {optim.learning_rate:g}"
    if workers > 1:
        # What is pasted may come from anywhere in the batch.
        read = f"all, takes its {size // workers}" if augment.cutmix or augment.classmix else size // workers
        role = "writes" if worker == 0 else "follows"
        told += f"; worker {worker} of {workers} ({role}) reads {read} of them"
    return told + (f", {size / replicas:g} for each device" if replicas > 1 else "")
