"""What is implausible in class maps: hints at label files that are read as something they are not."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from mtl_tf.storage.pixels import palette_of
from mtl_tf.storage.strange import LARGEST
from mtl_tf.tasks.classes import IGNORE, ClassLabels
from mtl_tf.tasks.reading.class_files import FILE_NAME, NUMBERS, number_table, read_labels, stored_numbers

MANY_CLASSES = 60
_ASK = f"tools/describe_dataset.py asks and writes {FILE_NAME}"


@dataclasses.dataclass(frozen=True)
class Palettes:
    """The palettes of some files; they add up.

    Attributes:
        colours: number -> its RGB colour in the first file that has it, and that file.
        differ: the first number that has two colours: the number, a colour, its file, the other colour, its file.
    """

    colours: Mapping[int, tuple[tuple[int, int, int], str]]
    differ: tuple | None = None

    def __add__(self, other: "Palettes") -> "Palettes":
        mine, theirs = self.colours, other.colours
        differ = self.differ or other.differ
        for value, (colour, path) in theirs.items() if not differ else ():
            if value in mine and mine[value][0] != colour:
                differ = (value, *mine[value], colour, path)
                break
        return Palettes({**mine, **theirs, **mine}, differ)


def seen(labels: ClassLabels, path: str, label: np.ndarray | None) -> dict:
    """What a class map shows: see `Labels.seen`.

    Returns:
        "counts": pixels of each class id or ignore value, int64 (256,). Where numbers are read from the file also
        "stored": pixels of each of them; "palettes"; and "rough": the file, if it looks like a photograph.
    """
    if label is None and labels.encoding == "colour":
        label = read_labels(path, labels)
    if label is not None:
        return {"counts": _count(label, 256)}
    codes = stored_numbers(path, labels)
    stored, palette = _count(codes % np.int32(NUMBERS), NUMBERS), palette_of(path)  # the negative ones last
    used = [value for value in np.flatnonzero(stored[:256]).tolist() if value in palette]
    counts, ids = np.zeros(256, np.int64), number_table(labels)
    known = (stored > 0) & (ids >= 0)
    np.add.at(counts, ids[known], stored[known])
    colours = Palettes({value: (palette[value], str(path)) for value in used})
    found = {"counts": counts, "stored": stored, "palettes": colours}
    return found | ({"rough": str(path)} if is_rough(codes) else {})


def _count(codes, size):
    return np.bincount(codes.ravel(), minlength=size).astype(np.int64)


def is_rough(codes: np.ndarray) -> bool:
    """Whether numbers (H, W) look like those of a photograph: many, and most neighbours differ."""
    if codes.shape[1] < 2 or len(np.unique(codes)) <= MANY_CLASSES:
        return False
    return float((codes[:, 1:] == codes[:, :-1]).mean()) < 0.5


def suspicions(labels: ClassLabels, name: str, seen: Mapping, trained: Mapping | None) -> Iterator[str]:
    """What is implausible: see `Labels.suspicions`."""
    names, there = labels.classes, _present(labels, seen)
    section, count = labels.section(name), count_of(seen["files"])
    reading = f"{section}.{'values' if labels.values else 'classes'} in {FILE_NAME}"
    if len(names) > MANY_CLASSES:
        yield (
            f"{len(names)} classes: more than {MANY_CLASSES} are rare; are the files in {name} label maps? See "
            f"{section}.classes in {FILE_NAME}"
        )
    if not there:
        yield f"no pixel of {count} has a class; all are ignore; see {reading}"
    elif len(there) == 1:
        whose = "" if section == name else f"{name} "
        told = _ignored(labels, there[0], seen, section, reading)
        yield f"all {whose}labels of {count} are one class, {names[there[0]]}{told}"
    if "palettes" in seen and seen["palettes"].differ:
        value, colour, path, other, other_path = seen["palettes"].differ
        yield (
            f"palettes differ: index {value} is {_colour(colour)} in {path}, {_colour(other)} in {other_path}, but "
            f'classes are read by index; if colours mean classes, "encoding": "colour" under {section}; {_ASK}'
        )
    if "rough" in seen:
        yield f"{seen['rough']} looks like a photograph, not like a label map: its values change from pixel to pixel"
    if trained and len(there) > 1:
        learnt = _present(labels, trained)
        if lacking := [each for number, each in enumerate(names) if number not in learnt]:
            yield (
                f"no pixel of {count_of(trained['files'])} to train on has the class {_listed(lacking)}: it cannot be "
                f"learnt; add labels that have it, or see {reading}"
            )


def _present(labels, seen):
    return [number for number in range(len(labels.classes)) if seen["counts"][number]]


def _ignored(labels, there, seen, section, reading):
    """What stands beside the only class, and how to make a class of it."""
    counts, ignore, names = seen["counts"], labels.ignore, labels.classes
    if not counts[ignore]:
        return "; nothing can be learnt from them"
    share = counts[ignore] / counts.sum()
    told = f", and {share:.1%} of the pixels are {IGNORE}"
    stored = seen.get("stored", np.zeros(NUMBERS))
    table = number_table(labels) if labels.encoding == "index" else np.full(NUMBERS, -1)
    values = np.flatnonzero((table == ignore) & (stored > 0))
    values = np.where(values > LARGEST, values - NUMBERS, values).tolist()
    if not values:
        return f"{told}; see {reading}"
    value, first = values[-1], int(np.flatnonzero((table == there) & (stored > 0))[0])
    other = next((name for name in names if name != names[there]), "object")
    return (
        f"{told} (value {_listed(values)}); if {value} is a class, say so under {section} in {FILE_NAME}: "
        f'"values": {{"{first}": "{names[there]}", "{value}": "{other}"}}; {_ASK}'
    )


def count_of(files: int) -> str:
    """A number of files, as text."""
    return f"{files} {'file' if files == 1 else 'files'}"


def _colour(colour):
    return ",".join(map(str, colour))


def _listed(values, most=5):
    values = [str(value) for value in values]
    return ", ".join(values[:most]) + (f" and {len(values) - most} others" if len(values) > most else "")
