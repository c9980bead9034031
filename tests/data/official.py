"""Small data sets in the formats of the official downloads, with values that can be worked out by hand."""

import json
import pathlib

import numpy as np
import pytest
import scipy.io
from PIL import Image

from mtl_tf import config as configuration
from mtl_tf.data.sets import open_split
from mtl_tf.errors import UsageError

HEIGHT, WIDTH = 4, 6


def save(path: pathlib.Path, array) -> pathlib.Path:
    """Writes a picture by its suffix; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array)).save(path)
    return path


def save_array(path: pathlib.Path, array) -> pathlib.Path:
    """Writes a .npy file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


def save_mat(path: pathlib.Path, **variables) -> pathlib.Path:
    """Writes a MATLAB file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, variables, do_compression=True)
    return path


def save_palette(path: pathlib.Path, numbers: np.ndarray) -> pathlib.Path:
    """Writes a palette picture of random colours; its folder is made."""
    made = Image.fromarray(numbers)
    made.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save(path)
    return path


def picture(seed: int = 0) -> np.ndarray:
    """RGB, uint8 (4, 6, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def pixels(values, dtype, fill=0) -> np.ndarray:
    """A map (4, 6), or (4, 6, 3) of colours, that begins with the given values and goes on with another."""
    shape = (HEIGHT, WIDTH, *np.shape(values)[1:])
    found = np.full((HEIGHT * WIDTH, *shape[2:]), fill, dtype)
    found[: len(values)] = values
    return found.reshape(shape)


# === Cityscapes ===

CITY_LABELS = [0, 7, 8, 9, 11, 21, 23, 24, 26, 29, 33, 255]  # label ids of the first pixels; the others are road
# A stuff id stays alone; of the same pixels: a person, a crowd of cars, a trailer, a bicycle, a licence plate (-1).
CITY_INSTANCES = [0, 7, 8, 9, 11, 21, 23, 24000, 26, 29001, 33002, 65535]
CITY_CODES = [0, 1, 257, 1025, 25601, 32257]  # disparity codes of the first pixels; the others are invalid
CITY_BASELINE, CITY_FOCAL = 0.25, 2048.0


def write_cityscapes(root: pathlib.Path, samples: dict[str, list[str]] | None = None) -> dict:
    """All four archives, unpacked in one folder; returns the options that read them."""
    samples = samples or {"train": ["aachen_000000_000019", "aachen_000010_000019", "bremen_000000_000019"]}
    for split, names in samples.items():
        for seed, name in enumerate(names):
            city = f"{split}/{name.split('_')[0]}/{name}"
            save(root / f"leftImg8bit/{city}_leftImg8bit.png", picture(seed))
            save(root / f"gtFine/{city}_gtFine_labelIds.png", pixels(CITY_LABELS, np.uint8, 7))
            save(root / f"gtFine/{city}_gtFine_instanceIds.png", pixels(CITY_INSTANCES, np.uint16, 7))
            save(root / f"gtFine/{city}_gtFine_color.png", picture(seed))
            save(root / f"disparity/{city}_disparity.png", pixels(CITY_CODES, np.uint16))
            camera = root / f"camera/{city}_camera.json"
            camera.parent.mkdir(parents=True, exist_ok=True)
            extrinsic = {
                "baseline": CITY_BASELINE,
                "pitch": 0.03,
                "roll": 0.0,
                "x": 1.7,
                "y": 0.1,
                "yaw": 0.0,
                "z": 1.2,
            }
            intrinsic = {"fx": CITY_FOCAL, "fy": 2265.0, "u0": 1096.98, "v0": 513.137}
            camera.write_text(json.dumps({"extrinsic": extrinsic, "intrinsic": intrinsic}))
    return dict(data__name="cityscapes", data__root=str(root))


# Of the first pixels, the others are road: label ids, instances without parts (class * 1000 + instance), and with parts
# (class * 100000 + instance * 100 + part).
CITY_PART_IDS = [0, 99, 24007, 2400001, 2400702, 2500003, 2599904, 2600001, 2700102, 2800203, 2600004, 2600005, 2600006]
CITY_PART_IDS += [3300001, 2400705]


def write_cityscapes_parts(root: pathlib.Path) -> None:
    """The archive of panoptic parts, of the pictures that there are."""
    for path in (root / "leftImg8bit").rglob("*.png"):
        place = str(path.relative_to(root / "leftImg8bit")).replace("leftImg8bit.png", "gtFinePanopticParts.tif")
        save(root / "gtFinePanopticParts" / place, pixels(CITY_PART_IDS, np.int32, 7))


# === KITTI ===

KITTI_CODES = [0, 256, 1024, 25600, 65535]
KITTI_CALIBRATION = """calib_time: 09-Jan-2012 14:00:15
corner_dist: 9.950000e-02
S_02: 1.392000e+03 5.120000e+02
S_rect_02: 1.242000e+03 3.750000e+02
P_rect_02: 7.000000e+02 0.0 6.095593e+02 3.000000e+01 0.000000e+00 7.000000e+02 1.7e+02 2.1e-01 0 0 1 2.7e-03
P_rect_03: 7.000000e+02 0.0 6.095593e+02 -3.540000e+02 0.000000e+00 7.000000e+02 1.7e+02 2.2e+00 0 0 1 2.7e-03
"""


def write_kitti(semantics: pathlib.Path, scene_flow: pathlib.Path, calibration: pathlib.Path, count: int = 7) -> dict:
    """The three archives, each in the folder that it is given; returns the options that read them from the first."""
    for number in range(count):
        for root in {semantics, scene_flow}:
            save(root / f"training/image_2/{number:06}_10.png", picture(number))
        save(scene_flow / f"training/image_2/{number:06}_11.png", picture(99))
        save(scene_flow / f"training/image_3/{number:06}_10.png", picture(99))
        save(semantics / f"training/semantic/{number:06}_10.png", pixels(CITY_LABELS, np.uint8, 7))
        for kind in ("occ", "noc"):
            save(scene_flow / f"training/disp_{kind}_0/{number:06}_10.png", pixels(KITTI_CODES, np.uint16))
        path = calibration / f"training/calib_cam_to_cam/{number:06}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(KITTI_CALIBRATION)
    save(scene_flow / "testing/image_2/000000_10.png", picture(0))
    return dict(data__name="kitti", data__root=str(semantics))


# === Virtual KITTI 2 ===

VKITTI_COLOURS = [(100, 60, 100), (90, 200, 255), (0, 139, 139), (0, 0, 0), (210, 0, 200)]  # road, sky, van, none, ...
VKITTI_TRACKS = [0, 0, 118, 0, 0, 0, 1]  # number of the track + 1
VKITTI_CENTIMETRES = [0, 99, 100, 2550, 30000, 65535]


def write_vkitti2(root: pathlib.Path, scenes=("Scene01", "Scene18"), variations=("clone", "fog"), archives=("",) * 4):
    """The archives rgb, depth, classSegmentation and instanceSegmentation, each in a folder below; returns options."""
    rgb, depth, classes, instances = (root / archive for archive in archives)
    for scene in scenes:
        for variation in variations:
            for camera in ("Camera_0", "Camera_1"):
                for frame in range(2):
                    frames = f"{scene}/{variation}/frames"
                    save(rgb / f"{frames}/rgb/{camera}/rgb_{frame:05}.jpg", picture(frame))
                    save(depth / f"{frames}/depth/{camera}/depth_{frame:05}.png", pixels(VKITTI_CENTIMETRES, np.uint16))
                    label = f"{frames}/classSegmentation/{camera}/classgt_{frame:05}.png"
                    save(classes / label, pixels(VKITTI_COLOURS, np.uint8, 80))
                    label = f"{frames}/instanceSegmentation/{camera}/instancegt_{frame:05}.png"
                    save_palette(instances / label, pixels(VKITTI_TRACKS, np.uint8))
    return dict(data__name="vkitti2", data__root=str(root))


# === CamVid ===

CAMVID_NAMES = (
    *("0001TP_006690", "0001TP_008520", "0001TP_008550", "0006R0_f00930", "0016E5_00901"),
    *("0016E5_07920", "0016E5_07959", "0016E5_08159", "0016E5_08190", "Seq05VD_f00000"),
)
# Sky, wall (a building), traffic cone (a pole), lane marking (road), void, motorcycle (a bicyclist); the others sky.
CAMVID_COLOURS = [(128, 128, 128), (64, 192, 0), (0, 0, 64), (128, 0, 192), (0, 0, 0), (192, 0, 192)]


def write_camvid(root: pathlib.Path) -> dict:
    """The two archives of the original; returns the options that read them."""
    for seed, name in enumerate(CAMVID_NAMES):
        save(root / f"701_StillsRaw_full/{name}.png", picture(seed))
        save(root / f"LabeledApproved_full/{name}_L.png", pixels(CAMVID_COLOURS, np.uint8, 128))
    return dict(data__name="camvid", data__root=str(root), tasks=("semseg",))


def write_camvid_segnet(root: pathlib.Path) -> dict:
    """SegNet's copy, with ids; returns the options that read it."""
    for split, names in {"train": ("0001TP_006690", "0006R0_f00930"), "val": ("0016E5_07959",)}.items():
        for seed, name in enumerate(names):
            save(root / f"{split}/{name}.png", picture(seed))
            save(root / f"{split}annot/{name}.png", pixels([0, 10, 11, 3], np.uint8, 1))
    return dict(data__name="camvid", data__root=str(root), tasks=("semseg",))


# === NYUD-MT ===

NYUD_CODES = [0, 1, 40, 5]  # none, wall, otherprop, chair; the others wall
NYUD_METRES = [0.0, 0.05, 2.5, 10.5, np.nan]  # the others 3 m
# As stored, right, up, to the camera: none, a floor, a surface that faces right; the others face the camera.
NYUD_NORMALS = [(0, 0, 0), (0, 1, 0), (1, 0, 0)]
NYUD_LISTS = {"train": ("1", "2", "10"), "val": ("3", "4")}
NYUD_FACING = (128, 128, 255)  # a colour


def write_nyud_mt(root: pathlib.Path, layout: str = "vandenhende") -> dict:
    """The archive in the layout of Vandenhende et al., of "invpt" or of "astmt"; returns the options that read it."""
    classes, edges = pixels(NYUD_CODES, np.uint8, 1), pixels([1, 0, 1], np.uint8)
    metres, normals = pixels(NYUD_METRES, np.float32, 3), pixels(NYUD_NORMALS, np.float32, (0, 0, 1))
    for split, names in NYUD_LISTS.items():
        (root / "gt_sets").mkdir(parents=True, exist_ok=True)
        (root / f"gt_sets/{split}.txt").write_text("".join(f"{name}\n" for name in names))
        for name in names:
            save(root / f"images/{name}.{'png' if layout == 'invpt' else 'jpg'}", picture(int(name)))
            if layout == "astmt":
                save_mat(root / f"segmentation/{name}.mat", segmentation=classes)
                save_mat(root / f"depth/{name}.mat", depth=metres)
                save(root / f"normals/{name}.jpg", np.full((HEIGHT, WIDTH, 3), NYUD_FACING, np.uint8))
            else:
                save(root / f"segmentation/{name}.png", classes)
                save_array(root / f"depth/{name}.npy", metres)
            if layout == "invpt":
                save(root / f"normals/{name}.png", np.rint(127.5 * (normals + 1)).astype(np.uint8))
            if layout == "vandenhende":
                save_array(root / f"normals/{name}.npy", normals)
                save_array(root / f"edge/{name}.npy", edges)
            else:
                save(root / f"edge/{name}.png", 255 * edges)
    return dict(data__name="nyud_mt", data__root=str(root), tasks=("semseg", "depth", "normals", "edges"))


# === The copies of MTAN ===

MTAN_CODES = [-1, 0, 6, 3]
MTAN_DISPARITIES = [0, 1 / 65535, 32257 / 65535]


def write_mtan_nyuv2(root: pathlib.Path, counts=(("train", 3), ("val", 2))) -> dict:
    """The copy of NYUv2, pictures 0..1; returns the options that read it."""
    for split, count in counts:
        for number in range(count):
            save_array(root / f"{split}/image/{number}.npy", picture(number) / 255)
            save_array(root / f"{split}/label/{number}.npy", pixels([*MTAN_CODES, 12], np.float32, 11))
            save_array(root / f"{split}/depth/{number}.npy", pixels(NYUD_METRES, np.float64, 3)[..., None])
            save_array(root / f"{split}/normal/{number}.npy", pixels(NYUD_NORMALS, np.float64, (0, 0, 1)))
    return dict(data__name="mtan_nyuv2", data__root=str(root), tasks=("semseg", "depth", "normals"))


def write_mtan_cityscapes(root: pathlib.Path, classes=("label_7", "label_19", "label_2")) -> dict:
    """The copy of Cityscapes, pictures 0..1; returns the options that read it."""
    most = {"label": 6, "label_7": 6, "label_19": 18, "label_2": 1}
    for split, count in (("train", 3), ("val", 2)):
        for number in range(count):
            save_array(root / f"{split}/image/{number}.npy", (picture(number) / 255).astype(np.float32))
            save_array(root / f"{split}/depth/{number}.npy", pixels(MTAN_DISPARITIES, np.float32, 0.25)[..., None])
            for name in classes:
                save_array(root / f"{split}/{name}/{number}.npy", pixels([-1, 0, most[name]], np.float32, 1))
    return dict(data__name="mtan_cityscapes", data__root=str(root), tasks=("semseg", "depth"))


# === PASCAL for many tasks ===

PASCAL_LISTS = {"train": ("2008_000002", "2008_000007"), "val": ("2008_000003",)}
# PASCAL-Context: wall, whose normals count, left; sky, whose do not, right.
PASCAL_MAP = np.where(np.arange(WIDTH) < 3, 440, 360) * np.ones((HEIGHT, 1), int)
# 8-bit normals: right, up, towards the camera, no direction, then towards the camera.
PASCAL_NORMALS = [(255, 128, 128), (128, 255, 128), (128, 128, 255), (0, 0, 0)]


def mask(*first: int) -> np.ndarray:
    """A mask (4, 6) of the pixels of these numbers."""
    return pixels(np.isin(np.arange(HEIGHT * WIDTH), first), np.uint8)


def structs(rows: list[dict]) -> np.ndarray:
    """A struct array (1, N) as MATLAB has it, for scipy.io.savemat; of none an empty matrix."""
    if not rows:
        return np.zeros((0, 0))
    found = np.zeros((1, len(rows)), [(name, object) for name in rows[0]])
    for place, row in enumerate(rows):
        found[0, place] = tuple(row.values())
    return found


def write_annotation(path: pathlib.Path, people: list[dict[str, np.ndarray]]) -> pathlib.Path:
    """A file of PASCAL-Part of a dog, which has a head too, and people: name of a part -> its mask."""
    whole = [("dog", 12, {"head": mask(23)}), *(("person", 15, parts) for parts in people)]
    objects = [
        {
            "class": name,
            "class_ind": number,
            "mask": mask(*range(24)),
            "parts": structs([{"part_name": part, "mask": of} for part, of in parts.items()]),
        }
        for name, number, parts in whole
    ]
    return save_mat(path, anno=structs([{"imname": path.stem, "objects": structs(objects)}]))


PASCAL_PEOPLE = [
    {"hair": mask(0, 1, 2), "torso": mask(2, 3), "llarm": mask(4)},
    {"neck": mask(5), "ruarm": mask(4), "luleg": mask(6), "rfoot": mask(7)},
]


def write_pascal_mt(root: pathlib.Path) -> dict:
    """The archive; of the first picture two people, of the others nobody. Returns the options that read it."""
    for split, names in PASCAL_LISTS.items():
        path = root / f"ImageSets/Context/{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}\n" for name in names))
        for number, name in enumerate(names):
            save(root / f"JPEGImages/{name}.jpg", picture(number))
            save(root / f"semseg/pascal-context/{name}.png", pixels([0, 20, 255], np.uint8, 15))
            save(root / f"normals_distill/{name}.png", pixels(PASCAL_NORMALS, np.uint8, (128, 128, 255)))
            save(root / f"sal_distill/{name}.png", pixels([0, 127, 128, 255], np.uint8))
            people = PASCAL_PEOPLE if (split, number) == ("train", 0) else []
            write_annotation(root / f"human_parts/{name}.mat", people)
            save_mat(root / f"pascal-context/trainval/{name}.mat", LabelMap=PASCAL_MAP.astype(np.uint16))
    return dict(data__name="pascal_mt", data__root=str(root))


