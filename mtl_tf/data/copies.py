"""Pictures that stand in two splits, by their pixels whatever their files are called: eight bytes a picture."""

import hashlib
import itertools
from collections.abc import Sequence

import numpy as np

NAMED = 20  # pairs that are named


def digest(pixels: np.ndarray) -> int:
    """A number for the pixels of a picture (H, W, 3); 0 where all have one colour, which different pictures may."""
    if (pixels == pixels[:1, :1]).all():
        return 0
    found = hashlib.blake2b(np.ascontiguousarray(pixels), digest_size=8, key=str(pixels.shape).encode())
    return int.from_bytes(found.digest())


class Copies:
    """The pictures of some splits."""

    def __init__(self):
        self._digests: dict[str, np.ndarray] = {}
        self._names: dict[str, Sequence[str]] = {}
        self._split = ""

    def begin(self, split: str, names: Sequence[str]) -> None:
        """Turns to a split whose samples have these names."""
        self._split = split
        self._names[split], self._digests[split] = names, np.zeros(len(names), np.uint64)

    def add(self, place: int, picture: int) -> None:
        """Adds the digest of the sample at a place in the names; 0 = none."""
        self._digests[self._split][place] = picture

    def told(self) -> list[str]:
        """The pictures that stand in two splits, a line each; above `NAMED` the rest is counted."""
        lines, count = [], 0
        for one, other in itertools.combinations(self._digests, 2):
            common, places, others = np.intersect1d(self._digests[one], self._digests[other], return_indices=True)
            pairs = sorted((i, j) for key, i, j in zip(common, places, others, strict=True) if key)
            count += len(pairs)
            lines += [
                f"the same picture is {self._names[one][i]} of {one} and {self._names[other][j]} of {other}, so the "
                f"scores of {other} are no test; remove it from one of them"
                for i, j in pairs[: NAMED - len(lines)]
            ]
        if count > len(lines):
            lines.append(f"{count - len(lines)} more pictures stand in two splits")
        return lines
