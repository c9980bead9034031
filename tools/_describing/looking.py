"""What the files of a folder say of the data set: how many there are, and which values they hold."""

import contextlib
import dataclasses

from _describing.contents import Labels, look_at_labels
from _describing.naming import LISTED, patterns_in
from _describing.stored_depth import StoredDepth, look_at_depth, mask_end
from mtl_tf.config import Config, replace
from mtl_tf.data import descriptors
from mtl_tf.data.file_names import SAME
from mtl_tf.data.plausibility import LOOK_AT
from mtl_tf.data.samples import by_image, demand_partners, natural_order, without_image
from mtl_tf.data.sets import known_as
from mtl_tf.data.sets.folder import find_split, list_files, splits_in
from mtl_tf.errors import UsageError
from mtl_tf.storage import files, listing, maps
from mtl_tf.storage.class_lists import find_classes, read_classes

ARRAYS = (".npy",)  # of labels that are more than a number a pixel
ASKED = ("semseg", "depth")  # the tasks that questions are asked about


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
        file_names: "rgb" and kinds whose files are named by a pattern, with it.
    """

    counts: dict[str, dict[str, int]]
    paths: dict[str, list[str]]
    complete: set[str]
    labels: Labels | None
    depth: StoredDepth | None
    names: str
    file_names: dict[str, str]


def look(config: Config, encoding: str = "", key: str = "", semseg_key: str = "") -> Found:
    """Looks at the files of a folder in the project's layout.

    Args:
        config: its data.root.
        encoding: how label files are to be read; "" = as they look.
        key: name of the array of depth, where a file has several.
        semseg_key: the same of class maps.

    Raises:
        UsageError: it is none, or a file is of another kind.
    """
    root = config.data.root
    if files.is_remote(root):
        raise UsageError(
            f"--data.root={root} is remote; describe a local copy, then copy {descriptors.FILE_NAME} there"
        )
    splits = splits_in(root) if root and files.is_folder(root) else []
    if not splits:
        _demand_not_known(config.data)
        find_split(replace(config, data__name="folder").data, "train")  # says what is wrong and guesses what was meant
    lists, passed_over, others = {}, {}, {}
    patterns = patterns_in(root, splits, ASKED)
    for split in splits:
        lists[split], passed_over[split] = _list(files.join(root, split), patterns)
        for name, paths in _others(files.join(root, split), lists[split]["rgb"]):
            others.setdefault(name, []).extend(paths)
    counts = {split: {kind: len(found) for kind, found in kinds.items()} for split, kinds in lists.items()}
    if not any(of[kind] for of in counts.values() for kind in ASKED):
        _demand_not_known(config.data)
    found = {kind: [path for kinds in lists.values() for path in kinds[kind].values()] for kind in counts[splits[0]]}
    mask = mask_end(found["depth"], [passed.path for split in splits for passed in passed_over[split]])
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
    return Found(counts, chosen, complete, labels, depth, names, patterns)


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


def _demand_not_known(data):
    """Raises a UsageError if the folder is a known download, which is read without a description."""
    if known := known_as(data):
        raise UsageError(
            f"--data.root={data.root} is laid out as {' and '.join(known)}, whose reader needs no "
            f"{descriptors.FILE_NAME}: use --data.name={known[0]} (docs/datasets.md)"
        )


def _list(folder, patterns):
    """Kind -> id -> file of a split, the labels those that belong to a picture, and what is passed over."""
    images, passed_over = list_files(folder, "rgb", pattern=patterns.get("rgb", SAME))
    found = {"rgb": images}
    for kind in ASKED:
        labels, passed = list_files(folder, kind, LISTED.get(kind), pattern=patterns.get(kind, SAME))
        labels = by_image(labels, images)
        if kind == "depth" and labels.keys().isdisjoint(images):
            labels, passed = list_files(folder, kind, more=maps.ENDINGS, pattern=patterns.get(kind, SAME))
            labels = by_image(labels, images)
        demand_partners(images, labels, kind)
        found[kind] = {name: path for name, path in labels.items() if name in images}
        passed_over += [*passed, *without_image(labels, images)]
    return found, passed_over


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
            labels = by_image(list_files(folder, name, more=ARRAYS)[0], images)
            if paths := [labels[image] for image in images if image in labels]:
                yield name, paths


def _some(paths):
    """Some of the files, at equal distances."""
    paths = sorted(paths, key=natural_order)
    return [paths[number * len(paths) // LOOK_AT] for number in range(LOOK_AT)] if len(paths) > LOOK_AT else paths
