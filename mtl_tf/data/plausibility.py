"""What is implausible in the contents of label files: hints at labels that are read as something they are not.

A warning is no error, since any of it may be right. Of `Evidence` there is as much as files were looked at: all by
tools/check_dataset.py, some at equal distances by tools/describe_dataset.py and at the start of training.
"""

import concurrent.futures
import dataclasses

import numpy as np

from mtl_tf.data import depths
from mtl_tf.data.descriptors import FILE_NAME, Descriptor
from mtl_tf.data.labels import number_table, read_labels
from mtl_tf.data.pixels import palette_of, read_label_codes
from mtl_tf.errors import UsageError
from mtl_tf.tasks.classes import IGNORE

LOOK_AT = 40  # files of each task, where not all are looked at
MANY_CLASSES = 60
_THREADS = 8
_ASK = f"tools/describe_dataset.py asks and writes {FILE_NAME}"


@dataclasses.dataclass(frozen=True)
class Seen:
    """One label map.

    Attributes:
        task: "semseg" or "depth".
        path: of its file, for messages.
        counts: pixels of each class id or ignore value, int64 (256,), or of each stored value of depth.
        stored: pixels of each stored number of a label file; None = not known, as of colours.
        palette: RGB colour of each number that occurs; empty = the file has no palette.
        rough: whether the values change from pixel to pixel, as in a photograph.
    """

    task: str
    path: str
    counts: np.ndarray
    stored: np.ndarray | None = None
    palette: dict[int, tuple[int, int, int]] = dataclasses.field(default_factory=dict)
    rough: bool = False


def see(task: str, path: str, descriptor: Descriptor) -> Seen:
    """Looks at a label file in one of the project's own encodings.

    Raises:
        UsageError: it cannot be read.
    """
    labels = descriptor[task]
    if task == "depth":
        codes = depths.read_codes(path, labels)
        return Seen(task, path, _count(codes, len(depths.stored_metres(labels))), palette=palette_of(path))
    if labels.encoding == "colour":
        return see_pixels(task, path, read_labels(path, labels))
    codes = read_label_codes(path, "a class id per pixel")
    stored = _count(codes, 65536)
    palette = palette_of(path)
    used = {value: palette[value] for value in np.flatnonzero(stored[:256]).tolist() if value in palette}
    counts = np.zeros(256, np.int64)
    ids = number_table(labels)
    known = (stored > 0) & (ids >= 0)
    np.add.at(counts, ids[known], stored[known])
    return Seen(task, path, counts, stored, used, is_rough(codes))


def see_pixels(task: str, path: str, pixels: np.ndarray) -> Seen | None:
    """What decoded class ids (H, W) show; None for depth, whose stored values are not known."""
    return Seen(task, path, _count(pixels, 256)) if task == "semseg" else None


def _count(codes, size):
    return np.bincount(codes.ravel(), minlength=size).astype(np.int64)


def is_rough(codes: np.ndarray) -> bool:
    """Whether numbers (H, W) look like those of a photograph: many, and most neighbours differ."""
    if codes.shape[1] < 2 or len(np.unique(codes)) <= MANY_CLASSES:
        return False
    return float((codes[:, 1:] == codes[:, :-1]).mean()) < 0.5


