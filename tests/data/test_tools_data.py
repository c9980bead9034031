"""The data tools as a user runs them: exit status and text."""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from PIL import Image

from mtl_tf.data import descriptors
from mtl_tf.data.sets.nyuv2 import NYUV2
from tests.helpers import ROOT, changed, described, in_this_process, one_line_error, tool_module, write_dataset


@pytest.fixture
def root(tmp_path):
    return write_dataset(tmp_path / "data", {"train": 4, "val": 2})


def tool(name, *arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT.parent,
    )


def check(root, *arguments):
    return tool("check_dataset", "--data.name=folder", f"--data.root={root}", *arguments)


def statistics(root, *arguments):
    return tool("dataset_statistics", "--data.name=folder", f"--data.root={root}", *arguments)


def test_a_sound_data_set(root):
    done = check(root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "semseg by number: 0 = left; 1 = middle; 2 = right; 255 = ignore",
        "depth: 16 bits, value x 0.01; 0 = not measured; valid 1 m to 50 m",
        "train: 4 samples with 4 semseg, 4 depth labels, 0 of them with faults",
        "val: 2 samples with 2 semseg, 2 depth labels, 0 of them with faults",
        f"no fault in 6 samples of {root}",
    ]


def test_every_fault_is_found_in_one_pass(root):
    train = root / "train"
    (train / "rgb/0.png").unlink()
    (train / "semseg/1.png").unlink()
    depth = train / "depth/2.png"
    depth.write_bytes(depth.read_bytes()[:-60])
    Image.new("L", (48, 32), 77).save(train / "semseg/2.png")
    Image.new("I;16", (10, 10)).save(train / "depth/3.png")
    Image.new("RGB", (48, 32), (0, 0, 142)).save(train / "semseg/3.png")
    Image.new("L", (48, 32), 255).save(root / "val/semseg/1.png")
    done = check(root)
    line = one_line_error(done.returncode, done.stderr)
    assert line == f"error: 8 faults in 5 of 6 samples of {root}; they are listed above"
    expected = [
        "train/semseg/0.png: a label without an image",
        "train/rgb/1.png: no semseg label",
        "train/semseg/2.png: label value 77 (1536 pixels, ",
        "train/depth/2.png: cannot be decoded",
        "train/semseg/3.png: expected a class id per pixel",
        "train/depth/3.png: no pixel has a valid depth",
        "train/depth/3.png: 10x10 pixels, but its image 3.png is 48x32",
        "train: 4 samples with 2 semseg, 3 depth labels, 4 of them with faults",
        "val/semseg/1.png: no pixel has a class",
        "val: 2 samples with 2 semseg, 2 depth labels, 1 of them with faults",
    ]
    lines = done.stdout.splitlines()[2:]  # without how labels are read
    assert len(lines) == len(expected)
    for text in expected:
        assert any(text in line for line in lines), text


@pytest.mark.parametrize("content", ["files", "pixels"])
def test_label_maps_that_are_blank_by_nature_are_no_fault(root, tmp_path, content):
    Image.fromarray(np.zeros((32, 48), np.uint16)).save(root / "train/depth/1.png")
    path = root / "dataset.json"
    for blank, faults in (([], 1), (["depth"], 0)):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"may_be_blank": blank}))
        packed = tmp_path / f"packed{faults}"
        done = in_this_process(
            "pack_dataset", "--data.name=folder", f"--data.root={root}", f"--output={packed}", f"--content={content}"
        )
        assert done.returncode == 0, done.stderr
        for where in (("--data.name=folder", f"--data.root={root}"), ("--data.name=packed", f"--data.root={packed}")):
            done = in_this_process("check_dataset", *where)
            assert (done.returncode, done.stdout.count("no pixel has")) == (2 * faults, faults), done.stdout


def test_splits_limit_and_tasks_of_the_check(root):
    (root / "train/semseg/3.png").unlink()
    assert check(root, "--splits=val").returncode == 0
    assert check(root, "--data.limit=3").returncode == 0
    assert check(root, "--tasks=depth").returncode == 0
    assert check(root).returncode == 2


def test_a_split_that_dataset_json_names_must_be_there(root):
    (root / "val").rename(root.parent / "val")
    done = check(root)
    assert "has no split 'val'; it has train" in one_line_error(done.returncode, done.stderr)


@pytest.mark.parametrize("name", ["check_dataset", "dataset_statistics"])
def test_wrong_usage_is_one_line(name, tmp_path):
    for arguments, expected in (
        (["--data.rot=x"], "did you mean --data.root"),
        (["--data.name=nyuv2"], "needs --data.root"),
        (["--data.name=folder", f"--data.root={tmp_path}"], "dataset.json: no such file"),
        (["--data.name=nyuv2", f"--data.root={tmp_path}/none"], "no such folder"),
    ):
        done = tool(name, *arguments)
        assert expected in one_line_error(done.returncode, done.stderr)


