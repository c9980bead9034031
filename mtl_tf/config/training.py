"""Options of training: what is minimised, how, for how long, and what is written down of it."""

import dataclasses

from mtl_tf.errors import UsageError
from mtl_tf.options import Entry, Section, format_value, merged, option


@dataclasses.dataclass(frozen=True)
class LossConfig(Section):
    """What is minimised."""

    weights: tuple[Entry, ...] = option(
        (Entry("semseg", 0.5), Entry("depth", 0.5)),
        "Weights of the tasks' losses, TASK:WEIGHT with commas; a task that is not named has the weight of its kind.",
        minimum=0.0,
    )

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "weights", merged(type(self).weights, self.weights))


@dataclasses.dataclass(frozen=True)
class OptimConfig(Section):
    """How it is minimised."""

    name: str = option("sgd", "Optimiser.", choices=("sgd", "adam", "adamw"))
    learning_rate: float = option(0.01, "Initial learning rate (0.01 is far too big for Adam).", minimum=0.0)
    momentum: float = option(0.9, "Momentum of SGD.", minimum=0.0, maximum=1.0)
    beta1: float = option(0.9, "Adam: decay of the first moment.", minimum=0.0, maximum=1.0)
    beta2: float = option(0.999, "Adam: decay of the second moment.", minimum=0.0, maximum=1.0)
    epsilon: float = option(1e-8, "Adam: epsilon.", minimum=0.0)
    weight_decay: float = option(1e-4, "Weight decay on all parameters.", minimum=0.0)
    decoupled: bool = option(
        False,
        "sgd, adam: decay the weights themselves instead of adding to the gradient (adamw always does).",
    )
    schedule: str = option(
        "poly", "Learning rate over time.", choices=("poly", "cosine", "one_cycle", "step", "constant")
    )
    schedule_power: float = option(0.9, "Exponent of the poly schedule.", minimum=0.0)
    schedule_unit: str = option(
        "epoch", "Whether poly and cosine fall per epoch or per step.", choices=("epoch", "step")
    )
    step_epochs: tuple[int, ...] = option((), "step: epochs after which the rate falls.", minimum=1)
    step_factor: float = option(0.1, "step: by which factor it falls.", minimum=0.0, maximum=1.0)
    warmup_epochs: float = option(0.0, "Epochs over which the rate rises linearly from zero.", minimum=0.0)
    clip_norm: float = option(
        0.0, "Largest norm of the gradient over all weights, before weight decay; 0 = not clipped.", minimum=0.0
    )
    encoder_rate: float = option(1.0, "Factor of the learning rate for the encoder.", minimum=0.0)
    exchange_rate: float = option(
        1.0,
        "Factor of the learning rate for units through which tasks exchange features (cross_stitch, nddr, ltb); 100 in "
        "the papers of the first two.",
        minimum=0.0,
        before=1.0,
    )
    layer_decay: float = option(
        1.0, "Factor of the encoder's rate from each stage to the one before it.", minimum=0.0, maximum=1.0
    )

    def __post_init__(self):
        super().__post_init__()
        if bool(self.step_epochs) != (self.schedule == "step"):
            raise UsageError(
                f"optim.step_epochs={format_value(self.step_epochs) or 'empty'} and optim.schedule={self.schedule}: "
                "the step schedule needs the epochs after which the rate falls, the others have none"
            )


