"""How depth is stored, by options, answers and guesses; 8-bit depth is never guessed."""

import dataclasses

from _describing.options import Options
from _describing.questions import Questions, more_than, one_of, positive_number, yes_or_no
from _describing.stored_depth import StoredDepth
from mtl_tf.errors import UsageError
from mtl_tf.storage import codecs
from mtl_tf.tasks import DepthLabels

_FITTING = {
    0: ("numbers", "disparity", "npy"),
    8: ("uint8_scaled", "inverse_uint8", "disparity"),
    16: ("uint16_scaled", "uint16_rotated", "disparity"),
}
_NEAREST, _FARTHEST = 0.05, 500  # metres, between which half of the pixels of usual data are
_NICE = (1, 2, 5, 10, 20, 50, 80, 100, 200, 300, 500, 1000)  # metres, for a largest depth


def depth(found: StoredDepth, own: Options, old: DepthLabels | None, ask: Questions) -> DepthLabels:
    """How depth is stored; `old` is what the present description says.

    Raises:
        UsageError: an option does not fit the files, or nothing says how 8-bit depth is stored.
    """
    encoding = _encoding(found, own, old, ask)
    known = old is not None and old.encoding == encoding
    before = old if known else None
    described = {"encoding": encoding, "mask": _mask(found, own, old, ask)}
    if encoding != "npy":  # of which neither is stated
        described |= {"invalid": _invalid(found, own, before, ask), "key": found.key}
    low, high = found.limits(described.get("invalid", ()))
    guesses = codecs.MINIMUM, codecs.MAXIMUM
    if encoding == "disparity":
        described |= _camera(found, own, before, ask)
    elif encoding not in ("inverse_uint8", "npy"):
        described["scale"] = own.unit or _unit(found, encoding, low, high, before, ask)
    if encoding != "inverse_uint8":
        low, high = _metres(found, described, low, high)
        guesses = min(0.1, low), next((nice for nice in _NICE if nice >= high), high)
    if known:
        guesses = old.minimum, old.maximum
    smallest = own.minimum or ask("Smallest valid depth, metres?", f"{guesses[0]:g}", positive_number, "minimum")
    above = more_than(smallest)
    largest = above(str(own.maximum)) if own.maximum else None
    largest = largest or ask("Largest valid depth, metres?", f"{guesses[1]:g}", above, "maximum")
    if encoding != "inverse_uint8" and (smallest > high or largest < low):
        raise UsageError(
            f"the files hold {low:g} to {high:g} m, none of it in the range {smallest:g} to {largest:g} m; is --unit="
            f"{described.get('scale', 1):g} right?"
        )
    found = DepthLabels(**described, minimum=smallest, maximum=largest)
    if old is None:
        return found
    # What the tool does not ask for stays. Statistics of other metres would be wrong; they are to be measured again.
    kept = dataclasses.replace(old, **dataclasses.asdict(found) | {"unit": old.unit, **old.statistics})
    if encoding in ("inverse_uint8", "npy"):
        kept = dataclasses.replace(kept, scale=old.scale)
    return kept if kept == old else kept.unmeasured


def _encoding(found, own, old, ask):
    fitting = _FITTING[found.bits]
    if own.depth_encoding:
        if own.depth_encoding not in fitting:
            held = f"have {found.bits} bits" if found.bits else "hold numbers"
            raise UsageError(f"--depth_encoding={own.depth_encoding}: the files {held}; one of {', '.join(fitting)}")
        return own.depth_encoding
    if old and old.encoding in ("disparity", "npy") and old.encoding in fitting:
        return old.encoding
    if found.rotated:
        question = "Are the 16-bit values, all near multiples of 8, uint16_scaled or, as in SUN RGB-D, uint16_rotated?"
        guess = old.encoding if old and old.encoding in fitting else ""
        return ask(question, guess, one_of(fitting), "depth_encoding=uint16_scaled|uint16_rotated")
    if found.bits != 8:
        return old.encoding if old and old.encoding in fitting else fitting[0]
    # Of earlier versions inverse_uint8 is a guess, so that the present file does not state it.
    guess = "uint8_scaled" if old and old.encoding == "uint8_scaled" else ""
    return ask(
        "How is the 8-bit depth stored: uint8_scaled (linear: value times a unit) or inverse_uint8 (inverse: 255 the "
        "nearest, 1 the farthest)?",
        guess,
        one_of(fitting[:2]),
        "depth_encoding=uint8_scaled|inverse_uint8",
    )


