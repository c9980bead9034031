"""Pictures with text: under captions side by side, beside a bar of distances, and a legend of classes.

NumPy and Pillow only: nothing here waits for TensorFlow.
"""

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mtl_tf.pictures import DEPTH_COLOURS, Colour, as_picture, colour_depth, log_position, look_up

if TYPE_CHECKING:
    from mtl_tf.tasks import Task

PAPER: Colour = (255, 255, 255)
INK: Colour = (32, 36, 44)
SMALLEST, LARGEST = 256, 512  # heights in pixels that a picture in a panel is enlarged and shrunk towards
TASKS_A_ROW = 2  # of a panel of a sample
WIDEST = 1024  # pixels; an enlarged picture stays narrower than this
PAGE_TICKS = 6  # of a metre bar in the report page, as many as a telephone has room for


def depth_with_bar(depth: np.ndarray, low: float, high: float, unit: str = " m") -> np.ndarray:
    """`colour_depth` with a bar of metres beside it, log scale, near at the bottom.

    Args:
        depth: metres (H, W); a small map is enlarged until the labels of the bar can be read.
        low, high: metres at the ends of the scale.
        unit: stands after the numbers.

    Returns:
        uint8 picture, wider than the depth map.
    """
    return beside_bar(_enlarge(colour_depth(depth, low, high)), low, high, unit)