# === Taskonomy ===

TASKONOMY_FILES = {  # folder -> domain in names of files, and the picture
    "rgb": ("rgb", None),
    "segment_semantic": ("segmentsemantic", pixels([0, 1, 17], np.uint8, 5)),
    "depth_zbuffer": ("depth_zbuffer", pixels([65535, 1, 512, 5120], np.uint16, 1024)),
    "depth_euclidean": ("depth_euclidean", pixels([65535, 2, 512], np.uint16, 1024)),
    "normal": ("normal", pixels([(255, 128, 128), (128, 255, 128), (128, 128, 255)], np.uint8, (127, 127, 127))),
    "reshading": ("reshading", pixels([0, 51, 255], np.uint8, 102)),
    "principal_curvature": (
        "principal_curvature",
        pixels([(127, 127, 9), (178, 76, 9), (0, 255, 0)], np.uint8, (127, 127, 0)),
    ),
    "keypoints2d": ("keypoints2d", pixels([0, 65535, 26214], np.uint16, 13107)),
    "keypoints3d": ("keypoints3d", pixels([0, 65535, 26214], np.uint16, 13107)),
    "edge_occlusion": ("edge_occlusion", pixels([0, 65535, 26214], np.uint16, 13107)),
    "edge_texture": ("edge_texture", pixels([0, 65535, 26214], np.uint16, 13107)),
    "mask_valid": ("depth_zbuffer", pixels([0, 0, 255], np.uint8, 255)),
}