def _mask(found, own, old, ask):
    if own.mask or (old and old.mask):
        return "" if own.mask == "none" else own.mask or old.mask
    question = f"Are the files NAME{found.mask} beside depth masks, 0 where nothing was measured?"
    if not found.mask or not ask(question, "yes", yes_or_no, "mask"):
        return ""
    ask.decided(f"NAME{found.mask} is taken for a mask of depth, 0 where nothing was measured; --mask=none: it is none")
    return found.mask


def _camera(found, own, old, ask):
    """What turns disparity into metres; never guessed but for floats, which are pixels as a rule."""
    said = {"baseline": own.baseline, "fx": own.fx, "scale": own.unit}
    questions = {
        "baseline": ("Distance of the two cameras, metres?", "", "baseline=METRES"),
        "fx": ("Focal length, pixels of the stored files?", "", "fx=PIXELS"),
        "scale": (
            f"Pixels a unit of the {found.told}?",
            "" if found.whole else "1",
            "unit=PIXELS, as 0.00390625 for 1/256",
        ),
    }
    for key, (question, guess, name) in questions.items():
        guess = f"{getattr(old, key)!r}" if old and old.baseline else guess
        said[key] = said[key] or ask(question, guess, positive_number, name)
    return said | {"offset": own.offset or (old.offset if old else 0.0)}


def _metres(found, described, low, high):
    """The nearest and the farthest depth of the smallest and the largest stored value."""
    if described["encoding"] == "uint16_rotated":
        turned = codecs.rotated(sorted(set(found.values) - set(described["invalid"]))) * described["scale"]
        return float(turned.min()), float(turned.max())
    scale = described.get("scale", 1.0)
    low, high = low * scale, high * scale
    if described["encoding"] != "disparity":
        return low, high
    product, offset = described["baseline"] * described["fx"], described["offset"]
    ends = [product / (disparity + offset) for disparity in (high, low) if disparity + offset > 0]
    if not ends:
        raise UsageError(f"--offset={offset:g}: no disparity of the files, {low:g} to {high:g}, is above 0 then")
    return ends[0], ends[-1]


def _unit(found, encoding, low, high, old, ask):
    """Of 8 bits never guessed, nor of floats that are far from what a room or a street has."""
    told = f"Metres a unit of the {found.told}"
    if found.bits == 8:
        question = f"{told} {low} to {high}? 10/255 where 255 is 10 m."
        return ask(question, f"{old.scale!r}" if old else "", positive_number, "unit=METRES")
    if encoding == "uint16_rotated":  # the order of its values is not that of metres
        return old.scale if old else 0.001
    usual = 0.001 if found.whole else 1.0
    middle = found.values[len(found.values) // 2] * usual
    plausible = found.bits == 16 or _NEAREST <= middle <= _FARTHEST
    guess = f"{old.scale:g}" if old else f"{usual:g}" if plausible else ""
    question = f"{told}? {usual:g} makes {low * usual:g} to {high * usual:g} m of them."
    return ask(question, guess, positive_number, "unit" if guess else "unit=METRES (1 = metres, 0.001 = millimetres)")


def _invalid(found, own, old, ask):
    if own.invalid:
        largest = 2**found.bits - 1 if found.bits else float("inf")
        codes = tuple(_whole(value) for value in dict.fromkeys(own.invalid) if value)
        if any(value > largest for value in codes):
            raise UsageError(f"--invalid={max(codes):g}: the files hold values up to {largest}")
        if found.bits and not all(isinstance(value, int) and value > 0 for value in codes):
            raise UsageError(f"--invalid: the files hold whole numbers, 0 to {largest}")
        return codes
    if old and old.invalid:
        return old.invalid
    outlier = _whole(found.outlier())
    if not outlier:
        return ()
    below = found.limits((outlier,))[1]
    question = f"{outlier:g} stands far above the next value, {below:g}: does it mean no measurement, or depth?"
    if ask(question, "none", one_of(("none", "depth")), "invalid") == "depth":
        return ()
    ask.decided(
        f"depth of {outlier:g} is no measurement, since the next value is {below:g}; --invalid=0 makes it depth"
    )
    return (outlier,)


def _whole(value):
    return int(value) if value % 1 == 0 else value
