"""The configuration: a tree of frozen dataclasses, and the only list of options there is.

Every leaf carries its help text, the values it may take and whether it may change on an existing run; the command
line (`flags.py`), `--helpshort` and `run.flags` are all derived from it.
"""

import dataclasses
from typing import Any

from mtl_tf.errors import UsageError
from mtl_tf.options import Section, format_value, option

# fmt: off
ENCODERS = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2",
    "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d",
    "resnet50_keras", "resnet101_keras", "resnet152_keras", "resnet50v2", "resnet101v2", "resnet152v2",
    "densenet121", "densenet169", "densenet201", "mobilenetv2", "mobilenetv3_small", "mobilenetv3_large",
    "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4", "efficientnet_b5",
    "efficientnet_b6", "efficientnet_b7", "efficientnetv2_b0", "efficientnetv2_b1", "efficientnetv2_b2",
    "efficientnetv2_b3", "efficientnetv2_s", "efficientnetv2_m", "efficientnetv2_l",
    "convnext_tiny", "convnext_small", "convnext_base", "convnext_large", "convnext_xlarge",
)
# fmt: on
DATA_SETS = (
    "synthetic",
    "folder",
    "miniscapes",
    "nyuv2",
    "cityscapes",
    "cityscapes7",
    "kitti",
    "vkitti2",
    "camvid",
    "packed",
)
TASKS = ("semseg", "depth")


@dataclasses.dataclass(frozen=True)
class DataConfig(Section):
    """Where samples come from and the size at which they are used."""

    name: str = option(
        "synthetic",
        "Data set: rendered road scenes, a folder with dataset.json, or a known layout (docs/datasets.md).",
        choices=DATA_SETS,
    )
    root: str = option("", "Folder of the data set.", free=True)
    statistics: str = option(
        "",
        "File of measured statistics (tools/dataset_statistics.py --output); empty = the data set's own.",
        free=True,
    )
    mix_names: tuple[str, ...] = option((), "Further data sets to train on, each as in data.name.", choices=DATA_SETS)
    mix_roots: tuple[str, ...] = option((), "Their folders, in the same order; - where there is none.", free=True)
    mix_weights: tuple[float, ...] = option(
        (), "Shares of data.name and of each further data set in a batch, in any unit; empty = equal."
    )
    image_size: tuple[int, ...] = option(
        (),
        "H,W in pixels that every sample is resized to; empty = as it is on disk.",
        minimum=8,
        lengths=(0, 2),
    )
    crop_size: tuple[int, ...] = option(
        (), "H,W in pixels of the training crop; empty = the whole image.", minimum=8, lengths=(0, 2)
    )
    train_split: str = option("train", "Split to train on.")
    val_split: str = option("val", "Split that each epoch is validated on.")
    split: str = option("val", "Split that `evaluate` and `predict` use.", free=True)
    limit: int = option(0, "Use only the first N samples of each split; 0 = all.", minimum=0)
    skip_bad: bool = option(False, "Go on without samples that cannot be read, and count them.")
    eigen_crop: bool = option(
        False,
        "Score depth (evaluate, validation) only inside the crop of Eigen et al. for NYUv2: rows 45-470, columns "
        "41-600 of 480x640, in proportion at other sizes. Training, classes and pictures are as without.",
        free=True,
    )
    synthetic_train: int = option(400, "Number of rendered training scenes.", minimum=1)
    synthetic_val: int = option(64, "Number of rendered scenes in each other split.", minimum=1)
    synthetic_seed: int = option(0, "Seed of the rendered scenes.", minimum=0)
    cache: bool = option(False, "Keep decoded samples in memory (synthetic scenes always are).", free=True)
    workers: int = option(0, "Samples read in parallel; 0 = as many as there are cores.", minimum=0, free=True)
    prefetch: int = option(2, "Batches prepared ahead of the training step.", minimum=1, free=True)

    def __post_init__(self):
        super().__post_init__()
        names, roots, weights = self.mix_names, self.mix_roots, self.mix_weights
        if len(roots) != len(names):
            raise UsageError(
                f"data.mix_roots={format_value(roots)} are {len(roots)} folders for the {len(names)} data sets of "
                f"data.mix_names={format_value(names)}; give one for each, - where there is none"
            )
        if weights and len(weights) != 1 + len(names):
            raise UsageError(
                f"data.mix_weights={format_value(weights)} are {len(weights)} shares for {1 + len(names)} data sets: "
                f"{format_value((self.name, *names))}; give one for each, the first for data.name"
            )
        if any(weight <= 0 for weight in weights):
            raise UsageError(
                f"data.mix_weights={format_value(weights)} must be positive; leave a data set without a share out"
            )


