"""What the files of a folder say of the data set: how many there are, and which values they hold."""

import contextlib
import dataclasses

from _describing.arranging import ASKED, demand_not_known, list_split
from _describing.contents import Labels, look_at_labels
from _describing.layouts import Layout
from _describing.stored_depth import StoredDepth, look_at_depth, mask_end
from mtl_tf.config import Config
from mtl_tf.data.file_names import EVERY
from mtl_tf.data.found_files import find
from mtl_tf.data.plausibility import LOOK_AT
from mtl_tf.data.samples import by_image, natural_order
from mtl_tf.errors import UsageError
from mtl_tf.storage import files, listing
from mtl_tf.storage.class_lists import find_classes, read_classes

ARRAYS = (".npy",)  # of labels that are more than a number a pixel


@dataclasses.dataclass(frozen=True)
class Found:
    """What the files say.

    Attributes:
        counts: split -> "rgb", "semseg", "depth" -> number of files.
        paths: kind -> the files looked at, of other folders beside rgb whose files belong to pictures, too.
        complete: the kinds of which all files were looked at.
        labels: what label files hold; None where there are none.
        depth: what depth files hold; None where there are none.
        names: a file with names of classes that lies in the folder; "" where there is none.
    """

    counts: dict[str, dict[str, int]]
    paths: dict[str, list[str]]
    complete: set[str]
    labels: Labels | None
    depth: StoredDepth | None
    names: str


def look(config: Config, layout: Layout, encoding: str = "", key: str = "", semseg_key: str = "") -> Found:
    """Looks at the files of a folder.

    Args:
        config: its data.root.
        layout: of the folder.
        encoding: how label files are to be read; "" = as they look.
        key: name of the array of depth, where a file has several.
        semseg_key: the same of class maps.

    Raises:
        UsageError: a file is of another kind.
    """
    root = config.data.root
    lists, passed_over, others = {}, {}, {}
    for split in layout.splits:
        lists[split], passed_over[split] = list_split(root, split, layout)
        if not layout.title:
            for name, paths in _others(files.join(root, split), lists[split]["rgb"]):
                others.setdefault(name, []).extend(paths)
    counts = {split: {kind: len(found) for kind, found in kinds.items()} for split, kinds in lists.items()}
    if not any(of[kind] for of in counts.values() for kind in ASKED):
        demand_not_known(config.data)
    found = {kind: [path for kinds in lists.values() for path in kinds[kind].values()] for kind in ("rgb", *ASKED)}
    mask = mask_end(found["depth"], [passed.path for split in passed_over for passed in passed_over[split]])
    for split, of in counts.items():
        if mask:
            passed_over[split] = [passed for passed in passed_over[split] if not passed.path.endswith(mask)]
        print(f"{split}: {of['rgb']} images, {of['semseg']} semseg labels, {of['depth']} depth labels")
        if told := listing.told(passed_over[split]):
            print(f"{split}: {told}")
    found |= others
    chosen = {kind: _some(paths) for kind, paths in found.items()}
    names = find_classes(root)
    labels = _look_at_labels(chosen["semseg"], encoding, semseg_key, names) if chosen["semseg"] else None
    depth = dataclasses.replace(look_at_depth(chosen["depth"], key), mask=mask) if chosen["depth"] else None
    complete = {kind for kind, paths in found.items() if len(chosen[kind]) == len(paths)}
    return Found(counts, chosen, complete, labels, depth, names)


def _look_at_labels(paths, encoding, key, names):
    """What label files hold; those whose palettes have the colours of a list, in another order, by colour."""
    found = dataclasses.replace(look_at_labels(paths, encoding, key), key=key)
    if encoding or not (found.palette and names):
        return found
    listed = [colour for _, colour in read_classes(names)]
    used = {value: found.palette.get(value) for value in found.values}
    if set(used.values()) <= set(listed) and any(listed[value : value + 1] != [used[value]] for value in used):
        why = f"the colours of the palettes stand in another order in {names}"
        return dataclasses.replace(look_at_labels(paths, "colour"), why=why)
    return found


def _others(folder, images):
    """Of the other folders of a split whose files belong to pictures: name, and files."""
    for name in files.listing(folder):
        path = files.join(folder, name)
        if name in ("rgb", *ASKED) or listing.is_left_behind(name) or not files.is_folder(path):
            continue
        if listing.is_of_predictions(path):
            continue
        # What cannot be listed is named where it is read, if it is described.
        with contextlib.suppress(UsageError):
            labels = by_image(find(path, EVERY, (*listing.LABELS, *ARRAYS)).paths, images)
            if paths := [labels[image] for image in images if image in labels]:
                yield name, paths


def _some(paths):
    """Some of the files, at equal distances."""
    paths = sorted(paths, key=natural_order)
    return [paths[number * len(paths) // LOOK_AT] for number in range(LOOK_AT)] if len(paths) > LOOK_AT else paths
