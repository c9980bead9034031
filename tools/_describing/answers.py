"""The descriptor of a data set by options, answers and guesses."""

import colorsys
import dataclasses

from _describing import questions
from _describing.looking import Found, ranges
from _describing.options import Options
from mtl_tf.data import codecs
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.errors import UsageError

_NICE = (1, 2, 5, 10, 20, 50, 80, 100, 200, 300, 500, 1000)  # metres, for a largest depth


def answers(found: Found, own: Options, old: Descriptor | None, ask: questions.Questions, folder: str) -> Descriptor:
    """The descriptor by options, answers and guesses; `old` is the present one, for guesses."""
    old = old or Descriptor(name=folder)
    name = own.name or ask("Name of the data set?", old.name, str, "name")
    parse, there = questions.splits_of(found.counts), ",".join(found.counts)
    described = dataclasses.replace(
        old,
        name=name,
        splits=parse(",".join(own.splits)) if own.splits else ask("Splits?", there, parse, "splits"),
        classes=(),
        palette=(),
        depth_encoding="",
    )
    if found.values:
        described = dataclasses.replace(described, **_segmentation(found, own, old, ask))
    if found.depth_bits:
        described = dataclasses.replace(described, **_depth(found, own, old, ask))
    same = (old.depth_encoding, old.depth_scale, old.depth_minimum, old.depth_maximum)
    if same != tuple(getattr(described, f"depth_{key}") for key in ("encoding", "scale", "minimum", "maximum")):
        # Statistics of other metres would be wrong; they are to be measured again.
        none = dict.fromkeys(("depth_mean", "depth_std", "depth_log_mean", "depth_log_std"))
        described = dataclasses.replace(described, **none)
    return described


def _segmentation(found, own, old, ask):
    parse = questions.ignore_value(found.values)
    if own.ignore >= 0:
        ignore = parse(str(own.ignore))
    else:
        guess = old.ignore if old.classes else guess_ignore(found.values)
        ignore = ask("Label value of pixels without a class?", str(guess), parse, "ignore")
    largest = max((value for value in found.values if value != ignore), default=0)
    unused = sorted(set(range(largest + 1)) - set(found.values))
    if unused:
        print(f"  no pixel has {ranges(unused)}; each value from 0 to {largest} is a class with a name")
    parse = questions.class_names(largest + 1, ignore)
    if own.classes:
        named = parse(",".join(own.classes))
    else:
        fitting = old.classes if len(old.classes) > largest else tuple(f"class{index}" for index in range(largest + 1))
        question = f"Names of the {largest + 1} classes, with commas, or a text file with one a line?"
        named = ask(question, ",".join(fitting), parse, "classes")
    kept = dict(zip(old.classes, old.palette, strict=True))
    made = distinct_colours(len(named))
    colours = [
        colour or kept.get(name) or found.palette.get(index) or made[index]
        for index, (name, colour) in enumerate(named.items())
    ]
    return dict(classes=tuple(named), palette=tuple(map(tuple, colours)), ignore=ignore)


def _depth(found, own, old, ask):
    low, high = found.depth_range
    described = dict(depth_encoding="uint16_scaled" if found.depth_bits == 16 else "inverse_uint8")
    known = old.depth_encoding == described["depth_encoding"]
    if found.depth_bits == 16:
        guess = old.depth_scale if known else 0.001
        question = f"Metres a unit of the 16-bit values? 0.001 makes {low / 1000:g} to {high / 1000:g} m of them."
        scale = own.unit or ask(question, f"{guess:g}", questions.positive_number, "unit")
        described["depth_scale"] = scale
        low, high = low * scale, high * scale
        guesses = min(0.1, low), next((nice for nice in _NICE if nice >= high), high)
    else:
        print("  8-bit depth is read as inverse depth: 255 the smallest, 1 the largest, 0 unknown (data/codecs.py)")
        guesses = codecs.MINIMUM, codecs.MAXIMUM
    if known:
        guesses = old.depth_minimum, old.depth_maximum
    smallest = own.minimum or ask(
        "Smallest valid depth, metres?", f"{guesses[0]:g}", questions.positive_number, "minimum"
    )
    above = questions.more_than(smallest)
    largest = above(str(own.maximum)) if own.maximum else None
    largest = largest or ask("Largest valid depth, metres?", f"{guesses[1]:g}", above, "maximum")
    if found.depth_bits == 16 and (smallest > high or largest < low):
        raise UsageError(
            f"the files hold {low:g} to {high:g} m, none of it in the range {smallest:g} to {largest:g} m; is --unit="
            f"{described['depth_scale']:g} right?"
        )
    return described | dict(depth_minimum=smallest, depth_maximum=largest)


def guess_ignore(values) -> int:
    """The label value that most likely stands for no class: 255, or a largest value far from the others."""
    ordered = sorted(values)
    if 255 in values or len(ordered) < 2 or ordered[-1] - ordered[-2] < 10:
        return 255
    return ordered[-1]


def distinct_colours(count: int) -> list[tuple[int, int, int]]:
    """Colours that differ: hues in steps of the golden section, in two brightnesses."""
    made = (colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.75, (0.95, 0.65)[index % 2]) for index in range(count))
    return [tuple(round(255 * part) for part in colour) for colour in made]
