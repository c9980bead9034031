"""What every method of balancing is: options, declared state, and pure functions of tensors.

K tasks; `present` says of which tasks the global batch of this step has labels. Tasks that are absent take no part in
anything: their weights are 0 and their state stays as it is. State is a dict of tensors; a function that moves it
returns a new one, so that a step that is not applied keeps the old.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from mtl_tf.errors import UsageError, did_you_mean
from mtl_tf.options import Section
from mtl_tf.registry import Registry

# Other names of options: the symbols of the formulas.
_SYMBOLS = {"T": "temperature", "z": "reference", "b": "base", "lambda": "lam", "step_size": "eta"}
_SYMBOLS |= {"rate": "inner_rate"}
FLOAT32 = float(np.finfo(np.float32).eps)


@dataclasses.dataclass(frozen=True)
class Slot:
    """An array of state.

    Attributes:
        shape: its sides; K is the number of tasks.
        initial: all its elements in the beginning.
        dtype: its type; `aggregate` and `scalarize` keep float64 where it says float32.
        like_rows: whether it is a list of arrays shaped as the rows [K, ...] of each variable; `shape` is not used.
    """

    shape: tuple[int, ...] = ()
    initial: float = 0.0
    dtype: str = "float32"
    like_rows: bool = False


class Method:
    """A method with its options.

    Args:
        count: of the tasks, K; None = not known yet, which does for looking at what the method is.
        options: an instance of its `Options`; None = their defaults.

    Attributes:
        name: of a method from outside, for `mtl_tf.register`; built-in ones have theirs in the tables.
        Options: its options; one that other methods have too is of the same type.
        REQUIRED: what every method has of its own.
    """

    REQUIRED: ClassVar[tuple[str, ...]] = ("weights",)

    name: ClassVar[str] = ""

    @dataclasses.dataclass(frozen=True)
    class Options(Section):
        """None."""

    def __init__(self, count: int | None, options: Section | None = None):
        self.count, self.options = count, options or self.Options()

    @property
    def state(self) -> dict[str, Slot]:
        """What it remembers from step to step, by name."""
        return {}

    def draws(self, seed, shapes=()):
        """The random numbers of a step; the same seed gives the same on every replica.

        Args:
            seed: int32 [2].
            shapes: of the shared variables.
        """
        return None


class Scalarizer(Method):
    """Gives the weight of every loss.

    Args:
        count, options: see `Method`.
        rate: learning rate of the weights; None = that of the class.

    Attributes:
        rate: learning rate of the weights, as published; 0 = they are not learned by steps.
        needs_losses: the weights depend on the losses of this step.
        needs_norms: `update` needs the norms of the rows.
        needs_after: `update` needs the losses of the same batch after the step.
        needs_meta: `update` needs the gradient of the weights.
        positive: its losses must not be negative.
        scaling: what `balance.scale=mean` makes of its weights a, p being the fixed weights of the tasks: "each", p_k
            a_k brought to the number of tasks; "total", their sum is that of p; "" as they are.
    """

    needs_losses: ClassVar[bool] = False
    needs_norms: ClassVar[bool] = False
    needs_after: ClassVar[bool] = False
    needs_meta: ClassVar[bool] = False
    positive: ClassVar[bool] = False
    scaling: ClassVar[str] = ""
    rate: float = 0.0

    def __init__(self, count: int | None, options: Section | None = None, rate: float | None = None):
        super().__init__(count, options)
        self.rate = type(self).rate if rate is None else rate

    @property
    def floor(self) -> float | None:
        """What every loss has to be at least; None = any."""
        return 0.0 if self.positive else None

    def weights(self, state, losses, present, share, draws=None):
        """The weights of the losses, on the method's own scale; no gradient flows through them.

        Args:
            state: by the names of `state`.
            losses: of the global batch, float [K].
            present: bool [K].
            share: the preference, of sum 1 over the present tasks, [K].
            draws: what `draws` gave.

        Returns:
            [K], of the type of the losses; what stands for absent tasks is without meaning.
        """
        raise NotImplementedError

    def update(self, state, losses, present, norms=None, losses_after=None, meta=None) -> dict:
        """The state after a step that was applied.

        Args:
            state, losses, present: see `weights`.
            norms: of the rows of the raw losses, [K].
            losses_after: of the same batch after the step, [K].
            meta: of auto_lambda, its gradient [K].
        """
        return state

    def epoch_end(self, state) -> dict:
        """The state after an epoch."""
        return state


class Aggregator(Method):
    """Gives the weight of every row of the Jacobian, or the direction itself.

    Args:
        count, options: see `Method`.
        epsilon: the rounding error of the rows, relative; what an eigenvalue below it says is noise.

    Attributes:
        input: "gramian" or "rows": what has to be at hand; a feature-level Gramian does for all of the former.
        batches: 1, or 2: the Gramian is that of two independent batches, J1 J2'.
        needs_losses: `track` or `weights` need the losses of this step.
        prefers: whether the preference enters.
        smooths: whether `smooth` may average its weights.
        specific: what the parameters that one task alone has do by default: "unweighted", "weighted" by its weights, or
            "log": the gradient of the logarithm of the loss.
    """

    input: str = "gramian"
    batches: ClassVar[int] = 1
    needs_losses: bool = False
    prefers: ClassVar[bool] = False
    smooths: ClassVar[bool] = False
    specific: ClassVar[str] = "unweighted"

    def __init__(self, count: int | None, options: Section | None = None, epsilon: float = FLOAT32):
        super().__init__(count, options)
        self.epsilon = epsilon

    def factor(self, number):
        """The length of the direction, over that of the rows, where all are the same; None where it has no scale.

        Args:
            number: of the tasks that take part, a scalar.
        """
        return 1.0

    def track(self, state, rows, active, losses):
        """What takes the place of the rows, and the new state.

        Args:
            state: see `Scalarizer.weights`.
            rows: a list of [K, ...], one of each shared variable.
            active: which tasks take part, bool [K].
            losses: [K].
        """
        return rows, state

    def weights(self, state, gramian, active, share, draws=None, losses=None):
        """The weights of the rows (of the tracked ones where they are tracked), and the new state.

        Args:
            state: see `Scalarizer.weights`.
            gramian: inner products of the rows, float64 [K, K]; 0 where a task does not take part.
            active: which tasks take part: present, and with a gradient that is not zero, bool [K].
            share: the preference, float64 [K]; 0 where a task does not take part.
            draws: what `draws` gave.
            losses: float64 [K].

        Returns:
            float64 [K], on the method's own scale, and a dict.
        """
        raise NotImplementedError


class DirectionAggregator(Aggregator):
    """One whose direction is no weighted sum of the rows."""

    REQUIRED = ("direction",)
    input = "rows"

    def direction(self, rows, active, draws):
        """The direction.

        Args:
            rows: a list of [K, ...], 0 where a task does not take part.
            active: bool [K].
            draws: what `draws` gave.

        Returns:
            A list of [...], one of each variable.
        """
        raise NotImplementedError


def made(table: Registry, name: str, count: int | None, options: dict, **others) -> Method:
    """A method by name.

    Args:
        table: SCALARIZERS or AGGREGATORS.
        name: of the method.
        count: of the tasks; None = not known yet.
        options: of the method, by name; the symbols of the formulas are taken too.
        others: more arguments of its class.

    Raises:
        UsageError: there is no such method, it has no such option, or a value is none for it.
    """
    if name not in table:
        known = f"there are {', '.join(table)}"
        raise UsageError(f"no {table.what} is called {name!r}; {did_you_mean(str(name), table, known)}")
    kind = table[name]
    known = [field.name for field in dataclasses.fields(kind.Options)]
    symbols = {symbol: meant for symbol, meant in _SYMBOLS.items() if symbol not in known and meant in known}
    options = {symbols.get(key, key): value for key, value in options.items()}
    for option in options:
        if option not in known:
            has = f"its options are {', '.join(known)}" if known else "it has no options"
            raise UsageError(f"{name} takes no option {option!r}; {did_you_mean(option, known, has)}")
    try:
        return kind(count, kind.Options(**options), **others)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None


def initial(slots: dict[str, Slot], shapes=(), floats: str = "float32") -> dict:
    """The state in the beginning, of NumPy arrays.

    Args:
        slots: the state of a method.
        shapes: of the shared variables, for slots that are like rows: [K, ...] of each.
        floats: the type of what is declared float32.
    """

    def filled(slot, shape):
        return np.full(shape, slot.initial, floats if slot.dtype == "float32" else slot.dtype)

    return {
        name: [filled(slot, shape) for shape in shapes] if slot.like_rows else filled(slot, slot.shape)
        for name, slot in slots.items()
    }