class Evidence:
    """What some label files of a data set hold together.

    Attributes:
        descriptor: how they are read.
        files: task -> number of files.
    """

    def __init__(self, descriptor: Descriptor):
        self.descriptor = descriptor
        self._ids = descriptor.labels.get("semseg")
        self.files = {"semseg": 0, "depth": 0}
        self._counts: dict[str, np.ndarray] = {}
        self._stored = np.zeros(65536, np.int64)
        self._palette: dict[int, tuple] = {}
        self._differ = self._rough = self._coloured = None

    def add(self, seen: Seen | None) -> None:
        """Adds a label map."""
        if seen is None:
            return
        self.files[seen.task] += 1
        self._counts[seen.task] = self._counts.get(seen.task, 0) + seen.counts
        if seen.task == "depth":
            if any(len(set(colour)) > 1 for colour in seen.palette.values()):
                self._coloured = self._coloured or seen.path
            return
        if seen.stored is not None:
            self._stored += seen.stored
        if seen.rough:
            self._rough = self._rough or seen.path
        for value, colour in seen.palette.items():
            self._compare(value, colour, seen.path)

    def merge(self, other: "Evidence") -> None:
        """Adds the label maps of another evidence of the same data set."""
        for task, count in other.files.items():
            self.files[task] += count
        for task, counts in other._counts.items():
            self._counts[task] = self._counts.get(task, 0) + counts
        self._stored += other._stored
        self._rough, self._coloured = self._rough or other._rough, self._coloured or other._coloured
        self._differ = self._differ or other._differ
        for value, found in other._palette.items():
            self._compare(value, *found)

    def _compare(self, value, colour, path):
        before, where = self._palette.setdefault(value, (colour, path))
        if before != colour and not self._differ:
            self._differ = (value, before, where, colour, path)

    def warnings(self, trained: "Evidence | None" = None) -> list[str]:
        """What is implausible, a line each.

        Args:
            trained: of all labels to train on, in which each class should have a pixel; None = not all are known.
        """
        found = []
        if self.files["semseg"]:
            found += self._of_classes(self._counts["semseg"])
            if trained and trained.files["semseg"] and len(self._present()) > 1:
                found += trained._absent()
        if self.files["depth"]:
            found += self._of_depth(self._counts["depth"])
        return found

    def _present(self):
        counts = self._counts["semseg"]
        return [number for number in range(len(self._ids.classes)) if counts[number]]

    def _absent(self):
        names, there = self._ids.classes, self._present()
        if lacking := [name for number, name in enumerate(names) if number not in there]:
            yield (
                f"no pixel of {_files(self.files['semseg'])} to train on has the class {_listed(lacking)}: it cannot "
                f"be learnt; add labels that have it, or see {self._reading()}"
            )

    # === Class ids ===

    def _of_classes(self, counts):
        names, ignore, there = self._ids.classes, self._ids.ignore, self._present()
        if len(names) > MANY_CLASSES:
            yield (
                f"{len(names)} classes: more than {MANY_CLASSES} are rare; are the files in semseg label maps? See "
                f"semseg.classes in {FILE_NAME}"
            )
        if not there:
            yield f"no pixel of {_files(self.files['semseg'])} has a class; all are ignore; see {self._reading()}"
        elif len(there) == 1:
            yield (
                f"all labels of {_files(self.files['semseg'])} are one class, {names[there[0]]}"
                f"{self._ignored(counts, ignore)}"
            )
        if self._differ:
            value, colour, path, other, other_path = self._differ
            yield (
                f"palettes differ: index {value} is {_colour(colour)} in {path}, {_colour(other)} in {other_path}, but "
                f'classes are read by index; if colours mean classes, "encoding": "colour" under semseg; {_ASK}'
            )
        if self._rough:
            yield f"{self._rough} looks like a photograph, not like a label map: its values change from pixel to pixel"

    def _ignored(self, counts, ignore):
        """What stands beside the only class, and how to make a class of it."""
        if not counts[ignore]:
            return "; nothing can be learnt from them"
        share = counts[ignore] / counts.sum()
        table = number_table(self._ids) if self._ids.encoding == "index" else np.zeros(0)
        values = np.flatnonzero((table == ignore) & (self._stored[: len(table)] > 0)).tolist()
        told = f", and {share:.1%} of the pixels are {IGNORE}"
        if not values:
            return f"{told}; see {self._reading()}"
        value, names, (there,) = values[-1], self._ids.classes, self._present()
        stored = int(np.flatnonzero((table == there) & (self._stored[: len(table)] > 0))[0])
        other = next((name for name in names if name != names[there]), "object")
        return (
            f"{told} (value {_listed(values)}); if {value} is a class, say so under semseg in {FILE_NAME}: "
            f'"values": {{"{stored}": "{names[there]}", "{value}": "{other}"}}; {_ASK}'
        )

    def _reading(self):
        return f"semseg.{'values' if self._ids.values else 'classes'} in {FILE_NAME}"

    # === Depth ===

    def _of_depth(self, counts):
        labels = self.descriptor["depth"]
        count, unit = _files(self.files["depth"]), labels.symbol
        metres = depths.stored_metres(labels)
        measured = np.where(metres > 0, counts, 0)
        codes = np.flatnonzero(measured)
        if self._coloured:
            yield f"{self._coloured}: depth in a coloured palette picture is read by index; are its colours the depth?"
        if not codes.size:
            return
        low, high = int(codes[0]), int(codes[-1])
        scaled = labels.encoding in ("uint16_scaled", "uint8_scaled")
        if len(codes) == 1:
            yield f"depth is {metres[low]:g}{unit} (stored {low}) in every measured pixel of {count}"
        elif high < MANY_CLASSES and scaled:
            yield f"depth in {count} holds only the values 0 to {high}, as a label map would; is it depth?"
        elif labels.encoding == "uint16_scaled" and high < 256 and metres[high] < 1:
            yield (
                f"16-bit depth in {count} holds only 8-bit values, up to {high} = {metres[high]:g}{unit}; is "
                f"depth.scale in {FILE_NAME} right?"
            )
        outside = measured[depths.table(labels) == 0].sum() / measured.sum()
        if outside > 0.5:
            yield (
                f"{outside:.0%} of the measured depth in {count} lies outside of {labels.minimum:g} to "
                f"{labels.maximum:g}{unit} and is no label: stored {low} to {high} are {metres[low]:g} to "
                f"{metres[high]:g}{unit}; see depth.scale, minimum and maximum in {FILE_NAME}"
            )
        elif labels.unit == "metres" and scaled:
            middle = metres[np.searchsorted(np.cumsum(measured), measured.sum() / 2)]
            if not 0.01 <= middle <= 1000:
                yield f"half of the depth in {count} is beyond {middle:g} m; is depth.scale in {FILE_NAME} right?"
        if high == 65535 and len(codes) > 1 and codes[-2] < 0.75 * high and depths.table(labels)[high]:
            yield (
                f"{high} in {count} is read as {metres[high]:g}{unit}, but stands far above the next value, "
                f'{codes[-2]}; if nothing was measured there, "invalid": [{high}] under depth in {FILE_NAME}'
            )


