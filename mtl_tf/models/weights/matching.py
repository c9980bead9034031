"""What of a file goes where: parts of the network are taken whole, start anew, or the file is refused."""

import dataclasses
import re

import keras

from mtl_tf.config import ModelConfig
from mtl_tf.errors import UsageError
from mtl_tf.models.encoder_layers import ADAPTER_NAME, EXCITATION_NAME, OWN, own_part
from mtl_tf.models.encoders import ENCODERS
from mtl_tf.models.projections import ADAPTER, merged_kernel
from mtl_tf.models.weights.kin import kin_of
from mtl_tf.models.weights.layouts import SHARED
from mtl_tf.models.weights.tensors import Tensor, numbers
from mtl_tf.models.weights.translation import Translation

ENCODER = ("encoder", *OWN)  # its parts


@dataclasses.dataclass
class Report:
    """What was taken from a file.

    Attributes:
        encoder: its name.
        source: the file, or "ImageNet".
        layout: whose names the file has.
        taken: part of the network -> number of tensors taken from the file.
        anew: part of the network -> number of tensors that keep their random start.
        unused: what of the file was not taken -> number of tensors.
        notes: what should be known.
    """

    encoder: str
    source: str
    layout: str
    taken: dict[str, int]
    anew: dict[str, int]
    unused: dict[str, int]
    notes: list[str]

    def took(self, path: str) -> bool:
        """Whether a variable was filled from the file."""
        part = part_of(path)
        return part not in self.anew if part in OWN else part in self.taken

    def __str__(self):
        others = {part: count for part, count in self.taken.items() if part != "encoder"}
        lines = [f"encoder weights: all {self.taken['encoder']} tensors of {self.encoder} from {self.source}"]
        if others:
            lines.append(f"also {_listed(others)}")
        anew = dict(self.anew)
        lines += [f"{anew.pop(part)} of {part} start anew" for part in OWN if part in anew]
        if anew:
            lines.append(f"start anew: {_listed(anew)}")
        if self.unused:
            lines.append(f"not taken from the file: {_listed(self.unused)}")
        return "; ".join(lines + self.notes)


def part_of(path: str) -> str:
    """The part of the network that a variable belongs to; its tensors make sense only together.

    What has no counterpart in any network here (its name is no path) counts as a part of the encoder, which it spoils.
    """
    pieces = path.split("/")
    if pieces[0] == "encoder" or len(pieces) < 3:
        return own_part(path) or "encoder"
    if pieces[1:2] == ["decoder"] and len(pieces) > 2:
        return "/".join([*pieces[:2], re.sub("_(conv|bn)$", "", pieces[2])])
    return "/".join(pieces[:-2])


def match(variables: list[keras.Variable], found: Translation, config: ModelConfig, option: str, source: str) -> Report:
    """Copies the tensors of a file into a network, or nothing.

    The encoder must fit whole. Every other part (an ASPP, a convolution of a decoder, a head) is taken if the file has
    it; heads of other classes start anew.

    Args:
        variables: those of the network that are to be filled.
        found: the file, in our names.
        config: what the network was built from.
        option: the option that named the file, e.g. "--model.encoder_weights=PATH".
        source: what the report calls it.

    Raises:
        UsageError: it does not fit; nothing was changed then.
    """
    ours = {variable.path: variable for variable in variables}
    theirs = _for_every_branch(_merged(found.tensors, ours), ours)
    shapes = {path: tuple(variable.shape) for path, variable in ours.items()}
    taken, anew, wrong, unused = {}, {}, [], dict(found.beside)
    for part in dict.fromkeys([*map(part_of, ours), *map(part_of, theirs)]):
        mine = [path for path in ours if part_of(path) == part]
        held = {path: tensor.shape for path, tensor in theirs.items() if part_of(path) == part}
        differing = _differences(part, {path: shapes[path] for path in mine}, held)
        if part == EXCITATION_NAME and held and not mine and not config.squeeze_excitation:
            raise UsageError(
                f"{option} is of an encoder with squeeze-and-excitation; "
                "turn --model.squeeze_excitation on, or use the weights of an encoder without"
            )
        if part in ENCODER:
            if held or part == "encoder":
                wrong += differing
                taken[part] = len(mine)
            else:
                anew[part] = len(mine)
        elif not mine:
            unused[part] = unused.get(part, 0) + len(held)
        elif not held or (differing and "/head" in part):
            anew[part] = len(mine)
            if held:
                unused[f"{part} (of another shape)"] = len(held)
        else:
            wrong += differing
            taken[part] = len(mine)
    if wrong:
        total = len({path for path in [*ours, *theirs] if part_of(path) in taken})
        raise UsageError("; ".join(filter(None, (_misfit(option, config, wrong, total, theirs), found.said))))
    # Everything is read before anything is changed.
    values = {path: numbers(path, theirs[path]) for path in ours if part_of(path) in taken}
    for path, value in values.items():
        ours[path].assign(value)
    taken["encoder"] = taken.get("encoder", 0) + sum(taken.pop(part, 0) for part in OWN)
    notes = [found.said, *found.notes] if found.said else found.notes
    return Report(config.encoder, source, found.layout, taken, anew, unused, notes)


