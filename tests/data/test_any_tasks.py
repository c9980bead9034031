"""Checks, statistics and descriptions of a data set with a second class map and a second depth."""

import json

import numpy as np
import pytest
from PIL import Image

from mtl_tf import config as configuration
from mtl_tf.data import descriptors
from mtl_tf.data.plausibility import Evidence, look
from mtl_tf.data.sets import describe, open_split, open_training
from mtl_tf.tasks import DepthLabels, Labels
from tests.helpers import in_this_process, one_line_error

COLOURS = [[0, 0, 0], [255, 0, 0]]
DEPTH = {"encoding": "uint16_scaled", "scale": 0.01, "minimum": 1.0, "maximum": 50.0}
CONTENT = {
    "name": "roads",
    "splits": ["train"],
    "semseg": {"classes": ["a", "b"], "palette": COLOURS, "ignore": 255},
    "depth": DEPTH,
    "tasks": {
        "lanes": {"kind": "classes", "classes": ["none", "lane"], "palette": COLOURS, "ignore": 255},
        "near": {"kind": "depth", **DEPTH},
    },
}
# 2x2 pixels a sample; the third has no labels.
SAMPLES = [
    {"semseg": (0, 0, 1, 1), "depth": (100, 400, 0, 0), "lanes": (0, 1, 1, 255), "near": (200, 800, 0, 9999)},
    {"semseg": (0, 1, 255, 255), "lanes": (1, 1, 1, 1)},
    {},
]


def write(root, samples=SAMPLES, content=CONTENT, palettes=()):
    """A data set of one split; class maps named in `palettes` have that palette."""
    random = np.random.default_rng(0)
    for index, labels in enumerate(samples):
        pictures = {"rgb": Image.fromarray(random.integers(0, 256, (2, 2, 3), np.uint8))}
        for task, values in labels.items():
            kind = np.uint16 if task in ("depth", "near") else np.uint8
            pictures[task] = Image.fromarray(np.array(values, kind).reshape(2, 2))
            if task in palettes:
                pictures[task].putpalette(palettes[task])
        for task, picture in pictures.items():
            (root / "train" / task).mkdir(parents=True, exist_ok=True)
            picture.save(root / "train" / task / f"{index}.png")
    if content:
        (root / "dataset.json").write_text(json.dumps(content))
    return root


def run(name, root, *arguments):
    where = [] if name == "describe_dataset" else ["--data.name=folder"]
    return in_this_process(name, *where, f"--data.root={root}", *arguments)


def warnings(root):
    done = run("check_dataset", root)
    return [line.removeprefix("warning: ") for line in done.stdout.splitlines() if line.startswith("warning: ")]


def at_the_start(root, name="folder"):
    config = configuration.replace(configuration.Config(), data__name=name, data__root=str(root))
    descriptor = describe(config.data)
    return look(open_split(configuration.replace(config, tasks=descriptor.task_names), "train", descriptor))


# === Statistics ===


def test_statistics_are_those_counted_by_hand(tmp_path):
    root = write(tmp_path / "data")
    done = run(
        "dataset_statistics", root, f"--json={tmp_path}/found.json", "--write", f"--output={tmp_path}/other.json"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["samples"] == {"rgb": 3, "semseg": 2, "depth": 1, "lanes": 2, "near": 1}
    assert found["pixels"] == {"rgb": 12, "semseg": 8, "depth": 2, "lanes": 8, "near": 2}
    assert found["classes"] == {"a": 37.5, "b": 37.5} and found["ignore"] == 25.0
    assert found["lanes"] == {"classes": {"none": 12.5, "lane": 75.0}, "ignore": 12.5}
    logs = {"depth": np.log([1, 4]), "near": np.log([2, 8])}
    for task, mean, std in (("depth", 2.5, 1.5), ("near", 5.0, 3.0)):
        expected = {"mean": mean, "std": std, "log_mean": logs[task].mean(), "log_std": logs[task].std()}
        assert found[task].pop("unit") == "metres"
        assert found[task] == pytest.approx(expected, rel=1e-6)
        for path in (root / "dataset.json", tmp_path / "other.json"):
            labels = descriptors.read_file(str(path))[task]
            assert {key: getattr(labels, key) for key in expected} == pytest.approx(expected, rel=1e-4)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[6:10] == [
        ["depth", "(m)", "2.5", "1.5"],
        ["ln", "depth", "(m)", "0.69315", "0.69315"],
        ["near", "(m)", "5", "3"],
        ["ln", "near", "(m)", "1.3863", "0.69315"],
    ]
    assert lines[lines.index(["lanes", "class", "%", "of", "pixels"]) + 2] == ["lane", "75.000"]
    written = json.loads((root / "dataset.json").read_text())
    # Of 6 and 7 pixels that have a class, in two maps of 4 pixels.
    shares = {"frequency": [0.5, 0.5], "frequency_where_present": [3 / 8, 3 / 8]}
    assert written["semseg"] == CONTENT["semseg"] | shares
    shares = {"frequency": [pytest.approx(1 / 7, rel=1e-4), pytest.approx(6 / 7, rel=1e-4)]}
    shares["frequency_where_present"] = [0.25, 0.75]
    assert written["tasks"]["lanes"] == CONTENT["tasks"]["lanes"] | shares


def test_one_task_is_measured(tmp_path):
    root = write(tmp_path / "data")
    done = run("dataset_statistics", root, "--tasks=lanes", f"--json={tmp_path}/found.json", "--write")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found) == {"name", "split", "samples", "pixels", "rgb", "lanes"}
    written = json.loads((root / "dataset.json").read_text())
    assert written["tasks"]["lanes"].pop("frequency") and written["tasks"]["lanes"].pop("frequency_where_present")
    assert {key: written[key] for key in ("semseg", "tasks")} == {key: CONTENT[key] for key in ("semseg", "tasks")}


