"""tools/describe_dataset.py --data.root=FOLDER: asks what a data set of your own is and writes its dataset.json.

FOLDER/SPLIT/rgb/ID.jpg, beside it semseg/ID.png and depth/ID.png (one of them may lack). The tool looks at the files,
asks a few questions, each with a guess that Enter takes, writes FOLDER/dataset.json and tries it. What an option says
is not asked; --noask asks nothing. Run again, it takes the present dataset.json for its guesses. Of the options of
main.py it takes --data.root.
"""

import colorsys
import dataclasses
import pathlib
import sys

import numpy as np
from _tool import run_tool

from mtl_tf.config import Config, replace
from mtl_tf.data import codecs, descriptors, files
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.pixels import UNREADABLE, open_picture, read_codes, read_uint16
from mtl_tf.data.samples import natural_order
from mtl_tf.data.sets.folder import find_split, list_files, open_split, splits_in
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    ask: bool = option(True, "Ask; without, every answer that no option gives is the guess.")
    replace: bool = option(False, "Replace a dataset.json that is there.")
    name: str = option("", "Name of the data set.")
    splits: tuple[str, ...] = option((), "Splits that every copy of the data set should have.")
    classes: tuple[str, ...] = option(
        (), "Names of the classes 0, 1, ..., or a text file with one a line, which may have a colour: road 128 64 128."
    )
    ignore: int = option(-1, "Label value of pixels without a class; -1 = as found.", minimum=-1, maximum=255)
    unit: float = option(0.0, "Metres a unit of 16-bit depth; 0 = as found.", minimum=0.0)
    minimum: float = option(0.0, "Smallest valid depth, metres; 0 = as found.", minimum=0.0)
    maximum: float = option(0.0, "Largest valid depth, metres; 0 = as found.", minimum=0.0)


LOOK_AT = 40  # files of each kind that guesses rest on; tools/check_dataset.py reads all
_NICE = (1, 2, 5, 10, 20, 50, 80, 100, 200, 300, 500, 1000)  # metres, for a largest depth


def describe(parsed):
    """Looks, asks, writes, tries.

    Raises:
        UsageError: the folder is none of the project's layout, its labels are of another kind, or a question has no
            answer.
    """
    root, own = parsed.config.data.root, parsed.own
    found = look(parsed.config)
    ask = Questions(own.ask)
    path = pathlib.Path(root) / descriptors.FILE_NAME
    old = None
    if path.exists():
        if not (own.replace or ask(f"{path} exists. Replace it?", "no", _yes_or_no, "replace")):
            raise UsageError(f"{path} is left as it is; --replace replaces it")
        try:
            old = descriptors.read(root)
        except UsageError as error:
            print(f"what is there cannot serve for guesses: {error}")
    described = answers(found, own, old, ask, pathlib.Path(root).absolute().name)
    print(f"\nwritten to {descriptors.write(root, described)}")
    report(parsed.config, descriptors.read(root), found)


# === What is there ===


@dataclasses.dataclass(frozen=True)
class Found:
    """What the files say.

    Attributes:
        counts: split -> "rgb", "semseg", "depth" -> number of files.
        values: label value -> number of pixels, in the files looked at; empty where there are no labels.
        palette: label value -> RGB colour, of palette PNGs.
        depth_bits: 8 or 16; 0 where there is no depth.
        depth_range: smallest and largest stored value but 0.
    """

    counts: dict[str, dict[str, int]]
    values: dict[int, int]
    palette: dict[int, tuple[int, int, int]]
    depth_bits: int
    depth_range: tuple[int, int]


