"""A run's whole life after training: scores, predictions, SavedModel, report, and what is wrong to ask of it."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import mtl_tf
from mtl_tf.commands import main
from mtl_tf.errors import UsageError
from mtl_tf.inference import scoring
from mtl_tf.training.run_directory import read_table
from tests.helpers import TINY, command, one_line_error, write_dataset

SMALLEST = [word for word in TINY if word.startswith(("--plugin", "--model"))]


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory):
    """A copy of the trained run that may be written to, with its evaluation and export."""
    copy = tmp_path_factory.mktemp("copy") / "run"
    shutil.copytree(tiny_run, copy)
    assert main(["evaluate", f"--run_dir={copy}", "--baseline"]) == 0
    assert main(["export", f"--run_dir={copy}"]) == 0
    return copy


@pytest.fixture(scope="module")
def predictor(run):
    """The run's answers at the network's precision."""
    return mtl_tf.load(run)


@pytest.fixture
def picture():
    """A picture of another size and aspect than the training's."""
    return np.random.default_rng(0).integers(0, 256, (45, 90, 3)).astype(np.uint8)


def test_training_leaves_what_the_contract_names(tiny_run):
    names = {file.name for file in tiny_run.iterdir()}
    wanted = {"run.flags", "environment.json", "metrics.csv", "steps.csv", "metrics.json", "checkpoints", "best"}
    assert wanted | {"events", "pictures", "dataset.json"} <= names


def test_tensorboard_holds_scalars_pictures_and_histograms(tiny_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tiny_run / "events"), size_guidance={"tensors": 0}).Reload()
    tags = events.Tags()["tensors"]
    wanted = [
        "train/loss",
        "learning_rate",
        "val/val_loss",
        "val/val_loss_unweighted",
        "val/semseg.iou.left",
        "val/depth.si_log_rmse",
        "val/depth.delta3",
        "train/0",
        "observed0/0",
        "observed0/depth_metres/truth",
    ]
    assert set(wanted) <= set(tags), tags


def test_evaluation_scores_the_best_weights_as_training_did(run):
    scores = json.loads((run / "evaluation_val.json").read_text())
    best = json.loads((run / "best" / "metrics.json").read_text())
    assert scores["split"] == "val" and scores["num_images"] == 3
    assert scores["total"] == pytest.approx(best["total"], abs=1e-4)
    assert scores["semseg"]["miou"] == pytest.approx(best["semseg"]["miou"], abs=1e-4)
    assert scores["depth"]["rmse"] == pytest.approx(best["depth"]["rmse"], abs=1e-4)
    assert scores["total"] == pytest.approx(scores["semseg"]["miou"] - scores["depth"]["si_log_rmse"])


def test_per_image_rows_average_to_the_scores(run):
    rows = read_table(run / "per_image_val.csv")
    scores = json.loads((run / "evaluation_val.json").read_text())
    assert [row["id"] for row in rows] == ["0", "1", "2"]
    assert np.mean([float(row["depth.abs_rel"]) for row in rows]) == pytest.approx(scores["depth"]["abs_rel"])


def test_the_baseline_is_the_position_mean_and_mode(run, tiny_dataset):
    """Computed again in NumPy from the files, by pixel accuracy and abs_rel."""

    def load(split, name, count):
        return np.stack([np.asarray(Image.open(tiny_dataset / split / name / f"{i}.png")) for i in range(count)])

    labels, depth = load("train", "semseg", 6), load("train", "depth", 6) * 0.01
    depth[(depth < 1) | (depth > 50)] = 0
    mode = np.stack([(labels == c).sum(0) for c in range(3)]).argmax(0)
    mean = np.where((depth > 0).any(0), depth.sum(0) / np.maximum((depth > 0).sum(0), 1), 10.0).clip(1, 50)
    val_labels, val_depth = load("val", "semseg", 3), load("val", "depth", 3) * 0.01
    counted = val_labels != 255
    accuracy = 100 * (mode[None] == val_labels)[counted].mean()
    errors = []
    for truth in val_depth:
        valid = (truth >= 1) & (truth <= 50)
        errors.append((np.abs(mean - truth)[valid] / truth[valid]).mean())
    found = json.loads((run / "baseline_val.json").read_text())
    assert found["semseg"]["pixel_accuracy"] == pytest.approx(accuracy, abs=1e-3)
    assert found["depth"]["abs_rel"] == pytest.approx(np.mean(errors), abs=1e-5)


