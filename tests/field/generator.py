"""Small data sets as people have them: each folder has one peculiarity that a reader must not get wrong in silence.

Pictures of 64x64, 8 for training and 4 for validation unless a name says otherwise; `truth.npz` beside the folders has
the right labels (`SPLIT/ID/semseg`) and millimetres (`SPLIT/ID/depth_mm`) of those with the ids 000 to 007.
"""

import json
import pathlib
import unicodedata
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.field.scenes import DISCS, rectangles, scenes

ROAD, CAR, VEGETATION = (128, 64, 128), (0, 0, 142), (107, 142, 35)
DEPTH = {"encoding": "uint16_scaled", "scale": 0.001, "minimum": 0.1, "maximum": 10.0}
STATISTICS = {"mean": 4.6, "std": 1.0, "log_mean": 1.5, "log_std": 0.3}

FOLDERS: dict[str, Callable[[pathlib.Path], None]] = {}


def write_all(root: pathlib.Path) -> pathlib.Path:
    """Writes every folder and `truth.npz` into a folder, and returns it."""
    for name, write in FOLDERS.items():
        write(root / name)
    truth = {}
    for split in DISCS:
        for index, each in enumerate(scenes(split)):
            truth |= {f"{split}/{index:03}/semseg": each.semseg, f"{split}/{index:03}/depth_mm": each.depth}
    np.savez_compressed(root / "truth.npz", **truth)
    return root


def _folder(write):
    FOLDERS[write.__name__] = write
    return write


# === Parts ===


def _describe(root, classes=("ground", "disc"), palette=None, depth=None, name=""):
    """Writes dataset.json."""
    palette = palette or [(60 * index, 200 - 30 * index, 90) for index in range(len(classes))]
    content = {"name": name or root.name, "splits": ["train", "val"]}
    content["semseg"] = {"classes": list(classes), "palette": list(map(list, palette)), "ignore": 255}
    if depth:
        content["depth"] = depth
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


def _describe_as_guessed(root, **changes):
    """Writes dataset.json with the names and colours that tools/describe_dataset.py makes up."""
    colours = [(242, 61, 61), (41, 78, 166), (167, 242, 61)]
    count = changes.pop("count", 2)
    classes = changes.pop("classes", tuple(f"class{index}" for index in range(count)))
    _describe(root, classes=classes, palette=changes.pop("palette", colours[:count]), **changes)


