"""Where the files of a sample lie: paths such as "img/{split}/{id}.jpg", or a name such as "*_mask" in its folder."""

import dataclasses
import functools
import itertools
import os
import re
from collections.abc import Collection, Mapping

from mtl_tf.errors import UsageError
from mtl_tf.storage import listing, maps

SAME = "*"  # the name without its ending is the id
DEEP = "**"  # any folders, also none; they join the id
_ENDINGS = {*listing.PICTURES, *listing.LABELS, *maps.ENDINGS}
_FIELD = re.compile(r"\{(\w*)\}")
_LOOK_AT = 200  # labels, when a pattern is guessed
_RUN = re.compile(r"[^\W\d_]+|\d+|[\W_]+")


@dataclasses.dataclass(frozen=True)
class Pattern:
    """Paths of files below the root of a data set.

    Attributes:
        text: with {id} and, as a rule, {split}; further {names}, and ** before the last part, join the id as folders.
            With an ending only such files are meant, without one those with any ending that is read.
    """

    text: str

    @functools.cached_property
    def parts(self) -> tuple[str, ...]:
        """The folders and the name of the file, without **."""
        return tuple(part for part in self.text.split("/") if part != DEEP)

    @functools.cached_property
    def deep(self) -> bool:
        """Whether files may lie in folders below the last one."""
        return DEEP in self.text.split("/")

    @functools.cached_property
    def name(self) -> str:
        """The last part as people write it: *_mask where only the id varies."""
        return self.parts[-1].replace("{id}", SAME) if self.deep else self.parts[-1]

    @functools.cached_property
    def fields(self) -> tuple[str, ...]:
        """The names in braces."""
        return tuple(dict.fromkeys(_FIELD.findall(self.text)))

    @functools.cached_property
    def ending(self) -> str:
        """Of the files that are meant, lower case; "" = any."""
        ending = os.path.splitext(self.text)[1].lower()
        return ending if ending in _ENDINGS else ""

    def literal(self, depth: int, known: Mapping[str, str]) -> str | None:
        """The part at a depth, if it is one name once some fields are known; else None."""
        part = _FIELD.sub(lambda field: known.get(field[1], field[0]), self.parts[depth])
        return None if _FIELD.search(part) else part

    def fields_in(self, path: str, known: Mapping[str, str]) -> dict[str, str] | None:
        """What the fields are in a path, or in the folders that it begins with; None where it does not fit.

        Args:
            path: below the root.
            known: fields whose values are given.
        """
        whole = path.count("/") + 1 >= len(self.parts)
        if whole:
            stem, ending = os.path.splitext(path)
            path = stem + ending.lower() if self.ending else stem
        count = len(self.parts) if whole else path.count("/") + 1
        match = _regex(self, count, tuple(sorted(known.items()))).fullmatch(path)
        return match and {**known, **match.groupdict()}

    def id_of(self, path: str, split: str = "") -> str | None:
        """The id of a file: the folders of all fields but {split}, and {id}; None where the path does not fit."""
        found = self.fields_in(path, {"split": split} if split else {})
        if not found or "id" not in found:
            return None
        folders = [value.rstrip("/") for name, value in found.items() if name not in ("split", "id")]
        return "/".join([*filter(None, folders), found["id"]])


@functools.lru_cache(maxsize=1024)
def _regex(pattern, count, known):
    """Of the first parts of a path."""
    known, seen, parts = dict(known), set(), []
    for depth, part in enumerate(pattern.parts[:count]):
        last = depth == len(pattern.parts) - 1
        if last and pattern.ending:
            part = part[: -len(pattern.ending)] + pattern.ending
        made = "(?P<_folders>(?:[^/]+/)*)" if last and pattern.deep else ""
        for place, text in enumerate(_FIELD.split(part)):
            if place % 2 == 0 or text in known:
                made += re.escape(known[text] if place % 2 else text)
            else:
                made += f"(?P={text})" if text in seen else f"(?P<{text}>[^/]+?)"
                seen.add(text)
        parts.append(made)
    return re.compile("/".join(parts))


def in_folder(text: str, folder: str) -> Pattern:
    """The pattern that an entry of dataset.json is for "rgb" or a task: a path, or a name in a folder of that name."""
    return Pattern(text if "{" in text else f"{{split}}/{folder}/{DEEP}/{text.replace(SAME, '{id}')}")


EVERY = Pattern(f"{DEEP}/{{id}}")  # all files of a folder and of those in it


# === dataset.json ===


def patterns(value):
    """an object of patterns by folder, each with one * for the id, such as {"rgb": "*_sat", "semseg": "*_mask"}, or
    paths with {id} and {split}, such as {"rgb": "images/{split}/{id}.jpg"}"""
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError
    for folder, each in value.items():
        if "{" in each or "}" in each:
            _check_path(folder, each)
        elif each.count(SAME) != 1 or "/" in each:
            raise ValueError
    return dict(value)


def _check_path(folder, text):
    """Raises a UsageError where a pattern is no path as it should be."""
    parts, names = text.split("/"), _FIELD.findall(text)
    wrong = ""
    if set("{}") & set(_FIELD.sub("", text)) or not all(map(re.compile(r"[^\W\d_]\w*").fullmatch, names)):
        wrong = "names in braces are of letters, digits and _, and begin with a letter"
    elif "id" not in names:
        wrong = "it lacks {id}, which names the sample"
    elif any(part in ("", ".", "..") for part in parts):
        wrong = "it should be a path below data.root, with / between its parts"
    elif DEEP in parts[:-2] or SAME in text.replace(f"{DEEP}/", ""):
        wrong = "* has no meaning beside braces, but for **/ (any folders) before the last part"
    if wrong:
        raise UsageError(f'is "{text}" for {folder}: {wrong}; such as "images/{{split}}/{{id}}.jpg"')


# === Guesses ===


def ids_by(pattern: str, names: Collection[str]) -> list[str | None]:
    """The ids in names without endings, which may have folders before them; None where a name is another."""
    regex = _regex(Pattern(f"{DEEP}/{pattern.replace(SAME, '{id}')}"), 1, ())
    return [found and found["_folders"] + found["id"] for found in map(regex.fullmatch, names)]


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
        ids = set(ids_by(image, images))
        for label in _candidates(labels):
            wanted = set(ids_by(label, some))
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