def label_legend(classes: Sequence[str], palette: Sequence[Colour], width: int = 960) -> np.ndarray:
    """The classes and their colours in columns, uint8 (H, width, 3); wider if one name needs more."""
    font = _font(16)
    swatch, gap = 18, 8
    cell = swatch + gap + max((math.ceil(font.getlength(name)) for name in classes), default=0) + 3 * gap
    columns = max(1, min((width - 2 * gap) // cell, len(classes)))
    rows = max(1, math.ceil(len(classes) / columns))
    line = swatch + gap
    canvas = Image.new("RGB", (max(width, columns * cell + gap), rows * line + gap), PAPER)
    draw = ImageDraw.Draw(canvas)
    for place, (name, colour) in enumerate(zip(classes, palette, strict=True)):
        # Down the columns: the order of the ids stays readable.
        x, y = gap + place // rows * cell, gap + place % rows * line
        draw.rectangle((x, y, x + swatch - 1, y + swatch - 1), fill=tuple(colour), outline=INK)
        draw.text((x + swatch + gap, y + swatch / 2), name, INK, font, anchor="lm")
    return np.asarray(canvas)


def panel(columns: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """One row of pictures under their captions; see `grid`."""
    return grid([columns])


def grid(rows: Sequence[Sequence[tuple[str, np.ndarray]]]) -> np.ndarray:
    """Rows of pictures under their captions, aligned in columns on white.

    Small pictures are enlarged a whole number of times, so that every pixel stays a square; large ones are shrunk.

    Args:
        rows: for each row its (caption, picture uint8 (H, W, 3)) pairs; rows may differ in length.

    Returns:
        uint8 (H, W, 3).
    """
    rows = [[(caption, fitted(picture)) for caption, picture in row] for row in rows]
    count = max(len(row) for row in rows)
    widths = [max(row[c][1].shape[1] for row in rows if c < len(row)) for c in range(count)]
    heights = [max((picture.shape[0] for _, picture in row), default=0) for row in rows]
    # Text grows with the pictures: a panel is mostly seen shrunk to the width of a page.
    size = max(13, round(sorted(widths)[count // 2] / 18))
    margin, line = size // 2, size * 3 // 2
    canvas = Image.new("RGB", (sum(widths) + margin * (count + 1), sum(heights) + (line + margin) * len(rows)), PAPER)
    draw = ImageDraw.Draw(canvas)
    y = 0
    for row, height in zip(rows, heights, strict=True):
        x = margin
        for (caption, picture), width in zip(row, widths, strict=False):
            draw.text((x, y + line / 2 + 1), _shorten(caption, width, _font(size)), INK, _font(size), anchor="lm")
            canvas.paste(Image.fromarray(picture), (x, y + line))
            x += width + margin
        y += line + height + margin
    return np.asarray(canvas)


def sample_panel(image: np.ndarray, tasks: "Sequence[Task]", truth: dict, prediction: dict) -> np.ndarray:
    """The image, then for each task the truth and the prediction, depth on the log scale of the truth's range.

    Two tasks stand in a row, so that the picture of many can be seen as a whole.

    Args:
        image: RGB 0..255 (H, W, 3).
        tasks: the tasks, in the order of their columns.
        truth, prediction: task name -> class ids int (H, W) or metres (H, W); a missing one leaves its column out.

    Returns:
        uint8 (h, w, 3).
    """
    image = as_picture(image)
    rows = [[("image", image)]]
    for number, task in enumerate(tasks):
        if number and number % TASKS_A_ROW == 0:
            rows.append([("", np.full(image.shape, PAPER, np.uint8))])
        rows[-1] += task.columns(truth.get(task.name), prediction.get(task.name))
    return grid(rows)


def beside_bar(picture: np.ndarray, low: float, high: float, unit: str) -> np.ndarray:
    """A picture of depth, uint8 (H, W, 3), with a bar of the distances from low to high, log scale, near below."""
    height, width = picture.shape[:2]
    font = _font(max(11, min((height + width) // 40, height // 6)))
    gap, thickness = max(6, height // 40), max(12, height // 20)
    ticks = _ticks(low, high, max(2, int(height / (font.size * 2.2))), unit)
    # Never narrower than usual, so that the pictures of several samples line up.
    room = max(math.ceil(font.getlength(label)) for label in ("0.00 m", *(label for _, label in ticks)))
    left = width + gap
    canvas = Image.new("RGB", (left + thickness + gap + room + gap, height), PAPER)
    canvas.paste(Image.fromarray(picture), (0, 0))
    ramp = look_up(DEPTH_COLOURS, np.linspace(1, 0, height))
    canvas.paste(Image.fromarray(np.repeat(ramp[:, None], thickness, axis=1)), (left, 0))
    draw = ImageDraw.Draw(canvas)
    for metres, label in ticks:
        y = (1 - float(log_position(metres, low, high))) * (height - 1)
        edge = left + thickness
        draw.line((edge, y, edge + gap // 2, y), fill=INK, width=max(1, height // 400))
        half = font.size * 0.6  # keeps the labels of both ends inside the picture
        draw.text((edge + gap, min(max(y, half), height - half)), label, INK, font, anchor="lm")
    return np.asarray(canvas)


def depth_ticks(low: float, high: float, most: int, unit: str = " m") -> list[tuple[float, str]]:
    """Ticks of a metre bar: at most about `most` (place 0..1 on the log scale, label) pairs, both ends among them."""
    return [(float(log_position(metres, low, high)), label) for metres, label in _ticks(low, high, most, unit)]


def _ticks(low, high, most, unit=" m"):
    """At most about `most` (metres, label) pairs: both ends, and the round values that stand clear of the others."""
    ends = [low, high] if 0 < low < high else [low]
    digits = 2
    while len(ends) == 2 and digits < 6 and f"{low:.{digits}g}" == f"{high:.{digits}g}":
        digits += 1
    chosen = list(ends)
    for mantissas in ((1,), (2, 5), (3, 4, 7), (1.5, 2.5)):
        for metres in (m * 10.0**power for power in range(-3, 5) for m in mantissas):
            apart = min(abs(float(log_position(metres, low, high) - log_position(c, low, high))) for c in chosen)
            if low < metres < high and apart > 1 / most:
                chosen.append(metres)
    return [(metres, f"{float(f'{metres:.{digits}g}'):g}{unit}") for metres in sorted(chosen)]


@functools.cache
def _font(size):
    return ImageFont.load_default(size)


def _shorten(text, width, font):
    """The text, cut with dots where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."


def _enlarge(picture):
    height, width = picture.shape[:2]
    times = max(1, min(round(SMALLEST / height), WIDEST // width))
    return picture.repeat(times, axis=0).repeat(times, axis=1) if times > 1 else picture


def fitted(picture: np.ndarray) -> np.ndarray:
    """A picture in a size that suits a panel."""
    picture = _enlarge(as_picture(picture))
    height, width = picture.shape[:2]
    if height <= LARGEST:
        return picture
    size = (max(1, round(width * LARGEST / height)), LARGEST)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
