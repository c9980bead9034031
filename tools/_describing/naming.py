"""How the files of the project's own layout are named, and what dataset.json says of them already."""

import contextlib
from collections.abc import Sequence

from _describing.stored_depth import mask_end
from mtl_tf.data import descriptors, file_names
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.file_names import Pattern
from mtl_tf.data.samples import by_image
from mtl_tf.data.sets.folder import list_files
from mtl_tf.errors import UsageError
from mtl_tf.storage import maps
from mtl_tf.storage.listing import PassedOver
from mtl_tf.tasks import ClassLabels

_LISTED = {"semseg": ClassLabels((), ())}  # kind -> the labels whose endings are looked for


def described_in(root: str) -> Descriptor:
    """What dataset.json says; an empty description where there is none, or a wrong one."""
    with contextlib.suppress(UsageError):
        return descriptors.read(root)
    return Descriptor("")


def list_kind(
    root: str, split: str, pattern: Pattern, kind: str, images: dict[str, str] | None = None
) -> tuple[dict[str, str], list[PassedOver]]:
    """The files of pictures or labels, see `list_files`; those of depth may be numbers where no picture fits.

    Args:
        root, split, pattern: as of `list_files`.
        kind: "rgb" or of labels.
        images: of the split, of which labels are to be; None = any.
    """
    numbers = pattern.ending in maps.ENDINGS and kind == "depth"
    found, passed = list_files(root, split, pattern, kind, _LISTED.get(kind), maps.ENDINGS if numbers else ())
    found = by_image(found, images) if images is not None else found
    if kind == "depth" and not numbers and (found.keys().isdisjoint(images) if images is not None else not found):
        found, passed = list_files(root, split, pattern, kind, more=maps.ENDINGS)
        found = by_image(found, images) if images is not None else found
    return found, passed


def patterns_in(root: str, splits: Sequence[str], kinds: Sequence[str]) -> dict[str, str]:
    """The pattern of names by folder, "rgb" or kind of labels, where it is not "*".

    Args:
        root: of the data set.
        splits: its splits.
        kinds: the folders of labels beside rgb that are looked at.
    """
    found = dict(described_in(root).file_names)
    for kind in kinds:
        images = _names(root, splits, "rgb", found)
        labels = by_image(_names(root, splits, kind, found), images)
        if labels and images and images.keys().isdisjoint(labels):
            for folder, pattern in zip(("rgb", kind), file_names.guess(images, labels) or (), strict=False):
                if pattern != file_names.SAME and folder not in found:
                    found[folder] = pattern
                    print(f"{folder}: the names of its files are {pattern}, * being that of the sample")
    return found


def described_key(root: str, task: str) -> str:
    """The name of the array in the label files of a task, as dataset.json has it."""
    return getattr(described_in(root).labels.get(task), "key", "")


def _names(root, splits, folder, patterns):
    """The ids of all splits."""
    pattern = file_names.in_folder(patterns.get(folder, file_names.SAME), folder)
    listed = [list_kind(root, split, pattern, folder)[0] for split in splits]
    if folder == "depth":
        paths = [path for names in listed for path in names.values()]
        if end := mask_end(paths, paths):
            listed = [{name: path for name, path in names.items() if not path.endswith(end)} for names in listed]
    return {f"{split}/{name}": name for split, names in zip(splits, listed, strict=True) for name in names}
