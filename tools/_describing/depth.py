"""How depth is stored, by options, answers and guesses; 8-bit depth is never guessed."""

import dataclasses

from _describing.contents import DepthValues
from _describing.options import Options
from _describing.questions import Questions, more_than, one_of, positive_number
from mtl_tf.errors import UsageError
from mtl_tf.storage import codecs
from mtl_tf.tasks import DepthLabels

_NICE = (1, 2, 5, 10, 20, 50, 80, 100, 200, 300, 500, 1000)  # metres, for a largest depth


def depth(found: DepthValues, own: Options, old: DepthLabels | None, ask: Questions) -> DepthLabels:
    """How depth is stored; `old` is what the present description says.

    Raises:
        UsageError: an option does not fit the files, or nothing says how 8-bit depth is stored.
    """
    encoding = _encoding(found, own, old, ask)
    known = old is not None and old.encoding == encoding
    described = {"encoding": encoding, "invalid": _invalid(found, own, old if known else None, ask)}
    low, high = found.limits(described["invalid"])
    guesses = codecs.MINIMUM, codecs.MAXIMUM
    if encoding != "inverse_uint8":
        described["scale"] = scale = own.unit or _unit(found.bits, low, high, old if known else None, ask)
        low, high = low * scale, high * scale
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
            f"{described['scale']:g} right?"
        )
    found = DepthLabels(**described, minimum=smallest, maximum=largest)
    if old is None:
        return found
    # What the tool does not ask for stays. Statistics of other metres would be wrong; they are to be measured again.
    kept = dataclasses.replace(old, **dataclasses.asdict(found) | {"unit": old.unit, **old.statistics})
    if encoding == "inverse_uint8":
        kept = dataclasses.replace(kept, scale=old.scale)
    return kept if kept == old else kept.unmeasured


def _encoding(found, own, old, ask):
    fitting = ("uint16_scaled",) if found.bits == 16 else ("uint8_scaled", "inverse_uint8")
    if own.depth_encoding:
        if own.depth_encoding not in fitting:
            raise UsageError(f"--depth_encoding={own.depth_encoding}: the files have {found.bits} bits")
        return own.depth_encoding
    if found.bits == 16:
        return "uint16_scaled"
    # Of earlier versions inverse_uint8 is a guess, so that the present file does not state it.
    guess = "uint8_scaled" if old and old.encoding == "uint8_scaled" else ""
    return ask(
        "How is the 8-bit depth stored: uint8_scaled (linear: value times a unit) or inverse_uint8 (inverse: 255 the "
        "nearest, 1 the farthest)?",
        guess,
        one_of(fitting),
        "depth_encoding=" + "|".join(fitting),
    )


def _unit(bits, low, high, old, ask):
    if bits == 8:
        question = f"Metres a unit of the 8-bit values {low} to {high}? 10/255 where 255 is 10 m."
        return ask(question, f"{old.scale!r}" if old else "", positive_number, "unit=METRES")
    guess = old.scale if old else 0.001
    question = f"Metres a unit of the 16-bit values? 0.001 makes {low / 1000:g} to {high / 1000:g} m of them."
    return ask(question, f"{guess:g}", positive_number, "unit")


def _invalid(found, own, old, ask):
    if own.invalid:
        largest = 2**found.bits - 1
        if max(own.invalid) > largest:
            raise UsageError(f"--invalid={max(own.invalid)}: the files hold values up to {largest}")
        return tuple(value for value in dict.fromkeys(own.invalid) if value)
    if old and old.invalid:
        return old.invalid
    outlier = found.outlier()
    if not outlier:
        return ()
    below = found.limits((outlier,))[1]
    question = f"{outlier} stands far above the next value, {below}: does it mean no measurement, or depth?"
    if ask(question, "none", one_of(("none", "depth")), "invalid") == "depth":
        return ()
    ask.decided(f"depth of {outlier} is no measurement, since the next value is {below}; --invalid=0 makes it depth")
    return (outlier,)