def test_predictor_answers_in_the_size_of_the_picture(predictor, picture):
    for scale in ("fit", "native"):
        answer = predictor(picture, scale=scale)
        assert answer.semseg.shape == answer.depth.shape == answer.semseg_probability.shape == (45, 90)
        assert answer.semseg.dtype == np.int32 and answer.depth.dtype == np.float32
        assert answer.semseg.min() >= 0 and answer.semseg.max() < 3
        assert answer.depth.min() >= 1 and answer.depth.max() <= 50
        assert answer.semseg_probability.min() >= 1 / 3 - 1e-6 and answer.semseg_probability.max() <= 1
    batch = predictor(np.stack([picture, picture[:, ::-1]]))
    np.testing.assert_allclose(batch.depth[0], predictor(picture).depth, rtol=1e-4)


def test_a_picture_is_brought_to_the_training_size_as_in_training_and_back(predictor, picture, monkeypatch):
    """45x90 becomes 32x48 as data.fit says; a run whose data have that aspect stretches."""
    owner, tasks = predictor._owner, predictor.tasks

    def depth_of(frame, part=np.s_[:, :]):
        raw = owner._model(frame, training=False)["depth"][:, *part]
        return tasks[1].decode(tf.image.resize(raw, (45, 90)))[0]

    stretched = tf.image.resize(picture[None], (32, 48), antialias=True)
    np.testing.assert_allclose(predictor(picture).depth, depth_of(stretched), rtol=1e-5)
    inside = tf.image.resize(picture[None], (24, 48), antialias=True)
    padded = tf.pad(inside, [[0, 0], [4, 4], [0, 0], [0, 0]])
    covering = tf.image.resize(picture[None], (32, 64), antialias=True)
    for fit, expected in (("pad", depth_of(padded, np.s_[4:28, :])), ("crop", depth_of(covering))):
        monkeypatch.setattr(owner, "_how", fit)
        np.testing.assert_allclose(owner._fit(picture[None])["depth"][0], expected, rtol=1e-5)
    monkeypatch.undo()
    # At the training size itself nothing is resized.
    same = picture[:32, :48]
    np.testing.assert_array_equal(predictor(same).depth, predictor(same, scale="native").depth)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3), (1, 1, 4, 4, 3)])
def test_predictor_refuses_what_is_no_picture(predictor, shape):
    with pytest.raises(UsageError, match="uint8 RGB"):
        predictor(np.zeros(shape, np.uint8))
    with pytest.raises(UsageError, match="uint8 RGB"):
        predictor(np.zeros((4, 4, 3), np.float32))


def test_load_refuses_what_is_neither_run_nor_export(tmp_path):
    with pytest.raises(UsageError, match="is no run"):
        mtl_tf.load(tmp_path)


def test_saved_model_equals_the_predictor(run, predictor, picture):
    exported, trained = mtl_tf.load(run / "export"), predictor
    assert exported.tasks == trained.tasks
    for image in (picture, picture[:32, :48], np.tile(picture, (2, 2, 1))):
        for scale in ("fit", "native"):
            one, other = exported(image, scale=scale), trained(image, scale=scale)
            np.testing.assert_array_equal(one.semseg, other.semseg)
            np.testing.assert_allclose(one.depth, other.depth, rtol=1e-5)
            np.testing.assert_allclose(one.semseg_probability, other.semseg_probability, atol=1e-5)


def test_saved_model_answers_without_this_project(run, predictor, picture, tmp_path):
    """In a process that cannot import mtl_tf, by the serving signature, with its description as an asset."""
    np.save(tmp_path / "image.npy", picture[None])
    script = f"""
import json, sys
import numpy as np, tensorflow as tf
loaded = tf.saved_model.load({str(run / "export")!r})
answer = loaded.signatures["serving_default"](image=tf.constant(np.load({str(tmp_path / "image.npy")!r})))
assert set(answer) == {{"semseg", "semseg_probability", "depth"}}, answer.keys()
assert answer["semseg"].dtype == tf.int32 and answer["depth"].dtype == tf.float32
described = json.load(open({str(run / "export" / "assets" / "tasks.json")!r}))
assert described["tasks"]["semseg"]["classes"] == ["left", "middle", "right"]
assert described["tasks"]["depth"]["maximum"] == 50.0
assert (described["weights"], described["precision"]) == ("best", "float32") and described["epoch"] in (1, 2)
np.savez({str(tmp_path / "answer.npz")!r}, **answer)
assert "mtl_tf" not in sys.modules
"""
    subprocess.run([sys.executable, "-I", "-c", script], check=True, cwd=tmp_path, capture_output=True)
    answer, expected = np.load(tmp_path / "answer.npz"), predictor(picture)
    np.testing.assert_array_equal(answer["semseg"][0], expected.semseg)
    np.testing.assert_allclose(answer["depth"][0], expected.depth, rtol=1e-5)


