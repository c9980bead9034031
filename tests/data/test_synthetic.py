"""Rendered scenes: pure, exact against an independent ray caster, complete in classes, and written to disk."""

import hashlib
import json
import math
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mtl_tf.config import Config, replace
from mtl_tf.data.sets import describe
from mtl_tf.data.sets.miniscapes import MINISCAPES
from mtl_tf.data.synthetic import build_scene, classes, raster, render, sample_seed, shapes
from mtl_tf.storage import codecs
from tests.data.ray_caster import HIT, cast, to_local, world_ray

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "make_synthetic.py"


def expected_depth(best):
    return best if 4 <= best <= 300 else 0.0


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_depth_and_labels_agree_with_a_ray_caster(index):
    height, width, count = 72, 96, 250
    seed = 21
    scene, sample = build_scene(seed, index), render(seed, index, height, width)
    rng = np.random.default_rng(index)
    wrong = 0
    for row, column in zip(rng.integers(0, height, count), rng.integers(0, width, count), strict=True):
        label, best, _ = cast(scene, world_ray(scene.camera, row, column, height, width))
        same_depth = math.isclose(sample["depth"][row, column], expected_depth(best), rel_tol=1e-3)
        wrong += label != sample["semseg"][row, column] or not same_depth
    # A ray within float32 rounding of an outline may fall on its other side.
    assert wrong <= 1


def test_each_shape_and_outline_agrees_with_the_ray_caster():
    camera = build_scene(0, 0).camera
    height = width = 96
    rays = camera.rays(height, width)
    frame = shapes.Frame(0.3, 6.0, 1.0, 0.0).at(0, 0, 0.5)
    outlines = [("rectangle",), ("disc",), ("ring", 0.6), ("diamond",), ("octagon",), ("triangle", 1)]
    outlines += [("triangle", -1), ("pickets", 0.3, 0.6), ("boards", 4, 0.7)]
    things = [shapes.panel(1, frame, 3, (0.2, 2.8), 0, outline) for outline in outlines]
    things += [
        shapes.solid(1, frame, (-1, 1), (-2, 1), (0.2, 2.2), 0, taper=(0.4, 0.9, 0.1)),
        shapes.ellipsoid(1, frame, 1.5, (1.5, 0.7, 1.1), 0, ragged=0.5),
        shapes.cylinder(1, frame, (0.1, 2.4), 0.6, 0),
    ]
    for thing in things:
        depth = np.full((height, width), np.inf, np.float32)
        surface = np.full((height, width), -1, np.int32)
        raster.draw([thing], camera, rays, depth, surface, [0])
        share = np.isfinite(depth).mean()
        assert 0.02 < share < 0.9, thing.outline
        wrong = 0
        for row in range(0, height, 4):
            for column in range(0, width, 4):
                direction = world_ray(camera, row, column, height, width)
                eye = np.array([0, 0, camera.height]) - thing.centre
                at = HIT[thing.shape](thing, to_local(thing, eye), to_local(thing, direction))
                wrong += not np.isclose(depth[row, column], np.inf if at is None else at, rtol=1e-3)
        assert wrong <= 2, (thing.shape, thing.outline)


# === Properties of render ===


def test_render_is_pure_and_typed():
    first, again, other = render(5, 7, 64, 96), render(5, 7, 64, 96), render(5, 8, 64, 96)
    assert list(first) == ["image", "semseg", "depth"]
    kinds = {"image": (np.uint8, (64, 96, 3)), "semseg": (np.uint8, (64, 96)), "depth": (np.float32, (64, 96))}
    for name, (dtype, shape) in kinds.items():
        assert first[name].dtype == dtype and first[name].shape == shape
        assert first[name].tobytes() == again[name].tobytes()
        assert first[name].tobytes() != other[name].tobytes()
    assert render(6, 7, 64, 96)["semseg"].tobytes() != first["semseg"].tobytes()


def test_depth_is_valid_or_zero_and_the_sky_has_none():
    for index in range(12):
        sample = render(1, index, 64, 64)
        depth, labels = sample["depth"], sample["semseg"]
        valid = depth > 0
        assert np.isfinite(depth).all() and valid.mean() > 0.2
        assert depth[valid].min() >= 4 and depth[valid].max() <= 300
        assert not depth[labels == classes.SKY].any()
        assert labels.max() <= 18


def test_the_scene_does_not_depend_on_the_image_size():
    # With three times the size, the middle pixel of each block of 3x3 looks along the ray of the small pixel.
    for index in range(3):
        small, large = render(2, index, 48, 64), render(2, index, 144, 192)
        assert (small["semseg"] == large["semseg"][1::3, 1::3]).mean() > 0.998
        close = np.isclose(small["depth"], large["depth"][1::3, 1::3], rtol=1e-3)
        assert close.mean() > 0.998


def test_labels_and_depth_are_the_same_on_every_machine():
    sample = render(2024, 3, 128, 160)
    digest = hashlib.sha256(sample["semseg"].tobytes() + sample["depth"].tobytes()).hexdigest()
    assert digest[:32] == "a2fbde22ba6137247db11e2e8284893e"


def test_splits_share_no_scene():
    seeds = {sample_seed(seed, split) for seed in (0, 1) for split in ("train", "val", "test")}
    assert len(seeds) == 6 and all(0 <= seed < 2**63 for seed in seeds)
    assert sample_seed(0, "train") == sample_seed(0, "train")


