"""Files of experiments: what they mean, and every mistake in one line."""

import pytest

from mtl_tf.errors import UsageError
from mtl_tf.study.declaration import read
from tests.study.stub import STUDY


def test_the_report_declares_every_table_and_figure():
    report = read()
    names = [table.name for table in report.tables]
    assert names[:13] == [f"T{number}" for number in range(1, 14)]
    assert [figure.name for figure in report.figures][:9] == [f"figure{number}" for number in range(1, 10)]
    assert report.row("T1/1e-4").set == {"optim.learning_rate": 1e-4}
    assert report.row("T8/dilation").set == {"model.dilation": (0, 0, 1)}
    assert report.row("T4/16").scale == {"train.epochs": 4}
    assert report.row("T10/branched").published == {"miou": 84.65, "si": 18.18, "total": 66.47}
    assert report.row("best/+ dilation 0,1,1").published["total"] == 75.56


@pytest.mark.parametrize("key", ["T8/plain", "T8/ImageNet", "T8/dilation", "T9/joint", "T10/branched", "T12/distilled"])
def test_published_totals_are_miou_minus_si(key):
    published = read().row(key).published
    assert published["miou"] - published["si"] == pytest.approx(published["total"], abs=0.011)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "optim.learning_rate = 0.01",
            "optim.lerning_rate = 0.01",
            ["A, row slow", "did you mean"],
        ),
        ("optim.learning_rate = 0.01", 'optim.learning_rate = "much"', ["A, row slow", "takes a number"]),
        ("optim.learning_rate = 0.01", "optim.learning_rate = -1", ["at least 0"]),
        ("optim.learning_rate = 0.01", "seed = 3", ["seed", "belongs to the study"]),
        ("optim.learning_rate = 0.01", 'run_dir = "x"', ["run_dir", "belongs to the study"]),
        ("optim.learning_rate = 0.01", "data.limit = 2", ["data.limit", "belongs to the study"]),
        ("optim.learning_rate = 0.01", "data.eigen_crop = true", ["data.eigen_crop", "belongs to the study"]),
        ('name = "fast"', 'name = "slow"', ["two rows of one name"]),
        ('name = "fast", ', "", ["has no name"]),
        ('like = "C/joint"', 'like = "C/jiont"', ["C/jiont", "does not stand before it"]),
        ('choose_from = ["A"]', 'choose_from = ["Z"]', ["'Z'"]),
        ('pinned = "A/fast"', 'pinned = "A/none"', ["A/none"]),
        ('pinned = "A/fast"', "", ["pinned"]),
        ("scale = {train.epochs = 2}", "scale = {optim.name = 2}", ["whole-number options"]),
        ("scale = {train.epochs = 2}", "scale = {train.epochs = 0}", ["positive"]),
        ('seeds = "architectures"', "seeds = 3", ["architectures"]),
        ('tables = ["A"]', 'tables = ["Q"]', ["figure1", "'Q'"]),
        ("[start]", "[strat]", ["strat", "did you mean start"]),
        ("[start]", "[start", ["no TOML"]),
        ('title = "Rates"\nset', "set", ["has no title"]),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, words):
    assert old in STUDY
    file = tmp_path / "study.toml"
    file.write_text(STUDY.replace(old, new, 1))
    with pytest.raises(UsageError) as raised:
        read(str(file))
    assert "\n" not in str(raised.value)
    for word in words:
        assert word in str(raised.value), str(raised.value)


def test_a_missing_file_and_an_empty_one(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read(str(tmp_path / "none.toml"))
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(UsageError, match="declares no"):
        read(str(tmp_path / "empty.toml"))
