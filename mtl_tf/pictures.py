"""Pictures of images, labels and depth: colours, panels, and PNG files.

Pictures are uint8 RGB arrays (H, W, 3). Pixels without a label or a depth are checkered, so that no colour of a
class or of a distance can be mistaken for "unknown". NumPy and Pillow only: nothing here waits for TensorFlow.
"""

import functools
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mtl_tf.atomic import write_bytes

if TYPE_CHECKING:
    from mtl_tf.tasks import Task

Colour = tuple[int, int, int]

PAPER: Colour = (255, 255, 255)
INK: Colour = (32, 36, 44)
WRONG: Colour = (230, 40, 40)
RIGHT: Colour = (44, 48, 58)
# A yes that is right, one that is missing, and one that is false: apart for the colour-blind too.
VERDICTS: dict[str, Colour] = {
    "right": RIGHT,
    "wrong": WRONG,
    "found": (38, 176, 122),
    "missed": (255, 150, 40),
    "false": (120, 184, 255),
}
CHECKER = (np.uint8(226), np.uint8(190))
SMALLEST, LARGEST = 256, 512  # heights in pixels that a picture in a panel is enlarged and shrunk towards
TASKS_A_ROW = 2  # of a panel of a sample
WIDEST = 1024  # pixels; an enlarged picture stays narrower than this
PAGE_TICKS = 6  # of a metre bar in the report page, as many as a telephone has room for
LARGEST_ERROR = math.log(2)  # a depth wrong by a factor of two has the last colour of `error_depth`


def _table(*anchors: str) -> np.ndarray:
    """256 colours (256, 3) interpolated between equally spaced "rrggbb" anchors."""
    corners = np.array([tuple(bytes.fromhex(anchor)) for anchor in anchors], np.float64)
    places = np.linspace(0, 1, len(anchors))
    steps = np.linspace(0, 1, 256)
    return np.stack([np.interp(steps, places, corners[:, c]) for c in range(3)], axis=1).round().astype(np.uint8)


# All fall or rise in lightness all the way, so they also read in greyscale and by the colour-blind.
DEPTH_COLOURS = _table("fcfdbf", "fec287", "fb8761", "de4968", "b5367a", "812581", "51127c", "241252", "0c0926")
ERROR_COLOURS = _table("2c303a", "7a2031", "e62828", "ff8a1f", "ffd75e", "fffbe0")
NUMBER_COLOURS = _table("440154", "46327e", "365c8d", "277f8e", "1fa187", "4ac16d", "a0da39", "fde725")  # viridis
PROBABILITY_COLOURS = _table("0e1420", "163a66", "2a72b0", "7fb8e0", "f4fbff")  # blue, unlike the grey of the checkers
SCALES = {"depth": DEPTH_COLOURS, "error": ERROR_COLOURS, "numbers": NUMBER_COLOURS, "probability": PROBABILITY_COLOURS}


# === Colours ===


def colour_labels(labels: np.ndarray, palette: Sequence[Colour], ignore: int = 255) -> np.ndarray:
    """The picture of a label map.

    Args:
        labels: class ids, int (H, W).
        palette: the colour of each class, RGB.
        ignore: the id that no class has; it and ids outside the palette are checkered.

    Returns:
        uint8 (H, W, 3).
    """
    labels = np.asarray(labels)
    known = _known(labels, palette, ignore)
    colours = np.array(palette, np.uint8).reshape(-1, 3)
    return np.where(known[..., None], colours[np.where(known, labels, 0)], checker(labels.shape))


def colour_depth(depth: np.ndarray, low: float, high: float) -> np.ndarray:
    """The picture of a depth map on a log scale: near is light, far is dark, invalid pixels are checkered.

    Args:
        depth: metres (H, W); 0, negative and non-finite values are invalid.
        low, high: metres with the first and the last colour; values beyond take the nearest of the two.

    Returns:
        uint8 (H, W, 3).
    """
    depth = np.asarray(depth, np.float32)
    valid = _valid(depth)
    position = _log_position(np.where(valid, depth, low), low, high)
    return np.where(valid[..., None], _look_up(DEPTH_COLOURS, position), checker(depth.shape))


def depth_range(depth: np.ndarray, fallback: tuple[float, float] = (1.0, 100.0)) -> tuple[float, float]:
    """Smallest and largest valid depth, metres; `fallback` where no pixel is valid."""
    depth = np.asarray(depth, np.float32)
    depth = depth[_valid(depth)]
    return (float(depth.min()), float(depth.max())) if depth.size else fallback


