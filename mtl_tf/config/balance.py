"""Options of balancing: how much each task's loss and gradient counts in a step."""

import dataclasses

from mtl_tf.balancing import AGGREGATORS, SCALARIZERS
from mtl_tf.balancing.balance import SCALES, Balance
from mtl_tf.balancing.methods import Aggregator, Method
from mtl_tf.config.kinds import OfMethods, methods
from mtl_tf.config.network import ModelConfig
from mtl_tf.config.training import TrainConfig
from mtl_tf.errors import UsageError, said_of
from mtl_tf.options import Entry, Section, format_value, option


@dataclasses.dataclass(frozen=True)
class BalanceConfig(Section):
    """How the tasks are balanced; docs/balancing.md describes the methods. Beside these stand the methods' options."""

    scalarizer: str = option("fixed", "What weighs the losses.", choices=SCALARIZERS, before="fixed")
    aggregator: str = option(
        "none",
        "What combines the gradients of the shared parameters; none = their weighted sum, by one backward pass.",
        choices=AGGREGATORS,
        before="none",
    )
    source: str = option(
        "parameters",
        "aggregator: gradients by the shared parameters, or by the shared features, which is cheaper.",
        choices=("parameters", "features"),
        before="parameters",
    )
    specific: str = option(
        "auto",
        "aggregator: whether a task's own parameters are moved by its loss as the scalarizer weighs it, or by that "
        "times the aggregator's weight; auto = as the method's authors do.",
        choices=("auto", "unweighted", "weighted"),
        before="auto",
    )
    scale: str = option(
        "mean",
        "Length of the direction: that of the weighted sum where all gradients are the same, so that a learning rate "
        "stays usable, or the authors' own.",
        choices=SCALES,
        before="mean",
    )
    preference: tuple[Entry, ...] = option(
        (),
        "aggregator: how much each task counts, TASK:NUMBER with commas, in any unit; empty = as loss.weights.",
        minimum=0.0,
        before=(),
    )
    every: int = option(
        1, "aggregator: steps from one computation of its weights to the next; between, they stay.", minimum=1, before=1
    )
    groups: str = option(
        "all",
        "aggregator: one weight a task for all shared parameters, or one for each layer.",
        choices=("all", "layer"),
        before="all",
    )
    smooth: float = option(
        0.0,
        "aggregator: how much of the average of its weights is kept in a step, below 1; 0 = no average.",
        minimum=0.0,
        maximum=0.999999,
        before=0.0,
    )
    rate: float = option(
        0.0,
        "scalarizer: learning rate of weights that are learned; 0 = the method's own (0.025; auto_lambda 0.0001).",
        minimum=0.0,
        before=0.0,
    )
    options: OfMethods = dataclasses.field(default_factory=OfMethods)

    @property
    def balances(self) -> bool:
        """Whether anything is other than fixed weights."""
        return (self.scalarizer, self.aggregator) != ("fixed", "none")

    def made(self, count: int | None = None, preference: tuple[float, ...] | None = None) -> Balance:
        """The methods together.

        Args:
            count: of the tasks; None = not known yet.
            preference: the fixed weight of each task.

        Raises:
            UsageError: they do not go together, or an option is none for them.
        """
        with said_of("balance"):
            return Balance(
                count,
                self.scalarizer,
                self.aggregator,
                scalarizer_options=self._of(SCALARIZERS[self.scalarizer]),
                aggregator_options=self._of(AGGREGATORS[self.aggregator]),
                preference=preference,
                scale=self.scale,
                smooth=self.smooth,
                rate=self.rate or None,
            )

    def specific_of(self, aggregator: Aggregator) -> str:
        """`specific` as it is meant: unweighted, weighted or, of auto, also log (see `Aggregator.specific`)."""
        return aggregator.specific if self.specific == "auto" else self.specific

    def check(self, tasks: tuple[str, ...], train: TrainConfig, model: ModelConfig) -> None:
        """Raises a UsageError where options do not go together, as far as that is known before the data are.

        Args:
            tasks: names of those that are trained; () = not known yet.
            train: the options of training.
            model: those of the network.
        """
        self._check_options()
        aggregator = self.made().aggregator
        self._check_preference(aggregator, tasks)
        self._check_aggregator_options(aggregator)
        self._check_halves(aggregator, train)
        self._check_passes(train, model)

    def _of(self, method: type[Method]):
        """The options of a method that are set."""
        return {name: value for name, value in self._set().items() if name in _names(method)}

    def _set(self):
        found = self.options[""]
        values = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
        return {name: value for name, value in values.items() if value is not None}

    def _check_options(self):
        chosen = (self.scalarizer, self.aggregator)
        for name, value in self._set().items():
            having = [method for method, kind in methods() if name in _names(kind)]
            found = [method for method in chosen if method in having]
            if not found:
                raise UsageError(
                    f"balance.{name}={format_value(value)} is an option of {', '.join(having)}, but "
                    f"balance.scalarizer={chosen[0]} and balance.aggregator={chosen[1]}; leave it out, or choose "
                    "such a method"
                )
            if len(found) == 2:
                raise UsageError(
                    f"balance.{name}={format_value(value)} could be meant for {found[0]} or for {found[1]}, which are "
                    "both chosen; leave it out, so that each has its default, or give one to mtl_tf.balancing.Balance"
                )

    def _check_preference(self, aggregator, tasks):
        if not self.preference:
            return
        given = f"balance.preference={format_value(self.preference)}"
        if not aggregator.prefers:
            able = ", ".join(name for name, kind in AGGREGATORS.items() if kind.prefers)
            raise UsageError(
                f"{given} does not enter balance.aggregator={self.aggregator}; weigh the losses (loss.weights), or "
                f"choose {able}"
            )
        for entry in self.preference:
            if tasks and entry.name not in tasks:
                raise UsageError(
                    f"{given} names {entry.name}, which is not trained; the tasks are {', '.join(tasks)}: leave it "
                    "out, or correct its name"
                )
        if not any(entry.value for entry in self.preference):
            raise UsageError(f"{given} is 0 for all tasks; give one of them a number above 0")

    def _check_aggregator_options(self, aggregator):
        """Raises a UsageError where there is nothing that they could act on."""
        default = {field.name: field.default for field in dataclasses.fields(self)}
        for name in ("source", "specific", "every", "groups"):
            if getattr(self, name) == default[name]:
                continue
            given = f"balance.{name}={getattr(self, name)}"
            repair = f"leave it at {default[name]}, or choose another balance.aggregator"
            if self.aggregator == "none":
                raise UsageError(f"{given} is of the aggregator, and balance.aggregator=none has no weights; {repair}")
            if name != "specific" and (aggregator.input == "rows" or aggregator.batches == 2):
                needs = "the rows themselves" if aggregator.input == "rows" else "two halves of each batch"
                raise UsageError(
                    f"{given} needs weights of a Gramian alone, but {self.aggregator} needs {needs}; {repair}"
                )
        if self.groups == "layer" and self.every > 1:
            raise UsageError(
                f"balance.groups=layer and balance.every={self.every}: between, one backward pass has one weight a "
                "task; set one back"
            )
        if self.groups == "layer" and self.source == "features":
            raise UsageError("balance.groups=layer and balance.source=features: features are of no layer; set one back")
        if self.groups == "layer" and self.specific_of(aggregator) == "weighted":
            raise UsageError(
                f"balance.groups=layer gives a task a weight for each layer, and balance.specific={self.specific} "
                f"({self.aggregator}: weighted) needs one; set balance.specific=unweighted"
            )

    def _check_passes(self, train, model):
        """Raises a UsageError where the gradients cannot be had as they are asked for."""
        scalarizer = SCALARIZERS[self.scalarizer]
        if self.source == "features" and (scalarizer.needs_norms or scalarizer.needs_meta):
            raise UsageError(
                f"balance.scalarizer={self.scalarizer} needs gradients by parameters, but balance.source=features has "
                "none of single tasks; set balance.source=parameters"
            )
        if self.source == "features" and train.xla:
            raise UsageError(
                "balance.source=features has weights found between two passes, which cannot be compiled by train.xla; "
                "leave one of them out"
            )
        if scalarizer.needs_meta and model.recompute:
            raise UsageError(
                f"balance.scalarizer={self.scalarizer} needs gradients at other weights than the network's, which "
                "model.recompute does not give; leave one of them out"
            )

    def _check_halves(self, aggregator, train):
        if aggregator.batches == 1:
            return
        if train.batch_size == 1:
            raise UsageError(
                f"balance.aggregator={self.aggregator} compares the halves of a batch, but train.batch_size=1; make it "
                "2 or more"
            )
        if train.accumulate > 1 and train.accumulate % 2:
            raise UsageError(
                f"balance.aggregator={self.aggregator} compares the halves of a batch, but train.accumulate="
                f"{train.accumulate} parts make no halves; make it even, or 1"
            )