@pytest.mark.parametrize("name", ["check_dataset", "dataset_statistics"])
def test_help(name):
    done = tool(name, "--helpshort")
    assert done.returncode == 0
    assert f"tools/{name}.py" in done.stdout and "--data.root" in done.stdout


def expected_statistics(root):
    split = root / "train"
    images = [np.asarray(Image.open(split / f"rgb/{index}.png"), np.float64) for index in range(4)]
    depth = np.stack([np.asarray(Image.open(split / f"depth/{index}.png")) for index in range(4)]) * 0.01
    depth = depth[(depth >= 1) & (depth <= 50)]
    pixels = np.concatenate([image.reshape(-1, 3) for image in images])
    return pixels, depth


def test_statistics_are_written_where_told(root):
    before = (root / "dataset.json").read_text()
    done = statistics(root)
    assert done.returncode == 0, done.stderr
    assert (root / "dataset.json").read_text() == before
    done = statistics(root, "--write")
    assert done.returncode == 0, done.stderr
    assert f"written to {root}/dataset.json" in done.stdout
    found = descriptors.read(root)
    pixels, depth = expected_statistics(root)
    np.testing.assert_allclose(found.rgb_mean, pixels.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(found.rgb_std, pixels.std(axis=0), rtol=1e-4)
    np.testing.assert_allclose([found["depth"].mean, found["depth"].std], [depth.mean(), depth.std()], rtol=1e-4)
    logs = np.log(depth)
    np.testing.assert_allclose([found["depth"].log_mean, found["depth"].log_std], [logs.mean(), logs.std()], rtol=1e-3)
    old = json.loads(before)
    new = json.loads((root / "dataset.json").read_text())
    labels = np.stack([np.asarray(Image.open(root / f"train/semseg/{index}.png")) for index in range(4)])
    counts = np.array([(labels == number).sum() for number in range(3)])
    assert new["semseg"].pop("frequency") == pytest.approx(counts / counts.sum(), rel=1e-4)
    assert new["semseg"].pop("frequency_where_present") == pytest.approx(counts / labels.size, rel=1e-4)
    assert new["semseg"] == old["semseg"] and new["splits"] == old["splits"]


def test_the_table_shows_the_share_of_each_class(root):
    labels = np.stack([np.asarray(Image.open(root / f"train/semseg/{index}.png")) for index in range(4)])
    shares = {row.split()[0]: row.split()[-1] for row in statistics(root).stdout.splitlines() if row}
    for number, name in enumerate(("left", "middle", "right")):
        assert shares[name] == f"{100 * (labels == number).mean():.3f}"
    assert shares["(ignore)"] == f"{100 * (labels == 255).mean():.3f}"


def test_statistics_make_an_unmeasured_data_set_trainable(root):
    bare = changed(descriptors.read(root), depth_mean=None, depth_std=None, depth_log_mean=None, depth_log_std=None)
    descriptors.write(root, bare)
    assert statistics(root, "--write").returncode == 0
    assert descriptors.read(root)["depth"].mean > 0


def test_statistics_of_a_built_in_layout_make_a_dataset_json(root):
    (root / "dataset.json").unlink()
    arguments = ("--data.name=nyuv2", f"--data.root={root}")
    assert tool("dataset_statistics", *arguments).returncode == 0
    assert not (root / "dataset.json").exists()
    assert tool("dataset_statistics", *arguments, "--write").returncode == 0
    found = descriptors.read(root)
    assert found["semseg"].classes == NYUV2["semseg"].classes
    assert found["depth"].mean != NYUV2["depth"].mean


def test_what_cannot_be_written(root):
    done = statistics(root, "--write", "--data.limit=2")
    assert "needs the whole split" in one_line_error(done.returncode, done.stderr)
    done = tool("dataset_statistics", "--write")
    assert "rendered scenes have no dataset.json" in one_line_error(done.returncode, done.stderr)


def test_a_bad_file_ends_the_statistics_unless_told_to_skip(root):
    path = root / "train/rgb/1.png"
    path.write_bytes(b"nothing")
    done = statistics(root)
    assert f"{path}: not a picture" in one_line_error(done.returncode, done.stderr)
    done = statistics(root, "--data.skip_bad")
    assert done.returncode == 0
    assert "1 samples that cannot be read are left out" in done.stderr


# === Statistics for other programs ===


def statistics_as_json(root, *arguments):
    """What --json writes, made in this process."""
    measuring = tool_module("dataset_statistics")
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder) / "made" / "statistics.json"
        options = ["--data.name=folder", f"--data.root={root}", f"--json={target}", *arguments]
        assert measuring.run_tool(measuring.measure_and_report, measuring.Options, options) == 0
        assert [path.name for path in target.parent.iterdir()] == ["statistics.json"]
        return json.loads(target.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(name))