def look(config: Config) -> Found:
    """Looks at the files of a folder in the project's layout.

    Raises:
        UsageError: it is none, or a file is of another kind.
    """
    root = config.data.root
    if files.is_remote(root):
        raise UsageError(
            f"--data.root={root} is remote; describe a local copy, then copy {descriptors.FILE_NAME} there"
        )
    splits = splits_in(root) if root and files.is_folder(root) else []
    if not splits:
        find_split(replace(config, data__name="folder").data, "train")  # says what is wrong and guesses what was meant
    lists = {
        split: {kind: list_files(files.join(root, split), kind) for kind in ("rgb", "semseg", "depth")}
        for split in splits
    }
    counts = {split: {kind: len(found) for kind, found in kinds.items()} for split, kinds in lists.items()}
    for split, of in counts.items():
        print(f"{split}: {of['rgb']} images, {of['semseg']} semseg labels, {of['depth']} depth labels")
    if not any(of["semseg"] or of["depth"] for of in counts.values()):
        raise UsageError(f"{root} has images but no labels; put class ids into {splits[0]}/semseg, depth into depth")
    chosen = {
        kind: _some([path for kinds in lists.values() for path in kinds[kind].values()]) for kind in counts[splits[0]]
    }
    values, palette = _look_at_labels(chosen["semseg"])
    bits, limits = _look_at_depth(chosen["depth"])
    return Found(counts, values, palette, bits, limits)


