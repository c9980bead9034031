"""The part of a picture that a training crop is, where it is only moved and mirrored: known before pixels are copied.

So a reader converts the pixels of the crop alone. NumPy only; `augment` gives the same crop of a whole picture.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from mtl_tf.errors import UsageError
from mtl_tf.storage import files


class Window(NamedTuple):
    """A rectangle of a picture, pixels; it may reach outside. `mirrored`: left and right are exchanged."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool = False


# From the height and width of a picture to its window; None = the whole picture.
Choose = Callable[[tuple[int, int]], Window | None]


class Part(NamedTuple):
    """The part of a picture that is read, for the readers of its labels.

    Attributes:
        picture: its path.
        size: height and width of all of it.
        window: of it; None = all.
    """

    picture: str
    size: tuple[int, int]
    window: Window | None = None

    def of(self, path: str, size: tuple[int, int]) -> Window | None:
        """The window of a label file of that size.

        Raises:
            UsageError: the file is not as large as its picture.
        """
        if tuple(size) != tuple(self.size):
            raise UsageError(
                f"{path}: {size[1]}x{size[0]} pixels, but its image {files.name_of(self.picture)} is "
                f"{self.size[1]}x{self.size[0]}; all files of a sample have one size"
            )
        return self.window


def choose(draws: np.ndarray, size: tuple[int, int], crop_size: tuple[int, ...], reflect: bool) -> Window:
    """The window of a sample.

    Args:
        draws: float64 (3,), uniform in [0, 1): offset in x and in y, flip.
        size: height and width of the picture.
        crop_size: height and width of the crop; empty = the whole picture.
        reflect: whether it may be mirrored.
    """
    height, width = crop_size or size
    left, top = _offset(draws[0], size[1] - width), _offset(draws[1], size[0] - height)
    return Window(top, left, height, width, bool(reflect and draws[2] < 0.5))


def _offset(draw, room):
    """A whole offset in 0..room; half of it where the crop is larger than the picture."""
    return min(int(draw * (room + 1.0)), room) if room >= 0 else room // 2


def inside(window: Window, size: tuple[int, int]) -> bool:
    """Whether a window lies inside a picture."""
    return (
        min(window.top, window.left) >= 0
        and window.top + window.height <= size[0]
        and window.left + window.width <= size[1]
    )


def cut(pixels: np.ndarray, window: Window | None, fill=0) -> np.ndarray:
    """The pixels (H, W, ...) of a window, `fill` outside the picture; a view where it can be. None = all."""
    if window is None:
        return pixels
    top, left, height, width, mirrored = window
    if inside(window, pixels.shape[:2]):
        part = pixels[top : top + height, left : left + width]
    else:
        part = np.full((height, width, *pixels.shape[2:]), fill, pixels.dtype)
        known = pixels[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
        down, right = max(-top, 0), max(-left, 0)
        part[down : down + known.shape[0], right : right + known.shape[1]] = known
    return part[:, ::-1] if mirrored else part


def cut_sample(
    sample: dict[str, np.ndarray], window: Choose | None, blanks: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """The same window of all that a sample (see `Source.read`) has; black and without labels outside.

    Args:
        sample: the sample.
        window: from the size of its picture to the part that is wanted; None = all.
        blanks: task name -> value of a pixel without a label.
    """
    if window is None:
        return sample
    chosen = window(sample["image"].shape[:2])
    return {name: cut(pixels, chosen, blanks.get(name, 0)) for name, pixels in sample.items()}
