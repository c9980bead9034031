"""What the depth files of a data set hold: the stored values of pictures, or numbers of any type."""

import collections
import dataclasses
import os
import re
from collections.abc import Iterable, Sequence

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.storage import files, maps
from mtl_tf.storage.listing import LABELS
from mtl_tf.storage.pixels import UNREADABLE, open_picture, read_codes, read_uint16

# What programs write where nothing was measured, besides 0 and what is no positive number.
_SENTINELS = (9999, 10000, 65504, 65535, 99999, 1e5, 1e6, 1e10, float(np.finfo(np.float32).max))
# Of the end of the name of a mask; an ending that is not read is none.
_MASK = re.compile(rf"^.*(mask|valid)[^/]*({'|'.join(map(re.escape, (*LABELS, *maps.ENDINGS)))})$")
_LOOK_AT = 5000  # numbers of a file, at equal distances


@dataclasses.dataclass(frozen=True)
class StoredDepth:
    """What depth files hold.

    Attributes:
        bits: 8 or 16; 0 = numbers of any type.
        values: the stored values above 0, ascending; of numbers some of them.
        whole: whether they are stored as whole numbers.
        key: name of the array or the channel that was read; "" = the only one.
        mask: the end of the names of files beside them that look like masks; "" = there are none.
    """

    bits: int
    values: Sequence[float]
    whole: bool = True
    key: str = ""
    mask: str = ""

    @property
    def rotated(self) -> bool:
        """Whether the lowest bits look like the highest: of many values, all 0 or 1 beyond a multiple of 8."""
        return self.bits == 16 and len(self.values) > 256 and all(value % 8 < 2 for value in self.values)

    @property
    def told(self) -> str:
        """What they are, for questions."""
        return f"{self.bits}-bit values" if self.bits else "numbers"

    def limits(self, invalid: Sequence[float] = ()) -> tuple[float, float]:
        """The smallest and the largest value that is a measurement."""
        measured = [value for value in self.values if value not in invalid] or self.values
        return measured[0], measured[-1]

    def outlier(self) -> float:
        """65535, or of numbers another one that is usual for no measurement, far above the other values; else 0."""
        last = self.values[-1]
        usual = last in _SENTINELS if self.bits == 0 else self.bits == 16 and last == 65535
        return last if usual and len(self.values) > 1 and self.values[-2] < 0.75 * last else 0


def look_at_depth(paths: Sequence[str], key: str = "") -> StoredDepth:
    """Looks at depth files and says what they hold.

    Args:
        paths: of the files, at least one.
        key: name of the array or the channel, where a file has several.

    Raises:
        UsageError: a file is no depth map, or no value is above 0.
    """
    found = _codes(paths) if _bits(paths[0]) else _numbers(paths, key)
    if not len(found.values):
        raise UsageError(f"{files.folder_of(paths[0])}: the values of {len(paths)} depth files are all 0, unknown")
    return found


def mask_end(labels: Iterable[str], others: Iterable[str]) -> str:
    """What the names of masks beside label files end in; "" where there are none.

    Args:
        labels: the label files, with or without masks.
        others: those that may be masks.
    """
    stems = {os.path.splitext(path)[0] for path in labels}
    stems = {stem for stem in stems if not stem.endswith(("mask", "valid"))}
    ends = collections.Counter(
        path[cut:] for path in others for cut in range(len(path)) if path[:cut] in stems and _MASK.search(path[cut:])
    )
    end, count = ends.most_common(1)[0] if ends else ("", 0)
    return end if 2 * count > len(stems) else ""


def _bits(path):
    """Of a picture whose values are codes; 0 of numbers."""
    if os.path.splitext(path)[1].lower() not in LABELS:
        return 0
    try:
        with files.open_file(path) as file, open_picture(file) as image:
            return {"F": 0, "I": 0}.get(image.mode, 16 if image.mode.startswith("I") else 8)
    except UNREADABLE:
        return 8  # what it is is named by its reader


def _codes(paths):
    bits = _bits(paths[0])
    total = np.zeros(65536, np.int64)
    read = read_codes if bits == 8 else read_uint16
    expected = "depth in an 8-bit or 16-bit grey picture"
    for path in paths:
        codes = read(path, expected)
        expected = f"depth in {bits} bits, as in the other files"
        total += np.bincount(codes.ravel(), minlength=65536)
    values = tuple((np.flatnonzero(total[1:]) + 1).tolist())
    if values:
        print(f"depth in {len(paths)} files: {bits} bits, values {values[0]} to {values[-1]} (0 = unknown)")
    return StoredDepth(bits, values)


def _numbers(paths, key):
    values, types, count, below, odd = [], {}, 0, 0, 0
    for path in paths:
        stored = _read(path, key)
        ending = os.path.splitext(path)[1].lower()
        types[f"{stored.dtype.newbyteorder('=')} in {ending}"] = stored.dtype.kind in "iu"
        finite = np.isfinite(stored)
        positive = np.sort(stored[finite & (stored > 0)])
        values += [positive[:: max(len(positive) // _LOOK_AT, 1)], positive[-2:]]
        count += stored.size
        below += int((stored[finite] <= 0).sum())
        odd += stored.size - int(finite.sum())
    values = np.unique(np.concatenate(values).astype(np.float64)).tolist()
    if values:
        named = f", array {key}" if key else ""
        shares = f"{below / count:.0%} 0 or negative, {odd / count:.0%} NaN or infinite: unknown"
        print(
            f"depth in {len(paths)} files: {', '.join(types)}{named}, {values[0]:g} to {values[-1]:g}; of all pixels "
            f"{shares}"
        )
    return StoredDepth(0, values, all(types.values()), key)


def _read(path, key):
    try:
        return maps.read_map(path, "depth", key)
    except UsageError as error:
        if "state which" in str(error) or "floating-point channel" in str(error):
            raise UsageError(f"{error}: --depth_key=NAME") from None
        raise
