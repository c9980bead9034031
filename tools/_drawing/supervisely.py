"""Supervisely: a project folder with meta.json, and FOLDER/ann/PICTURE.json for FOLDER/img/PICTURE.

https://docs.supervisely.com/customization-and-integration/00_ann_format_navi
"""

import base64
import binascii
import io
import pathlib
import zlib

import numpy as np
from PIL import Image

from _drawing.annotated import Annotations, Picture, Shape, Size, points_of, read_json, size_of, split_named, take
from _drawing.labelme import put
from mtl_tf.errors import UsageError
from mtl_tf.extras import demand
from mtl_tf.storage.pixels import UNREADABLE

_META = "meta.json"
_LEAST = {"polygon": 3, "rectangle": 2, "line": 2, "point": 1}


def read(root: pathlib.Path) -> Annotations | None:
    """The annotations of a project; None where a folder is none."""
    if not (root / _META).is_file():
        return None
    place = str(root / _META)
    classes = {}
    for number, entry in enumerate(take(read_json(root / _META), "classes", list, place)):
        classes[take(entry, "title", str, f"{place}: class {number}")] = _colour(entry.get("color"))
    pictures = [_picture(root, path, classes) for path in sorted(root.glob("*/ann/*.json"))]
    if not pictures:
        raise UsageError(f"{root} has no */ann/*.json; expected a Supervisely project: DATASET/ann beside DATASET/img")
    return Annotations("Supervisely", list(classes.items()), pictures)


def _colour(text):
    """#RRGGBB as numbers; None where it is no such text."""
    try:
        return tuple(bytes.fromhex(str(text).removeprefix("#")))[:3] if len(str(text)) == 7 else None
    except ValueError:
        return None


def _picture(root, path, classes):
    content, folder, place = read_json(path), path.parent.parent, str(path)
    objects = take(content, "objects", list, place)
    said = size_of(take(content, "size", dict, place), "height", "width", place)
    split = split_named(folder.name)
    name = path.stem.rpartition(".")[0] or path.stem  # a.jpg.json, in older exports a.json
    name = name if split else f"{folder.name}/{name}"

    def shapes(size: Size) -> list[Shape]:
        return [_shape(entry, classes, size, f"{place}: object {number}") for number, entry in enumerate(objects)]

    image = folder / "img" / path.stem
    if not image.suffix:
        image = next((folder / "img").glob(f"{path.stem}.*"), image)
    return Picture(image, name, split, shapes, said, place)


def _shape(entry, classes, size, place):
    name = take(entry, "classTitle", str, place)
    if name not in classes:
        raise UsageError(f"{place}: class {name!r} is not in {_META}; export the project again")
    kind = take(entry, "geometryType", str, place, "bitmap" if entry.get("bitmap") else "polygon")
    if kind == "bitmap":
        return Shape(name, _bitmap(take(entry, "bitmap", dict, place), size, place))
    if kind not in _LEAST:
        raise UsageError(f"{place} is a {kind}; expected bitmap, {', '.join(_LEAST)}: convert it in Supervisely")
    points = take(entry, "points", dict, place)
    outer = points_of(points.get("exterior"), _LEAST[kind], place)
    holes = [points_of(hole, 3, place) for hole in take(points, "interior", list, place, [])]
    return Shape(name, draw(kind, outer, holes, size))


def draw(kind: str, outer: np.ndarray, holes: list[np.ndarray], size: Size) -> np.ndarray:
    """The pixels of a shape, bool (H, W), as Supervisely's SDK draws them, by OpenCV.

    Args:
        kind: its geometryType.
        outer: points (N, 2), x and y, of the outline.
        holes: those of holes in it.
        size: height and width of the picture.
    """
    mask, outer = np.zeros(size, np.uint8), np.rint(outer).astype(np.int32)
    if kind == "rectangle":
        (left, top), (right, bottom) = np.maximum(outer.min(0), 0), outer.max(0)
        mask[top : max(bottom + 1, 0), left : max(right + 1, 0)] = 1
        return mask.astype(bool)
    if kind == "point":
        column, row = outer[0]
        if 0 <= row < size[0] and 0 <= column < size[1]:
            mask[row, column] = 1
        return mask.astype(bool)
    demand("Supervisely polygons", "annotations", ("cv2",))
    import cv2

    if kind == "line":
        cv2.polylines(mask, [outer], isClosed=False, color=1)
    else:
        cv2.fillPoly(mask, [outer], 1)
        cv2.fillPoly(mask, [np.rint(hole).astype(np.int32) for hole in holes], 0)
    return mask.astype(bool)


def _bitmap(entry, size, place):
    """A PNG, compressed once more and in base64, at its origin: what is opaque, or not 0, belongs to the object."""
    left, top = points_of([take(entry, "origin", list, place)], 1, place)[0].astype(int)
    try:
        packed = base64.b64decode(take(entry, "data", str, place), validate=True)
        unpacking = zlib.decompressobj()
        with Image.open(io.BytesIO(unpacking.decompress(packed, 2**28)), formats=["PNG"]) as image:
            has_alpha = image.mode in ("RGBA", "LA") or "transparency" in image.info
            part = np.asarray(image.convert("RGBA"))[..., 3] if has_alpha else np.asarray(image.convert("L"))
    except (binascii.Error, zlib.error, *UNREADABLE) as error:
        raise UsageError(f"{place}: its bitmap cannot be decoded ({str(error)[:80]}); export it again") from None
    return put(np.zeros(size, bool), part > 0, int(top), int(left))