def test_labels_without_a_valid_pixel_are_named(tmp_path):
    for task, values, expected in (
        ("lanes", (255,) * 4, "no pixel of the split has a class (lanes)"),
        ("near", (9,) * 4, "no pixel of the split has a valid depth (near)"),
    ):
        root = write(tmp_path / task, [SAMPLES[0] | {task: values}])
        done = run("dataset_statistics", root)
        assert expected in one_line_error(done.returncode, done.stderr)


# === Checks ===


def test_faults_are_those_of_every_task(tmp_path):
    root = write(tmp_path, [SAMPLES[0] | {"lanes": (0, 7, 7, 1)}, SAMPLES[0] | {"near": (1, 2, 3, 4)}])
    done = run("check_dataset", root)
    assert done.returncode == 2
    assert f"{root}/train/lanes/0.png: label value 7 (2 pixels, " in done.stdout
    assert f"{root}/train/near/1.png: no pixel has a valid depth (1..50 m)" in done.stdout
    assert "train: 2 samples with 2 semseg, 2 depth, 2 lanes, 2 near labels, 2 of them with faults" in done.stdout


GOOD = {"semseg": (0, 0, 1, 255), "depth": (100, 400, 0, 700), "lanes": (0, 1, 1, 0), "near": (300, 400, 500, 4999)}


def test_good_labels_of_every_task_are_silent(tmp_path):
    # Each task has a palette of its own.
    palettes = {"semseg": [1, 2, 3, 4, 5, 6], "lanes": [9, 9, 9, 7, 7, 7]}
    root = write(tmp_path, [GOOD] * 3, palettes=palettes)
    assert warnings(root) == at_the_start(root) == []


TOLD = {
    "all lanes labels of 3 files are one class, none, and 75.0% of the pixels are ignore (value 255); if 255 is a "
    'class, say so under tasks.lanes in dataset.json: "values": {"0": "none", "255": "lane"}; '
    "tools/describe_dataset.py asks and writes dataset.json": {"lanes": (0, 255, 255, 255)},
    "all lanes labels of 3 files are one class, lane; nothing can be learnt from them": {"lanes": (1,) * 4},
    "near is 2 m (stored 200) in every measured pixel of 3 files": {"near": (200, 200, 0, 200)},
    "67% of the measured near in 3 files lies outside of 1 to 50 m and is no label: stored 400 to 6000 are 4 to 60 m;"
    " see tasks.near.scale, minimum and maximum in dataset.json": {"near": (400, 5500, 6000, 0)},
}


@pytest.mark.parametrize("text", TOLD)
def test_what_is_implausible_of_other_tasks_is_told(tmp_path, text):
    root = write(tmp_path, [GOOD | TOLD[text]] * 3)
    assert warnings(root) == at_the_start(root) == [text]


def test_each_class_map_is_looked_at(tmp_path):
    content = json.loads(json.dumps(CONTENT))
    for section in (content["semseg"], content["tasks"]["lanes"]):
        section["classes"].append("rare")
        section["palette"].append([0, 0, 9])
    root = write(tmp_path / "data", [GOOD, GOOD | {"lanes": (0, 1, 2, 2)}], content)
    (text,) = warnings(root)
    assert text.startswith("no pixel of 2 files to train on has the class rare:") and text.endswith(
        "see semseg.classes in dataset.json"
    )
    write(tmp_path / "data", [GOOD | {"semseg": (0, 1, 2, 2)}, GOOD], content)
    (text,) = at_the_start(root)
    assert text.endswith("see tasks.lanes.classes in dataset.json")


def test_packed_labels_of_other_tasks_are_looked_at(tmp_path):
    root = write(tmp_path / "data", [GOOD | {"lanes": (0,) * 4}] * 3)
    expected = ["all lanes labels of 3 files are one class, none; nothing can be learnt from them"]
    for kind in ("files", "pixels"):
        done = run("pack_dataset", root, f"--output={tmp_path / kind}", f"--content={kind}")
        assert done.returncode == 0, done.stderr
        assert at_the_start(tmp_path / kind, "packed") == expected


def test_each_part_of_a_mixture_is_looked_at(tmp_path):
    one, other = write(tmp_path / "one", [GOOD] * 2), write(tmp_path / "other", [GOOD | {"lanes": (1,) * 4}] * 2)
    options = dict(data__name="folder", data__mix_names=("folder",), data__mix_roots=(str(other),))
    config = configuration.replace(configuration.Config(), data__root=str(one), **options)
    descriptor = describe(config.data)
    config = configuration.replace(config, tasks=descriptor.task_names)
    text = "all lanes labels of 2 files are one class, lane; nothing can be learnt from them"
    assert look(open_training(config, descriptor)) == [f"roads: {text}"]


