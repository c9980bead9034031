"""A file may hold several sets of weights: trained ones, their averages, a teacher's; one set is taken.

Sets are told by the names of PyTorch: what stands before the first convolution of a residual encoder is the name of a
set ("state_dict_ema.", "student.backbone."). Wrappers are taken off, also where only some names have them.
"""

import dataclasses
import re
from collections.abc import Callable

from mtl_tf.models.weights.tensors import Tensor, UnreadableError

# Wrappers that stand anywhere in a name and say nothing about the network.
_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_forward_module", "_checkpoint_wrapped_module")
_ENCODERS = ("backbone.", "encoder.")
_OUTER = re.compile(r"(?:(?:model|net|network|backbone|encoder)\.)*")
_AVERAGED = re.compile(r"(?:^|[._])(?:ema|swa|avg|averaged?|shadow|teacher|momentum)(?:[._]|$)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class WeightSet:
    """The set that is taken.

    Attributes:
        tensors: by the names in the set, without wrappers.
        encoder: what stands before the encoder's names: "", "backbone." or "encoder.".
        beside: names of tensors that belong to no set.
        said: which set it is of which; empty where the file holds one set that is not called an average.
    """

    tensors: dict[str, Tensor]
    encoder: str
    beside: list[str]
    said: str


def choose(
    tensors: dict[str, Tensor], first: str, belongs: Callable[[str, bool], bool], key: str = ""
) -> WeightSet | None:
    """Takes one set of weights out of a file.

    Args:
        tensors: by the names in the file.
        first: a name that every encoder has.
        belongs: whether a name without wrappers is one of the encoder's; the second argument says that no decoder
            stands beside the encoder, as in a classifier.
        key: the set to take: its name, or the start of that; by default the shortest that is not called an average.

    Returns:
        The set, or None where the file holds no encoder.

    Raises:
        UnreadableError: there is no such set, or names differ in their wrappers only.
    """
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if named.setdefault(_unwrapped(name), tensor) is not tensor:
            raise UnreadableError(f"holds {_unwrapped(name)} twice, once within a wrapper; keep one of the two")
    starts = [name.removesuffix(first) for name in named if name == first or name.endswith(f".{first}")]
    if not starts:
        return None
    wanted = [start for start in starts if not key or start.startswith(f"{_unwrapped(key)}.")]
    if not wanted:
        raise UnreadableError(f"holds no encoder under --model.weights_key={key}; it holds {_listed(starts)}")
    start = min(wanted, key=_unusual)
    root = _root(start)
    ordered = [start, *(other for other in starts if other != start)]
    owners = {name: _owner(name, ordered) for name in named}
    own = {name.removeprefix(root) for name, owner in owners.items() if owner == start}
    prefix, found, beside = start.removeprefix(root), {}, []
    for name, owner in owners.items():
        short = name.removeprefix(root)
        bare = prefix + _OUTER.sub("", short, count=1)
        if owner == start and (short.startswith(prefix) and belongs(short.removeprefix(prefix), not prefix)):
            found[short] = named[name]
        elif owner in (start, None) and bare not in own and belongs(bare.removeprefix(prefix), not prefix):
            found[bare] = named[name]  # a wrapper that the other names have not, or lack
        elif owner == start:
            found[short] = named[name]
        elif owner is None:
            beside.append(name)
    return WeightSet(found, prefix, beside, _said(start, starts))


def _unwrapped(name):
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _root(start):
    """What stands before the names of a whole network, decoder included."""
    return next((start.removesuffix(encoder) for encoder in _ENCODERS if f".{start}".endswith(f".{encoder}")), start)


def _unusual(start):
    return bool(_AVERAGED.search(start)), len(start)


def _owner(name, starts):
    """The set that a name belongs to; None where it stands outside of all."""
    within = [start for start in starts if name.startswith(start)]
    if within:
        return max(within, key=len)
    return max((start for start in starts if name.startswith(_root(start))), key=lambda s: len(_root(s)), default=None)


def _said(start, starts):
    others = [other for other in starts if other != start]
    if others:
        return (
            f"of several sets of weights in it, {_name(start)} is taken, not {_listed(others)} "
            "(--model.weights_key=NAME takes another)"
        )
    return f"its only weights, {_name(start)}, are averages" if _AVERAGED.search(start) else ""


def _name(start):
    return start.removesuffix(".") or "the one without a prefix"


def _listed(starts):
    return ", ".join(_name(start) for start in starts[:6]) + (", ..." if len(starts) > 6 else "")