def test_the_renderer_imports_numpy_only():
    code = (
        "import sys; import mtl_tf.data.synthetic; "
        "print([name for name in ('tensorflow', 'keras', 'scipy', 'PIL') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_all_classes_occur_and_common_ones_are_common():
    pixels, images, count = np.zeros(19), np.zeros(19), 160
    for index in range(count):
        found = np.bincount(render(4, index, 48, 64)["semseg"].ravel(), minlength=19)
        pixels += found
        images += found > 0
    assert (images > 0).all()
    pixels /= pixels.sum()
    assert pixels[classes.ROAD] < 0.5
    for common in (classes.ROAD, classes.BUILDING, classes.VEGETATION, classes.SKY, classes.CAR):
        assert pixels[common] > 0.02
    for rare in (classes.TRAIN, classes.BUS, classes.TRUCK, classes.MOTORCYCLE, classes.RIDER):
        assert images[rare] < 0.6 * count and pixels[rare] < 0.02


# === The tool ===


def run_tool(output, *flags):
    command = [sys.executable, str(TOOL), f"--output={output}", "--height=32", "--width=48", "--workers=1", *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


def contents(output):
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}


COUNTS = ("--train=3", "--val=2", "--test=1", "--seed=9")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    output = tmp_path_factory.mktemp("synthetic") / "data"
    result = run_tool(output, *COUNTS)
    assert result.returncode == 0, result.stderr
    assert "6 samples" in result.stdout and "6 new" in result.stdout
    return output


def test_tool_writes_the_layout_of_miniscapes(made):
    counts = {"train": 3, "val": 2, "test": 1}
    names = {
        f"{split}/{name}/{index}{suffix}"
        for split, count in counts.items()
        for index in range(count)
        for name, suffix in (("rgb", ".jpg"), ("semseg", ".png"), ("depth", ".png"), ("instances", ".png"))
    }
    assert set(contents(made)) == names | {"synthetic.json", "dataset.json"}
    scene = render(sample_seed(9, "val"), 1, 32, 48, ("instances",))
    assert (np.asarray(Image.open(made / "val/instances/1.png")) == scene["instances"]).all()
    assert (np.asarray(Image.open(made / "val/semseg/1.png")) == scene["semseg"]).all()
    code = np.asarray(Image.open(made / "val/depth/1.png"))
    assert code.dtype == np.uint8 and (code == codecs.encode_inverse_uint8(scene["depth"])).all()
    picture = np.asarray(Image.open(made / "val/rgb/1.jpg"), np.float32)
    assert np.abs(picture - scene["image"]).mean() < 8


def test_made_scenes_are_miniscapes_without_its_camera(made):
    """Normals by the camera of Synscapes would be wrong; a description that is there already stays."""
    data = replace(Config(), data__name="miniscapes", data__root=str(made)).data
    found = describe(data)
    assert "normals" in MINISCAPES and "normals" not in found
    assert found.labels == {task: MINISCAPES[task] for task in ("semseg", "depth", "instances")}
    description = made / "dataset.json"
    written = description.read_bytes()
    description.write_bytes(written + b"\n")
    assert run_tool(made, *COUNTS).returncode == 0 and description.read_bytes() == written + b"\n"
    description.write_bytes(written)


def test_every_thing_that_can_be_counted_has_a_number():
    """Of one class each; two of one class that touch are two. What else is rendered does not depend on it."""
    most = 0
    for index in range(4):
        plain, scene = render(21, index, 72, 96), render(21, index, 72, 96, ("instances",))
        assert all((scene[name] == plain[name]).all() for name in plain)
        numbers, classes = scene["instances"], scene["semseg"]
        assert ((numbers > 0) == ((classes >= 11) & (classes <= 18))).all()
        found = np.unique(numbers[numbers > 0])
        assert found.tolist() == list(range(1, len(found) + 1))
        assert all(np.unique(classes[numbers == number]).size == 1 for number in found)
        most = max(most, len(found) - np.unique(classes[numbers > 0]).size)
    assert most > 0


def test_tool_continues_and_repeats_byte_for_byte(made):
    before = contents(made)
    (made / "train/rgb/1.jpg").unlink()
    (made / "test/depth/0.png").unlink()
    result = run_tool(made, *COUNTS)
    assert result.returncode == 0 and "2 new" in result.stdout
    assert contents(made) == before


def test_tool_uses_several_processes(tmp_path, made):
    result = run_tool(tmp_path / "data", "--train=20", "--val=0", "--test=0", "--seed=9", "--workers=2")
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "data/train/depth").iterdir())) == 20
    same = "train/semseg/2.png"
    assert (tmp_path / "data" / same).read_bytes() == (made / same).read_bytes()


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--seed=10",), "other settings"),
        (("--height=64",), "other settings"),
        (("--train=-1",), "train"),
        (("--colour=red",), "colour"),
        (("extra",), "extra"),
    ],
)
def test_tool_refuses_with_one_line(made, flags, word):
    before = contents(made)
    result = run_tool(made, *COUNTS, *flags)
    assert result.returncode == 2 and word in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert contents(made) == before


def test_tool_refuses_folders_it_cannot_use(tmp_path):
    (tmp_path / "file").write_text("")
    foreign = tmp_path / "foreign"
    (foreign / "train").mkdir(parents=True)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "synthetic.json").write_text("{")
    for output in (tmp_path / "file" / "data", foreign, damaged, ""):
        result = run_tool(output, *COUNTS)
        assert result.returncode == 2 and len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_tool_notes_its_settings(made):
    assert json.loads((made / "synthetic.json").read_text()) == {"seed": 9, "height": 32, "width": 48}
