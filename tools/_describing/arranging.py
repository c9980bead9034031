"""How a folder is laid out: as its dataset.json says, as the project's own layout, or as one that is recognised."""

import dataclasses

from _describing.layouts import Layout, recognise
from _describing.layouts.layout import folders_in
from _describing.naming import described_in, list_kind, patterns_in
from mtl_tf.config import Config, DataConfig, replace
from mtl_tf.data import descriptors
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.samples import demand_partners, without_image
from mtl_tf.data.sets import known_as
from mtl_tf.data.sets.folder import find_split, splits_in
from mtl_tf.data.split_lists import SplitList
from mtl_tf.errors import UsageError
from mtl_tf.storage import files
from mtl_tf.storage.listing import PassedOver

ASKED = ("semseg", "depth")  # the tasks that questions are asked about
_GUESSES = 50  # folders that are looked into for the one that was meant


def arrange(config: Config) -> Layout:
    """The layout of a folder.

    Args:
        config: its data.root.

    Raises:
        UsageError: it is none that is known, or a download that is read without a description.
    """
    root = config.data.root
    if files.is_remote(root):
        raise UsageError(
            f"--data.root={root} is remote; describe a local copy, then copy {descriptors.FILE_NAME} there"
        )
    if not root or not files.is_folder(root):
        find_split(replace(config, data__name="folder").data, "train")  # says what is wrong
    stated = described_in(root)
    if stated.split_lists or any("{" in text for text in stated.file_names.values()):
        layout = Layout(f"as {descriptors.FILE_NAME} says", stated.file_names, stated.split_lists)
        return _with_splits(root, layout)
    own = splits_in(root)
    if not own:
        demand_not_known(config.data)
    found = None if own and _has_labels(root, own) else recognise(root)
    if found:
        return _with_splits(root, found)
    if not own:
        _guess(root)
        find_split(replace(config, data__name="folder").data, "train")  # says what is wrong and guesses what was meant
    return Layout(file_names=patterns_in(root, own, ASKED), splits=own)


def _has_labels(root, splits):
    """Whether it is the project's own layout indeed: a sequence of TUM RGB-D has folders rgb and depth as well."""
    if any(files.is_file(files.join(root, split, "rgb.txt")) for split in splits):
        return False
    return any(files.is_folder(files.join(root, split, kind)) for split in splits for kind in ASKED)


def _with_splits(root, layout):
    if layout.splits:
        return layout
    described = Descriptor("", file_names=layout.file_names, split_lists=layout.split_lists)
    return dataclasses.replace(layout, splits=splits_in(root, described))


def _guess(root):
    """Raises a UsageError where a folder below, or one below that, is laid out in a known way."""
    for first in folders_in(root)[:_GUESSES]:
        below = files.join(root, first)
        for place in (below, *(files.join(below, name) for name in folders_in(below)[:_GUESSES])):
            if not splits_in(below) and (found := recognise(place)):
                raise UsageError(f"--data.root={root}: {place} is {found.title}: did you mean --data.root={place}?")


def demand_not_known(data: DataConfig) -> None:
    """Raises a UsageError if the folder is a known download, which is read without a description."""
    if known := known_as(data):
        raise UsageError(
            f"--data.root={data.root} is laid out as {' and '.join(known)}, whose reader needs no "
            f"{descriptors.FILE_NAME}: use --data.name={known[0]} (docs/datasets.md)"
        )


def list_split(root: str, split: str, layout: Layout) -> tuple[dict[str, dict[str, str]], list[PassedOver]]:
    """Kind -> id -> file of a split, the labels those that belong to a picture, and what is passed over.

    Raises:
        UsageError: no label belongs to a picture, or a list names what is not there.
    """
    described = Descriptor("", file_names=layout.file_names, split_lists=layout.split_lists)
    images, passed_over = list_kind(root, split, described.pattern("rgb"), "rgb")
    found, strays = {"rgb": images}, []
    for kind in ASKED:
        found[kind], passed = list_kind(root, split, described.pattern(kind), kind, images)
        passed_over += passed
    if split in layout.split_lists:
        path = files.join(root, layout.split_lists[split])
        if text := layout.written.get(layout.split_lists[split]):
            path = files.InMemory(path, text.encode())
        found, lost = SplitList(path, ASKED).select(root, split, described.pattern("rgb"), found, lenient=False)
        passed_over += lost
    else:
        for kind in ASKED:
            demand_partners(images, found[kind], kind)
            if "split" in described.pattern(kind).fields or "split" not in described.pattern("rgb").fields:
                strays += without_image(found[kind], images)
            found[kind] = {name: path for name, path in found[kind].items() if name in images}
    taken = {path for paths in found.values() for path in paths.values()}
    return found, [each for each in passed_over if each.path not in taken] + strays
