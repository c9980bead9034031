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
        ('name = "fast"', 'name = "slow"', ["table A has two rows of one name, slow"]),
        ('name = "C"', 'name = "A"', ["two tables of one name, A"]),
        ('name = "figure2"', 'name = "figure1"', ["two figures of one name, figure1"]),
        ('name = "A"', 'name = "../A"', ['"name" should be a name of up to 60 letters', 'it is "../A"']),
        (
            "published = {total = 40.0}",
            "publishd = {}",
            ['A, row slow: unknown key "publishd"', "did you mean published?"],
        ),
        (
            "published = {total = 40.0}",
            "published = {total = true}",
            ["of columns and figures", 'it is {"total": true}'],
        ),
        ("published = {total = 40.0}", "published = {total = 2020-02-02}", ["of columns and figures", "2020-02-02"]),
        ("published = {total = 40.0}", "scale = 2", ['"scale" should be a table of whole-number options', "it is 2"]),
        ("baseline = true", "baseline = 1", ['table S: "baseline" should be true or false; it is 1']),
        ("aspp = false", "asp = false", ["\"start\": unknown option 'model.asp'; did you mean model.aspp?"]),
        ('name = "fast", ', "", ['A, row 2: "name" should be a text in one line', "it is missing"]),
        ('like = "C/joint"', 'like = "C/jiont"', ["C/jiont", "does not stand before it"]),
        ('choose_from = ["A"]', 'choose_from = ["Z"]', ["'Z'"]),
        ('pinned = "A/fast"', 'pinned = "A/none"', ["A/none"]),
        ('pinned = "A/fast"', "", ["pinned"]),
        ("scale = {train.epochs = 2}", "scale = {optim.name = 2}", ["whole-number options"]),
        ("scale = {train.epochs = 2}", "scale = {train.epochs = 0}", ["positive"]),
        (
            'seeds = "architectures"',
            "seeds = 0",
            ['row joint: "seeds" should be a whole number of at least 1', "it is 0"],
        ),
        ('seeds = "architectures"', 'seeds = "many"', ["or the word architectures"]),
        ('seeds = "architectures"', "seeds = true", ['"seeds" should be a whole number']),
        (
            'title = "Architectures"',
            'title = "A"\nreference = "jiont"',
            ["C has the reference 'jiont'", "did you mean joint"],
        ),
        ('pinned = "A/fast"', 'pinned = "A/fast"\nreference = "fast"', ["B has the reference 'fast'", "no row of it"]),
        ('tables = ["A"]', 'tables = "A"', ['figure figure1: "tables" should be a list of texts; it is "A"']),
        ('tables = ["A"]', 'tables = ["Q"]', ["figure1", "'Q'"]),
        ("[start]", "[strat]", ["strat", "did you mean start"]),
        ("[start]", "[start", ["no TOML"]),
        ('title = "Rates"\nset', "set", ['table A: "title" should be a text in one line', "it is missing"]),
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