@pytest.mark.slow
def test_sixteen_bit_answers_are_scored_predicted_and_exported(run, picture, tmp_path, capsys):
    """Of a network trained in float32: close to its own answers, and not the same."""
    sixteen = "--precision=mixed_bfloat16"
    export = tmp_path / "export"
    assert main(["export", f"--run_dir={run}", f"--output={export}", sixteen]) == 0
    exported, own, full = mtl_tf.load(export), mtl_tf.load(run, precision="mixed_bfloat16"), mtl_tf.load(run)
    for scale in ("fit", "native"):
        found, expected, close = (answer(picture, scale=scale) for answer in (exported, own, full))
        np.testing.assert_array_equal(found.semseg, expected.semseg)
        np.testing.assert_array_equal(found.depth, expected.depth)
        assert found.depth.dtype == np.float32
        np.testing.assert_allclose(found.depth, close.depth, rtol=0.1)
        assert np.abs(found.depth - close.depth).max() > 1e-4
    sizes = [
        (folder / "variables" / "variables.data-00000-of-00001").stat().st_size for folder in (export, run / "export")
    ]
    assert sizes[0] == pytest.approx(sizes[1] / 2, rel=0.02)  # of each weight two bytes instead of four

    assert main(["evaluate", f"--run_dir={run}", sixteen]) == 0
    scores, usual = (json.loads((run / f"evaluation_val{end}.json").read_text()) for end in ("_mixed_bfloat16", ""))
    assert scores["depth"]["rmse"] == pytest.approx(usual["depth"]["rmse"], rel=0.05)
    assert scores["depth"]["rmse"] != usual["depth"]["rmse"]

    Image.fromarray(picture).save(tmp_path / "a.png")
    files = f"--input={tmp_path / 'a.png'}", f"--output={tmp_path / 'out'}"
    assert main(["predict", f"--run_dir={run}", sixteen, *files]) == 0
    depth = np.asarray(Image.open(tmp_path / "out" / "depth" / "a.png"))
    np.testing.assert_allclose(depth * 0.01, own(picture).depth, atol=0.00501)
    assert main(["predict", f"--run_dir={run / 'export'}", sixteen, *files]) == 2
    assert "export it again" in capsys.readouterr().err


def test_export_replaces_an_export_and_nothing_else(run, tmp_path, capsys):
    assert main(["export", f"--run_dir={run}", f"--output={run / 'export'}"]) == 0
    (tmp_path / "precious.txt").write_text("mine")
    assert main(["export", f"--run_dir={run}", f"--output={tmp_path}"]) == 2
    assert "is no SavedModel" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["precious.txt"]


def test_predict_a_file_a_folder_a_glob_and_a_split(run, tiny_dataset, tmp_path, picture):
    folder = tmp_path / "in" / "sub"
    folder.mkdir(parents=True)
    for name in ("one.png", "two.jpg"):
        Image.fromarray(picture).save(folder / name)
    for number, given in enumerate((folder / "one.png", folder.parent, f"{folder}/*.jpg")):
        output = tmp_path / f"out{number}"
        assert main(["predict", f"--run_dir={run}", f"--input={given}", f"--output={output}"]) == 0
    assert (tmp_path / "out0" / "semseg" / "one.png").exists()
    assert {file.name for file in (tmp_path / "out1").rglob("*.png")} == {"one.png", "two.png"}
    assert [file.name for file in (tmp_path / "out2" / "depth").iterdir()] == ["two.png"]
    assert main(["predict", f"--run_dir={run}"]) == 0
    assert len(list((run / "predictions" / "val" / "overlay").iterdir())) == 3


