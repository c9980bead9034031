"""TUM RGB-D (Sturm et al., IROS 2012): sequences whose pictures and depth belong together by their time stamps."""

from _describing.layouts.layout import Layout, folders_in
from mtl_tf.data.split_lists import HEADING
from mtl_tf.errors import UsageError
from mtl_tf.storage import files
from mtl_tf.storage.texts import read_text

_APART = 0.02  # seconds that a picture and its depth may be apart, as in the benchmark's associate.py
_METRES = 1 / 5000  # a unit of stored depth
_LIST = "train_pairs.txt"
_SPLIT = "train"


def tum(root: str) -> Layout | None:
    """A sequence with rgb.txt and depth.txt, or a folder of such sequences."""
    sequences = [name for name in ("", *folders_in(root)) if _is_sequence(files.join(root, name))]
    if not sequences:
        return None
    lines, lonely = [f"{HEADING} depth"], 0
    for name in sequences:
        pictures, depth = (_stamped(files.join(root, name, f"{kind}.txt")) for kind in ("rgb", "depth"))
        paired = associated(list(pictures), list(depth))
        lonely += len(pictures) - len(paired)
        below = f"{name}/" if name else ""
        lines += [f"{below}{pictures[first]}\t{below}{depth[second]}" for first, second in paired]
    if len(lines) == 1:
        raise UsageError(f"{root}: no picture of rgb.txt is within {_APART:g} s of a depth map of depth.txt")
    place = "" if sequences == [""] else "{sequence}/"
    notes = [f"{len(lines) - 1} pictures and depth maps within {_APART:g} s of each other are paired in {_LIST}"]
    if lonely:
        notes.append(f"{lonely} pictures are left out: no depth map is so near in time")
    return Layout(
        "TUM RGB-D",
        {"rgb": f"{place}rgb/{{id}}.png", "depth": f"{place}depth/{{id}}.png"},
        {_SPLIT: _LIST},
        (_SPLIT,),
        written={_LIST: "\n".join(lines) + "\n"},
        options={"depth_encoding": "uint16_scaled", "unit": _METRES},
        notes=notes,
    )


def associated(first: list[float], second: list[float], apart: float = _APART) -> list[tuple[float, float]]:
    """Pairs of time stamps, in seconds, the nearest first chosen, each used once, as associate.py has them."""
    first, second = sorted(first), sorted(second)
    near, begin = [], 0
    for one in first:
        while begin < len(second) and second[begin] <= one - apart:
            begin += 1
        for other in second[begin:]:
            if other >= one + apart:
                break
            near.append((abs(one - other), one, other))
    found, used = {}, set()
    for _, one, other in sorted(near):
        if one not in found and other not in used:
            found[one] = other
            used.add(other)
    return sorted(found.items())


def _is_sequence(folder):
    return all(files.is_file(files.join(folder, f"{kind}.txt")) for kind in ("rgb", "depth"))


def _stamped(path):
    """Time stamp -> file, of a text with both in each line; lines that begin with # are comments."""
    found = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            stamp, name = line.split()[:2]
            found[float(stamp)] = name
        except ValueError:
            raise UsageError(f"{path}: line {number} should be a time stamp and a file, it is {line[:60]!r}") from None
    return found