def _some(paths):
    """Some of the files, at equal distances."""
    paths = sorted(paths, key=natural_order)
    return paths[:: max(len(paths) // LOOK_AT, 1)][:LOOK_AT]


def _look_at_labels(paths):
    total, palette = np.zeros(256, np.int64), {}
    for path in paths:
        total += np.bincount(
            read_codes(path, "a class id per pixel: an 8-bit grey or palette PNG").ravel(), minlength=256
        )
        palette = palette or _palette_of(path)
    values = {int(value): int(total[value]) for value in np.flatnonzero(total)}
    if paths:
        print(f"label values in {len(paths)} files: {_ranges(values)}{' (with a palette)' if palette else ''}")
    return values, palette


def _palette_of(path):
    try:
        with open_picture(path) as image:
            colours = image.getpalette("RGB") if image.mode == "P" else None
    except UNREADABLE:
        return {}
    return dict(enumerate(zip(*[iter(colours)] * 3, strict=True))) if colours else {}


def _look_at_depth(paths):
    if not paths:
        return 0, (0, 0)
    with open_picture(paths[0]) as image:
        bits = 8 if image.mode in ("L", "P") else 16
    smallest, largest = [], []
    for path in paths:
        codes = (
            read_codes(path, "8-bit depth, as in the other files") if bits == 8 else read_uint16(path, "16-bit depth")
        )
        codes = codes[codes > 0]
        if codes.size:
            smallest.append(int(codes.min()))
            largest.append(int(codes.max()))
    if not largest:
        raise UsageError(f"{files.folder_of(paths[0])}: the values of {len(paths)} depth files are all 0, unknown")
    limits = min(smallest), max(largest)
    print(f"depth in {len(paths)} files: {bits} bits, values {limits[0]} to {limits[1]} (0 = unknown)")
    return bits, limits


def _ranges(values):
    """The numbers as text: 0-11, 255."""
    parts = []
    for value in sorted(values):
        if parts and parts[-1][1] == value - 1:
            parts[-1][1] = value
        else:
            parts.append([value, value])
    return ", ".join(f"{low}-{high}" if low < high else str(low) for low, high in parts)


# === The questions ===


class Questions:
    """Asks on the terminal; `ask=False` takes every guess."""

    def __init__(self, ask: bool):
        self._ask = ask

    def __call__(self, question: str, guess: str, parse, name: str):
        """The parsed answer; asks again while `parse` raises a UsageError.

        Args:
            question: what is asked.
            guess: the text that Enter stands for.
            parse: function of the text.
            name: of the option that answers instead, for the message where input ends.
        """
        while True:
            if self._ask:
                print(f"{question} [{guess}] ", end="", flush=True)
                line = sys.stdin.readline()
                if not line:
                    print()
                    raise UsageError(f"the input ended before the answer to: {question} Give --{name}, or --noask")
            try:
                return parse((line.strip() if self._ask else "") or guess)
            except UsageError as error:
                if not self._ask:
                    raise
                print(f"  {error}")


def answers(found: Found, own: Options, old: Descriptor | None, ask: Questions, folder: str) -> Descriptor:
    """The descriptor by options, answers and guesses; `old` is the present one, for guesses."""
    old = old or Descriptor(name=folder)
    name = own.name or ask("Name of the data set?", old.name, str, "name")
    parse, there = _splits_of(found.counts), ",".join(found.counts)
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
    parse = _ignore_value(found.values)
    if own.ignore >= 0:
        ignore = parse(str(own.ignore))
    else:
        guess = old.ignore if old.classes else guess_ignore(found.values)
        ignore = ask("Label value of pixels without a class?", str(guess), parse, "ignore")
    largest = max((value for value in found.values if value != ignore), default=0)
    unused = sorted(set(range(largest + 1)) - set(found.values))
    if unused:
        print(f"  no pixel has {_ranges(unused)}; each value from 0 to {largest} is a class with a name")
    parse = _class_names(largest + 1, ignore)
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
        scale = own.unit or ask(question, f"{guess:g}", _positive_number, "unit")
        described["depth_scale"] = scale
        low, high = low * scale, high * scale
        guesses = min(0.1, low), next((nice for nice in _NICE if nice >= high), high)
    else:
        print("  8-bit depth is read as inverse depth: 255 the smallest, 1 the largest, 0 unknown (data/codecs.py)")
        guesses = codecs.MINIMUM, codecs.MAXIMUM
    if known:
        guesses = old.depth_minimum, old.depth_maximum
    smallest = own.minimum or ask("Smallest valid depth, metres?", f"{guesses[0]:g}", _positive_number, "minimum")
    above = _more_than(smallest)
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


def _yes_or_no(text):
    if text.lower() not in ("y", "yes", "n", "no"):
        raise UsageError(f"yes or no, not {text!r}")
    return text.lower().startswith("y")


def _splits_of(there):
    def parse(text):
        names = tuple(filter(None, (part.strip() for part in text.split(","))))
        if not names or len(set(names)) != len(names) or not set(names) <= set(there):
            raise UsageError(f"some of {', '.join(there)}, with commas, not {text!r}")
        return names

    return parse


def _ignore_value(values):
    def parse(text):
        if not text.isdecimal() or not 0 < int(text) < 256:
            raise UsageError(f"a whole number, 1 to 255, not {text!r}")
        above = [value for value in values if value > int(text)]
        if above:
            raise UsageError(
                f"the labels hold {_ranges(above)}, but the value without a class, {text}, must be above all classes: "
                "renumber the labels, or call it a class as well"
            )
        return int(text)

    return parse


def _positive_number(text):
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"a positive number, not {text!r}")
    return value


def _more_than(low):
    def parse(text):
        value = _positive_number(text)
        if value <= low:
            raise UsageError(f"more than the smallest depth, {low:g} m, not {text}")
        return value

    return parse


def _class_names(least, ignore):
    """A parser of names with commas, or of a file of them: name -> colour or None."""

    def parse(text):
        lines = text.split(",")
        if "," not in text and pathlib.Path(text).is_file():
            lines = pathlib.Path(text).read_text(encoding="utf-8", errors="replace").splitlines()
        named = [_name_and_colour(line) for line in lines if line.strip()]
        if len({name for name, _ in named}) != len(named):
            raise UsageError("different names, not one twice")
        if not least <= len(named) <= ignore:
            raise UsageError(
                f"{least} names or more, and no more than the value without a class, {ignore}; got {len(named)}"
            )
        return dict(named)

    return parse


def _name_and_colour(line):
    words = line.split()
    if len(words) > 3 and all(word.isdecimal() and int(word) < 256 for word in words[-3:]):
        return " ".join(words[:-3]), tuple(map(int, words[-3:]))
    return " ".join(words), None


# === Trying it ===


def report(config: Config, described: Descriptor, found: Found):
    """Reads some samples of each split as training would, prints what is wrong with them and what to do next."""
    config = replace(config, data__name="folder", tasks=described.task_names, model__architecture="joint")
    root, faults = config.data.root, 0
    for split in found.counts:
        for _, faults_of in _some_samples(open_split(config, split, described)):
            for text in faults_of():
                faults += 1
                print(f"  {text}")
    print(f"{faults or 'no'} faults in the samples tried; next:")
    commands = ["check_dataset.py --data.name=folder", "dataset_statistics.py --write --data.name=folder"]
    for command in commands:
        print(f"  python tools/{command} --data.root={root}")
    print(f"  python main.py train --run_dir=RUN --data.name=folder --data.root={root}")


def _some_samples(source, most=5):
    samples = source.faults()
    return samples[:: max(len(samples) // most, 1)][:most]


if __name__ == "__main__":
    sys.exit(run_tool(describe, Options))
