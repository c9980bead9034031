"""Folders of pictures and of predictions: nothing is skipped without a word, predicted twice, mixed or overwritten."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from mtl_tf.config import Config
from mtl_tf.data.file_names import in_folder
from mtl_tf.data.sets.folder import list_files
from mtl_tf.errors import UsageError
from mtl_tf.inference import files
from mtl_tf.inference.predictor import Prediction
from mtl_tf.tasks import Segmentation

TASK = Segmentation(classes=("a", "b"), palette=((1, 2, 3), (4, 5, 6)))


class Stub:
    """A predictor that answers the grey value of the first pixel."""

    tasks = (TASK,)

    def __call__(self, image, scale):
        return Prediction({"semseg": np.full(image.shape[:2], image[0, 0, 0] % 2, np.int32)})


@pytest.fixture
def predict(tmp_path, monkeypatch):
    """Predicts an input, in the run directory or into an output; gives the last line."""
    monkeypatch.setattr(files, "load", lambda *_: Stub())
    (tmp_path / "run").mkdir()

    def run(given, output="", **options):
        paths = dict(run_dir=str(tmp_path / "run"), input=str(given), output=str(output))
        return files.predict_files(Config(**paths, **options))

    return run


def picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (value, 0, 0)).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two pictures, one of them in a sub-folder."""
    for name in ("a.png", "sub/b.jpg"):
        picture(tmp_path / "in" / name)
    return tmp_path / "in"


def files_in(folder):
    return {str(path.relative_to(folder)) for path in pathlib.Path(folder).rglob("*") if path.is_file()}


def refusal(predict, *given):
    with pytest.raises(UsageError) as found:
        predict(*given)
    assert "\n" not in str(found.value)
    return str(found.value)


PREDICTED = {f"{kind}/{name}.png" for kind in ("overlay", "semseg") for name in ("a", "sub/b")}


@pytest.mark.parametrize("where", ["out", "deep/er/out", ""], ids=["below", "deep", "itself"])
def test_its_own_predictions_are_never_predicted(predict, folder, where, capsys):
    before = files_in(folder)
    for _ in range(3):
        assert predict(folder, folder / where).startswith("2 pictures predicted")
    made = files_in(folder / where) - before if not where else files_in(folder / where)
    assert made == PREDICTED | {"predictions.json"}
    assert "2 files passed over: predictions are not read again (2, for example" in capsys.readouterr().out
    assert predict(f"{folder}/**/*.*g", folder.parent / "elsewhere").startswith("2 pictures predicted")


def test_predictions_do_not_become_pictures_of_a_data_set(predict, tmp_path):
    picture(tmp_path / "train/rgb/0.png")
    predict(tmp_path / "train/rgb", tmp_path / "train/rgb/out")
    found, passed_over = list_files(str(tmp_path), "train", in_folder("*", "rgb"), "rgb")
    assert list(found) == ["0"]
    assert {path.rpartition("/")[2] for path, _ in passed_over} == {"overlay", "semseg"}


def test_predictions_do_not_become_labels_of_a_data_set(predict, tmp_path):
    picture(tmp_path / "train/rgb/0.png")
    assert "would become labels" in refusal(predict, tmp_path / "train/rgb", tmp_path / "train")
    picture(tmp_path / "train/semseg/0.png", 7)
    assert "holds semseg/0.png and no predictions.json" in refusal(predict, tmp_path / "train/rgb", tmp_path / "train")
    assert Image.open(tmp_path / "train/semseg/0.png").getpixel((0, 0)) == (7, 0, 0)


def test_pictures_are_never_overwritten(predict, tmp_path):
    picture(tmp_path / "in/overlay/a.png", 7)
    assert "holds overlay/a.png and no predictions.json" in refusal(predict, tmp_path / "in/overlay", tmp_path / "in")
    assert Image.open(tmp_path / "in/overlay/a.png").getpixel((0, 0)) == (7, 0, 0)
    predict(tmp_path / "in/overlay", tmp_path / "out")
    (tmp_path / "out/overlay/b.png").write_bytes(b"mine")
    picture(tmp_path / "in/overlay/b.png")
    assert "overlay/b.png is there and is no prediction" in refusal(predict, tmp_path / "in/overlay", tmp_path / "out")
    assert (tmp_path / "out/overlay/b.png").read_bytes() == b"mine"


def test_a_folder_holds_the_predictions_of_one_input(predict, folder, tmp_path):
    output = tmp_path / "out"
    predict(folder, output)
    assert json.loads((output / "predictions.json").read_text())["input"] == str(folder)
    told = refusal(predict, folder / "a.png", output)
    assert told == f"--output={output} holds the predictions of {folder}; choose another --output"
    picture(folder / "c.png", 1)
    (folder / "a.png").unlink()
    predict(folder, output)
    assert files_in(output) == {*(path.replace("/a.", "/c.") for path in PREDICTED), "predictions.json"}


def test_each_input_has_its_own_folder_in_the_run_directory(predict, folder, tmp_path):
    predictions = tmp_path / "run/predictions"
    for given, name in (
        (folder, "input"),
        (folder / "a.png", "input-2"),
        (folder, "input"),
        (folder / "sub", "input-3"),
    ):
        assert f"{predictions / name}/{{" in predict(given)
    assert files_in(predictions / "input") == PREDICTED | {"predictions.json"}
    # What an earlier version wrote does not say of which input it is.
    (predictions / "input/predictions.json").unlink()
    assert f"{predictions}/input-4/" in predict(folder)


def test_a_picture_that_fails_stops_no_other_and_keeps_no_old_answer(predict, folder, tmp_path):
    picture(folder / "z.png")
    predict(folder, tmp_path / "out")
    (folder / "a.png").write_bytes(b"no picture")
    told = refusal(predict, folder, tmp_path / "out")
    assert "1 of 3 pictures cannot be predicted" in told and "a.png" in told and "(2 done)" in told
    assert files_in(tmp_path / "out/semseg") == {"sub/b.png", "z.png"}


def test_what_is_skipped_is_named(predict, folder, tmp_path, capsys):
    for name in ("c.HEIC", "d.gif", "e.gif", ".DS_Store", "Thumbs.db", "sub/._b.jpg", "README.txt"):
        (folder / name).write_bytes(b"")
    (folder / "f.png").symlink_to(tmp_path / "nowhere.png")
    for given in (folder, f"{folder}/**"):
        assert predict(given, tmp_path / f"out{len(str(given))}").startswith("2 pictures predicted")
        told = capsys.readouterr().out
        assert f".HEIC is not read ({folder}/c.HEIC); .gif is not read (2, for example {folder}/d.gif)" in told
        assert f"a link that leads nowhere ({folder}/f.png)" in told and "4 files passed over" in told
        assert "that systems leave behind, or notes" in told and "DS_Store" not in told
    (folder / "sub/b.jpg").unlink()
    told = refusal(predict, folder / "sub", tmp_path / "none")
    assert "holds no pictures" in told and "not looked at: 1 that systems leave behind" in told
    assert "holds no pictures" in refusal(predict, f"{folder}/*.gif", tmp_path / "none")
    assert "leads nowhere" in refusal(predict, folder / "f.png", tmp_path / "none")
