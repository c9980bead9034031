"""A tensor in a file that is open: its shape at once, its numbers when they are asked for."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np


class UnreadableError(Exception):
    """A file is no weight file, is damaged or asks for what is not allowed: the text follows its name ("is empty")."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor that a file says it holds.

    What a file claims is checked against the network before anything is read, so that memory is bounded by the network.

    Attributes:
        shape: as in the file.
        read: gives the numbers; raises UnreadableError.
    """

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]

    def permuted(self, axes: tuple[int, ...]) -> "Tensor":
        """The tensor with its axes in another order."""
        return Tensor(tuple(self.shape[axis] for axis in axes), lambda: np.transpose(self.read(), axes))


def numbers(name: str, tensor: Tensor) -> np.ndarray:
    """The float32 numbers of a tensor, all of them finite.

    Raises:
        UnreadableError: they cannot be read, are no real numbers or not finite.
    """
    values = tensor.read()
    if values.dtype.name not in ("float32", "float64", "float16", "bfloat16"):
        raise UnreadableError(
            f"holds {name} as {values.dtype.name}; weights must be floating-point numbers: take another file"
        )
    with np.errstate(over="ignore"):
        values = np.asarray(values, np.float32)
    if values.shape != tensor.shape or not np.isfinite(values).all():
        raise UnreadableError(
            f"holds values in {name} that are not finite; it is damaged, or of a diverged run: take another"
        )
    return values


@contextlib.contextmanager
def damage(kind: str, *errors: type[Exception]) -> Iterator[None]:
    """Turns what a library raises on a damaged file into an UnreadableError."""
    try:
        yield
    except errors as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UnreadableError(f"is a damaged or cut off {kind} ({reason}); copy or download it again") from None
