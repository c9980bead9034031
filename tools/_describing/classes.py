"""What label files mean, by options, answers and guesses: classes, their colours, and what has no class."""

import colorsys
from collections.abc import Sequence

from _describing.contents import ranges, text_of
from _describing.looking import Found
from _describing.options import Options
from _describing.questions import Questions, class_names, ignore_value, one_of
from mtl_tf.errors import UsageError
from mtl_tf.tasks._class_entries import IGNORE, OTHER
from mtl_tf.tasks.classes import ClassLabels

_VOID = ("void", "unlabelled", "unlabeled", "unknown", "undefined")
_NONE = 255  # the label value of no class, where stored values do not say


def segmentation(found: Found, own: Options, old: ClassLabels, ask: Questions) -> ClassLabels:
    """What label files mean; `old` is what the present description says, of no classes where there is none.

    Raises:
        UsageError: an option or answer does not fit the files.
    """
    described = (_by_colour if found.labels.encoding == "colour" else _by_number)(found, own, old, ask)
    found = ClassLabels(**described, key=found.labels.key)
    return old if found == old.unmeasured else found  # with its statistics, which are of the same classes


# === By number ===


def _by_number(found, own, old, ask):
    values = found.labels.values
    before = dict(old.values) if old.encoding == "index" else {}
    if before and own.ignore < 0 and not own.foreground and all(str(value) in before for value in values):
        listed, fitting, ignored, plain = values, tuple(before[str(value)] for value in values), (), False
    else:
        ignored = _without_class(values, own, old, ask)
        listed = tuple(value for value in values if value not in ignored)
        if not is_spread(listed):  # each number up to the largest is a class, of which some may lack
            listed = tuple(range(int(0 in ignored), max(listed, default=0) + 1))
        # In a plain description a number is its class, and no class a number above.
        plain = not is_spread(listed) and 0 < max(ignored, default=0) <= _NONE and min(ignored) > 0
        fitting = old.classes if len(old.classes) == len(listed) or (plain and len(old.classes) > len(listed)) else ()
    if unused := sorted(set(listed) - set(values)):
        print(f"  no pixel has {ranges(unused)}; each value from {listed[0]} to {listed[-1]} is a class with a name")
    ignore = ignored[0] if plain else _NONE
    kind = f"{len(listed)} classes" if plain else f"values {ranges(listed)}"
    parse = class_names(len(listed), ignore, exact=not plain)
    guess = fitting or _listed_in(found.names, parse) or _made_up(len(listed))
    named = _names(own, ask, kind, guess, parse)
    if plain:
        listed = tuple(range(len(named)))
    described = _classes(named, [found.labels.palette.get(value) for value in listed], old) | {"ignore": ignore}
    if not plain or any(name == IGNORE for name, _ in named):
        said = dict.fromkeys(ignored, IGNORE) | {value: name for value, (name, _) in zip(listed, named, strict=True)}
        said = {str(value): said[value] for value in sorted(said)} | _others(before, described["classes"])
        described |= {"values": tuple(said.items()), "ignore": _NONE}
    return described


def _others(before, classes):
    """What the present description says of all values that it does not list, if that still has a meaning."""
    return {OTHER: before[OTHER]} if before.get(OTHER) in (*classes, IGNORE) else {}


def _without_class(values, own, old, ask):
    """The stored values that mean no class: one, or none where the largest is a class as well."""
    if negative := tuple(value for value in values if value < 0):
        ask.decided(f"negative label values, {ranges(negative)}, are taken for no class", asked=False)
        values = tuple(value for value in values if value >= 0)
        return (*negative, *(value for value in _without_class(values, own, old, ask) if value in values))
    parse = ignore_value(values)
    if own.ignore >= 0:
        return (parse(str(own.ignore)),)
    guess = guess_ignore(values)
    rest = [value for value in values if value != guess]
    if guess in values and rest and (len(rest) == 1 or is_spread(rest)):
        question = f"Masks of {ranges(values)}: is {guess} a class, or no class ({IGNORE})?"
        answer = own.foreground or ask(question, "class", one_of(("class", IGNORE)), "foreground")
        if answer == "class" and not own.foreground:
            ask.decided(
                f"masks of {ranges(values)}: {guess} is taken for a class; --foreground={IGNORE} says that it is none"
            )
        return () if answer == "class" else (guess,)
    guess = old.ignore if old.classes and not old.values else guess
    return (ask("Label value of pixels without a class?", str(guess), parse, "ignore"),)


