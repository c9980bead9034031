"""Folders of pictures and of labels under common names: images/train and masks/train, train/images, img_dir, ..."""

from _describing.layouts.layout import Layout, folders_in, in_order, is_split, named, with_ending
from mtl_tf.data.file_names import DEEP, SAME, Pattern, guess
from mtl_tf.data.found_files import find
from mtl_tf.storage import files, listing, maps

_PICTURES = (
    *("images", "image", "imgs", "img", "img_dir", "rgb", "rgbs", "color", "colour", "jpegimages", "leftimg8bit"),
    *("pictures", "photos", "inputs", "input", "frames"),
)
_CLASSES = (
    *("masks", "mask", "labels", "label", "annotations", "annotation", "ann_dir", "anns", "ann", "annos", "gt", "gts"),
    *("gtfine", "groundtruth", "ground_truth", "semseg", "semantic", "semantics", "segmentation", "segmentations"),
    *("segmentationclass", "seg", "segs", "label_images", "targets", "target"),
)
_DEPTH = ("depth", "depths", "depth_map", "depth_maps", "depthmaps")
_ENDINGS = {"rgb": listing.PICTURES, "semseg": listing.LABELS, "depth": (*listing.LABELS, *maps.ENDINGS)}
# Of several files of a picture the one that holds class ids, the likeliest first.
_SUFFIXES = ("_labelTrainIds", "_labelIds", "_trainIds", "_mask", "_label", "_labels", "_seg", "_gt", "_L")


def named_folders(root: str) -> Layout | None:
    """Pictures and labels in folders of common names, with the splits inside of these, outside, or nowhere."""
    outside = [name for name in folders_in(root) if _parts(files.join(root, name))]
    if _parts(root):
        parts = _parts(root)
        inside = [name for name in folders_in(files.join(root, parts["rgb"])) if is_split(name)]
        if not inside and parts["rgb"] == "rgb" and is_split(files.name_of(root.rstrip("/"))):
            return None  # a split of the project's own layout
        places, splits = {kind: _place(root, name, inside) for kind, name in parts.items()}, inside
    elif any(map(is_split, outside)):
        parts = _parts(files.join(root, outside[0]))
        splits = [name for name in outside if _parts(files.join(root, name)) == parts]
        places = {kind: f"{{split}}/{name}" for kind, name in parts.items()}
    else:
        return None
    patterns = {kind: f"{place}/{DEEP}/{{id}}" for kind, place in places.items()}
    if not find(root, Pattern(patterns["rgb"]), _ENDINGS["rgb"]).paths:
        return None
    for kind in ("semseg", "depth"):
        if kind in patterns:
            patterns |= _renamed(root, patterns, kind)
    shallow = {kind: _shallow(root, text, kind) for kind, text in patterns.items()}
    splits = in_order(splits)
    title = f"{' and '.join(parts.values())}, {named(splits)}"
    return Layout(title, shallow, splits=splits)


def _place(root, name, splits):
    """A folder, with the splits in it where it has any."""
    return f"{name}/{{split}}" if {*splits} & {*folders_in(files.join(root, name))} else name


def _parts(folder):
    """Kind -> name of a folder in one, of pictures and of some labels; none where one of the two lacks."""
    there = {name.casefold(): name for name in folders_in(folder)}
    found = {}
    for kind, names in (("rgb", _PICTURES), ("semseg", _CLASSES), ("depth", _DEPTH)):
        name = next((there[name] for name in names if name in there and _holds(folder, there[name], kind)), None)
        if name:
            found[kind] = name
    return found if "rgb" in found and len(found) > 1 else {}


def _holds(folder, name, kind):
    """Whether a folder, or one below, holds files of a kind; those of pictures are looked for a few levels down."""
    below = [files.join(folder, name)]
    for _ in range(3):
        if any(with_ending(place, _ENDINGS[kind]) for place in below):
            return True
        below = [files.join(place, child) for place in below for child in folders_in(place)[:20]]
    return False


def _renamed(root, patterns, kind):
    """The patterns of pictures and labels where their names differ by what stands around the id."""
    names = {of: list(find(root, Pattern(patterns[of]), _ENDINGS[of]).paths) for of in ("rgb", kind)}
    images, labels = names["rgb"], names[kind]
    if not labels or not set(images).isdisjoint(labels):
        return {}
    subsets = [labels, *([name for name in labels if name.endswith(suffix)] for suffix in _SUFFIXES)]
    found = next(filter(None, (guess(images, subset) for subset in subsets)), None)
    if not found:
        return {}
    ids = {of: text.replace(SAME, "{id}") for of, text in zip(("rgb", kind), found, strict=True)}
    return {of: patterns[of].replace("{id}", text) for of, text in ids.items()}


def _shallow(root, text, kind):
    """The pattern without the folders below, where no file lies in any, and with the ending that all files have."""
    paths = find(root, Pattern(text), _ENDINGS[kind]).paths
    if not any("/" in name for name in paths):
        text = text.replace(f"{DEEP}/", "")
    endings = {path[path.rindex(".") :] for path in paths.values()}
    return text + endings.pop() if len(endings) == 1 else text
