"""What a page carries for its script: JSON that cannot end its element, and maps as small PNGs.

Maps travel as data, not as pictures: what a pixel holds is up to `Task.page_map`, and PNG keeps every byte of it. The
script of the page colours them, so that one map serves the overlay, the comparison and the error.
"""

import base64
import io
import json
import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image

from mtl_tf import pictures
from mtl_tf.report import scores
from mtl_tf.tasks import Task

LARGEST_SIDE = 512  # pixels; larger maps are thinned: a page must stay small, and no screen shows two of more
MOST_POINTS = 300  # a longer curve is averaged down: more points than pixels only make the page heavy


def json_text(data: object) -> Markup:
    """JSON for a script element of the page.

    Args:
        data: lists, dicts, text and finite numbers.

    Returns:
        Text without "<", ">" and "&", so that no name in it can close the element or open another.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    escaped = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(escaped)  # noqa: S704


# === Curves ===


def figure_data(figures: Sequence) -> list[dict]:
    """The charts of `document.Figure`s; points have lost what is not finite."""
    return [
        {
            "charts": [
                {"log": chart.log, "zero": chart.zero, "lines": [_line(line) for line in chart.lines]}
                for chart in figure.charts
            ]
        }
        for figure in figures
    ]


def _line(line):
    # An axis without points, of a run that has just begun, would be an empty choice.
    return {"label": line.label, "points": {x: _points(found) for x, found in line.points.items() if finite(found)}}


def _points(found):
    """x, y, the last y, and of how many points each is the mean."""
    whole = finite(found)
    xs, ys = ([float(f"{value:.6g}") for value in axis] for axis in zip(*thinned(found), strict=True))
    return {"x": xs, "y": ys, "last": whole[-1][1], "meanOf": math.ceil(len(whole) / MOST_POINTS)}


def finite(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float]]:
    """The finite points in order of x, one for each x: the last wins, since a resumed run repeats steps."""
    found = {x: y for x, y in points if scores.number(x) is not None and scores.number(y) is not None}
    return sorted(found.items())


def thinned(points: Sequence[tuple[float, float | None]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """The finite points, averaged down to at most so many."""
    unique = finite(points)
    size = math.ceil(len(unique) / most)
    if size <= 1:
        return unique
    chunks = [unique[i : i + size] for i in range(0, len(unique), size)]
    return [tuple(sum(part) / len(chunk) for part in zip(*chunk, strict=True)) for chunk in chunks]


# === Pictures ===


def gallery_data(shown: Sequence, tasks: Sequence[Task]) -> dict:
    """The maps and scores of `document.Picture`s, with the colours that they are shown in.

    The photographs are not among them: they stand in the page as the buttons that choose a picture.
    """
    names = {name for picture in shown for answer in picture.answers for name in answer.scores}
    board = scores.Board(tasks)
    ordered = board.ordered(sorted(names))
    return {
        "tasks": [{"name": task.name, "title": board.title(task), **task.page()} for task in board.tasks],
        "metrics": [_metric(name, board) for name in ordered],
        "scales": {name: table.tobytes().hex() for name, table in pictures.SCALES.items()},
        "verdicts": {name: _hex(colour) for name, colour in pictures.VERDICTS.items()},
        "checker": [int(grey) for grey in pictures.CHECKER],
        "pictures": [_picture(picture, board, ordered) for picture in shown],
    }


def _metric(name, board):
    metric = board.describe(name)
    return {"name": name, "label": metric.label, "better": metric.better, "leading": name in board.leading}


def _hex(colour):
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _picture(picture, board, ordered):
    shapes = {name: _grid(found) for name, found in _first_maps(picture).items()}
    truth, answers = {}, [{} for _ in picture.answers]
    for task in (task for task in board.tasks if task.name in shapes):
        shape = shapes[task.name]
        true = picture.truth.get(task.name)
        if true is not None:
            truth[task.name] = _map(task, _sampled(true, shape), truth=True)
        for answer, maps in zip(picture.answers, answers, strict=True):
            if answer.maps.get(task.name) is not None:
                maps[task.name] = _map(task, _sampled(answer.maps[task.name], shape))
    return {
        "id": picture.id,
        "rank": picture.rank,
        "truth": truth,
        "answers": [
            {"label": answer.label, "maps": maps, "scores": [_score(name, answer.scores, board) for name in ordered]}
            for answer, maps in zip(picture.answers, answers, strict=True)
        ],
    }


def _score(name, found, board):
    value = scores.number(found.get(name))
    return [board.describe(name).show(value), value]


def _first_maps(picture):
    """Task name -> the map whose size all maps of that task take: the truth, else the first answer."""
    found = {}
    for maps in (picture.truth, *(answer.maps for answer in picture.answers)):
        for name, array in maps.items():
            if array is not None:
                found.setdefault(name, array)
    return found


def _grid(array):
    """Height and width that a map has in the page."""
    height, width = np.shape(array)[:2]
    shrink = min(1.0, LARGEST_SIDE / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def _sampled(array, shape):
    """A map on another grid by its nearest pixels: neither ids nor what stands at an edge may be averaged."""
    array = np.asarray(array)
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(shape, array.shape[:2], strict=True)
    )
    return array[rows[:, None], columns]


def _map(task, values, truth=False):
    found = task.page_map(values, truth)
    return {"uri": png_uri(found.pop("pixels")), **found}


def png_uri(array: np.ndarray) -> str:
    """A uint8 picture, grey (H, W) or RGB (H, W, 3), as a PNG inside the page."""
    return _uri("png", _encoded(Image.fromarray(np.ascontiguousarray(array)), "png", {"optimize": True}))


def photo_uri(picture: np.ndarray, widest: int = 1024) -> tuple[str, int, int]:
    """A picture inside the page: PNG or JPEG, whichever is smaller.

    Args:
        picture: RGB 0..255 (H, W, 3).
        widest: pixels; a wider picture is shrunk.

    Returns:
        The data URI, its width and height.
    """
    image = Image.fromarray(np.ascontiguousarray(pictures.as_picture(picture)))
    if image.width > widest:
        height = max(1, round(image.height * widest / image.width))
        image = image.resize((widest, height), Image.Resampling.LANCZOS)
    encodings = (("png", {"optimize": True}), ("jpeg", {"quality": 88, "subsampling": 0}))
    kind, data = min(((kind, _encoded(image, kind, how)) for kind, how in encodings), key=lambda pair: len(pair[1]))
    return _uri(kind, data), image.width, image.height


def _encoded(image, kind, settings):
    buffer = io.BytesIO()
    image.save(buffer, kind.upper(), **settings)
    return buffer.getvalue()


def _uri(kind, data):
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
