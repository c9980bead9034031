"""Every kind of task, one of them twice, in one network: the whole way."""

import json

import numpy as np
import pytest
from PIL import Image

import mtl_tf
from mtl_tf.commands import main
from mtl_tf.training.run_directory import read_table
from tests.helpers import TINY, in_this_process, write_dataset

pytestmark = pytest.mark.slow  # nine heads take a while to trace

TASKS = ("semseg", "lanes", "depth", "normals", "edges", "saliency", "flow", "stereo", "instances")
SHAPES = {
    "semseg": (),
    "lanes": (),
    "depth": (),
    "normals": (3,),
    "edges": (),
    "saliency": (),
    "flow": (2,),
    "stereo": (),
    "instances": (),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Classes and depth; a second class map and normals by dataset.json alone; edges by nothing."""
    folder = write_dataset(tmp_path_factory.mktemp("many") / "data", {"train": 6, "val": 4})
    file = folder / "dataset.json"
    content = json.loads(file.read_text())
    content["tasks"] = {
        "lanes": {"kind": "classes", "classes": ["none", "lane"], "palette": [[0, 0, 0], [255, 255, 0]]},
        "normals": {"kind": "normals", "source": "depth", "intrinsics": [60, 60, 24, 16, 48, 32]},
        "saliency": {"kind": "saliency", "encoding": "grey"},
        "flow": {"kind": "regression", "encoding": "npy", "channels": 2, "mean": [0, 2], "std": [3, 1], "unit": " m/s"},
        "stereo": {"kind": "disparity", "mean": [20], "std": [8]},
        "instances": {"kind": "instances", "things": ["middle", "right"]},
    }
    random = np.random.default_rng(0)
    file.write_text(json.dumps(content))
    for split, count in (("train", 6), ("val", 4)):
        (folder / split / "lanes").mkdir()
        for name in ("saliency", "flow", "stereo", "instances"):
            (folder / split / name).mkdir()
        for index in range(count):
            soft = np.hypot(*np.mgrid[-16:16, -24 + 4 * index : 24 + 4 * index])
            Image.fromarray((255 * np.exp(-soft / 12)).astype(np.uint8)).save(
                folder / split / "saliency" / f"{index}.png"
            )
            np.save(folder / split / "flow" / f"{index}.npy", random.normal([0, 2], [3, 1], (32, 48, 2)))
            codes = random.integers(1, 12000, (32, 48)).astype(np.uint16)
            Image.fromarray(codes).save(folder / split / "stereo" / f"{index}.png")
            classes = np.asarray(Image.open(folder / split / "semseg" / f"{index}.png"))
            ids = np.where(classes % 255 > 0, 300 * classes.astype(np.uint16) + (np.arange(32) > 16)[:, None], 0)
            Image.fromarray(ids.astype(np.uint16)).save(folder / split / "instances" / f"{index}.png")
            lanes = np.zeros((32, 48), np.uint8)
            lanes[:, 8 * index % 40 :][:, :5] = 1
            Image.fromarray(lanes).save(folder / split / "lanes" / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    """A network of all of them, evaluated, exported and reported."""
    folder = tmp_path_factory.mktemp("run") / "many"
    arguments = [f"--data.root={root}", f"--tasks={','.join(TASKS)}", "--data.image_size=32,48"]
    arguments += ["--augment.reflect", "--augment.tilt=10", "--augment.wiggle=0.05", "--loss.weights=lanes:0.1,edges:5"]
    assert (
        main(["train", *TINY[:3], *TINY[4:], *arguments, f"--run_dir={folder}", "--task.normals.loss=l1_pixels"]) == 0
    )
    for command in (["evaluate", "--baseline"], ["export"], ["report"]):
        assert main([*command, f"--run_dir={folder}"]) == 0
    return folder


def test_scores_stand_under_the_names_of_the_tasks(run):
    scores = json.loads((run / "evaluation_val.json").read_text())
    assert set(TASKS) <= set(scores) and scores["grader"] is None
    signs = {"semseg.miou": 1, "lanes.miou": 1, "depth.si_log_rmse": -1, "normals.mean": -1, "edges.f_distance": 1}
    signs |= {"saliency.maxF_pooled": 1, "flow.mae": -1, "stereo.mae": -1, "instances.pq": 1}
    values = [sign * scores[name.split(".")[0]][name.split(".")[1]] for name, sign in signs.items()]
    assert scores["total"] == pytest.approx(sum(values))
    baseline = json.loads((run / "baseline_val.json").read_text())
    assert 0 < baseline["normals"]["mean"] < 90 and 0 <= baseline["lanes"]["miou"] <= 100
    rows = read_table(run / "per_image_val.csv")
    assert len(rows) == 4 and all(float(row["lanes.pixel_accuracy"]) >= 0 for row in rows)
    assert all(0 <= float(row["normals.mean"]) <= 180 for row in rows)


def test_the_loss_is_the_weighted_sum(run):
    weights = {"semseg": 0.5, "lanes": 0.1, "depth": 0.5, "normals": 5.0, "edges": 5.0, "saliency": 2.5}
    weights |= {"flow": 0.5, "stereo": 0.5, "instances": 0.5}
    for row in read_table(run / "metrics.csv"):
        parts = [weight * float(row[f"val_loss_{name}"]) for name, weight in weights.items()]
        assert float(row["val_loss"]) == pytest.approx(sum(parts), rel=1e-5)


def test_a_run_and_its_export_answer_alike(run, root):
    image = np.asarray(Image.open(root / "val/rgb/1.png"))
    trained, exported = mtl_tf.load(run), mtl_tf.load(run / "export")
    ours, theirs = trained(image), exported(image)
    assert set(ours) == set(theirs) == {*TASKS, "semseg_probability", "lanes_probability"}
    for name, shape in SHAPES.items():
        assert ours[name].shape == (32, 48, *shape)
        np.testing.assert_allclose(theirs[name], ours[name], atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(ours.normals, axis=-1), 1, atol=1e-5)
    assert 0 <= ours.edges.min() <= ours.edges.max() <= 1 and ours.edges.dtype == np.float32


def test_predicted_files_are_read_back(run, root, tmp_path):
    assert main(["predict", f"--run_dir={run}", f"--output={tmp_path}", "--data.split=val"]) == 0
    folders = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert (
        set(TASKS)
        | {"overlay", "lanes_overlay", "depth_picture", "flow_picture", "stereo_picture"}
        | {
            "instances_outlined",
            "instances_panoptic",
        }
        == folders
    )
    answer = mtl_tf.load(run)(np.asarray(Image.open(root / "val/rgb/2.png")))
    normals = np.asarray(Image.open(tmp_path / "normals/2.png")) / 127.5 - 1
    np.testing.assert_allclose(normals * [1, -1, -1], answer.normals, atol=0.005)
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "edges/2.png")), (255 * answer.edges).astype(np.uint8)
    )
    np.testing.assert_array_equal(np.load(tmp_path / "flow/2.npy"), answer.flow)
    np.testing.assert_array_equal(np.load(tmp_path / "stereo/2.npy"), answer.stereo)
    assert len(json.loads((tmp_path / "predictions.json").read_text())["files"]) == 4 * len(folders)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "lanes/2.png")), answer.lanes)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "instances/2.png")), answer.instances % 1000)


def test_the_page_shows_each_task(run):
    page = (run / "report.html").read_text()
    for title in ("semseg", "lanes", "Depth", "Surface normals", "Edges", "Saliency", "Instances"):
        assert f'"title": "{title}"' in page or f'"title":"{title}"' in page
    assert list((run / "pictures").glob("val_worst_*.png"))


def test_the_tools_know_every_task(root, tmp_path):
    data = ["--data.name=folder", f"--data.root={root}"]
    assert in_this_process("check_dataset", *data).returncode == 0
    found = in_this_process("dataset_statistics", *data, f"--json={tmp_path}/found.json")
    assert found.returncode == 0, found.stderr
    figures = json.loads((tmp_path / "found.json").read_text())
    assert figures["lanes"]["classes"]["lane"] == pytest.approx(100 * 5 / 48)
    packed = in_this_process("pack_dataset", *data, f"--output={tmp_path}/packed", "--content=pixels", "--verify")
    assert packed.returncode == 0, packed.stderr
    packed_tasks = json.loads((tmp_path / "packed/packed.json").read_text())["tasks"]
    assert packed_tasks == ["semseg", "depth", "lanes", "saliency", "flow", "stereo", "instances"]
    assert figures["instances"]["instances"] == 4 * figures["instances"]["pictures"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tasks=semseg,semseg"], ["names a task twice"]),
        (["--tasks=semseg,nomals"], ["has no nomals labels", "did you mean normals?"]),
        (["--tasks=normals", "--model.architecture=distilled"], ["needs at least two"]),
        (["--tasks=semseg,lanes", "--train.best_metric=miou"], ["semseg.miou", "lanes.miou"]),
        (["--tasks=semseg,depth", "--task.edges.weight=0.5"], ["task.edges", "no task of kind edges"]),
        (["--tasks=semseg", "--loss.weights=normals:2"], ["loss.weights=normals:2", "no task that is trained"]),
        (["--tasks=instances", "--train.best_metric=instances.pq"], ["instances.pq is no score", "pq_any_class"]),
        (["--tasks=edges", "--augment.classmix=0.5"], ["needs labels that are classes"]),
    ],
)
def test_what_cannot_be_asked_for(root, tmp_path, capsys, arguments, words):
    status = main(["train", *TINY[:3], f"--data.root={root}", *arguments, f"--run_dir={tmp_path}/run"])
    message = capsys.readouterr().err
    assert status == 2 and all(word in message for word in words), message
    assert message.count("\n") == 1