def is_spread(values: Sequence[int]) -> bool:
    """Whether most of the numbers from 0 to the largest do not occur, as in masks of grey levels."""
    return bool(values) and max(values) >= 16 and len(values) < (max(values) + 1) / 8


def guess_ignore(values) -> int:
    """The label value that most likely stands for no class: 255, or a largest value far from the others."""
    ordered = sorted(values)
    if 255 in values or len(ordered) < 2 or ordered[-1] - ordered[-2] < 10:
        return 255
    return ordered[-1]


# === By colour ===


def _by_colour(found, own, old, ask):
    if found.labels.why:
        ask.decided(
            f"{found.labels.why}: classes are read by colour; --semseg_encoding=index reads them by index",
            asked=False,
        )
    colours = found.labels.colours
    before = {text_of(colour): name for name, colour in zip(old.classes, old.palette, strict=True)}
    before |= dict(old.values) if old.encoding == "colour" else {}
    # Those that are known come first, in their order.
    colours = sorted(colours, key=lambda colour: [*before, text_of(colour)].index(text_of(colour)))
    fitting = [before.get(text_of(colour), f"class{number}") for number, colour in enumerate(colours)]
    kind = f"colours {' '.join(map(text_of, colours))}"
    guess = (found.names,) if found.names and not old.classes else fitting
    where = {colour: found.labels.where[colour] for colour in colours}
    named = _names(own, ask, kind, guess, class_names(len(colours), _NONE, exact=True, colours=where))
    if any(colour for _, colour in named):
        colours = [colour for _, colour in named]
    described = _classes([(name, colour) for (name, _), colour in zip(named, colours, strict=True)], colours, old)
    values = {text_of(colour): name for (name, _), colour in zip(named, colours, strict=True) if name == IGNORE}
    values |= _others(before, described["classes"])
    return described | {"ignore": _NONE, "encoding": "colour", "values": tuple(values.items())}


# === Names and colours ===


def _names(own, ask, kind, guess, parse):
    question = f"Names of the {kind}, with commas, or a text file with one a line?"
    named = parse(",".join(own.classes)) if own.classes else ask(question, ",".join(guess), parse, "classes")
    for name, _ in named:
        if name.casefold() in _VOID:
            ask.decided(
                f"{name} is taken for a class; if it means no class, call it {IGNORE} (--classes=FILE)", asked=False
            )
    return named


def _listed_in(path, parse):
    """The list of classes that lies there as a guess, where it fits."""
    try:
        return (path,) if path and parse(path) else ()
    except UsageError as error:
        print(f"  {path} is not used for names: expected {error}")
        return ()


def _made_up(count):
    return tuple(f"class{index}" for index in range(count))


def _classes(named, found, old):
    """Names and colours of classes: as named, as before, as found, or made up."""
    kept = dict(zip(old.classes, old.palette, strict=True))
    entries = [(name, colour, there) for (name, colour), there in zip(named, found, strict=True) if name != IGNORE]
    made = distinct_colours(len(entries))
    palette = [colour or kept.get(name) or there or made[index] for index, (name, colour, there) in enumerate(entries)]
    return {"classes": tuple(name for name, *_ in entries), "palette": tuple(map(tuple, palette))}


def distinct_colours(count: int) -> list[tuple[int, int, int]]:
    """Colours that differ: hues in steps of the golden section, in two brightnesses."""
    made = (colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.75, (0.95, 0.65)[index % 2]) for index in range(count))
    return [tuple(round(255 * part) for part in colour) for colour in made]