def number_range(numbers: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest number (NaN: none), apart; 0 and 1 where there is none."""
    numbers = np.asarray(numbers, np.float64)
    numbers = numbers[np.isfinite(numbers)]
    low, high = (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 1.0)
    return (low, high) if low < high else (low - 0.5, low + 0.5)


def colour_numbers(numbers: np.ndarray, low: float, high: float) -> np.ndarray:
    """The picture of numbers (H, W) on a linear scale, NaN is checkered: uint8 (H, W, 3).

    Args:
        numbers: float (H, W).
        low, high: numbers with the first and the last colour; those beyond take the nearest of the two.
    """
    known, position = _linear_position(numbers, low, high)
    return np.where(known[..., None], _look_up(NUMBER_COLOURS, position), checker(known.shape))


def overlay(
    image: np.ndarray, labels: np.ndarray, palette: Sequence[Colour], alpha: float = 0.5, ignore: int = 255
) -> np.ndarray:
    """Label colours laid over an image with opacity `alpha`; ignored pixels show the image alone.

    Args:
        image: RGB 0..255 (H, W, 3).
        labels: class ids, int (H, W).

    Returns:
        uint8 (H, W, 3).
    """
    image = as_picture(image)
    labels = np.asarray(labels)
    mixed = (1 - alpha) * image + alpha * colour_labels(labels, palette, ignore).astype(np.float32)
    return np.where(_known(labels, palette, ignore)[..., None], mixed.round().astype(np.uint8), image)


def error_labels(truth: np.ndarray, prediction: np.ndarray, ignore: int = 255) -> np.ndarray:
    """Wrong pixels red, right ones dim, ignored ones checkered: uint8 (H, W, 3) of two int (H, W) label maps."""
    truth = np.asarray(truth)
    wrong = (truth != np.asarray(prediction))[..., None]
    verdict = np.where(wrong, np.uint8(WRONG), np.uint8(RIGHT))
    return np.where((truth == ignore)[..., None], checker(truth.shape), verdict)


def error_depth(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """|ln z - ln z*|: dim where exact, red to pale up to a factor of two and more, checkered without truth.

    Args:
        truth, prediction: metres (H, W).

    Returns:
        uint8 (H, W, 3).
    """
    truth, prediction = np.asarray(truth, np.float32), np.asarray(prediction, np.float32)
    valid = _valid(truth) & _valid(prediction)
    ratio = np.divide(prediction, truth, out=np.ones_like(truth), where=valid)
    # A ratio can still underflow to 0 between two extreme floats; the error is then simply the largest.
    error = np.abs(np.log(np.maximum(ratio, np.finfo(np.float32).tiny)))
    colours = _look_up(ERROR_COLOURS, np.minimum(error / LARGEST_ERROR, 1))
    return np.where(valid[..., None], colours, checker(truth.shape))


def checker(shape: tuple[int, int]) -> np.ndarray:
    """Light and dark grey squares, uint8 (H, W, 3), about 48 along the longer side."""
    side = max(2, max(shape) // 48)
    rows, columns = (np.arange(length) // side for length in shape)
    odd = (rows[:, None] + columns[None, :]) % 2 == 1
    return np.repeat(np.where(odd, CHECKER[1], CHECKER[0])[..., None], 3, axis=2)


def as_picture(image: np.ndarray) -> np.ndarray:
    """An RGB image of any number type, 0..255, as uint8 (H, W, 3)."""
    image = np.asarray(image)
    return image if image.dtype == np.uint8 else np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _known(labels, palette, ignore):
    return (labels != ignore) & (labels >= 0) & (labels < len(palette))


def _valid(depth):
    return np.isfinite(depth) & (depth > 0)


def _log_position(depth, low, high):
    """Where metres stand between low and high, 0..1 on a log scale (0.5 if the two are equal)."""
    if not 0 < low < high:
        return np.full(np.shape(depth), 0.5)
    return np.clip(np.log(np.asarray(depth, np.float64) / low) / math.log(high / low), 0, 1)


def _linear_position(numbers, low, high):
    """Which numbers are known (no NaN), and where they stand between low and high, 0..1."""
    numbers = np.asarray(numbers, np.float64)
    known = np.isfinite(numbers)
    return known, np.clip((np.where(known, numbers, low) - low) / (high - low), 0, 1)


def _look_up(table, position):
    return table[np.rint(position * 255).astype(np.uint8)]


# === Pictures with text ===


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


def pack_depth(depth: np.ndarray, step: float = 0.01) -> tuple[np.ndarray, float]:
    """Depth as a picture: code = 256 * red + green, metres = code * step, 0 = invalid.

    Args:
        depth: metres (H, W); 0, negative and non-finite values are invalid.
        step: the smallest step, metres.

    Returns:
        uint8 (H, W, 3) and the step in metres: the one asked for, more where a depth lies beyond 65535 of it.
    """
    depth = np.asarray(depth, np.float64)
    valid = np.isfinite(depth) & (depth > 0)
    step = max(step, float(depth.max(where=valid, initial=0)) / 65535)
    # A valid depth below half a step must not turn into "invalid".
    codes = np.where(valid, np.clip(np.rint(np.where(valid, depth, 0) / step), 1, 65535), 0)
    return _two_bytes(codes), step


def pack_numbers(numbers: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers (H, W) as a picture, uint8 (H, W, 3): 256 red + green = 1 at low, 65535 at high, 0 for NaN."""
    known, position = _linear_position(numbers, low, high)
    return _two_bytes(np.where(known, 1 + np.rint(65534 * position), 0))


def _two_bytes(codes):
    """Codes 0..65535 (H, W) as red and green, uint8 (H, W, 3)."""
    codes = codes.astype(np.uint16)
    return np.dstack([codes >> 8, codes & 255, np.zeros_like(codes)]).astype(np.uint8)


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
    ramp = _look_up(DEPTH_COLOURS, np.linspace(1, 0, height))
    canvas.paste(Image.fromarray(np.repeat(ramp[:, None], thickness, axis=1)), (left, 0))
    draw = ImageDraw.Draw(canvas)
    for metres, label in ticks:
        y = (1 - float(_log_position(metres, low, high))) * (height - 1)
        edge = left + thickness
        draw.line((edge, y, edge + gap // 2, y), fill=INK, width=max(1, height // 400))
        half = font.size * 0.6  # keeps the labels of both ends inside the picture
        draw.text((edge + gap, min(max(y, half), height - half)), label, INK, font, anchor="lm")
    return np.asarray(canvas)


def depth_ticks(low: float, high: float, most: int, unit: str = " m") -> list[tuple[float, str]]:
    """Ticks of a metre bar: at most about `most` (place 0..1 on the log scale, label) pairs, both ends among them."""
    return [(float(_log_position(metres, low, high)), label) for metres, label in _ticks(low, high, most, unit)]


def _ticks(low, high, most, unit=" m"):
    """At most about `most` (metres, label) pairs: both ends, and the round values that stand clear of the others."""
    ends = [low, high] if 0 < low < high else [low]
    digits = 2
    while len(ends) == 2 and digits < 6 and f"{low:.{digits}g}" == f"{high:.{digits}g}":
        digits += 1
    chosen = list(ends)
    for mantissas in ((1,), (2, 5), (3, 4, 7), (1.5, 2.5)):
        for metres in (m * 10.0**power for power in range(-3, 5) for m in mantissas):
            apart = min(abs(float(_log_position(metres, low, high) - _log_position(c, low, high))) for c in chosen)
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


# === Files ===


def write_png(path: str | Path, array: np.ndarray, palette: Sequence[Colour] | None = None) -> Path:
    """Writes a PNG; a reader never sees half of it.

    Args:
        path: the file; its folder is made.
        array: uint8 (H, W, 3) RGB or (H, W) grey, or uint16 (H, W); with a palette, class ids 0..255 (H, W), kept as
            ids (mode P).
        palette: the colour of each class, RGB; ids beyond it are shown black.

    Returns:
        The path.
    """
    kind = np.uint16 if np.asarray(array).dtype == np.uint16 else np.uint8
    image = Image.fromarray(np.ascontiguousarray(array, dtype=kind))
    if palette is not None:
        colours = np.zeros((256, 3), np.uint8)
        colours[: len(palette)] = np.array(palette, np.uint8).reshape(-1, 3)
        image.putpalette(colours.tobytes())
    return _save(image, path)


def _save(image, path):
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    write_bytes(path, encoded.getvalue())
    return Path(path)
