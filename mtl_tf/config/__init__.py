"""The configuration: a tree of frozen dataclasses, and the only list of options there is.

Every leaf carries its help text, the values it may take and whether it may change on an existing run; the command
line (`flags.py`), `--helpshort` and `run.flags` are all derived from it.
"""

import copy
import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

from mtl_tf.config.balance import BalanceConfig
from mtl_tf.config.data import DATA_SETS, AugmentConfig, DataConfig
from mtl_tf.config.kinds import OfArchitectures, OfKinds, Open, registered
from mtl_tf.config.network import ENCODERS, ModelConfig
from mtl_tf.config.training import LogConfig, LossConfig, OptimConfig, TrainConfig
from mtl_tf.errors import UsageError, did_you_mean
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.options import Entry, Section, coerce, format_value, merged, option

__all__ = [
    "DATA_SETS",
    "ENCODERS",
    "AugmentConfig",
    "BalanceConfig",
    "Config",
    "DataConfig",
    "LogConfig",
    "LossConfig",
    "ModelConfig",
    "OptimConfig",
    "TrainConfig",
    "built",
    "by_option",
    "changed",
    "differences",
    "field_of",
    "from_values",
    "leaf_of",
    "leaves",
    "replace",
    "value_of",
    "values",
]

# The commands that take everything else from the run's run.flags.
OF_A_RUN = ("evaluate", "predict", "export", "report")
# What they may choose otherwise than the run did, besides free options; scores state it.
CHOSEN_AGAIN = ("data.limit",)

# What options were called before.
OLD_NAMES = {
    "loss.semseg_weight": "loss.weights.semseg",
    "loss.depth_weight": "loss.weights.depth",
    "loss.depth": "task.depth.loss",
    "loss.depth_space": "task.depth.space",
}


@dataclasses.dataclass(frozen=True)
class Config(Section):
    """Everything that a command can be told."""

    run_dir: str = option("", "Run directory: all that a run writes.", free=True)
    plugin: tuple[str, ...] = option(
        (),
        "Python files that add kinds of tasks, architectures, encoders or data sets (docs/extending.md); each is run.",
        free=True,
        before=(),
    )
    seed: int = option(0, "Seed of weights, order and augmentation.", minimum=0)
    tasks: tuple[str, ...] = option(
        (),
        "Tasks to train, with commas, by their names in the data set; empty = of semseg and depth those that the "
        "training data have labels of.",
    )
    input: str = option(
        "", "A picture, a folder or a glob to predict; empty = the whole --data.split.", free=True, of=("predict",)
    )
    output: str = option(
        "",
        "Where to write; empty = inside the run directory. encoders: a Markdown file.",
        free=True,
        of=("predict", "export", "encoders"),
    )
    scale: str = option(
        "fit",
        "Bring a picture to data.image_size as the training did (data.fit), or take it as it is.",
        choices=("fit", "native"),
        free=True,
        of=("predict", "export"),
    )
    weights: str = option(
        "best",
        "The best weights, or the best averaged ones (train.average).",
        choices=("best", "averaged"),
        free=True,
        of=OF_A_RUN,
    )
    precision: str = option(
        "float32",
        "Arithmetic of the answers, whatever the network was trained in.",
        choices=("float32", "mixed_bfloat16"),
        free=True,
        of=OF_A_RUN,
    )
    baseline: bool = option(False, "Also score the position baseline.", free=True, of=("evaluate",))
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    arch: OfArchitectures = dataclasses.field(default_factory=OfArchitectures)
    loss: LossConfig = LossConfig()
    task: OfKinds = dataclasses.field(default_factory=OfKinds)
    balance: BalanceConfig = dataclasses.field(default_factory=BalanceConfig)
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    log: LogConfig = LogConfig()

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "plugin", tuple(dict.fromkeys(map(os.path.abspath, self.plugin))))
        if len(set(self.tasks)) != len(self.tasks):
            raise UsageError(f"tasks={format_value(self.tasks)} names a task twice; name each task once")
        if ARCHITECTURES[self.model.architecture].exchanges and len(self.tasks) == 1:
            raise UsageError(
                f"model.architecture={self.model.architecture} exchanges features between tasks and needs at least "
                f"two; tasks={format_value(self.tasks)}: use joint or branched"
            )
        if self.augment.cutmix + self.augment.classmix and self.train.batch_size < 2:
            raise UsageError(
                "augment.cutmix and augment.classmix paste from another sample of the batch, but "
                f"train.batch_size={self.train.batch_size}; make it 2 or more"
            )
        self.balance.check(self.tasks, self.train, self.model)

        for name in self.arch.changed:
            if name != self.model.architecture:
                raise UsageError(
                    f"arch.{name}.* are options of {name}, but model.architecture={self.model.architecture}; leave "
                    "them out, or choose it"
                )

    @property
    def arch_options(self) -> Section | None:
        """The options of the architecture; None = it has none."""
        return self.arch.get(self.model.architecture)


