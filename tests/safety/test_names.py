"""Names that come with data never lead out of a folder that is written to, whatever they are."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from mtl_tf import config as configuration
from mtl_tf.atomic import below, leads_out
from mtl_tf.config import DataConfig
from mtl_tf.data import packing
from mtl_tf.data.descriptors import read
from mtl_tf.errors import MtlError, UsageError
from mtl_tf.study import declaration
from mtl_tf.study.columns import Drawn
from mtl_tf.study.curves import Chart, Curve
from mtl_tf.study.declaration import Figure

OUTSIDE = ("/etc/x", "../x", "a/../../x", "..", "a/..", "..\\x", "C:\\x", "a\0b", "//x")
ODD = (
    "<script>alert(1)</script>",
    "a b",
    'it\'s "it"',
    "two\nlines",
    "a..b",
    "...",
    "\u202e\u00e9\U0001f600",
    "$(x);`y`",
)


def test_what_leads_out_is_refused(tmp_path):
    for name in OUTSIDE:
        assert leads_out(name)
        with pytest.raises(UsageError, match="would lie outside"):
            below(tmp_path, name)
    for name in (*ODD, "a/b", "a/./b"):
        assert below(tmp_path, name).resolve().is_relative_to(tmp_path.resolve())


def files_below(folder: pathlib.Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# === Predictions ===


class Answers:
    """A predictor, and a data set whose samples are called as one likes."""

    from mtl_tf import cityscapes_tasks

    tasks = cityscapes_tasks()
    passed_over = ()

    def __init__(self, names):
        self.ids = names

    def __call__(self, image, scale):
        from mtl_tf.inference.predictor import Prediction

        size = image.shape[:2]
        return Prediction({"semseg": np.zeros(size, np.int32), "depth": np.full(size, 9, np.float32)})

    def read(self, position):
        return {"image": np.zeros((8, 8, 3), np.uint8)}


@pytest.fixture
def predicted(tmp_path, monkeypatch):
    """Predicts samples of some names; gives the files written and the error."""
    from mtl_tf.inference import files, inputs

    def predict(names, **options):
        answers = Answers(names)
        monkeypatch.setattr(files, "load", lambda *_: answers)
        monkeypatch.setattr(inputs, "read_descriptor", lambda _: None)
        monkeypatch.setattr(inputs, "open_split", lambda *_: answers)
        output = tmp_path / "deep" / "output"
        config = configuration.replace(configuration.Config(), run_dir=str(tmp_path), output=str(output), **options)
        error = ""
        try:
            files.predict_files(config)
        except UsageError as found:
            error = str(found)
        return files_below(tmp_path / "deep"), error

    return predict


def test_predictions_stay_in_their_folder(predicted, tmp_path):
    """The names in a packed data set are free text; the others are predicted all the same."""
    before = files_below(tmp_path)
    inside = [*ODD, "street/1", "..", "a/.."]  # with .png behind them, the last two are no folders
    outside = [name for name in OUTSIDE if name not in inside]
    written, error = predicted([*outside, *inside])
    assert {path.removeprefix("output/semseg/") for path in written if "/semseg/" in path} == {
        f"{name}.png" for name in inside
    }
    assert f"{len(outside)} of {len(outside) + len(inside)} pictures cannot be predicted" in error
    assert all(path.startswith("output/") for path in written)
    assert files_below(tmp_path) == before | {f"deep/{path}" for path in written}


def test_a_name_that_is_too_long_is_one_line(predicted):
    _, error = predicted(["x" * 300])
    assert "too long" in error and "\n" not in error


def test_pictures_of_several_places_stay_in_the_folder(predicted, tmp_path, monkeypatch):
    """A glob may go up and down again; the names below are those without."""
    for name in ("one", "two"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / name / "1.png")
    monkeypatch.chdir(tmp_path / "pictures" / "one")
    written, error = predicted([], input="../two/../*/1.png")
    assert not error
    assert {path for path in written if "/semseg/" in path} == {"output/semseg/one/1.png", "output/semseg/two/1.png"}


# === Data sets ===


def test_splits_are_folders_of_the_data_set(tmp_path):
    depth = {"encoding": "uint16_scaled", "minimum": 0.1, "maximum": 80.0}
    for name in OUTSIDE:
        (tmp_path / "dataset.json").write_text(json.dumps({"splits": ["train", name], "depth": depth}))
        with pytest.raises(UsageError, match='"splits" should be a list of different names of folders'):
            read(tmp_path)
        with pytest.raises(UsageError, match="would lie outside"):
            packing.pack_split([], name, tmp_path / "packed", lambda index: {})
        for option in ("train_split", "val_split", "split") if "\0" not in name else ():
            with pytest.raises(UsageError, match="leads out of the data set"):
                DataConfig(**{option: name})


# === Studies ===


@pytest.mark.parametrize("kind", ["table", "figure"])
def test_tables_and_figures_have_names_of_files(kind, tmp_path):
    file = tmp_path / "study.toml"
    for name in ("T1", *OUTSIDE, *ODD, "x" * 61, ".hidden"):
        names = {"table": "T", "figure": "F"} | {kind: name}
        table, figure = (json.dumps(names[part], ensure_ascii=False) for part in ("table", "figure"))
        text = f'[[table]]\nname = {table}\ntitle = "t"\nrows = [{{name = "a"}}]\n'
        file.write_text(f'{text}[[figure]]\nname = {figure}\ntitle = "f"\n', encoding="utf-8")
        if name in ("T1", "a..b"):
            assert declaration.read(str(file))
            continue
        with pytest.raises(MtlError, match='"name" should be a name of up to 60 letters'):
            declaration.read(str(file))


def test_names_are_neither_formulas_nor_html_in_what_a_study_writes():
    from mtl_tf.study import write

    curve = Curve("cost $x^ $ <script>", {"epoch": [(1, 2.0), (2, 1.0)], "step": [(10, 2.0), (20, 1.0)]})
    figure = Figure("F", "a $^$ title", ("T",), ("loss",))
    assert write._plot(figure, [Chart("loss", Drawn("Loss", "loss"), [curve])]).startswith(b"\x89PNG")
    line = write._line(["<script>alert(1)</script>", "a|b", "1 < 2 > 1", "</td>"])
    assert line == "| &lt;script>alert(1)&lt;/script> | a\\|b | 1 < 2 > 1 | &lt;/td> |"