# What an option of a method may be; a list is written with commas.
_TYPES = (bool, int, float, str, tuple[int, ...], tuple[float, ...], tuple[str, ...])


def check_options(method: type[Method]) -> None:
    """Raises a UsageError where the options of a method from outside cannot stand beside all others of `balance`."""
    common = [field.name for field in dataclasses.fields(BalanceConfig)]
    others = {name: kind for name, kind in methods() if name != method.name}
    for field in dataclasses.fields(method.Options):
        whose = f"register: option {field.name} of {method.__name__}"
        if "help" not in field.metadata or field.type not in _TYPES:
            raise UsageError(
                f"{whose} should be NAME: TYPE = mtl_tf.option(...), of a TYPE such as float, bool or tuple[float, ...]"
            )
        if field.name in common:
            raise UsageError(f"{whose}: --balance.{field.name} is an option of all methods; give it another name")
        for name, other in others.items():
            for same in dataclasses.fields(other.Options):
                if same.name == field.name and same.type != field.type:
                    raise UsageError(
                        f"{whose} is of type {_type_name(field)}, but {name} has one of type {_type_name(same)} under "
                        "this name; take that type, or another name"
                    )


def _type_name(field):
    return getattr(field.type, "__name__", "") if isinstance(field.type, type) else str(field.type)


def _names(method):
    return {field.name for field in dataclasses.fields(method.Options)}