def leaves(config: Any = Config, prefix: str = "") -> dict[str, dataclasses.Field]:
    """Dotted name -> field of every leaf below a section (class or instance), in the order they are declared."""
    found = {}
    for field in dataclasses.fields(config):
        name = prefix + field.name
        if "help" in field.metadata:
            found[name] = field
        else:
            for part, section in _sections(field).items():
                found |= leaves(section, prefix + part)
    return found


def _sections(field):
    """Prefix -> section of a branch of the tree: itself, or each of its parts, of which one may have no name."""
    if not issubclass(field.type, Open):
        return {f"{field.name}.": field.type}
    return {f"{field.name}.{part}." if part else "": section for part, section in field.type.sections().items()}


def leaf_of(name: str) -> tuple[str, str]:
    """The leaf that a name means, of today or from before, and which entry of it ("" = all of it)."""
    name = OLD_NAMES.get(name, name)
    leaf, _, entry = name.rpartition(".")
    return (leaf, entry) if leaf in _with_entries(registered()) else (name, "")


@functools.cache
def _with_entries(names):
    del names  # there are others after each plugin
    return {name for name, field in leaves().items() if field.type == tuple[Entry, ...]}


def field_of(name: str) -> dataclasses.Field:
    """The field of an option by any of its names, of one entry too: a number then. It has that name, for messages.

    Raises:
        UsageError: there is no such option; with a hint.
    """
    leaf, entry = leaf_of(name)
    known = leaves()
    if leaf not in known:
        hint = did_you_mean(name, known) or "main.py train --helpshort lists the options"
        raise UsageError(f"unknown option {name!r}; {hint}")
    field = copy.copy(known[leaf])
    if entry:
        field = option(0.0, field.metadata["help"], minimum=field.metadata["minimum"])
        field.type = float
    field.name = name
    return field


def by_option(content: Mapping[str, Any], tables: bool = False, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The options of a TOML table with what it says of each: "optim.name", optim.name and [optim] name are the same.

    Args:
        content: the table.
        tables: whether a table may be said of an option; else one of an option with entries names these.
        prefix: of its names.

    Raises:
        UsageError: there is no such option; with a hint.
    """
    known = leaves()
    for key, said in content.items():
        name = prefix + key
        entries = not tables and name in known and known[name].type == tuple[Entry, ...]
        if isinstance(said, dict) and (entries or any(option.startswith(f"{name}.") for option in known)):
            yield from by_option(said, tables, f"{name}.")
        else:
            field_of(name)
            yield name, said


def values(config: Config) -> dict[str, Any]:
    """Dotted name -> value of every leaf."""
    return dict(_values(config, ""))


def _values(section, prefix):
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if "help" in field.metadata:
            yield prefix + field.name, value
            continue
        parts = value.values() if isinstance(value, Open) else (value,)
        for part, each in zip(_sections(field), parts, strict=True):
            yield from _values(each, prefix + part)


def value_of(config: Config, name: str) -> Any:
    """The value of an option by any of its names; of an entry that is not there, None."""
    leaf, entry = leaf_of(name)
    value = values(config)[leaf]
    return dict(value).get(entry) if entry else value


def changed(named: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values by the names of leaves, with changes: by any of their names, of an option with entries those named.

    Raises:
        UsageError: an entry is not as expected.
    """
    found = dict(named)
    for name, value in changes.items():
        leaf, entry = leaf_of(name)
        if leaf in _with_entries(registered()):
            value = (Entry(entry, coerce(field_of(name), value)),) if entry else coerce(field_of(leaf), value)
            value = merged(found.get(leaf, ()), value)
        found[leaf] = value
    return found


def from_values(named: Mapping[str, Any]) -> Config:
    """A configuration from dotted names; leaves that are not named keep their defaults.

    Raises:
        UsageError: a value is not allowed.
    """
    named = changed({}, named)
    for name in named.keys() - leaves().keys():
        field_of(name)  # which says what is wrong
    return built(Config, named)


def built(kind: type[Section], named: Mapping[str, Any]) -> Any:
    """A section from the values of the leaves below it, by their dotted names; others have their defaults."""
    found = {}
    for field in dataclasses.fields(kind):
        if "help" in field.metadata:
            found |= {field.name: named[field.name]} if field.name in named else {}
            continue
        below = {}
        for prefix, section in _sections(field).items():
            values = {leaf: named[prefix + leaf] for leaf in leaves(section) if prefix + leaf in named}
            if values:
                below[prefix] = built(section, values)
        if issubclass(field.type, Open):
            parts = zip(_sections(field), field.type.sections(), strict=True)
            found[field.name] = field.type({part: below[prefix] for prefix, part in parts if prefix in below})
        elif below:
            (found[field.name],) = below.values()
    return kind(**found)


def replace(config: Config, **dotted: Any) -> Config:
    """A copy with other values; dots in names are written as two underscores (`train__epochs=2`)."""
    changes = {name.replace("__", "."): value for name, value in dotted.items()}
    return from_values(changed(values(config), changes))


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
