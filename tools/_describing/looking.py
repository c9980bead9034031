"""What the files of a folder say of the data set: how many there are, and which values they hold."""

import dataclasses

import numpy as np

from mtl_tf.config import Config, replace
from mtl_tf.data import descriptors, files, listing
from mtl_tf.data.pixels import UNREADABLE, open_picture, read_codes, read_uint16
from mtl_tf.data.samples import by_image, demand_partners, natural_order, without_image
from mtl_tf.data.sets.folder import find_split, list_files, splits_in
from mtl_tf.errors import UsageError

LOOK_AT = 40  # files of each kind that guesses rest on; tools/check_dataset.py reads all


@dataclasses.dataclass(frozen=True)
class Found:
    """What the files say.

    Attributes:
        counts: split -> "rgb", "semseg", "depth" -> number of files.
        values: label value -> number of pixels, in the files looked at; empty where there are no labels.
        palette: label value -> RGB colour, of palette PNGs.
        depth_bits: 8 or 16; 0 where there is no depth.
        depth_range: smallest and largest stored value but 0.
    """

    counts: dict[str, dict[str, int]]
    values: dict[int, int]
    palette: dict[int, tuple[int, int, int]]
    depth_bits: int
    depth_range: tuple[int, int]


def look(config: Config) -> Found:
    """Looks at the files of a folder in the project's layout.

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
        find_split(replace(config, data__name="folder").data, "train")  # says what is wrong and guesses what was meant
    lists, passed_over = {}, {}
    for split in splits:
        lists[split], passed_over[split] = _list(files.join(root, split))
    counts = {split: {kind: len(found) for kind, found in kinds.items()} for split, kinds in lists.items()}
    for split, of in counts.items():
        print(f"{split}: {of['rgb']} images, {of['semseg']} semseg labels, {of['depth']} depth labels")
        if told := listing.told(passed_over[split]):
            print(f"{split}: {told}")
    if not any(of["semseg"] or of["depth"] for of in counts.values()):
        raise UsageError(f"{root} has images but no labels; put class ids into {splits[0]}/semseg, depth into depth")
    chosen = {
        kind: _some([path for kinds in lists.values() for path in kinds[kind].values()]) for kind in counts[splits[0]]
    }
    values, palette = _look_at_labels(chosen["semseg"])
    bits, limits = _look_at_depth(chosen["depth"])
    return Found(counts, values, palette, bits, limits)


def _list(folder):
    """Kind -> id -> file of a split, the labels those that belong to a picture, and what is passed over."""
    images, passed_over = list_files(folder, "rgb")
    found = {"rgb": images}
    for kind in ("semseg", "depth"):
        labels, passed = list_files(folder, kind)
        labels = by_image(labels, images)
        demand_partners(images, labels)
        found[kind] = {name: path for name, path in labels.items() if name in images}
        passed_over += [*passed, *without_image(labels, images)]
    return found, passed_over


def _some(paths):
    """Some of the files, at equal distances."""
    paths = sorted(paths, key=natural_order)
    return paths[:: max(len(paths) // LOOK_AT, 1)][:LOOK_AT]


def _look_at_labels(paths):
    total, palette = np.zeros(256, np.int64), {}
    for path in paths:
        total += np.bincount(
            read_codes(path, "a class id per pixel: an 8-bit grey or palette PNG").ravel(), minlength=256
        )
        palette = palette or _palette_of(path)
    values = {int(value): int(total[value]) for value in np.flatnonzero(total)}
    if paths:
        print(f"label values in {len(paths)} files: {ranges(values)}{' (with a palette)' if palette else ''}")
    return values, palette


def _palette_of(path):
    try:
        with open_picture(path) as image:
            colours = image.getpalette("RGB") if image.mode == "P" else None
    except UNREADABLE:
        return {}
    return dict(enumerate(zip(*[iter(colours)] * 3, strict=True))) if colours else {}


def _look_at_depth(paths):
    if not paths:
        return 0, (0, 0)
    with open_picture(paths[0]) as image:
        bits = 8 if image.mode in ("L", "P") else 16
    smallest, largest = [], []
    for path in paths:
        codes = (
            read_codes(path, "8-bit depth, as in the other files") if bits == 8 else read_uint16(path, "16-bit depth")
        )
        codes = codes[codes > 0]
        if codes.size:
            smallest.append(int(codes.min()))
            largest.append(int(codes.max()))
    if not largest:
        raise UsageError(f"{files.folder_of(paths[0])}: the values of {len(paths)} depth files are all 0, unknown")
    limits = min(smallest), max(largest)
    print(f"depth in {len(paths)} files: {bits} bits, values {limits[0]} to {limits[1]} (0 = unknown)")
    return bits, limits


def ranges(values):
    """The numbers as text: 0-11, 255."""
    parts = []
    for value in sorted(values):
        if parts and parts[-1][1] == value - 1:
            parts[-1][1] = value
        else:
            parts.append([value, value])
    return ", ".join(f"{low}-{high}" if low < high else str(low) for low, high in parts)
