"""Small folders as people have them: each writer makes two samples or more whose labels and depth are known.

Every picture has the grey `10 * number`, its class map is `number % 2` with 255 in the first pixel, and its depth is
`1 + number` metres everywhere but in the first pixel, where it is unknown.
"""

import pathlib

import h5py
import numpy as np
import pytest
from PIL import Image

from mtl_tf.config import Config, replace
from mtl_tf.data.sets import describe, open_split
from mtl_tf.errors import UsageError
from tests.data.official import save, save_array

SIZE = (4, 6)


def picture(path: pathlib.Path, number: int):
    """A grey picture."""
    save(path, np.full((*SIZE, 3), 10 * number, np.uint8))


def labels(number: int) -> np.ndarray:
    """Class ids, uint8."""
    found = np.full(SIZE, number % 2, np.uint8)
    found[0, 0] = 255
    return found


def metres(number: int) -> np.ndarray:
    """Depth, float32; 0 = unknown."""
    found = np.full(SIZE, 1 + number, np.float32)
    found[0, 0] = 0
    return found


def scaled(number: int, units: float) -> np.ndarray:
    """Depth in so many units a metre, uint16."""
    return (metres(number) * units).astype(np.uint16)


def write_voc(root):
    """Three pictures, of which two have labels; a palette; lists of two splits, and of one without pictures."""
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for number, name in enumerate(("2007_000027", "2007_000032", "2007_000033")):
        picture(root / f"JPEGImages/{name}.jpg", number)
        if number < 2:
            made = Image.fromarray(labels(number))
            made.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
            (root / "SegmentationClass").mkdir(exist_ok=True)
            made.save(root / f"SegmentationClass/{name}.png")
    (root / "ImageSets/Segmentation/train.txt").write_text("2007_000027\n")
    (root / "ImageSets/Segmentation/val.txt").write_text("2007_000032\n")
    (root / "ImageSets/Segmentation/test.txt").write_text("2008_000001\n")
    return root


def write_pairs(root, pictures, masks, splits=("train", "val"), names=("{}.jpg", "{}.png")):
    """Pictures and labels at paths that may hold {split}; the first split has numbers 0 and 1, the second 2 and 3."""
    for place, split in enumerate(splits):
        for number in (2 * place, 2 * place + 1):
            picture(root / pictures.format(split=split) / names[0].format(f"a{number}"), number)
            save(root / masks.format(split=split) / names[1].format(f"a{number}"), labels(number))
    return root


def write_tum(root, sequences=("rgbd_dataset_freiburg1_xyz", "rgbd_dataset_freiburg1_desk")):
    """Sequences of two pictures; the depth of the first is 15 ms later, that of the second 25 ms: too far."""
    for place, name in enumerate(sequences):
        folder = root / name
        stamps = {"rgb": (100.0, 101.0), "depth": (100.015, 101.025)}
        for kind, found in stamps.items():
            lines = ["# a comment", *(f"{stamp:.6f} {kind}/{stamp:.6f}.png" for stamp in found)]
            (folder / kind).mkdir(parents=True)
            (folder / f"{kind}.txt").write_text("\n".join(lines) + "\n")
        for number, stamp in enumerate(stamps["rgb"]):
            picture(folder / f"rgb/{stamp:.6f}.png", 2 * place + number)
        for number, stamp in enumerate(stamps["depth"]):
            save(folder / f"depth/{stamp:.6f}.png", scaled(2 * place + number, 5000))
    return root


def write_scannet(root, above=""):
    """Two scenes of two frames, with class maps."""
    for number in range(4):
        scene = root / above / f"scene000{number // 2}_00"
        picture(scene / f"color/{number}.jpg", number)
        save(scene / f"depth/{number}.png", scaled(number, 1000))
        save(scene / f"label-filt/{number}.png", labels(number))
        (scene / "pose").mkdir(exist_ok=True)
    return root


def write_diode(root):
    """A scan of two pictures in each split; depth is stored everywhere, and a mask says where it was measured."""
    for number in range(4):
        split = ("train", "val")[number // 2]
        stem = root / f"{split}/indoors/scene_00000/scan_00000/00000_00000_indoors_00{number}_000"
        picture(stem.with_name(stem.name + ".png"), number)
        save_array(stem.with_name(stem.name + "_depth.npy"), np.full((*SIZE, 1), 1 + number, np.float32))
        save_array(stem.with_name(stem.name + "_depth_mask.npy"), (metres(number) > 0).astype(np.float32))
        save_array(stem.with_name(stem.name + "_normal.npy"), np.zeros((*SIZE, 3), np.float32))
    return root


def write_hypersim(root, previews=True):
    """Two scenes of one camera and two frames; ids from -1 = no class."""
    for number in range(4):
        images = root / f"ai_001_00{number // 2}/images"
        if previews:
            picture(images / f"scene_cam_00_final_preview/frame.000{number}.tonemap.jpg", number)
        classes, depth = labels(number).astype(np.int16), metres(number)
        classes[0, 0], depth[0, 0] = -1, np.nan
        for kind, values in (("semantic", classes), ("depth_meters", depth.astype(np.float16))):
            path = images / f"scene_cam_00_geometry_hdf5/frame.000{number}.{kind}.hdf5"
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                file["dataset"] = values
    return root


def write_sun_rgbd(root):
    """Four folders of one picture; the names of depth differ. Stored values have their lowest three bits first."""
    for number in range(4):
        folder = root / f"kv1/NYUdata/NYU000{number}"
        picture(folder / f"image/NYU000{number}.jpg", number)
        millimetres = scaled(number, 1000)
        save(folder / f"depth_bfx/{number}-0000{number}.png", (millimetres << 3) | (millimetres >> 13))
        (folder / "seg.mat").write_bytes(b"")
    return root


def write_roboflow(root):
    """A semantic export: masks beside the pictures, and the classes."""
    for place, split in enumerate(("train", "valid")):
        for number in (2 * place, 2 * place + 1):
            picture(root / split / f"img{number}_png.rf.0a{number}.jpg", number)
            save(root / split / f"img{number}_png.rf.0a{number}_mask.png", np.minimum(labels(number), 1))
        (root / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, road\n")
    (root / "README.dataset.txt").write_text("by somebody\n")
    return root


def write_cvat(root):
    """Segmentation mask 1.1: classes by colour, in the folders of VOC, with one list."""
    for number in range(4):
        picture(root / f"JPEGImages/f{number}.png", number)
        colours = np.array([(0, 0, 0), (250, 50, 83)], np.uint8)[np.minimum(labels(number), 1)]
        save(root / f"SegmentationClass/f{number}.png", colours)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/default.txt").write_text("".join(f"f{number}\n" for number in range(4)))
    (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:250,50,83::\n")
    return root


# === Read again ===


def labels_of(root, split="train", **options):
    """Id -> class of the first pixel."""
    config = replace(Config(), data__name="folder", data__root=str(root), tasks=("semseg",), **options)
    source = open_split(config, split, describe(config.data))
    return {name: int(source.read(place)["semseg"][0, 0]) for place, name in enumerate(source.ids)}


def refused(*given, **options):
    """The one line of the error."""
    with pytest.raises(UsageError) as caught:
        labels_of(*given, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
