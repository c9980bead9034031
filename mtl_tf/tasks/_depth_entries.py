"""How files of depth are stored: the encodings, and what dataset.json says of them."""

import math
import os

from mtl_tf import keys

# So many stored values have a meaning.
CODES = {"inverse_uint8": 256, "uint8_scaled": 256, "uint16_scaled": 65536, "uint16_rotated": 65536}
NUMBERS = ("npy", "numbers")  # of any type
ENCODINGS = (*CODES, "disparity", *NUMBERS)
SCALES = {"uint16_scaled": 0.001, "uint16_rotated": 0.001, "numbers": 1.0}  # metres a unit where nothing else is said
SCALED = ("uint8_scaled", *SCALES)


def stored_entries(entry) -> dict:
    """The entries of a section that turn stored values into depth, by the attributes of `DepthLabels`.

    Args:
        entry: `keys.Keys` of the section.

    Raises:
        UsageError: one is not as expected, or is not of the encoding.
    """
    found = {"encoding": entry.take("encoding", keys.one_of(*ENCODINGS))}
    found |= _stereo(entry, found["encoding"])
    # The steps of uint8_scaled are of no usual size.
    pixels = 1.0 if found.get("baseline") else 0.001
    usual = {} if found["encoding"] == "uint8_scaled" else {"default": SCALES.get(found["encoding"], pixels)}
    found["scale"] = entry.take("scale", keys.positive, **usual)
    found["key"] = entry.take("key", keys.text, default="")
    numbers = found["encoding"] == "numbers" or bool(found.get("baseline"))
    if found["key"] and not numbers:
        entry.fail("key", 'left out; it names an array in files of encoding "numbers"', found["key"])
    found["invalid"] = entry.take("invalid", _numbers if numbers else _wholes, default=())
    largest = math.inf if numbers else {**CODES, "disparity": 65536}.get(found["encoding"], 1) - 1
    if any(code > largest for code in found["invalid"]):
        entry.fail("invalid", f"a list of stored values, 0..{largest}", max(found["invalid"]))
    found["mask"] = entry.take("mask", _end, default="")
    return found


def _stereo(entry, encoding):
    """What turns disparity into depth, where it is stated."""
    kinds = {"baseline": keys.positive, "fx": keys.positive, "offset": keys.number}
    stated = [key for key in kinds if key in entry.content]
    if stated and encoding != "disparity":
        entry.fail(stated[0], 'left out; it is of encoding "disparity"', entry.content[stated[0]])
    return entry.take_all(kinds, ("baseline", "fx") if stated else ())


def _numbers(value):
    """a list of different numbers (NaN and infinity need not be listed)"""
    found = tuple(int(number) if number % 1 == 0 else number for number in keys.numbers(value))
    if len(set(found)) != len(found):
        raise ValueError
    return found


def _end(value):
    """the end of the names of masks, as "_mask.npy" of NAME_mask.npy beside NAME.npy"""
    from mtl_tf.storage import listing, maps

    name, ending = os.path.splitext(keys.text(value))
    if not name or "/" in value or ending not in (*listing.LABELS, *maps.ENDINGS):
        raise ValueError
    return value


def _wholes(value):
    """a list of different whole numbers, 0 or more"""
    if not isinstance(value, list) or len(set(map(keys.whole, value))) != len(value):
        raise ValueError
    return tuple(value)