def test_predicted_files_hold_the_answers(run, predictor, tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert main(["predict", f"--run_dir={run}", f"--input={tmp_path / 'a.png'}", f"--output={tmp_path / 'out'}"]) == 0
    answer = predictor(picture)
    classes = Image.open(tmp_path / "out" / "semseg" / "a.png")
    assert classes.mode == "P" and classes.getpalette()[:3] == [200, 30, 30]
    np.testing.assert_array_equal(np.asarray(classes), answer.semseg)
    depth = np.asarray(Image.open(tmp_path / "out" / "depth" / "a.png"))
    np.testing.assert_allclose(depth * 0.01, answer.depth, atol=0.00501)
    assert Image.open(tmp_path / "out" / "overlay" / "a.png").size == (90, 45)


def test_a_picture_that_is_none_is_named_and_the_others_are_done(run, tmp_path, picture, capsys):
    Image.fromarray(picture).save(tmp_path / "good.png")
    (tmp_path / "bad.jpg").write_text("no picture")
    output = tmp_path / "out"
    assert main(["predict", f"--run_dir={run}", f"--input={tmp_path}/*.*", f"--output={output}"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "bad.jpg" in error and "1 of 2" in error
    assert (output / "semseg" / "good.png").exists()


def test_the_codec_picture_of_miniscapes(tmp_path):
    from mtl_tf.inference.files import write_prediction
    from mtl_tf.inference.predictor import Prediction
    from mtl_tf.storage.codecs import encode_inverse_uint8
    from mtl_tf.tasks import cityscapes_tasks

    depth = np.array([[4.0, 10.0], [100.0, 300.0]], np.float32)
    answer = Prediction({"semseg": np.zeros((2, 2), np.int32), "depth": depth})
    write_prediction(tmp_path, "x", np.zeros((2, 2, 3), np.uint8), answer, cityscapes_tasks())
    codes = np.asarray(Image.open(tmp_path / "depth_codec" / "x.png"))
    np.testing.assert_array_equal(codes, encode_inverse_uint8(depth))
    assert codes[0, 0] == 255 and codes[1, 1] == 1


def test_report_is_a_page_with_panels(run):
    assert main(["report", f"--run_dir={run}"]) == 0
    page = (run / "report.html").read_text()
    assert "Worst" in page and "Best" in page and "data:image/" in page
    assert list((run / "pictures").glob("val_worst_*.png"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "--run_dir=nowhere"], ["nowhere", "is no run"]),
        (["evaluate"], ["--run_dir=FOLDER is missing"]),
        (["evaluate", "--run_dir={run}", "--model.encoder=resnet34"], ["--model.encoder is fixed", "(tiny)"]),
        (["evaluate", "--run_dir={run}", "--data.split=tset"], ["tset", "val"]),
        (["predict", "--run_dir={run}", "--input=/no/such.png"], ["/no/such.png"]),
        (["predict", "--run_dir={run}/export", "--output=x"], ["--input"]),
        (["predict", "--run_dir={run}/export", "--output=x", "--weights=averaged"], ["--weights", "export it again"]),
        (["export", "--run_dir={run}/checkpoints"], ["is no run"]),
    ],
)
def test_wrong_questions(run, arguments, words, capsys):
    assert main([argument.format(run=run) for argument in arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and all(word in error for word in words), error


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["--model.architecture=distilled", "--loss.depth=berhu", "--loss.depth_space=log", "--optim.name=adamw"],
        ["--tasks=semseg", "--model.architecture=branched", "--train.precision=mixed_bfloat16"],
        ["--tasks=depth", "--loss.depth=silog", "--optim.name=adam", "--train.devices=1"],
    ],
)
def test_other_networks_go_the_whole_way(tiny_dataset, tmp_path, options):
    run_dir = tmp_path / "run"
    shape = [*SMALLEST, "--data.image_size=32,48", "--train.batch_size=2", "--train.epochs=1"]
    assert (
        main(["train", "--data.name=folder", f"--data.root={tiny_dataset}", f"--run_dir={run_dir}", *shape, *options])
        == 0
    )
    for name in ("evaluate", "predict", "export", "report"):
        assert main([name, f"--run_dir={run_dir}"]) == 0
    scores = json.loads((run_dir / "evaluation_val.json").read_text())
    assert (scores["total"] is None) == ("--tasks=semseg" in options or "--tasks=depth" in options)


@pytest.mark.slow
def test_two_devices_train_and_evaluate(tiny_dataset, tmp_path):
    arguments = [
        f"--data.root={tiny_dataset}",
        f"--run_dir={tmp_path / 'run'}",
        "--train.devices=2",
        "--train.epochs=1",
    ]
    done = command("train", "--data.name=folder", *SMALLEST, "--train.batch_size=2", "--log.every=1", *arguments)
    assert done.returncode == 0, done.stderr
    assert "2 x CPU" in done.stdout
    done = command("evaluate", f"--run_dir={tmp_path / 'run'}", "--train.devices=2")
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "run" / "evaluation_val.json").read_text())
    best = json.loads((tmp_path / "run" / "best" / "metrics.json").read_text())
    assert scores["num_images"] == 3
    assert scores["depth"]["rmse"] == pytest.approx(best["depth"]["rmse"], abs=1e-4)