def write_taskonomy(root: pathlib.Path, folders=tuple(TASKONOMY_FILES), listed="train_val_test_tiny.csv") -> dict:
    """Two pictures of each of three buildings, and a list of these; returns the options that read them."""
    for building in ("allensville", "beechwood", "darden"):
        for folder in folders:
            domain, content = TASKONOMY_FILES[folder]
            for view in range(2):
                path = root / building / folder / f"point_7_view_{view}_domain_{domain}.png"
                save(path, picture(view) if content is None else content)
    rows = "id,train,val,test\nallensville,1,0,0\nbeechwood,1,0,0\ndarden,0,1,0\nelsewhere,0,0,0\n"
    (root / listed).write_text(rows)
    return dict(data__name="taskonomy", data__root=str(root))


# === Use ===


def configured(options: dict, **others):
    """The configuration of the options that a writer returned, and of others."""
    return configuration.replace(configuration.Config(), **(options | others))


def arguments(options: dict, *more: str) -> tuple[str, ...]:
    """The same options on a command line, and others."""
    return (f"--data.name={options['data__name']}", f"--data.root={options['data__root']}", *more)


def opened(options: dict, split: str = "train", **others):
    """The samples of a split."""
    return open_split(configured(options, **others), split)


def refusal(options: dict, split: str = "train", index: int | None = None, **others) -> str:
    """The one line by which opening a split, or reading its sample `index`, is refused."""
    with pytest.raises(UsageError) as caught:
        source = opened(options, split, **others)
        if index is not None:
            source.read(index)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def tree(root: pathlib.Path) -> dict[str, bytes]:
    """Every file below a folder and its content."""
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}
