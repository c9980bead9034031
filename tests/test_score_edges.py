"""tools/score_edges.py as a user runs it: scores, continued and parallel work, bad input."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import scipy.io
from PIL import Image

from mtl_tf import boundaries
from tests.helpers import ROOT, one_line_error, tool_module

tool = tool_module("score_edges")


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path, **options)


def picture(seed, size=(30, 44)):
    """Class ids, and edges as a network would answer them."""
    random = np.random.default_rng(seed)
    labels = np.zeros(size, np.uint8)
    labels[random.integers(5, 15) :, random.integers(5, 20) :] = 1
    labels[random.integers(16, 25) :] = 2
    answer = boundaries.boundaries(labels) * random.uniform(0.2, 1, size) + random.uniform(0, 0.4, size)
    return labels, (255 * answer.clip(0, 1)).astype(np.uint8)


def write(folder, names):
    for seed, name in enumerate(names):
        labels, answer = picture(seed)
        save(folder / f"predicted/{name}.png", answer)
        save(folder / f"classes/{name}.png", labels)
        save(folder / f"lines/{name}.png", 255 * boundaries.truth_of(labels)[0].astype(np.uint8))
    return folder


@pytest.fixture
def data(tmp_path):
    return write(tmp_path, ["0", "1", "town/2"])


def arguments(data, *others, output="scores", holds="classes"):
    usual = {
        "predicted": data / "predicted",
        "truth": data / holds,
        "truth_holds": holds,
        "distance": "pascal",
        "output": data / output,
    }
    return [*(f"--{name}={value}" for name, value in usual.items()), *map(str, others)]


def run(*args, **options):
    """The exit status."""
    return tool.run_tool(tool.score, tool.Options, arguments(*args, **options))


def results(data, output="scores", name="cont_0.0075.json"):
    return json.loads((data / output / name).read_text())


def lines_of(data, output="scores"):
    return [line for line in (data / output / "counts.jsonl").read_text().splitlines() if line]


# === Scores ===


@pytest.mark.parametrize(("reader", "golden"), [("plain", "plain_99"), ("cont", "nms_101")])
@pytest.mark.parametrize(("distance", "number"), [("pascal", 0.0075), ("nyud", 0.011)])
def test_scores_from_coarse_to_fine_equal_the_golden_values(shared, tmp_path, reader, golden, distance, number):
    inputs = np.load(shared / "goldens/metric_inputs.npz")
    expected = json.loads((shared / "goldens/metrics.json").read_text())["edges"][f"{golden}_maxDist_{number}"]
    for name in range(3):
        save(tmp_path / f"predicted/{name}.png", inputs["edge_prediction_uint8"][name])
        save(tmp_path / f"classes/{name}.png", inputs["edge_label_maps"][name])
    assert run(tmp_path, f"--reader={reader}", f"--distance={distance}") == 0
    found = results(tmp_path, name=f"{reader}_{number}.json")
    assert found["scores"]["odsF"] == pytest.approx(expected["odsF"], rel=1e-6)
    assert found["scores"]["threshold"] == expected["ods_threshold"] and found["scores"]["AP"] is None
    (best,) = (row for row in found["curve"] if row["threshold"] == expected["ods_threshold"])
    assert [best[name] for name in ("matched", "true", "predicted")] == expected["matched_truth_predicted_at_ods"]
    assert found["scored"]["thresholds"] == 27 and found["scored"]["thresholds_of_reader"] in (99, 101)


def test_what_is_told_and_written(data, capsys):
    assert run(data, "--all_thresholds") == 0
    told, found = capsys.readouterr().out.splitlines(), results(data)
    assert told[:5] == [
        "pictures    3",
        "truth       classes",
        "reader      cont",
        "distance    0.0075 of the diagonal",
        "thresholds  101 of 101",
    ]
    scores, scored = found["scores"], found["scored"]
    assert told[5].startswith(f"odsF        {100 * scores['odsF']:.2f} %, precision ")
    assert told[7] == f"AP          {100 * scores['AP']:.2f} %"
    assert scored["pictures"] == 3 and scored["ignore"] == 255 and scored["predicted"] == str(data / "predicted")
    assert len(found["curve"]) == 101 and 0.5 < scores["odsF"] < 1
    assert len(lines_of(data)) == 3


def test_stored_lines_are_a_truth_too(data):
    """They become two pixels wide and are thinned again; 0 and 1 is as good as 0 and 255."""
    assert run(data, holds="lines", output="of255") == 0
    for path in (data / "lines").rglob("*.png"):
        save(path, np.asarray(Image.open(path)) // 255)
    assert run(data, holds="lines", output="of1") == 0
    found = results(data, "of255")
    assert found["curve"] == results(data, "of1")["curve"]
    assert found["scored"]["truth_holds"] == "lines" and found["scored"]["ignore"] is None
    truth = [boundaries.truth_of(np.asarray(Image.open(path)))[0].sum() for path in (data / "lines").rglob("*.png")]
    assert found["curve"][0]["true"] == sum(truth)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint8, np.int64, bool])
def test_arrays_are_a_truth_as_pictures_are(data, kind):
    """The edges of the NYUD archive of Vandenhende et al. are 0 and 1 in .npy files."""
    assert run(data, holds="lines", output="pictures") == 0
    for number, path in enumerate((data / "lines").rglob("*.png")):
        lines = (np.asarray(Image.open(path)) > 0).astype(kind)
        np.save(path.with_suffix(".npy"), lines[..., None] if number else lines)
        path.unlink()
    assert run(data, holds="lines", output="arrays") == 0
    assert results(data, "arrays")["curve"] == results(data, "pictures")["curve"]


def test_matrices_of_classes_are_a_truth(data, capsys):
    """The label maps of PASCAL-Context: one matrix of ids up to 459, none of which is ignored; 255 is a class."""
    for path in (data / "classes").rglob("*.png"):
        save(path, np.array([0, 255, 459], np.uint16)[np.asarray(Image.open(path))])
    line = one_line_error(run(data), capsys.readouterr().err)
    assert "classes/0.png: ids up to 459, of which 255 may be one like all others; say by --ignore" in line
    assert run(data, "--ignore=-1", output="pictures") == 0
    for path in (data / "classes").rglob("*.png"):
        scipy.io.savemat(path.with_suffix(".mat"), {"LabelMap": np.asarray(Image.open(path))}, do_compression=True)
        path.unlink()
    assert run(data, "--ignore=-1", output="matrices") == 0
    assert results(data, "matrices")["curve"] == results(data, "pictures")["curve"]
    assert "ids up to 459" in one_line_error(run(data, output="unsaid"), capsys.readouterr().err)
    assert not (data / "unsaid").exists()
    assert run(data, "--ignore=255", output="said") == 0


def test_instances_are_a_truth_as_classes_are(data):
    """Their ids have 16 bits."""
    assert run(data, "--ignore=1", output="of_classes") == 0
    for path in (data / "classes").rglob("*.png"):
        ids = np.asarray(Image.open(path))
        save(path, np.where(ids == 1, 65535, 300 * ids.astype(np.uint16)).astype(np.uint16))
    assert run(data, "--ignore=65535", output="of_instances") == 0
    assert results(data, "of_classes")["curve"] == results(data, "of_instances")["curve"]


def test_some_only_by_their_names(data):
    (data / "some.txt").write_text("town/2\n\n0\n")
    (data / "predicted/1.png").unlink()
    assert run(data, f"--names={data / 'some.txt'}") == 0
    assert results(data)["scored"]["pictures"] == 2


# === Work that continues ===


def test_a_scoring_that_was_cut_off_ends_as_one_that_was_not(data):
    """At the end of any line and within it; what stands there is not counted again."""
    assert run(data) == 0
    content = (data / "scores/counts.jsonl").read_bytes()
    first = content.index(b"\n", 1)
    for place, (cut, again) in enumerate({0: 6, 1: 6, first: 5, first + 40: 5, len(content) - 9: 1}.items()):
        output = data / f"cut{place}"
        output.mkdir()
        (output / "counts.jsonl").write_bytes(content[:cut])
        whole = cut and len([line for line in content[:cut].splitlines() if line.endswith(b"}")])
        assert run(data, output=output.name) == 0
        assert results(data, output.name) == results(data)
        found = len([line for line in lines_of(data, output.name) if line.endswith("}")])
        assert found - whole == again and found == 6


def test_what_was_counted_is_not_counted_again(data, monkeypatch):
    assert run(data, "--all_thresholds") == 0
    before = results(data)
    monkeypatch.setattr(tool.boundaries, "count", None)
    assert run(data) == 0
    assert results(data)["scores"]["odsF"] == before["scores"]["odsF"]
    assert run(data, "--all_thresholds") == 0
    assert results(data) == before


def test_other_rules_and_other_pictures_are_counted_anew(data):
    assert run(data) == 0
    before = results(data)
    assert run(data, "--distance=0.02") == 0 and run(data, "--reader=plain") == 0 and run(data, "--ignore=1") == 0
    assert len(lines_of(data)) == 24
    assert run(data) == 0
    assert results(data) == before and len(lines_of(data)) == 24
    save(data / "predicted/0.png", picture(7)[1])
    assert run(data) == 0
    assert results(data)["curve"] != before["curve"] and len(lines_of(data)) == 26


def test_two_processes_count_as_one(tmp_path):
    data = write(tmp_path, [str(index) for index in range(16)])
    assert run(data, "--processes=1", output="one") == 0
    assert run(data, "--processes=2", output="two") == 0
    assert results(data, "one") == results(data, "two")
    assert sorted(lines_of(data, "one")) == sorted(lines_of(data, "two"))


def test_it_is_a_program_of_its_own(data):
    """Its modules find the package, which need not be installed."""
    command = [sys.executable, str(ROOT / "tools/score_edges.py"), *arguments(data)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=data, check=False)
    assert done.returncode == 0, done.stderr
    assert "odsF" in done.stdout and results(data)["scored"]["pictures"] == 3


# === Bad input ===


def rgb(data):
    save(data / "predicted/1.png", np.random.default_rng(0).integers(0, 255, (30, 44, 3), np.uint8))


def palette(data):
    image = Image.fromarray(picture(1)[1])
    image.putpalette([200, 10, 10] * 256)
    image.save(data / "predicted/1.png")


# What is wrong of one picture, and what is said of it; the others are counted.
OF_A_PICTURE = {
    "colours": (rgb, "predicted/1.png: expected edges in 8-bit grey, 255 times the probability, got a RGB picture"),
    "a palette": (palette, "predicted/1.png: expected edges in 8-bit grey, 255 times the probability, got a palette"),
    "16 bits": (
        lambda data: save(data / "predicted/1.png", np.zeros((30, 44), np.uint16)),
        "got a 16-bit grey picture",
    ),
}


@pytest.mark.parametrize("name", OF_A_PICTURE)
def test_a_bad_picture_is_named_and_the_others_are_kept(data, capsys, name):
    spoil, said = OF_A_PICTURE[name]
    shutil.copytree(data / "predicted", data / "good")
    spoil(data)
    line = one_line_error(run(data), capsys.readouterr().err)
    assert "1 of 3 pictures cannot be scored: " in line and said in line
    assert "the others are counted and kept in" in line and len(lines_of(data)) == 2
    shutil.copy(data / "good/1.png", data / "predicted/1.png")
    assert run(data) == 0
    assert len(lines_of(data)) == 6


def other_size(data):
    save(data / "classes/1.png", np.zeros((30, 43), np.uint8))


def no_picture(data):
    (data / "classes/1.png").write_text("none")


def damaged(data):
    path = data / "predicted/1.png"
    path.write_bytes(path.read_bytes()[:-60])


def twice(data):
    shutil.copy(data / "classes/1.png", data / "classes/1.tif")


def an_array(values):
    def spoil(data):
        (data / "classes/1.png").unlink()
        np.save(data / "classes/1.npy", values, allow_pickle=False)

    return spoil


def matrices(**variables):
    def spoil(data):
        (data / "classes/1.png").unlink()
        scipy.io.savemat(data / "classes/1.mat", variables)

    return spoil


def a_file(name, content):
    def spoil(data):
        (data / "classes/1.png").unlink()
        (data / "classes" / name).write_bytes(content)

    return spoil


BAD = {
    "an array of another size": (an_array(np.zeros((30, 43))), "its truth 30x43; predict at the size of the truth"),
    "not whole": (an_array(np.full((30, 44), 0.5)), "classes/1.npy: expected edges or class ids, whole numbers 0"),
    "negative": (an_array(np.full((30, 44), -1)), "classes/1.npy: expected edges or class ids, whole numbers 0"),
    "no number": (an_array(np.full((30, 44), np.nan)), "classes/1.npy: expected edges or class ids, whole numbers 0"),
    "three numbers": (
        an_array(np.zeros((30, 44, 3))),
        "expected edges or class ids, numbers (H, W), got float64 (30,",
    ),
    "nothing": (an_array(np.zeros((0, 0))), "classes/1.npy: expected edges or class ids"),
    "two matrices": (matrices(a=np.eye(3), b=np.eye(3)), "classes/1.mat: expected edges or class ids in one array"),
    "no matrix": (matrices(a="text"), "expected edges or class ids, numbers (H, W), got no numbers"),
    "a damaged array": (a_file("1.npy", b"\x93NUMPY\1\0none"), "1.npy: no arrays of NumPy (or damaged ones)"),
    "a damaged matrix": (a_file("1.mat", b"MATLAB 5.0".ljust(124) + b"\0\1IM123"), "1.mat: a damaged MATLAB file"),
    "no truth of one": (
        lambda data: (data / "classes/1.png").unlink(),
        "classes has no 1 (of 1 that are missing there)",
    ),
    "no prediction of one": (lambda data: (data / "predicted/town/2.png").unlink(), "predicted has no town/2 (of 1"),
    "another size": (other_size, "predicted/1.png has 30x44 pixels, its truth 30x43; predict at the size of the truth"),
    "no picture": (no_picture, "classes/1.png: not a picture, or damaged; replace it"),
    "damaged": (damaged, "predicted/1.png: not a picture, or damaged; replace it"),
    "two of one name": (twice, "classes has two files of one name, 1; remove one"),
    "an empty folder": (
        lambda data: [path.unlink() for path in (data / "classes").rglob("*.png")],
        "has no pictures (.png",
    ),
    "no folder": (lambda data: shutil.rmtree(data / "predicted"), "predicted is no folder"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_folders_are_refused_before_anything_is_counted(data, capsys, name):
    spoil, said = BAD[name]
    assert run(data) == 0
    before = (data / "scores/counts.jsonl").read_bytes()
    spoil(data)
    assert said in one_line_error(run(data), capsys.readouterr().err)
    assert (data / "scores/counts.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--distance=", "--distance is missing: one of pascal, nyud, voc, sbd, or a number"),
        ("--distance=kitti", "--distance=kitti: expected one of pascal, nyud, voc, sbd, or a number"),
        ("--distance=0", "more than 0 and at most 0.05"),
        ("--distance=nan", "more than 0 and at most 0.05"),
        ("--distance=5", "more than 0 and at most 0.05"),
        ("--predicted=", "--predicted=FOLDER is missing"),
        ("--truth=", "--truth=FOLDER is missing"),
        ("--output=", "--output=FOLDER is missing"),
        ("--reader=both", "--reader: takes one of cont, plain"),
        ("--names=nowhere.txt", "--names=nowhere.txt cannot be read: No such file"),
        ("--truth_holds=lines", "classes/0.png: expected edges as 0 and 1, or 0 and 255, got 3 values up to 2"),
    ],
)
def test_bad_options_are_said_in_one_line(data, capsys, option, said):
    assert said in one_line_error(run(data, option), capsys.readouterr().err)


def test_a_name_without_its_files(data, capsys):
    (data / "some.txt").write_text("0\n9\n")
    line = one_line_error(run(data, f"--names={data / 'some.txt'}"), capsys.readouterr().err)
    assert line.endswith("predicted has no 9 (of 1 that are missing there)")
    (data / "some.txt").write_text("\n")
    assert "has no names in it" in one_line_error(run(data, f"--names={data / 'some.txt'}"), capsys.readouterr().err)