def test_wrong_usage_is_one_line_and_status_2():
    for arguments in (["trian"], ["train", "--model.encodr=resnet18"], ["train", "--train.epochs=many"], ["train"]):
        done = command(*arguments)
        one_line_error(done.returncode, done.stderr)
    helped = command("train", "--helpshort")
    assert helped.returncode == 0 and "--model.aspp_rates" in helped.stdout


def test_several_splits_are_scored_as_each_alone(tiny_run, tmp_path, capsys, monkeypatch):
    run, alone, built = tmp_path / "run", tmp_path / "alone", []
    for copy in (run, alone):
        shutil.copytree(tiny_run, copy)
        for found in (*copy.glob("evaluation_*"), *copy.glob("per_image_*"), *copy.glob("baseline_*")):
            found.unlink()
    files = ("evaluation_val.json", "per_image_val.csv", "evaluation_train.json", "per_image_train.csv")
    opened = scoring.open_run
    monkeypatch.setattr(scoring, "open_run", lambda config: built.append(config) or opened(config))
    assert main(["evaluate", f"--run_dir={run}", "--data.split=val,train"]) == 0
    told = capsys.readouterr().out
    assert len(built) == 1  # the network is loaded once
    assert re.findall(r"images of split (\w+)", told) == ["val", "train"]
    for split in ("val", "train"):
        assert main(["evaluate", f"--run_dir={alone}", f"--data.split={split}"]) == 0
    said = capsys.readouterr().out
    assert told.replace(str(run), "RUN").splitlines() == said.replace(str(alone), "RUN").splitlines()
    for name in files:
        assert (run / name).read_bytes() == (alone / name).read_bytes(), name


@pytest.mark.parametrize(
    ("command_name", "splits", "words"),
    [
        ("evaluate", "val,tset", ["tset", "val"]),
        ("evaluate", "val,val", ["--data.split=val,val should be different names of splits, separated by commas"]),
        ("evaluate", "val,", ["--data.split=val, should be different names"]),
        ("evaluate", "val,../train", ["data.split=val,../train leads out of the data set"]),
        ("predict", "val,train", ["predict takes one split, got --data.split=val,train; run it once for each"]),
        ("report", "val,train", ["report takes one split"]),
        ("study", "val,train", ["study takes one split"]),
    ],
)
def test_splits_that_are_not_scored(tiny_run, tmp_path, capsys, command_name, splits, words):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    for found in run.glob("evaluation_*"):
        found.unlink()
    status = main([command_name, f"--run_dir={run}", f"--data.split={splits}"])
    line = one_line_error(status, capsys.readouterr().err)
    assert all(word in line for word in words), line
    assert not list(run.glob("evaluation_*"))


@pytest.mark.slow
def test_pictures_of_different_sizes_on_two_devices(tmp_path):
    """Training takes crops; validation and evaluation take whole pictures, one after another."""
    dataset = write_dataset(tmp_path / "data", {"train": 4, "val": 3})
    for modality in ("rgb", "semseg", "depth"):
        path = dataset / "val" / modality / "1.png"
        image = Image.open(path)
        image.resize((56, 40), Image.Resampling.NEAREST).save(path)
    shape = [*SMALLEST, "--data.crop_size=32,32", "--train.batch_size=2", "--train.epochs=1"]
    run = [f"--run_dir={tmp_path / 'run'}", "--train.devices=2"]
    done = command("train", "--data.name=folder", f"--data.root={dataset}", *run, *shape)
    assert done.returncode == 0, done.stderr
    done = command("evaluate", *run)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "evaluation_val.json").read_text())["num_images"] == 3
    done = command("evaluate", *run, "--baseline")
    assert "one size" in one_line_error(done.returncode, done.stderr)