def look(source, most: int = LOOK_AT) -> list[str]:
    """Warnings about the labels that a network is to be trained on, by some of them at equal distances.

    What cannot be read is left to who reads it.

    Args:
        source: of samples; of a mixture each part is looked at.
        most: files of each task.
    """
    if len(source.parts) > 1:
        return [f"{part.name}: {text}" for part in source.parts for text in look(part.source, most)]
    if source.descriptor is None:
        return []
    evidence, complete = Evidence(source.descriptor), True
    for task in source.tasks:
        places = [place for place in range(len(source)) if source.has(task, place)]
        complete = complete and (task != "semseg" or len(places) <= most)
        places = [places[number * len(places) // most] for number in range(most)] if len(places) > most else places
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            for seen in pool.map(lambda place, task=task: _see_sample(source, task, place), places):
                evidence.add(seen)
    return evidence.warnings(evidence if complete else None)


def _see_sample(source, task, place):
    try:
        if path := source.label_file(task, place):
            return see(task, path, source.descriptor)
        return see_pixels(task, source.path(place), source.read(place)[task])
    except UsageError:
        return None


def _files(count):
    return f"{count} {'file' if count == 1 else 'files'}"


def _colour(colour):
    return ",".join(map(str, colour))


def _listed(values, most=5):
    values = [str(value) for value in values]
    return ", ".join(values[:most]) + (f" and {len(values) - most} others" if len(values) > most else "")
