"""What is implausible in depth files: hints at numbers that are read as something they are not."""

from collections.abc import Iterator, Mapping

import numpy as np

from mtl_tf.storage.pixels import palette_of
from mtl_tf.tasks._depth_entries import CODES
from mtl_tf.tasks.depth import DepthLabels
from mtl_tf.tasks.reading import depth_files
from mtl_tf.tasks.reading.class_files import FILE_NAME
from mtl_tf.tasks.reading.suspect_classes import MANY_CLASSES, count_of


def seen(labels: DepthLabels, path: str) -> dict:
    """What a depth file shows: see `Labels.seen`.

    Returns:
        Of codes "counts": pixels of each stored value, int64; and "coloured": the file, if it has a palette of
        colours. Of numbers "measured" and "outside": pixels that have one, and those of them outside of the range; and
        "example": the median of the measured pixels, metres, in words.
    """
    if labels.encoding == "disparity" and not labels.baseline:
        return {}
    if labels.encoding not in CODES:
        return _seen_numbers(labels, path)
    codes = depth_files.read_codes(path, labels)
    counts = np.bincount(codes.ravel(), minlength=len(depth_files.stored_metres(labels))).astype(np.int64)
    coloured = any(len(set(colour)) > 1 for colour in palette_of(path).values())
    return {"counts": counts} | ({"coloured": str(path)} if coloured else {})


def _seen_numbers(labels, path):
    with np.errstate(invalid="ignore", over="ignore"):
        metres = depth_files.stored_numbers(path, labels).astype(np.float32)
        metres = metres[np.isfinite(metres) & (metres > 0)]
    if not metres.size:
        return {}
    outside = int(np.count_nonzero(depth_files.within_range(metres, labels) == 0))
    middle = f"half of {path} is beyond {np.median(metres):g}{labels.symbol}"
    return {"measured": metres.size, "outside": outside, "example": middle}


def suspicions(labels: DepthLabels, name: str, seen: Mapping) -> Iterator[str]:
    """What is implausible: see `Labels.suspicions`."""
    section, count, unit = labels.section(name), count_of(seen["files"]), labels.symbol
    if "measured" in seen:
        if seen["outside"] > 0.5 * seen["measured"]:
            yield (
                f"{seen['outside'] / seen['measured']:.0%} of the measured {name} in {count} lies outside of "
                f"{labels.minimum:g} to {labels.maximum:g}{unit} and is no label: {seen['example']}; see "
                f"{section}.scale, minimum and maximum in {FILE_NAME}"
            )
        return
    metres = depth_files.stored_metres(labels)
    measured = np.where(metres > 0, seen["counts"], 0)
    codes = np.flatnonzero(measured)
    if labels.encoding == "uint16_rotated":
        codes = codes[np.argsort(metres[codes])]
    if "coloured" in seen:
        yield f"{seen['coloured']}: {name} in a coloured palette picture is read by index; are its colours the depth?"
    if not codes.size:
        return
    low, high = int(codes[0]), int(codes[-1])
    scaled = labels.encoding in ("uint8_scaled", "uint16_scaled")
    if len(codes) == 1:
        yield f"{name} is {metres[low]:g}{unit} (stored {low}) in every measured pixel of {count}"
    elif high < MANY_CLASSES and scaled:
        yield f"{name} in {count} holds only the values 0 to {high}, as a label map would; is it depth?"
    elif labels.encoding == "uint16_scaled" and high < 256 and metres[high] < 1:
        yield (
            f"16-bit {name} in {count} holds only 8-bit values, up to {high} = {metres[high]:g}{unit}; is "
            f"{section}.scale in {FILE_NAME} right?"
        )
    outside = measured[depth_files.table(labels) == 0].sum() / measured.sum()
    if outside > 0.5:
        yield (
            f"{outside:.0%} of the measured {name} in {count} lies outside of {labels.minimum:g} to "
            f"{labels.maximum:g}{unit} and is no label: stored {low} to {high} are {metres[low]:g} to "
            f"{metres[high]:g}{unit}; see {section}.scale, minimum and maximum in {FILE_NAME}"
        )
    elif labels.unit == "metres" and scaled:
        middle = metres[np.searchsorted(np.cumsum(measured), measured.sum() / 2)]
        if not 0.01 <= middle <= 1000:
            yield f"half of the {name} in {count} is beyond {middle:g} m; is {section}.scale in {FILE_NAME} right?"
    if high == 65535 and len(codes) > 1 and codes[-2] < 0.75 * high and depth_files.table(labels)[high]:
        yield (
            f"{high} in {count} is read as {metres[high]:g}{unit}, but stands far above the next value, "
            f'{codes[-2]}; if nothing was measured there, "invalid": [{high}] under {section} in {FILE_NAME}'
        )