@dataclasses.dataclass(frozen=True)
class AugmentConfig(Section):
    """Training augmentation: one perspective crop per sample, then colour, then pasting; all off by default."""

    scale_min: float = option(1.0, "Smallest side of the sampled window over the crop size.", minimum=0.05)
    scale_max: float = option(
        1.0, "Largest side of the sampled window over the crop size; > 1 zooms OUT.", minimum=0.05
    )
    tilt: float = option(0.0, "Largest rotation, degrees.", minimum=0.0, maximum=180.0)
    wiggle: float = option(0.0, "Largest shift of a corner over half the crop size.", minimum=0.0, maximum=0.5)
    reflect: bool = option(False, "Flip left and right with probability 0.5.")
    zoom_depth: bool = option(False, "Multiply depth by the sampled scale, as a pinhole camera would see it.")
    brightness: float = option(0.0, "Largest relative change of brightness.", minimum=0.0, maximum=1.0)
    contrast: float = option(0.0, "Largest relative change of contrast.", minimum=0.0, maximum=1.0)
    saturation: float = option(0.0, "Largest relative change of saturation.", minimum=0.0, maximum=1.0)
    hue: float = option(0.0, "Largest change of hue, in turns.", minimum=0.0, maximum=0.5)
    gamma: float = option(0.0, "Largest change of the exponent of the colours.", minimum=0.0, maximum=0.9)
    grey: float = option(0.0, "Probability of a picture in shades of grey.", minimum=0.0, maximum=1.0)
    blur: float = option(0.0, "Largest standard deviation of a Gaussian blur, pixels.", minimum=0.0, maximum=20.0)
    cutmix: float = option(
        0.0, "CutMix: probability that a sample gets a rectangle of another one of its batch.", minimum=0.0, maximum=1.0
    )
    cutmix_area: tuple[float, ...] = option(
        (0.5, 0.5),
        "CutMix: smallest and largest share of the picture that the rectangle covers.",
        minimum=0.0,
        maximum=1.0,
        lengths=(2,),
    )
    classmix: float = option(
        0.0,
        "ClassMix: probability that a sample gets half of the classes of another one of its batch.",
        minimum=0.0,
        maximum=1.0,
    )

    def __post_init__(self):
        super().__post_init__()
        if self.scale_min > self.scale_max:
            raise UsageError(
                f"augment.scale_min={self.scale_min} is above augment.scale_max={self.scale_max}; exchange them"
            )
        if self.cutmix_area[0] > self.cutmix_area[1]:
            raise UsageError(
                f"augment.cutmix_area={format_value(self.cutmix_area)} must not fall: smallest, then largest share"
            )
        if self.cutmix + self.classmix > 1.0:
            raise UsageError(
                f"augment.cutmix={self.cutmix} and augment.classmix={self.classmix} add up to more than 1; a sample "
                "gets one of them: lower them"
            )


