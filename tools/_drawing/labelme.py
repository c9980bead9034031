"""labelme: a JSON file beside each picture, https://github.com/wkentaro/labelme."""

import base64
import binascii
import io
import math
import pathlib

import numpy as np
from PIL import Image, ImageDraw

from _drawing.annotated import (
    NO_CLASS,
    Annotations,
    Picture,
    Shape,
    Size,
    points_of,
    read_json,
    size_of,
    split_named,
    take,
)
from mtl_tf.errors import UsageError
from mtl_tf.storage.pixels import UNREADABLE

_IGNORED, _BACKGROUND = "__ignore__", "_background_"
_NAMES = "labels.txt"
_LINE, _POINT = 10, 5  # width of lines and radius of points, pixels, as in labelme's own drawing
_POINTS = {"polygon": 3, "rectangle": 2, "circle": 2, "line": 2, "linestrip": 2, "point": 1, "mask": 2}


def read(root: pathlib.Path) -> Annotations | None:
    """The annotations in a folder and those below it; None where there are none of this format."""
    paths = sorted(root.rglob("*.json")) if root.is_dir() else []
    found = {path: content for path in paths if is_labelme(content := _peek(path))}
    if not found:
        return None
    pictures = [_picture(root, path, content) for path, content in found.items()]
    return Annotations("labelme", [(name, None) for name in _names(root, found)], pictures)


def is_labelme(content) -> bool:
    """Whether the content of a JSON file is of this format."""
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


def _peek(path):
    """The content of a file that may be of this format; a half-written file of it is named when it is read."""
    text = path.read_bytes()[:4096]
    return read_json(path) if b'"shapes"' in text or b'"imagePath"' in text or b'"flags"' in text else None


def _names(root, found):
    """The classes: those of labels.txt in their order, else all that are used, sorted."""
    used = {
        str(shape.get("label")) for content in found.values() for shape in _shapes(content) if isinstance(shape, dict)
    }
    used -= {_IGNORED, _BACKGROUND}
    if not (root / _NAMES).is_file():
        return sorted(used)
    lines = (root / _NAMES).read_text("utf-8", "replace").splitlines()
    listed = [name for name in map(str.strip, lines) if name and name not in (_IGNORED, _BACKGROUND)]
    if lacking := sorted(used - set(listed)):
        raise UsageError(f"{root / _NAMES} lacks the label {lacking[0]!r}, which is drawn in pictures; add it there")
    return listed


def _shapes(content):
    shapes = content.get("shapes")
    return shapes if isinstance(shapes, list) else []


def _picture(root, path, content):
    place = str(path)
    image = take(content, "imagePath", str, place).replace("\\", "/")
    take(content, "shapes", list, place)
    name = path.relative_to(root).with_suffix("").as_posix()
    split, _, rest = name.partition("/")
    split = split_named(split) if rest else ""

    def shapes(size: Size) -> list[Shape]:
        return [_shape(shape, size, f"{place}: shape {number}") for number, shape in enumerate(content["shapes"])]

    said = size_of(content, "imageHeight", "imageWidth", place)
    return Picture(path.parent / image, rest if split else name, split, shapes, said, place)


def _shape(shape, size, place):
    label = take(shape, "label", str, place)
    group = take(shape, "group_id", (int, str), place, None)
    kind = take(shape, "shape_type", str, place, "polygon") or "polygon"
    if kind not in _POINTS:
        raise UsageError(f"{place} is a {kind}; expected one of {', '.join(_POINTS)}: draw it as one of these")
    points = points_of(shape.get("points"), _POINTS[kind], place)
    mask = _from_file(shape, points, size, place) if kind == "mask" else draw(kind, points, size)
    name = {_IGNORED: NO_CLASS, _BACKGROUND: ""}.get(label, label)
    return Shape(name, mask, None if group is None else (label, group))


def draw(kind: str, points: np.ndarray, size: Size) -> np.ndarray:
    """The pixels of a shape, bool (H, W), as labelme's `shape_to_mask` draws them.

    Args:
        kind: its shape_type.
        points: (N, 2), x and y.
        size: height and width of the picture.
    """
    image = Image.new("L", size[::-1])
    pen, ends = ImageDraw.Draw(image), [tuple(point) for point in points.tolist()]
    if kind in ("circle", "point"):
        (x, y), radius = ends[0], _POINT if kind == "point" else math.dist(*ends[:2])
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=1, outline=1)
    elif kind == "rectangle":
        corners = np.sort(points[:2], axis=0)  # Pillow wants the upper left one first
        pen.rectangle([tuple(corner) for corner in corners.tolist()], fill=1, outline=1)
    elif kind in ("line", "linestrip"):
        pen.line(ends, fill=1, width=_LINE)
    else:
        pen.polygon(ends, fill=1, outline=1)
    return np.asarray(image, bool)


def _from_file(shape, points, size, place):
    """Of a shape that is a picture of its own, placed at its box."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(take(shape, "mask", str, place), validate=True))) as image:
            part = np.asarray(image.convert("L")) > 0
    except (binascii.Error, *UNREADABLE) as error:
        raise UsageError(f"{place}: its mask is no picture in base64 ({str(error)[:80]}); draw it again") from None
    mask, (left, top) = np.zeros(size, bool), points[0].astype(int)
    return put(mask, part, int(top), int(left))


def put(mask: np.ndarray, part: np.ndarray, top: int, left: int) -> np.ndarray:
    """The mask with a part at a place, of which what lies outside is cut off."""
    rows, columns = (
        slice(max(-start, 0), max(limit - start, 0)) for start, limit in zip((top, left), mask.shape, strict=True)
    )
    part = part[rows, columns]
    top, left = max(top, 0), max(left, 0)
    mask[top : top + part.shape[0], left : left + part.shape[1]] = part
    return mask