def _save(path, pixels, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.convert(mode or image.mode).save(path, **options)


def _each(root, count=8, splits=("train", "val")):
    """Split folder, index, id and scene of every sample of a data set."""
    for split in splits:
        for index, each in enumerate(scenes(split, count if split == "train" else count // 2)):
            yield root / split, index, f"{index:03}", each


def _pictures(root, quality=95, **which):
    for split, _, name, each in _each(root, **which):
        _save(split / "rgb" / f"{name}.jpg", each.rgb, quality=quality)


def _labels(root, ending=".png", change: Callable[[np.ndarray], np.ndarray] = lambda semseg: semseg, **which):
    for split, _, name, each in _each(root, **which):
        _save(split / "semseg" / f"{name}{ending}", change(each.semseg))


def _depth(root, ending=".png", change: Callable[[np.ndarray], np.ndarray] = lambda depth: depth, **which):
    for split, _, name, each in _each(root, **which):
        _save(split / "depth" / f"{name}{ending}", change(each.depth))


# === Orientation and size ===


def _turned(root, orientation, stored, height, width):
    """Phone pictures: stored as the sensor has them, an EXIF tag says how to hold them; labels are upright."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for split in DISCS:
        for index, each in enumerate(scenes(split, 8, height, width)):
            name = f"{index:03}"
            _save(root / split / "rgb" / f"{name}.jpg", stored(each.rgb), quality=95, exif=exif)
            _save(root / split / "semseg" / f"{name}.png", each.semseg)
            _save(root / split / "depth" / f"{name}.png", each.depth)
    _describe(root, depth=DEPTH | STATISTICS)


@_folder
def exif3(root):
    _turned(root, 3, lambda rgb: rgb[::-1, ::-1], 64, 96)


@_folder
def exif6(root):
    _turned(root, 6, np.rot90, 96, 64)


@_folder
def exif6_square(root):
    _turned(root, 6, np.rot90, 64, 64)


@_folder
def half_labels(root):
    """Pictures of twice the labels' size, depth of half of it."""
    for split, _, name, each in _each(root):
        _save(split / "rgb" / f"{name}.jpg", each.rgb.repeat(2, axis=0).repeat(2, axis=1), quality=95)
    _labels(root)
    _depth(root, change=lambda depth: depth[1::2, 1::2])
    _describe(root, depth=DEPTH | STATISTICS)


@_folder
def one_pixel(root):
    """Labels one row short."""
    _pictures(root)
    _labels(root, change=lambda semseg: semseg[:-1])
    _describe(root)


@_folder
def aspect(root):
    """192x64 pictures whose classes differ by shape only."""
    for split in ("train", "val"):
        for index, (rgb, semseg) in enumerate(rectangles(split)):
            _save(root / split / "rgb" / f"{index:03}.png", rgb)
            _save(root / split / "semseg" / f"{index:03}.png", semseg)
    _describe(root, classes=("ground", "tall", "wide"))


# === How ids are stored ===


@_folder
def binary255(root):
    _pictures(root)
    _labels(root, change=lambda semseg: semseg * 255)
    _describe_as_guessed(root, classes=("background", "polyp"))


@_folder
def from_one(root):
    """Ids from 1; 0 is unlabelled, as the upper rows are."""

    def shifted(semseg):
        semseg = semseg + np.uint8(1)
        semseg[:6] = 0
        return semseg

    _pictures(root)
    _labels(root, change=shifted)
    _describe_as_guessed(root, count=3)


def _with_palettes(root, other, count=8):
    """Every second file has another palette, in which the disc is colour 0 and the ground colour 1."""
    for split, index, name, each in _each(root, count=count):
        image = Image.fromarray(each.semseg ^ (index % 2), mode="P")
        image.putpalette([*ROAD, *CAR] if index % 2 == 0 else [*other, *ROAD])
        _save(split / "semseg" / f"{name}.png", image)
    _pictures(root, count=count)
    _describe_as_guessed(root, palette=(ROAD, CAR))


@_folder
def palettes(root):
    _with_palettes(root, CAR)


@_folder
def palettes_adaptive(root):
    """The palettes hold the colours that a picture has: in every second one vegetation instead of cars."""
    _with_palettes(root, VEGETATION, count=4)


@_folder
def colour(root):
    _pictures(root)
    _labels(root, change=lambda semseg: np.array([ROAD, CAR], np.uint8)[semseg])
    lines = ["# label:color_rgb:parts:actions"]
    lines += [f"{name}:{','.join(map(str, rgb))}::" for name, rgb in (("road", ROAD), ("car", CAR))]
    (root / "labelmap.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@_folder
def onebit(root):
    _pictures(root)
    _labels(root, change=lambda semseg: semseg.astype(bool))


@_folder
def ids16(root):
    _pictures(root)
    _labels(root, change=lambda semseg: semseg.astype(np.uint16))


@_folder
def three_equal(root):
    _pictures(root)
    _labels(root, change=lambda semseg: np.stack([semseg] * 3, axis=-1))


# === Endings and names ===


@_folder
def lab_tif(root):
    _pictures(root)
    _labels(root, ".tif")
    _describe(root)


@_folder
def lab_bmp(root):
    _pictures(root)
    _labels(root, ".bmp")
    _describe(root)


@_folder
def lab_suffix(root):
    _pictures(root)
    _labels(root, "_mask.png")
    _describe(root)


@_folder
def val_tif(root):
    """Another ending in one split only."""
    _pictures(root)
    _labels(root, splits=("train",))
    _labels(root, ".tif", splits=("val",))
    _describe(root, name="lab_half_tif")


@_folder
def rgb_mixed(root):
    for split, index, name, each in _each(root):
        ending = (".jpg", ".tif", ".bmp", ".webp")[index % 4]
        _save(split / "rgb" / f"{name}{ending}", each.rgb, quality=75)
    _labels(root)
    _describe(root)


def _in_folders(root, folder_of):
    for split, index, name, each in _each(root):
        folder = folder_of(index % 2)
        _save(split / "rgb" / folder / f"{name}.jpg", each.rgb, quality=75)
        _save(split / "semseg" / folder / f"{name}.png", each.semseg)
    _describe(root)


@_folder
def nested(root):
    """Sequences in sub-folders."""
    _in_folders(root, lambda odd: f"seq{odd}")


@_folder
def partly_nested(root):
    _in_folders(root, lambda odd: "seq1" if odd else "")


@_folder
def names_nfd(root):
    """Pictures named in composed letters, their labels in decomposed ones, as Macs write them."""
    for split, index, _, each in _each(root, count=4):
        name = ("café", "é", "ü", "ö")[index]
        _save(split / "rgb" / f"{unicodedata.normalize('NFC', name)}.JPG", each.rgb, quality=95)
        _save(split / "semseg" / f"{unicodedata.normalize('NFD', name)}.PNG", each.semseg)
    _describe(root)


# === How depth is stored ===


def _with_depth(root, ending, write, described=True, **changes):
    """Pictures and labels as usual; `write(path, millimetres)` writes the depth."""
    _pictures(root)
    _labels(root)
    for split, _, name, each in _each(root):
        path = split / "depth" / f"{name}{ending}"
        path.parent.mkdir(exist_ok=True)
        write(path, each.depth)
    if described:
        _describe_as_guessed(root, **changes)


def _metres(millimetres):
    return (millimetres / 1000).astype(np.float32)


def _write_pfm(path, millimetres):
    height, width = millimetres.shape
    rows = _metres(millimetres)[::-1].astype("<f4")  # from the bottom up
    path.write_bytes(b"Pf\n%d %d\n-1.0\n" % (width, height) + rows.tobytes())


def _write_exr(path, millimetres):
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {"Z": _metres(millimetres)}) as file:
        file.write(str(path))


@_folder
def depth_npy(root):
    _with_depth(root, ".npy", lambda path, depth: np.save(path, _metres(depth)))


@_folder
def depth_npz(root):
    _with_depth(root, ".npz", lambda path, depth: np.savez(path, depth=_metres(depth)), described=False)


@_folder
def depth_exr(root):
    _with_depth(root, ".exr", _write_exr)


@_folder
def depth_tiff(root):
    _with_depth(root, ".tiff", lambda path, depth: _save(path, _metres(depth)))


@_folder
def depth_pfm(root):
    _with_depth(root, ".pfm", _write_pfm, described=False)


@_folder
def depth_tif16(root):
    _with_depth(root, ".tif", _save)


@_folder
def depth_png8(root):
    """Linear 8 bit: 255 is 10 m. dataset.json says what it was once taken for."""

    def write(path, millimetres):
        _save(path, np.rint(millimetres / 10000 * 255).astype(np.uint8))

    guess = {"encoding": "inverse_uint8", "minimum": 4.0, "maximum": 300.0}
    _with_depth(root, ".png", write, depth=guess)


# === What lacks ===


@_folder
def noval(root):
    """No validation split."""
    which = dict(count=4, splits=("train",))
    _pictures(root, **which)
    _labels(root, **which)
    _depth(root, **which)
    _describe(root, depth=DEPTH | STATISTICS)


@_folder
def absent_class(root):
    """A class that no pixel has."""
    _pictures(root)
    _labels(root)
    _depth(root)
    _describe(root, classes=("ground", "disc", "unicorn"), depth=DEPTH | STATISTICS)