@dataclasses.dataclass(frozen=True)
class ModelConfig(Section):
    """The network."""

    architecture: str = option(
        "joint",
        "One decoder for all tasks, one per task, or one per task that exchange features by attention.",
        choices=("joint", "branched", "distilled"),
    )
    encoder: str = option("resnet34", "Shared encoder.", choices=ENCODERS)
    encoder_weights: str = option(
        "none",
        "Initial encoder: none (random), imagenet (fetched once), or the path of a run or of a weight file.",
    )
    weights: str = option(
        "none",
        "Initial network, encoder included: none, or the path of a run or of a DeepLabV3(+) network of PyTorch.",
    )
    dilation: tuple[int, ...] = option(
        (0, 0, 1),
        "For layers 2,3,4: 1 trades the stride of the layer for dilation.",
        choices=(0, 1),
        lengths=(3,),
    )
    consistent_dilation: bool = option(
        False, "BasicBlock: dilate conv1 as well, so that strided weights give the same features."
    )
    aspp: bool = option(True, "Atrous spatial pyramid pooling after the encoder (else one 1x1 convolution).")
    aspp_rates: tuple[int, ...] = option(
        (3, 6, 9), "Dilation of the 3x3 branches of ASPP.", minimum=1, lengths=(1, 2, 3, 4, 5, 6)
    )
    skip: bool = option(True, "Decoder with encoder features of small stride.")
    skip_strides: tuple[int, ...] = option(
        (4,),
        "Strides of these features, falling; heads and attention work at the last.",
        choices=(8, 4, 2),
        lengths=(1, 2, 3),
    )
    squeeze_excitation: bool = option(False, "Squeeze-and-excitation in every residual block of the encoder.")
    recompute: bool = option(
        False, "Compute activations again for the gradient instead of keeping them: less memory, more time."
    )
    gate_init: str = option(
        "zeros", "distilled: initial gates of the attention, half open or random.", choices=("zeros", "default")
    )

    def __post_init__(self):
        super().__post_init__()
        if len(set(self.aspp_rates)) != len(self.aspp_rates):
            raise UsageError(f"model.aspp_rates={format_value(self.aspp_rates)} names a rate twice; leave one out")
        if "none" not in (self.weights, self.encoder_weights):
            raise UsageError(
                f"model.weights={self.weights} holds an encoder too, model.encoder_weights={self.encoder_weights} "
                "names another; set one of them to none"
            )
        strides = format_value(self.skip_strides)
        if any(second >= first for first, second in zip(self.skip_strides, self.skip_strides[1:], strict=False)):
            raise UsageError(f"model.skip_strides={strides} must fall, as in 8,4,2")
        if not self.skip and self.skip_strides != (4,):
            raise UsageError(f"model.skip_strides={strides} needs model.skip; turn it on, or leave the strides out")


@dataclasses.dataclass(frozen=True)
class LossConfig(Section):
    """What is minimised."""

    semseg_weight: float = option(0.5, "Weight of the segmentation loss.", minimum=0.0)
    depth_weight: float = option(0.5, "Weight of the depth loss.", minimum=0.0)
    depth: str = option("l2", "Depth loss.", choices=("l2", "l1", "berhu", "silog"))
    depth_space: str = option(
        "linear",
        "What the depth head predicts: whitened metres or whitened log metres.",
        choices=("linear", "log"),
    )


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
    xla: bool = option(False, "Compile the step's forward and backward pass with XLA (one device).")
    deterministic: bool = option(False, "Only kernels that give the same bits every time, also on GPUs; slower.")
    precision: str = option(
        "float32", "Arithmetic of the network.", choices=("float32", "mixed_bfloat16", "mixed_float16")
    )
    devices: int = option(0, "Devices to train on; 0 = all GPUs, else the CPU.", minimum=0, free=True)
    best_metric: str = option(
        "total",
        "Validation metric that chooses the best weights (ties: the later).",
        choices=(
            "total",
            "grader",
            "miou",
            "pixel_accuracy",
            "si_log_rmse",
            "rmse",
            "abs_rel",
            "delta1",
            "loss",
        ),
    )
    checkpoint_every: int = option(
        500, "Steps between full-state checkpoints, besides each epoch's.", minimum=1, free=True
    )
    keep_checkpoints: int = option(3, "Checkpoints kept.", minimum=1, free=True)
    resume: bool = option(True, "Continue an existing run directory.", free=True)
    fresh: bool = option(False, "Delete what the run directory holds and start anew.", free=True)


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