def small_set(root, samples, classes=("a", "b", "c"), **depth):
    """Pictures of 2x2 pixels; each sample is (semseg values or None, stored depth or None)."""
    depth = {
        "depth_encoding": "uint16_scaled",
        "depth_scale": 0.01,
        "depth_minimum": 1.0,
        "depth_maximum": 50.0,
    } | depth
    palette = tuple((index, 0, 0) for index in range(len(classes)))
    for index, (semseg, stored) in enumerate(samples):
        pictures = {"rgb": np.full((2, 2, 3), 10 * (index + 1), np.uint8)}
        if semseg:
            pictures["semseg"] = np.array(semseg, np.uint8).reshape(2, 2)
        if stored:
            pictures["depth"] = np.array(stored, np.uint16).reshape(2, 2)
        for kind, pixels in pictures.items():
            (root / "train" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / "train" / kind / f"{index}.png")
    descriptors.write(root, described("small", classes=classes, palette=palette, **depth))
    return root


def test_json_holds_what_one_counts_by_hand(tmp_path):
    # 0, 6000 are no depth (0, and beyond 50 m); the third sample has no labels and counts for its picture only
    samples = [((0, 0, 0, 1), (100, 400, 0, 6000)), ((0, 1, 255, 255), None), (None, None)]
    found = statistics_as_json(small_set(tmp_path / "set", samples))
    assert found.pop("rgb") == {"mean": [20.0] * 3, "std": [pytest.approx(np.sqrt(200 / 3))] * 3}
    logarithms = np.log([1.0, 4.0])
    assert found.pop("depth") == {
        "mean": pytest.approx(2.5, rel=1e-6),
        "std": pytest.approx(1.5, rel=1e-6),
        "log_mean": pytest.approx(logarithms.mean(), rel=1e-6),
        "log_std": pytest.approx(logarithms.std(), rel=1e-6),
        "unit": "metres",
    }
    assert found == {
        "name": "small",
        "split": "train",
        "samples": {"rgb": 3, "semseg": 2, "depth": 1},
        "pixels": {"rgb": 12, "semseg": 8, "depth": 2},
        "classes": {"a": 50.0, "b": 25.0, "c": 0.0},
        "ignore": 25.0,
    }


def test_json_of_one_task(tmp_path):
    root = small_set(tmp_path / "set", [((0, 1, 1, 1), (100, 400, 400, 400))])
    assert "depth" not in statistics_as_json(root, "--tasks=semseg")
    found = statistics_as_json(root, "--tasks=depth")
    assert "classes" not in found and "ignore" not in found and found["depth"]["mean"] == pytest.approx(3.25)


def test_json_of_the_field_data(field):
    with np.load(field / "truth.npz") as truth:
        semseg, depth = (
            np.stack([truth[name] for name in truth.files if name.startswith("train") and name.endswith(kind)])
            for kind in ("semseg", "depth_mm")
        )
    found = statistics_as_json(field / "absent_class")
    disc = 100 * semseg.mean()
    assert found["classes"] == pytest.approx({"ground": 100 - disc, "disc": disc, "unicorn": 0.0})
    metres = depth / 1000
    expected = {"mean": metres.mean(), "std": metres.std()}
    expected |= {"log_mean": np.log(metres).mean(), "log_std": np.log(metres).std()}
    assert {name: found["depth"][name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_json_of_rendered_scenes(tmp_path):
    done = tool("dataset_statistics", "--data.limit=2", f"--json={tmp_path}/a.json", "--data.image_size=32,48")
    assert done.returncode == 0, done.stderr
    assert sum(json.loads((tmp_path / "a.json").read_text())["classes"].values()) > 90


def test_labels_without_a_single_valid_pixel_are_an_error(tmp_path, capsys):
    for samples, expected in (
        ([((255,) * 4, (100,) * 4)], "no pixel of the split has a class"),
        ([((0,) * 4, (9,) * 4)], "no pixel of the split has a valid depth"),
    ):
        root = small_set(tmp_path / expected[-5:].strip(), samples)
        measuring = tool_module("dataset_statistics")
        options = ["--data.name=folder", f"--data.root={root}", "--write"]
        assert measuring.run_tool(measuring.measure_and_report, measuring.Options, options) == 2
        assert expected in capsys.readouterr().err


def test_pictures_of_one_colour_have_no_statistics_of_colours(root):
    for path in (root / "train/rgb").iterdir():
        Image.new("RGB", (48, 32), (9, 9, 9)).save(path)
    done = in_this_process("dataset_statistics", "--data.name=folder", f"--data.root={root}", "--write")
    assert done.returncode == 0, done.stderr
    assert 'split train have a colour channel of one value only; "rgb" is not written' in done.stderr
    written = descriptors.read(root)
    assert written.rgb_std == written.rgb_mean == () and written["depth"].std > 0


def test_depth_of_one_value_is_refused(root):
    before = (root / "dataset.json").read_bytes()
    for path in (root / "train/depth").iterdir():
        Image.fromarray(np.full((32, 48), 730, np.uint16)).save(path)
    done = in_this_process("dataset_statistics", "--data.name=folder", f"--data.root={root}", "--write")
    line = one_line_error(done.returncode, done.stderr)
    assert line.startswith("error: depth: the standard deviation (std) over split train is 0, since all its labels")
    assert (root / "dataset.json").read_bytes() == before
