"""How the files of a folder are named: as dataset.json says, or by patterns under which labels belong to pictures."""

import contextlib
from collections.abc import Sequence

from _describing.stored_depth import mask_end
from mtl_tf.data import descriptors, file_names
from mtl_tf.data.samples import by_image
from mtl_tf.data.sets.folder import list_files
from mtl_tf.errors import UsageError
from mtl_tf.storage import files, maps
from mtl_tf.tasks import ClassLabels

LISTED = {"semseg": ClassLabels((), ())}  # kind -> the labels whose endings are looked for


def patterns_in(root: str, splits: Sequence[str], kinds: Sequence[str]) -> dict[str, str]:
    """The pattern of names by folder, "rgb" or kind of labels, where it is not "*".

    Args:
        root: of the data set.
        splits: its splits.
        kinds: the folders of labels beside rgb that are looked at.
    """
    found: dict[str, str] = {}
    with contextlib.suppress(UsageError):  # which says that there is no description, or a wrong one
        found |= descriptors.read(root).file_names
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
    with contextlib.suppress(UsageError):
        return getattr(descriptors.read(root).labels.get(task), "key", "")
    return ""


def _names(root, splits, folder, patterns):
    """The ids of all splits."""
    pattern = patterns.get(folder, file_names.SAME)
    places = [files.join(root, split) for split in splits]
    listed = [list_files(place, folder, LISTED.get(folder), pattern=pattern)[0] for place in places]
    if folder == "depth" and not any(listed):
        listed = [list_files(place, folder, more=maps.ENDINGS, pattern=pattern)[0] for place in places]
    if folder == "depth":
        paths = [path for names in listed for path in names.values()]
        if end := mask_end(paths, paths):
            listed = [{name: path for name, path in names.items() if not path.endswith(end)} for names in listed]
    return {f"{split}/{name}": name for split, names in zip(splits, listed, strict=True) for name in names}