def _merged(theirs: dict[str, Tensor], ours: dict[str, keras.Variable]) -> dict[str, Tensor]:
    """Puts low-rank adapters into the kernels that they adapt, where the network has none."""
    merged = {path: tensor for path, tensor in theirs.items() if part_of(path) != ADAPTER_NAME}
    adapters = {path.rpartition("/")[0] for path in theirs if path not in merged}
    if not adapters or any(part_of(path) == ADAPTER_NAME for path in ours):
        return theirs
    for name in adapters:
        kernel = f"{name.removesuffix(ADAPTER)}/kernel"
        down, up = (theirs.get(f"{name}/{factor}") for factor in ("down", "up"))
        if not down or not up or kernel not in theirs:
            return theirs  # which is refused
        merged[kernel] = _sum(theirs[kernel], down, up)
    return merged


def _sum(kernel, down, up):
    return Tensor(kernel.shape, lambda: merged_kernel(kernel.read(), down.read(), up.read()))


def _for_every_branch(theirs: dict[str, Tensor], ours: dict[str, keras.Variable]) -> dict[str, Tensor]:
    """Gives what a file holds for the one decoder of all tasks to the decoder of each, where each has its own."""
    branches = {path.partition("/")[0] for path in ours if "/aspp/" in path} - {SHARED}
    copied = {}
    for path, tensor in theirs.items():
        branch, _, rest = path.partition("/")
        for name in branches if branch == SHARED and branches else (branch,):
            copied[f"{name}/{rest}" if rest else name] = tensor
    return copied


def _differences(part, mine, held) -> list[str]:
    wrong = [f"{path} is not in the network" for path in held if path not in mine]
    for path, shape in mine.items():
        if path not in held:
            wrong.append(f"{path} is missing")
        elif held[path] != shape:
            wrong.append(f"{path} is {held[path]}, expected {shape}")
    return wrong


def _misfit(option, config, wrong, total, theirs):
    shown = "; ".join(wrong[:3]) + ("; ..." if len(wrong) > 3 else "")
    what, kin = f"--model.encoder={config.encoder}", kin_of({path: tensor.shape for path, tensor in theirs.items()})
    parts = {part_of(text.partition(" ")[0]) for text in wrong}
    if parts <= {*OWN} - {EXCITATION_NAME}:
        advice = "give the options of the encoder that it was built with, or take weights without these tensors"
    elif not parts & {*ENCODER}:
        what = "the network"
        advice = "give the options that it was built with, or take its encoder alone: --model.encoder_weights=PATH"
    elif kin is None or kin == config.encoder:
        advice = f"use the weights of {config.encoder}, or the encoder that the weights are of"
    elif kin in ENCODERS:
        advice = f"these are of {kin}: use --model.encoder={kin}, or the weights of {config.encoder}"
    else:
        advice = f"these seem to be of {kin}, which is no encoder here; use the weights of {config.encoder}"
    return f"{option} does not fit {what}: {len(wrong)} of {total} tensors differ ({shown}); {advice}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items())
