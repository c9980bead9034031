"""The formats of annotations that are read."""

import pathlib

from _drawing import coco, labelme, supervisely
from _drawing.annotated import Annotations

_READERS = (supervisely, coco, labelme)  # the first that finds its own counts


def read(root: pathlib.Path) -> Annotations | None:
    """The annotations in a file or folder; None where there are none of a known format."""
    return next(filter(None, (reader.read(root) for reader in _READERS)), None)
