"""Recordings scene by scene: ScanNet, DIODE, Hypersim and SUN RGB-D, each as its authors hand it out."""

import os

from _describing.layouts.layout import Layout, folders_in, in_order, is_split, with_ending
from mtl_tf.data.split_lists import HEADING
from mtl_tf.errors import UsageError
from mtl_tf.storage import files, listing

_LABELS = ("label-filt", "label_filt", "label", "labels", "semantic", "semseg")  # of ScanNet, refined ones first
_SUN_LIST = "train_pairs.txt"
_SUN_DEPTH = ("depth_bfx", "depth")  # with the holes filled, and as measured


def _by_split(root, holds):
    """The folders in which the scenes of a split stand; () = they stand in the root, None = there are none."""
    if holds(root):
        return ()
    return in_order([name for name in folders_in(root) if holds(files.join(root, name))]) or None


def _ending(folder, endings):
    """The ending of the files in a folder; "" where they differ."""
    found = {os.path.splitext(name)[1] for name in with_ending(folder, endings)}
    return found.pop() if len(found) == 1 else ""


def scannet(root: str) -> Layout | None:
    """Scenes with color/ID.jpg, depth/ID.png (millimetres), and class ids in label-filt or label (Dai et al., 2017)."""

    def scene_in(folder):
        return next((name for name in folders_in(folder) if _is_scan(files.join(folder, name))), None)

    splits = _by_split(root, scene_in)
    if splits is None:
        return None
    above = files.join(root, splits[0]) if splits else root
    scene = files.join(above, scene_in(above))
    place = f"{'{split}/' if splits and _are_splits(splits) else ''}{{scene}}"
    if splits and not _are_splits(splits):  # scans/scene0000_00
        place, splits = f"{splits[0]}/{{scene}}", ()
    names = {"rgb": f"{place}/color/{{id}}{_ending(files.join(scene, 'color'), listing.PICTURES)}"}
    names["depth"] = f"{place}/depth/{{id}}.png"
    labels = next((name for name in _LABELS if with_ending(files.join(scene, name), listing.LABELS)), None)
    if labels:
        names["semseg"] = f"{place}/{labels}/{{id}}.png"
    return Layout("ScanNet", names, splits=splits, options={"depth_encoding": "uint16_scaled", "unit": 0.001})


def _are_splits(names):
    return all(map(is_split, names))


def _is_scan(folder):
    return bool(
        with_ending(files.join(folder, "color"), listing.PICTURES)
        and with_ending(files.join(folder, "depth"), (".png",))
    )


def diode(root: str) -> Layout | None:
    """SPLIT/indoors/SCENE/SCAN/ID.png, ID_depth.npy (metres) and ID_depth_mask.npy (Vasiljevic et al., 2019)."""

    def first_scan(split):
        below = files.join(root, split)
        for _ in range(3):
            below = files.join(below, next(iter(folders_in(below)), ""))
        return with_ending(below, ("_depth.npy",))

    splits = in_order([name for name in folders_in(root) if first_scan(name)])
    if not splits:
        return None
    place = "{split}/{area}/{scene}/{scan}/{id}"
    names = {"rgb": f"{place}.png", "depth": f"{place}_depth.npy"}
    return Layout(
        "DIODE",
        names,
        splits=splits,
        options={"depth_encoding": "numbers", "unit": 1.0, "mask": "_mask.npy"},
        notes=["normals (_normal.npy) are not described: DIODE does not state their axes"],
    )


def hypersim(root: str) -> Layout | None:
    """SCENE/images/scene_CAMERA_final_preview and _geometry_hdf5 (Roberts et al., ICCV 2021).

    Raises:
        UsageError: pictures are there in linear light only.
    """
    for scene in folders_in(root):
        images = files.join(root, scene, "images")
        cameras = [name for name in folders_in(images) if name.endswith("_geometry_hdf5")]
        if cameras:
            break
    else:
        return None
    camera = cameras[0].removeprefix("scene_").removesuffix("_geometry_hdf5")
    pictures = files.join(images, f"scene_{camera}_final_preview")
    if not with_ending(pictures, (".tonemap.jpg",)):
        raise UsageError(
            f"{pictures}: no frame.*.tonemap.jpg; of Hypersim the tone-mapped pictures of its authors are read, not "
            "the linear light of final_hdf5: unpack scene_cam_*_final_preview too"
        )
    place = "{scene}/images/scene_{camera}"
    names = {
        "rgb": f"{place}_final_preview/frame.{{id}}.tonemap.jpg",
        "depth": f"{place}_geometry_hdf5/frame.{{id}}.depth_meters.hdf5",
    }
    if with_ending(files.join(images, cameras[0]), (".semantic.hdf5",)):
        names["semseg"] = f"{place}_geometry_hdf5/frame.{{id}}.semantic.hdf5"
    return Layout(
        "Hypersim",
        names,
        options={"depth_encoding": "numbers", "unit": 1.0},
        notes=[
            "depth of Hypersim is the distance to the centre of the camera, along the ray, not along the optical axis",
            "pictures are the tone-mapped previews of the authors; linear light (final_hdf5) is not read",
        ],
    )


def sun_rgbd(root: str) -> Layout | None:
    """Folders of one picture each, in image, with its depth in depth_bfx or depth (Song et al., CVPR 2015)."""
    if not any(_samples(root, "", most=2)):  # a look at a few folders first, since a tree may be large
        return None
    samples = sorted(_samples(root, ""))
    lines = [f"{HEADING} depth", *(f"{picture}\t{depth}" for picture, depth in samples)]
    return Layout(
        "SUN RGB-D",
        {},
        {"train": _SUN_LIST},
        ("train",),
        written={_SUN_LIST: "\n".join(lines) + "\n"},
        options={"depth_encoding": "uint16_rotated", "unit": 0.001},
        notes=[
            f"{len(samples)} pictures and their depth are listed in {_SUN_LIST}; split it as you need",
            "classes of SUN RGB-D (seg.mat) are not read: each file has names of its own",
        ],
    )


def _samples(root, below, levels=6, most=None):
    """Picture and depth of each folder that has both, so many levels down; paths below the root.

    Args:
        root, below: the folder, and the path below it that is looked at.
        levels: how many more there are below.
        most: the folders of each that are looked into; None = all.
    """
    here = files.join(root, below) if below else root
    there = folders_in(here)
    maps = next((name for name in _SUN_DEPTH if name in there), None)
    if "image" in there and maps:
        pictures = with_ending(files.join(here, "image"), listing.PICTURES)
        stored = with_ending(files.join(here, maps), (".png",))
        if len(pictures) == len(stored) == 1 and below:
            yield f"{below}/image/{pictures[0]}", f"{below}/{maps}/{stored[0]}"
    elif levels:
        for name in there[:most]:
            yield from _samples(root, f"{below}/{name}".lstrip("/"), levels - 1, most)
