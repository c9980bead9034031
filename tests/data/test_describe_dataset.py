"""The tool that asks what a data set is: guesses by the files, answers, options, and what it says of bad ones."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mtl_tf.data import descriptors
from tests.helpers import ROOT, one_line_error, tool_module

tool = tool_module("describe_dataset")
describing = tool_module("_describing.answers")


def write_set(root, labels=(0, 1, 2, 255), palette=None, depth=(700, 8000), bits=16, counts=(("train", 3), ("val", 2))):
    """Pictures of 4x6 pixels; the label values stand in the columns, depth runs between two stored values."""
    for split, count in counts:
        for index in range(count):
            pictures = {"rgb": Image.new("RGB", (6, 4))}
            if labels:
                values = np.resize(np.array(labels, np.uint8), (4, 6))
                pictures["semseg"] = Image.fromarray(values)
                if palette:
                    pictures["semseg"] = pictures["semseg"].convert("P")
                    pictures["semseg"].putpalette(palette)
                    pictures["semseg"].putdata(values.ravel().tolist())
            if depth:
                values = np.linspace(*depth, 24).reshape(4, 6).astype(np.uint16 if bits == 16 else np.uint8)
                values[0, 0] = 0 if index else depth[0]
                pictures["depth"] = Image.fromarray(values)
            for kind, picture in pictures.items():
                (root / split / kind).mkdir(parents=True, exist_ok=True)
                picture.save(root / split / kind / f"{index}.png")
    return root


def run(root, *arguments, answers="", monkeypatch=None):
    """The exit status; `answers` is typed, a line each."""
    if monkeypatch:
        monkeypatch.setattr(sys, "stdin", io.StringIO(answers))
    return tool.run_tool(tool.describe, tool.Options, [f"--data.root={root}", *map(str, arguments)])


def content(root):
    return json.loads((root / "dataset.json").read_text())


def test_guesses_alone(tmp_path, capsys):
    root = write_set(tmp_path / "mine")
    assert run(root, "--noask") == 0
    found = content(root)
    assert found["name"] == "mine" and found["splits"] == ["train", "val"]
    assert found["semseg"]["classes"] == ["class0", "class1", "class2"] and found["semseg"]["ignore"] == 255
    assert len({tuple(colour) for colour in found["semseg"]["palette"]}) == 3
    # 0.7 m to 8 m: from 0.1 to the next round number of metres
    assert found["depth"] == {"encoding": "uint16_scaled", "scale": 0.001, "minimum": 0.1, "maximum": 10.0}
    text = capsys.readouterr().out
    for line in (
        "train: 3 images, 3 semseg labels, 3 depth labels",
        "label values in 5 files: 0-2, 255",
        "depth in 5 files: 16 bits, values 700 to 8000 (0 = unknown)",
        "no faults in the samples tried; next:",
        f"  python tools/check_dataset.py --data.name=folder --data.root={root}",
    ):
        assert line in text.splitlines(), line


def test_answers_as_a_user_types_them(tmp_path):
    root = write_set(tmp_path / "mine", labels=(0, 1, 3, 200), depth=(256, 20480))
    lines = ["street", "", "", "road, car", "road, car, tree, sky", "zero", "0.00390625", "2", "1", "80"]
    command = [sys.executable, str(ROOT / "tools/describe_dataset.py"), f"--data.root={root}"]
    done = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # 200 is far from the other values, and no pixel has 2
    assert "Label value of pixels without a class? [200]" in done.stdout
    assert "no pixel has 2; each value from 0 to 3 is a class" in done.stdout
    assert "4 names or more" in done.stdout and "a positive number, not 'zero'" in done.stdout
    assert "more than the smallest depth, 2 m, not 1" in done.stdout
    found = descriptors.read(root)
    assert (found.name, found.classes, found.ignore) == ("street", ("road", "car", "tree", "sky"), 200)
    assert (found.depth_scale, found.depth_minimum, found.depth_maximum) == (1 / 256, 2.0, 80.0)


def test_options_are_not_asked(tmp_path, monkeypatch, capsys):
    root = write_set(tmp_path)
    (tmp_path / "names.txt").write_text("road 128 64 128\ntraffic light 250 170 30\n\ncar\n")
    arguments = [f"--classes={tmp_path}/names.txt", "--splits=train", "--ignore=255", "--unit=0.01", "--maximum=90"]
    assert run(root, *arguments, answers="mine\n5\n", monkeypatch=monkeypatch) == 0
    found = descriptors.read(root)
    assert found.name == "mine" and found.splits == ("train",)
    assert found.classes == ("road", "traffic light", "car") and found.palette[1] == (250, 170, 30)
    assert (found.depth_scale, found.depth_minimum, found.depth_maximum) == (0.01, 5.0, 90.0)
    questions = [line for line in capsys.readouterr().out.splitlines() if "?" in line]
    assert len(questions) == 1 and questions[0].count("?") == 2  # two prompts, whose answers made no lines here


def test_the_colours_of_a_palette(tmp_path):
    palette = [number for index in range(256) for number in (index, 2 * index % 256, 7)]
    root = write_set(tmp_path, palette=palette)
    assert run(root, "--noask", "--classes=a,b,c") == 0
    assert descriptors.read(root).palette == ((0, 0, 7), (1, 2, 7), (2, 4, 7))


def test_8_bit_depth_and_no_labels(tmp_path, capsys):
    root = write_set(tmp_path, labels=(), depth=(1, 250), bits=8)
    assert run(root, "--noask") == 0
    assert set(content(root)) == {"name", "splits", "depth"}
    assert content(root)["depth"] == {"encoding": "inverse_uint8", "minimum": 4.0, "maximum": 300.0}
    assert "8-bit depth is read as inverse depth" in capsys.readouterr().out


def test_again_the_present_file_gives_the_guesses(tmp_path, monkeypatch, capsys):
    root = write_set(tmp_path)
    assert run(root, "--noask", "--classes=a,b,c", "--name=first") == 0
    before = content(root) | {"crop_multiple": 32}
    before["depth"] |= {"mean": 3.0, "std": 1.0, "log_mean": 1.0, "log_std": 0.4}
    (root / "dataset.json").write_text(json.dumps(before))
    assert run(root, answers="\n", monkeypatch=monkeypatch) == 2  # Enter: no
    line = one_line_error(2, capsys.readouterr().err)
    assert "is left as it is; --replace replaces it" in line and content(root) == before
    assert run(root, answers="y\nsecond\n\n\n\n\n\n\n", monkeypatch=monkeypatch) == 0
    assert content(root) == before | {"name": "second"}
    assert run(root, "--noask", "--replace", "--maximum=9") == 0
    assert content(root)["depth"] == {key: before["depth"][key] for key in ("encoding", "scale", "minimum")} | {
        "maximum": 9.0
    }
    (root / "dataset.json").write_text("{")
    assert run(root, "--noask", "--replace") == 0
    assert "cannot serve for guesses" in capsys.readouterr().out and content(root)["splits"] == ["train", "val"]


def test_a_fault_in_the_samples_is_shown(tmp_path, capsys):
    root = write_set(tmp_path)
    Image.new("L", (9, 9)).save(root / "val/semseg/0.png")
    assert run(root, "--noask") == 0
    text = capsys.readouterr().out
    assert "val/semseg/0.png: 9x9 pixels, but its image" in text and "1 faults in the samples tried" in text


@pytest.mark.parametrize(
    ("values", "ignore"), [((0, 1, 255), 255), ((0, 1, 2), 255), ((0, 1, 250), 250), ((3,), 255), ((0, 9), 255)]
)
def test_the_guess_of_the_value_without_a_class(values, ignore):
    assert describing.guess_ignore(values) == ignore


def test_what_cannot_be_described_is_one_line(tmp_path, monkeypatch, capsys):
    good = write_set(tmp_path / "good")
    bare = write_set(tmp_path / "bare", labels=(), depth=())
    colour = write_set(tmp_path / "colour", depth=())
    Image.new("RGB", (6, 4), (0, 0, 142)).save(colour / "train/semseg/0.png")
    dark = write_set(tmp_path / "dark", depth=(0, 0))
    faults = [
        ([""], "needs --data.root=FOLDER"),
        ([tmp_path / "none"], "no such folder"),
        ([tmp_path], "did you mean --data.root="),
        ([good / "train"], f"did you mean --data.root={good}?"),
        ([bare], "has images but no labels; put class ids into train/semseg"),
        ([colour], "0.png: expected a class id per pixel: an 8-bit grey or palette PNG, got a RGB picture"),
        ([dark], "the values of 5 depth files are all 0"),
        ([good, "--ignore=1"], "the labels hold 2, 255, but the value without a class, 1, must be above all classes"),
        ([good, "--classes=a,b"], "3 names or more"),
        ([good, "--classes=a,b,b"], "different names"),
        ([good, "--splits=train,tset"], "some of train, val, with commas, not 'train,tset'"),
        (
            [good, "--unit=1"],
            "the files hold 700 to 8000 m, none of it in the range 0.1 to 80 m",
        ),
        ([good, "--minimum=5", "--maximum=2"], "more than the smallest depth, 5 m, not 2"),
    ]
    for (root, *arguments), expected in faults:
        maximum = ["--maximum=80"] if "--unit=1" in arguments else []
        status = run(root, "--noask", *arguments, *maximum)
        assert expected in one_line_error(status, capsys.readouterr().err), expected
        assert not (good / "dataset.json").exists()
    status = run(good, answers="mine\ntrain\n", monkeypatch=monkeypatch)
    line = one_line_error(status, capsys.readouterr().err)
    assert "the input ended before the answer to: Label value of pixels without a class?" in line and "--noask" in line