@dataclasses.dataclass(frozen=True)
class Config(Section):
    """Everything that a command can be told."""

    run_dir: str = option("", "Run directory: all that a run writes.", free=True)
    seed: int = option(0, "Seed of weights, order and augmentation.", minimum=0)
    tasks: tuple[str, ...] = option(TASKS, "Tasks to train, of semseg and depth.", choices=TASKS, lengths=(1, 2))
    input: str = option("", "predict: a picture, a folder or a glob; empty = the whole --data.split.", free=True)
    output: str = option(
        "", "predict, export: where to write, empty = inside the run directory; encoders: a Markdown file.", free=True
    )
    scale: str = option(
        "fit",
        "predict: resize a picture to fit data.image_size, or take it as it is.",
        choices=("fit", "native"),
        free=True,
    )
    weights: str = option(
        "best",
        "evaluate, predict, export, report: the best weights, or the best averaged ones (train.average).",
        choices=("best", "averaged"),
        free=True,
    )
    baseline: bool = option(False, "evaluate: also score the position baseline.", free=True)
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    log: LogConfig = LogConfig()

    def __post_init__(self):
        super().__post_init__()
        if len(set(self.tasks)) != len(self.tasks):
            raise UsageError(f"tasks={format_value(self.tasks)} names a task twice")
        task = {"miou": "semseg", "pixel_accuracy": "semseg"}.get(self.train.best_metric, "depth")
        if self.train.best_metric not in ("total", "grader", "loss") and task not in self.tasks:
            raise UsageError(
                f"train.best_metric={self.train.best_metric} is of {task}, which is not in "
                f"tasks={format_value(self.tasks)}; choose total, loss or a metric of the task"
            )
        if self.augment.classmix and "semseg" not in self.tasks:
            raise UsageError(
                f"augment.classmix={self.augment.classmix} pastes by class and needs semseg labels, but "
                f"tasks={format_value(self.tasks)}: add semseg, or use augment.cutmix"
            )
        if self.augment.cutmix + self.augment.classmix and self.train.batch_size < 2:
            raise UsageError(
                "augment.cutmix and augment.classmix paste from another sample of the batch, but "
                f"train.batch_size={self.train.batch_size}; make it 2 or more"
            )
        if self.model.architecture == "distilled" and len(self.tasks) < 2:
            raise UsageError(
                "model.architecture=distilled exchanges features between tasks and needs at least two; "
                f"tasks={format_value(self.tasks)}: use joint or branched"
            )


def leaves(config: Any = Config, prefix: str = "") -> dict[str, dataclasses.Field]:
    """Dotted name -> field of every leaf below a section (class or instance), in the order they are declared."""
    found = {}
    for field in dataclasses.fields(config):
        if "help" in field.metadata:
            found[prefix + field.name] = field
        else:
            found.update(leaves(field.type, f"{prefix}{field.name}."))
    return found


def values(config: Config) -> dict[str, Any]:
    """Dotted name -> value of every leaf."""
    found = {}
    for name in leaves():
        node = config
        for part in name.split("."):
            node = getattr(node, part)
        found[name] = node
    return found


def from_values(named: dict[str, Any]) -> Config:
    """A configuration from dotted names; leaves that are not named keep their defaults.

    Raises:
        UsageError: a value is not allowed.
    """
    sections: dict[str, dict[str, Any]] = {}
    top: dict[str, Any] = {}
    for name, value in named.items():
        section, _, leaf = name.rpartition(".")
        (sections.setdefault(section, {}) if section else top)[leaf] = value
    types_of = {field.name: field.type for field in dataclasses.fields(Config)}
    return Config(**top, **{name: types_of[name](**leaf) for name, leaf in sections.items()})


def replace(config: Config, **dotted: Any) -> Config:
    """A copy with other values; dots in names are written as two underscores (`train__epochs=2`)."""
    return from_values(values(config) | {name.replace("__", "."): value for name, value in dotted.items()})


def differences(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Name -> (old, new) of the leaves that differ and may not differ on an existing run."""
    before, after = values(old), values(new)
    return {
        name: (before[name], after[name])
        for name, field in leaves().items()
        if not field.metadata["free"] and before[name] != after[name]
    }
