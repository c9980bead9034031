"""The configuration: a tree of frozen dataclasses, and the only list of options there is.

Every leaf carries its help text, the values it may take and whether it may change on an existing run; the command
line (`flags.py`), `--helpshort` and `run.flags` are all derived from it.
"""

import dataclasses
from typing import Any

from mtl_tf.config.data import DATA_SETS, AugmentConfig, DataConfig
from mtl_tf.config.network import ENCODERS, ModelConfig
from mtl_tf.config.training import LogConfig, LossConfig, OptimConfig, TrainConfig
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, format_value, option

__all__ = [
    "DATA_SETS",
    "ENCODERS",
    "TASKS",
    "AugmentConfig",
    "Config",
    "DataConfig",
    "LogConfig",
    "LossConfig",
    "ModelConfig",
    "OptimConfig",
    "TrainConfig",
    "differences",
    "from_values",
    "leaves",
    "replace",
    "values",
]

TASKS = ("semseg", "depth")


@dataclasses.dataclass(frozen=True)
class Config(Section):
    """Everything that a command can be told."""

    run_dir: str = option("", "Run directory: all that a run writes.", free=True)
    seed: int = option(0, "Seed of weights, order and augmentation.", minimum=0)
    tasks: tuple[str, ...] = option(
        (),
        "Tasks to train, of semseg and depth; empty = those that the training data have labels of.",
        choices=TASKS,
        lengths=(0, 1, 2),
    )
    input: str = option("", "predict: a picture, a folder or a glob; empty = the whole --data.split.", free=True)
    output: str = option(
        "", "predict, export: where to write, empty = inside the run directory; encoders: a Markdown file.", free=True
    )
    scale: str = option(
        "fit",
        "predict: bring a picture to data.image_size as the training did (data.fit), or take it as it is.",
        choices=("fit", "native"),
        free=True,
    )
    weights: str = option(
        "best",
        "evaluate, predict, export, report: the best weights, or the best averaged ones (train.average).",
        choices=("best", "averaged"),
        free=True,
    )
    precision: str = option(
        "float32",
        "evaluate, predict, export, report: arithmetic of the answers, whatever the network was trained in.",
        choices=("float32", "mixed_bfloat16"),
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
        if self.tasks:
            self._check_tasks()
        if self.augment.cutmix + self.augment.classmix and self.train.batch_size < 2:
            raise UsageError(
                "augment.cutmix and augment.classmix paste from another sample of the batch, but "
                f"train.batch_size={self.train.batch_size}; make it 2 or more"
            )

    def _check_tasks(self):
        if self.augment.classmix and "semseg" not in self.tasks:
            raise UsageError(
                f"augment.classmix={self.augment.classmix} pastes by class and needs semseg labels, but "
                f"tasks={format_value(self.tasks)}: add semseg, or use augment.cutmix"
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


# An existing run may be evaluated with others of these, but not continued: its epochs would not compare.
OF_EVALUATION = ("data.eigen_crop",)


def differences(old: Config, new: Config, training: bool = False) -> dict[str, tuple[Any, Any]]:
    """Name -> (old, new) of the leaves that differ and may not differ on an existing run.

    Args:
        old, new: the configurations.
        training: whether the run is to be continued; else it is evaluated.
    """
    before, after = values(old), values(new)
    return {
        name: (before[name], after[name])
        for name, field in leaves().items()
        if before[name] != after[name] and (not field.metadata["free"] or (training and name in OF_EVALUATION))
    }
