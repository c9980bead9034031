"""COCO: a JSON file for all pictures of a split; panoptic ones with PNG files. https://cocodataset.org/#format-data"""

import pathlib

import numpy as np

from _drawing.annotated import Annotations, Picture, Shape, Size, points_of, read_json, size_of, split_named, take
from mtl_tf.errors import UsageError
from mtl_tf.extras import demand
from mtl_tf.tasks.reading.instance_files import read_rgb24

_KEYS = (b'"images"', b'"annotations"', b'"categories"')


def read(root: pathlib.Path) -> Annotations | None:
    """The annotations in a file, or in a folder and those below it; None where there are none of this format."""
    paths = [root] if root.is_file() else sorted(root.rglob("*.json"))
    found = {path: content for path in paths if is_coco(content := _peek(path))}
    if not found:
        return None
    base = root.parent if root.is_file() else root
    panoptic = {path: content for path, content in found.items() if _is_panoptic(content)}
    if panoptic and len(panoptic) < len(found):
        other = next(path for path in found if path not in panoptic)
        raise UsageError(
            f"{root} has panoptic annotations ({next(iter(panoptic))}) and others ({other}) of the same pictures; name "
            "the file that is meant: --input=FILE"
        )
    categories, things = {}, []
    for path, content in found.items():
        for number, entry in enumerate(take(content, "categories", list, str(path))):
            place = f"{path}: category {number}"
            name = take(entry, "name", str, place)
            if categories.setdefault(take(entry, "id", int, place), name) != name:
                raise UsageError(f"{place}: its id is another class in another file; draw these files one by one")
            if take(entry, "isthing", int, place, 1) and name not in things:
                things.append(name)
    names = list(dict.fromkeys(categories.values()))
    if len(names) < len(categories):
        raise UsageError(f"{next(iter(found))}: two categories have one name; give each its own")
    pictures = [
        picture
        for path, content in found.items()
        for picture in _pictures(base, path, content, categories, path in panoptic)
    ]
    kind = "COCO panoptic" if panoptic else "COCO"
    return Annotations(kind, [(name, None) for name in names], pictures, things)


def is_coco(content) -> bool:
    """Whether the content of a JSON file is of this format."""
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content)


def _is_panoptic(content):
    annotations = content["annotations"]
    return isinstance(annotations, list) and bool(annotations) and "segments_info" in (annotations[0] or {})


def _peek(path):
    return read_json(path) if any(key in path.read_bytes() for key in _KEYS) else None


def _pictures(base, path, content, categories, panoptic):
    """The pictures of one file."""
    by_image: dict[object, list] = {}
    for number, entry in enumerate(take(content, "annotations", list, str(path))):
        image = take(entry, "image_id", (int, str), f"{path}: annotation {number}")
        by_image.setdefault(image, []).append((f"{path}: annotation {number}", entry))
    stem = path.stem.rpartition("_")[2]
    split = split_named(path.parent.name) if path.name.startswith("_annotations") else split_named(stem)
    folders = [path.parent, base / stem, base / "images" / stem, base / "images", base / (split or "."), base]
    if split:
        folders.append(base / "images" / split)
    for number, entry in enumerate(take(content, "images", list, str(path))):
        place = f"{path}: image {number}"
        name = take(entry, "file_name", str, place)
        there = [folder / name for folder in folders if (folder / name).is_file()]
        own = by_image.get(take(entry, "id", (int, str), place), [])
        shapes = _segments(path, own, categories) if panoptic else _objects(own, categories)
        said = size_of(entry, "height", "width", place)
        yield Picture(
            there[0] if there else folders[0] / name,
            pathlib.PurePosixPath(name).with_suffix("").as_posix(),
            split,
            shapes,
            said,
            place,
        )


def _class_of(entry, categories, place):
    number = take(entry, "category_id", int, place)
    if number not in categories:
        raise UsageError(f"{place}: category {number} is not listed under categories; add it there")
    return categories[number]


def _objects(entries, categories):
    """The function that draws annotated objects, in the order of the file."""

    def shapes(size: Size) -> list[Shape]:
        return [
            Shape(
                _class_of(entry, categories, place),
                draw(entry.get("segmentation"), size, place),
                crowd=bool(take(entry, "iscrowd", int, place, 0)),
            )
            for place, entry in entries
        ]

    return shapes


def draw(segmentation, size: Size, place: str) -> np.ndarray:
    """The pixels of an object, bool (H, W), as pycocotools draws them.

    Args:
        segmentation: a list of polygons [x1, y1, x2, y2, ...], or run lengths, compressed (text) or not (numbers).
        size: height and width of the picture.
        place: for messages.
    """
    demand("COCO annotations", "annotations", ("pycocotools",))
    from pycocotools import mask

    try:
        if isinstance(segmentation, list):
            for polygon in segmentation:
                points_of(np.reshape(np.array(polygon, np.float64), (-1, 2)).tolist(), 3, place)
            if not segmentation:
                raise ValueError("no polygon")
            runs = mask.merge(mask.frPyObjects(segmentation, *size))
        else:
            if list(take(segmentation, "size", list, place)) != list(size):
                raise ValueError(f"its size is {segmentation['size']}, the picture's {list(size)}")
            runs = _runs(segmentation, size, mask, place)
        return mask.decode(runs).astype(bool)
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"{place}: its segmentation cannot be drawn ({str(error)[:80]}); correct or remove it"
        ) from None


def _runs(segmentation, size, mask, place):
    """Compressed run lengths, whose sum was checked: the library writes wherever they lead."""
    counts = segmentation.get("counts")
    if isinstance(counts, list):
        if not all(isinstance(count, int) and count >= 0 for count in counts) or sum(counts) != size[0] * size[1]:
            raise ValueError("its counts do not add up to the pixels of the picture")
        return mask.frPyObjects(segmentation, *size)
    if sum(decoded(take(segmentation, "counts", str, place))) != size[0] * size[1]:
        raise ValueError("its counts do not add up to the pixels of the picture")
    return {"size": list(size), "counts": counts.encode("ascii")}


def decoded(text: str) -> list[int]:
    """The numbers of compressed run lengths: five bits a character, differences to the last but one from the third on.

    As `rleFrString` of pycocotools' maskApi.c.

    Raises:
        ValueError: it is none.
    """
    counts: list[int] = []
    place = 0
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            if place == len(text) or not 0 <= (bits := ord(text[place]) - 48) < 64 or shift > 50:
                raise ValueError("its run lengths are damaged")
            value |= (bits & 31) << shift
            more, place, shift = bool(bits & 32), place + 1, shift + 5
            if not more and bits & 16:
                value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        if counts[-1] < 0:
            raise ValueError("its run lengths are damaged")
    return counts


def _segments(path, entries, categories):
    """The function that reads a panoptic PNG: ids R + 256 G + 65536 B."""

    def shapes(size: Size) -> list[Shape]:
        found = []
        for place, entry in entries:
            file = path.with_suffix("") / take(entry, "file_name", str, place)
            if not file.is_file():
                raise UsageError(f"{place}: {file} is missing; unpack the PNG files of {path.name} beside it")
            ids = read_rgb24(str(file))
            if ids.shape != size:
                raise UsageError(f"{file}: {ids.shape[1]}x{ids.shape[0]} pixels, its picture has {size[1]}x{size[0]}")
            for segment in take(entry, "segments_info", list, place):
                number = take(segment, "id", int, place)
                crowd = bool(take(segment, "iscrowd", int, place, 0))
                found.append(Shape(_class_of(segment, categories, place), ids == number, crowd=crowd))
        return found

    return shapes
