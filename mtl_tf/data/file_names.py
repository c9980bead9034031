"""How files of one sample are named: 7.jpg and 7.png, or by patterns such as *_sat and *_mask, * being the id."""

import itertools
import re
from collections.abc import Collection

SAME = "*"  # the name without its ending is the id
_LOOK_AT = 200  # labels, when a pattern is guessed
_RUN = re.compile(r"[^\W\d_]+|\d+|[\W_]+")


def patterns(value):
    """an object of patterns by folder, each with one * for the id, such as {"rgb": "*_sat", "semseg": "*_mask"}"""
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError
    if any(each.count("*") != 1 or "/" in each for each in value.values()):
        raise ValueError
    return dict(value)


def id_by(pattern: str, name: str) -> str | None:
    """The id in a name without its ending, which may have folders before it; None where the name is another."""
    folder, _, last = name.rpartition("/")
    before, after = pattern.split("*")
    if len(last) <= len(before) + len(after) or not (last.startswith(before) and last.endswith(after)):
        return None
    last = last[len(before) : len(last) - len(after)]
    return f"{folder}/{last}" if folder else last


def guess(images: Collection[str], labels: Collection[str]) -> tuple[str, str] | None:
    """The patterns of pictures and of labels by which all labels belong to pictures of their own.

    Args:
        images, labels: names without their endings; none of the labels is called as a picture.

    Returns:
        Both patterns, with as few letters and digits as can be; None where there are none.
    """
    some = sorted(labels)[:_LOOK_AT]
    if not some or not images:
        return None
    found = []
    for image in _candidates(images):
        ids = {id_by(image, name) for name in images}
        for label in _candidates(labels):
            wanted = {id_by(label, name) for name in some}
            if len(wanted) == len(some) and wanted <= ids and None not in wanted:
                found.append((image, label))
    return min(found, key=lambda pair: (sum(map(str.isalnum, "".join(pair))), -len("".join(pair)), pair), default=None)


def _candidates(names):
    """The patterns that all names have, cut between letters, digits and signs."""
    names = [name.rpartition("/")[2] for name in names]
    before, after = _beginning(names), _beginning([name[::-1] for name in names])[::-1]
    befores = ["", *(before[: run.end()] for run in _RUN.finditer(before))]
    afters = ["", *(after[run.start() :] for run in _RUN.finditer(after))]
    return [f"{first}*{last}" for first, last in itertools.product(befores, afters)]


def _beginning(names):
    """The letters that all names begin with."""
    first, last = min(names), max(names)
    differ = (place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return first[: next(differ, len(first))]


def told(task: str, images: Collection[str], labels: Collection[str]) -> str:
    """What to write into dataset.json so that labels of a task belong to pictures; "" where no pattern does it."""
    found = guess(images, labels)
    if not found:
        return ""
    named = [f'"{folder}": "{each}"' for folder, each in zip(("rgb", task), found, strict=True) if each != SAME]
    return f'"file_names": {{{", ".join(named)}}}'