# === Kinds without checks and statistics of their own ===


class Directions(Labels):
    """Three numbers a pixel; 0, 0, 0 = no label."""

    kind = name = "directions"
    dtype, shape = np.float32, (3,)


def test_a_kind_has_defaults():
    labels, label = Directions(), np.zeros((2, 2, 3), np.float32)
    assert labels.sums(label) == {}
    label[0, 1, 2] = label[1, 1, 0] = 1
    assert labels.figures(labels.sums(label)) == {"pixels": 2}
    assert labels.measured_from(labels.sums(label)) is labels and labels.listed("directions", labels.sums(label)) == []
    evidence = Evidence(descriptors.Descriptor("mine", {"directions": labels}))
    evidence.add("directions", labels.seen("nowhere.png"))
    assert evidence.seen == {} and evidence.warnings({}) == []


def test_what_a_kind_counts_adds_up():
    class Counting(Directions):
        def suspicions(self, name, seen, trained):
            return [f"{name}: {seen['sum']} in {seen['files']}, {seen['first']}, {trained}"]

    descriptor = descriptors.Descriptor("mine", {"one": Counting(), "near": DepthLabels("uint16_scaled")})
    parts = Evidence(descriptor), Evidence(descriptor)
    for part, path, value in ((0, "a", 1), (0, "b", 2), (1, "c", 4)):
        parts[part].add("one", {"sum": value, "first": path})
    together = Evidence(descriptor)
    for part in parts:
        together.merge(part)
    assert together.warnings({}) == ["one: 7 in 3, a, None"]
    assert parts[0].seen["one"] == {"files": 2, "sum": 3, "first": "a"}


# === Descriptions ===


def test_other_folders_are_named_and_what_is_said_of_them_is_kept(tmp_path):
    root = write(tmp_path / "data", [{**GOOD, "depth": (100, 400, 900, 4000)}] * 3, content=None)
    (root / "train/notes").mkdir()
    (root / "train/notes/a.txt").write_text("none of a picture")
    done = run("describe_dataset", root, "--noask")
    assert done.returncode == 0, done.stderr
    lanes, near = (line for line in done.stdout.splitlines() if "to train on them, describe them in" in line)
    assert lanes.startswith("lanes: ") and '"tasks": {"lanes": {"kind": "classes", "classes": ["road", "car"]' in lanes
    assert "kind being one of classes, depth" in lanes and near.startswith("near: ")
    content = json.loads((root / "dataset.json").read_text())
    assert "tasks" not in content
    content["tasks"] = {"lanes": CONTENT["tasks"]["lanes"] | {"classes": ["only", "never"]}}
    (root / "dataset.json").write_text(json.dumps(content))
    done = run("describe_dataset", root, "--noask", "--replace")
    assert done.returncode == 0, done.stderr
    assert json.loads((root / "dataset.json").read_text())["tasks"] == content["tasks"]
    assert "lanes by number: 0 = only; 1 = never; 255 = ignore" in done.stdout
    assert "lanes: its files" not in done.stdout and "near: its files" in done.stdout


def test_a_folder_that_is_called_like_a_kind_is_described_as_one(tmp_path):
    root = write(tmp_path / "data", [GOOD] * 3, content=None)
    for name in ("normals", "facing"):
        (root / "train" / name).mkdir()
    for path in sorted((root / "train/rgb").iterdir()):
        np.save(root / "train/facing" / f"{path.stem}.npy", np.zeros((2, 2, 3), np.float32))
        Image.new("RGB", (2, 2)).save(root / "train/normals" / f"{path.stem}.png")
    done = run("describe_dataset", root, "--noask")
    assert done.returncode == 0, done.stderr
    told = {line.partition(":")[0]: line for line in done.stdout.splitlines() if "to train on them" in line}
    assert '"tasks": {"normals": {"kind": "normals", "axes": "right,up,to_camera"}}' in told["normals"]
    assert '"facing": {"kind": "classes"' in told["facing"]  # whose files are no pictures


def test_a_folder_of_other_labels_alone(tmp_path):
    root = write(tmp_path / "data", [{"lanes": (0, 0, 0, 0)}] * 3, content=None)
    done = run("describe_dataset", root, "--noask")
    line = one_line_error(done.returncode, done.stderr)
    assert "has images but no labels" in line and '"tasks": {"lanes": {"kind": "classes"' in line
    content = {"name": "mine", "tasks": {"lanes": CONTENT["tasks"]["lanes"]}}
    (root / "dataset.json").write_text(json.dumps(content))
    done = run("describe_dataset", root, "--noask", "--replace")
    assert done.returncode == 0, done.stderr
    assert json.loads((root / "dataset.json").read_text()) == content | {"splits": ["train"]}
    assert "warning: all lanes labels of 3 files are one class, none; nothing can be learnt" in done.stdout
