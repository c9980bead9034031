"""Files of instance numbers: how they are read, and what is implausible in them."""

from collections.abc import Iterator, Mapping

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.storage import pixels
from mtl_tf.storage.codecs import CLASS_STEP, MOST_IDS
from mtl_tf.tasks.reading.suspect_classes import count_of


def read_instances(path: str, encoding: str, ignore: int | None, blank: int) -> np.ndarray:
    """Numbers of instances of a picture, int32 (H, W): 0 = none.

    Args:
        path: of the file.
        encoding: a key of `instances.ENCODINGS`.
        ignore: the stored number that says that nothing is known.
        blank: the number of pixels of which nothing is known, in what is returned.
    """
    return _read(path, encoding, ignore, blank)[1]


def _read(path, encoding, ignore, blank):
    """The stored numbers, and those of the instances."""
    if encoding == "rgb24":
        codes = read_rgb24(path)
    else:
        codes = pixels.read_label_codes(path, "instances as a grey or palette PNG of up to 16 bits").astype(np.int32)
    unknown = codes == ignore if ignore is not None else np.zeros(codes.shape, bool)
    instances = np.where(codes < CLASS_STEP, 0, codes) if encoding == "class_1000" else codes
    return codes, numbered(instances, unknown, path, blank)


def read_rgb24(path: str) -> np.ndarray:
    """The stored numbers R + 256 G + 65536 B of an 8-bit RGB picture, int32 (H, W)."""
    colours = pixels.read_colour_codes(path)
    return colours >> 16 | colours & 0xFF00 | (colours & 255) << 16


def seen(label: np.ndarray, blank: int) -> dict:
    """What a label map shows: see `Labels.seen`."""
    found = np.unique(label[(label > 0) & (label != blank)]).size
    return {"with": int(found > 0), "several": int(found > 1)}


def seen_in(path: str, encoding: str, ignore: int | None, blank: int) -> dict:
    """What a label file shows; the arguments are those of `read_instances`.

    Returns:
        What `seen` gives, and of numbers from `CLASS_STEP` on: "large", whether there are any, and "thousands", whether
        they are few and end as class * 1000 + number does.
    """
    codes, label = _read(path, encoding, ignore, blank)
    every = np.unique(codes)
    large = every[(every >= CLASS_STEP) & (every != ignore)]
    few = large.size and 10 * every.size < large.max() and (large % CLASS_STEP < CLASS_STEP // 4).all()
    return seen(label, blank) | {"large": int(large.size > 0), "thousands": int(few)}


def suspicions(name: str, encoding: str, seen: Mapping) -> Iterator[str]:
    """What is implausible: see `Labels.suspicions`."""
    count = count_of(seen["files"])
    if encoding == "ids" and seen.get("large") and seen["thousands"] == seen["large"]:
        yield (
            f"{name}: the numbers in {count} may be class * {CLASS_STEP} + number, those below {CLASS_STEP} being "
            f'classes, not instances; if so, "encoding": "class_1000" under tasks.{name} in dataset.json'
        )
    if not seen["with"]:
        yield f"{name}: no instance in {count}; all numbers are 0, or unknown"
    elif not seen["several"] and seen["with"] > 1:
        yield f"{name}: no more than one instance in each of {count}; are they masks of a class, all of one number?"


def numbered(codes: np.ndarray, unknown: np.ndarray, path: str, blank: int) -> np.ndarray:
    """Numbers of instances, int32 (H, W), of any stored ones: as they are up to `MOST_IDS`, else anew.

    Args:
        codes: the stored numbers, (H, W); 0 = no instance.
        unknown: where nothing is known, bool (H, W).
        path: of the file, for messages.
        blank: the number of pixels of which nothing is known, in what is returned.

    Raises:
        UsageError: there are more instances than that.
    """
    return np.where(unknown, blank, _renumbered(np.where(unknown, 0, codes), path))


def _renumbered(codes, path):
    if codes.max(initial=0) <= MOST_IDS:
        return codes.astype(np.int32)
    there = codes > 0
    every = np.unique(codes[there])
    if every.size > MOST_IDS:
        raise UsageError(
            f"{path}: expected at most {MOST_IDS} instances in a picture, got {every.size}; check the encoding that "
            "dataset.json states, or cut the picture into smaller ones"
        )
    found = np.zeros(codes.shape, np.int32)
    found[there] = np.searchsorted(every, codes[there]) + 1
    return found