@dataclasses.dataclass(frozen=True)
class TrainConfig(Section):
    """The training run."""

    epochs: int = option(16, "Passes over the training split.", minimum=1)
    extend: tuple[int, ...] = option(
        (),
        "Epochs more, for a run that is finished: 10; 10,5 for 5 more after these.",
        minimum=1,
        before=(),
    )
    extend_schedule: str = option(
        "restart",
        "train.extend: the schedule of the learning rate starts anew for the added epochs, or goes on as that of a run "
        "of all epochs.",
        choices=("restart", "stretch"),
        before="restart",
    )
    batch_size: int = option(4, "Images a step, over all devices.", minimum=1)
    accumulate: int = option(
        1, "Parts of the batch whose gradients are added up, one after another, to save memory.", minimum=1
    )
    freeze_encoder: int = option(
        0, "Epochs at the start in which the encoder, its batch norm too, stays as it is; -1 = all.", minimum=-1
    )
    average: str = option(
        "none",
        "Averaged weights beside the trained ones: ema (after each step) or swa (of the last epochs).",
        choices=("none", "ema", "swa"),
    )
    ema_decay: float = option(0.999, "ema: weight of the old average at each step.", minimum=0.0, maximum=1.0)
    swa_start: float = option(
        0.75, "swa: share of the epochs after which their weights are averaged.", minimum=0.0, maximum=1.0
    )
    patience: int = option(0, "Stop when the best metric has not improved for so many epochs; 0 = never.", minimum=0)
    skip_non_finite: int = option(
        0,
        "Steps in a row with a loss or gradient that is not finite that are passed over and counted; one more stops "
        "the run. 0 = the first stops it.",
        minimum=0,
        free=True,
    )
    xla: bool = option(False, "Compile the step's forward and backward pass with XLA (one device).")
    deterministic: bool = option(False, "Only kernels that give the same bits every time, also on GPUs; slower.")
    precision: str = option(
        "float32", "Arithmetic of the network.", choices=("float32", "mixed_bfloat16", "mixed_float16")
    )
    devices: int = option(0, "Devices to train on; 0 = all GPUs, else the CPU.", minimum=0, free=True)
    best_metric: str = option(
        "total",
        "Score that chooses the best weights (ties: the later): total, loss, TASK.METRIC, or METRIC where one task "
        "alone has it.",
    )
    checkpoint_every: int = option(
        500, "Steps between full-state checkpoints, besides each epoch's.", minimum=1, free=True
    )
    keep_checkpoints: int = option(3, "Checkpoints kept.", minimum=1, free=True)
    resume: bool = option(True, "Continue an existing run directory.", free=True)
    fresh: bool = option(False, "Delete what the run directory holds and start anew.", free=True)

    def __post_init__(self):
        super().__post_init__()
        if self.extend and self.average == "swa":
            raise UsageError(
                "train.extend and train.average=swa: the average is that of the last of train.epochs, which an "
                "extension would not be part of; start another run from the weights, --model.weights=RUN"
            )

    @property
    def all_epochs(self) -> int:
        """The epochs of the run and those that were added."""
        return self.epochs + sum(self.extend)

    def scheduled(self, epoch: int) -> tuple[int, int]:
        """The epochs, first and behind the last, from 0, that the schedule of an epoch is for.

        A run that was extended is that of the same options which was never stopped, so that the schedule of an epoch
        does not depend on what is added after it.
        """
        begin, end = 0, self.epochs
        for more in self.extend:
            if epoch < end:
                break
            begin, end = end if self.extend_schedule == "restart" else 0, end + more
        return begin, end

    def encoder_frozen(self, epoch: int) -> bool:
        """Whether the encoder stays as it is in an epoch (from 1)."""
        return self.freeze_encoder < 0 or epoch <= self.freeze_encoder


@dataclasses.dataclass(frozen=True)
class LogConfig(Section):
    """What a run writes down while it trains."""

    every: int = option(20, "Steps between rows of steps.csv and TensorBoard scalars.", minimum=1, free=True)
    panels_every: int = option(1000, "Steps between pictures of training crops; 0 = none.", minimum=0, free=True)
    observed: int = option(4, "Validation samples pictured after each epoch.", minimum=0, free=True)
    tensorboard: bool = option(True, "Write TensorBoard events.", free=True)
    profile: tuple[int, ...] = option(
        (), "FIRST,LAST step to profile for TensorBoard; empty = none.", minimum=1, lengths=(0, 2), free=True
    )

    def __post_init__(self):
        super().__post_init__()
        if self.profile and self.profile[0] > self.profile[1]:
            raise UsageError(f"log.profile={format_value(self.profile)} ends before it begins; exchange the two steps")
