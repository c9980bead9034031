"""The tool that asks what a data set is: guesses by the files, answers, options, and what it says of bad ones."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mtl_tf.config import Config, replace
from mtl_tf.data import descriptors
from mtl_tf.data.sets import open_split
from mtl_tf.storage import codecs
from tests.data import official
from tests.field.generator import FOLDERS
from tests.field.scenes import scenes
from tests.helpers import ROOT, one_line_error, tool_module

tool = tool_module("describe_dataset")
classes = tool_module("_describing.classes")


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
        f"  python main.py train --run_dir=RUN --data.name=folder --data.root={root} --train.batch_size=3",
    ):
        assert line in text.splitlines(), line


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ({"train": 5, "val": 1}, {}),
        ({"train": 5}, {"data.val_share": 0.1}),
        ({"train": 4}, {"data.val_share": 0.1, "train.batch_size": 3}),
        ({"training": 5, "validation": 1}, {"data.train_split": "training", "data.val_split": "validation"}),
        ({"all": 6}, {"data.train_split": "all", "data.val_share": 0.1}),
    ],
)
def test_the_printed_commands_have_the_options_that_training_needs(tmp_path, splits, expected):
    root = write_set(tmp_path / "mine", counts=tuple(splits.items()))
    assert run(root, "--noask") == 0
    config = replace(Config(), data__name="folder", data__root=str(root))
    assert tool.needed_options(config, splits) == expected
    Image.new("RGB", (8, 4)).save(root / next(iter(splits)) / "rgb" / "2.png")
    assert tool.needed_options(config, splits) == expected | {"data.image_size": (4, 6)}


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
    assert (found.name, found["semseg"].classes, found["semseg"].ignore) == (
        "street",
        ("road", "car", "tree", "sky"),
        200,
    )
    assert (found["depth"].scale, found["depth"].minimum, found["depth"].maximum) == (
        1 / 256,
        2.0,
        80.0,
    )


def test_options_are_not_asked(tmp_path, monkeypatch, capsys):
    root = write_set(tmp_path)
    (tmp_path / "names.txt").write_text("road 128 64 128\ntraffic light 250 170 30\n\ncar\n")
    arguments = [f"--classes={tmp_path}/names.txt", "--splits=train", "--ignore=255", "--unit=0.01", "--maximum=90"]
    assert run(root, *arguments, answers="mine\n5\n", monkeypatch=monkeypatch) == 0
    found = descriptors.read(root)
    assert found.name == "mine" and found.splits == ("train",)
    assert found["semseg"].classes == ("road", "traffic light", "car") and found["semseg"].palette[1] == (
        250,
        170,
        30,
    )
    assert (found["depth"].scale, found["depth"].minimum, found["depth"].maximum) == (
        0.01,
        5.0,
        90.0,
    )
    questions = [line for line in capsys.readouterr().out.splitlines() if "?" in line]
    assert len(questions) == 1 and questions[0].count("?") == 2  # two prompts, whose answers made no lines here


def test_the_colours_of_a_palette(tmp_path):
    palette = [number for index in range(256) for number in (index, 2 * index % 256, 7)]
    root = write_set(tmp_path, palette=palette)
    assert run(root, "--noask", "--classes=a,b,c") == 0
    assert descriptors.read(root)["semseg"].palette == ((0, 0, 7), (1, 2, 7), (2, 4, 7))


def test_8_bit_depth_and_no_labels(tmp_path, capsys):
    root = write_set(tmp_path, labels=(), depth=(1, 250), bits=8)
    assert "Give --depth_encoding=uint8_scaled|inverse_uint8" in one_line_error(
        run(root, "--noask"), capsys.readouterr().err
    )
    assert run(root, "--noask", "--depth_encoding=inverse_uint8") == 0
    assert set(content(root)) == {"name", "splits", "depth"}
    assert content(root)["depth"] == {"encoding": "inverse_uint8", "minimum": 4.0, "maximum": 300.0}
    assert "depth: 8 bits, inverse, 255 = 4 m, 1 = 300 m; 0 = not measured" in capsys.readouterr().out


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
    assert classes.guess_ignore(values) == ignore


def test_what_cannot_be_described_is_one_line(tmp_path, monkeypatch, capsys):
    good = write_set(tmp_path / "good")
    bare = write_set(tmp_path / "bare", labels=(), depth=())
    colour = write_set(tmp_path / "colour", depth=())
    Image.new("RGB", (6, 4), (0, 0, 142)).save(colour / "train/semseg/0.png")
    random = np.random.default_rng(0)
    photographs = write_set(tmp_path / "photographs", depth=())
    Image.fromarray(random.integers(0, 256, (4, 90, 3), np.uint8)).save(photographs / "train/semseg/0.png")
    noise = write_set(tmp_path / "noise", depth=())
    Image.fromarray(random.integers(0, 256, (40, 60), np.uint8)).save(noise / "train/semseg/0.png")
    tinted = write_set(tmp_path / "tinted", labels=())
    for path in tinted.rglob("depth/*.png"):
        Image.new("RGB", (6, 4), (250, 9, 9)).save(path)
    shallow = write_set(tmp_path / "shallow", labels=(), depth=(1, 250), bits=8)
    dark = write_set(tmp_path / "dark", depth=(0, 0))
    faults = [
        ([""], "needs --data.root=FOLDER"),
        ([tmp_path / "none"], "no such folder"),
        ([tmp_path], "did you mean --data.root="),
        ([good / "train"], f"did you mean --data.root={good}?"),
        ([bare], "has images but no labels; put class ids into train/semseg"),
        ([colour, "--semseg_encoding=index"], "in dataset.json), got a RGB picture"),
        ([photographs], "expected a colour for each class: is it a photograph"),
        ([noise], "values that change from pixel to pixel, as in a photograph"),
        ([tinted], "expected depth in an 8-bit or 16-bit grey picture, got a RGB picture"),
        ([shallow, "--depth_encoding=uint8_scaled"], "Give --unit=METRES"),
        ([good, "--depth_encoding=uint8_scaled"], "the files have 16 bits"),
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


# === What label files mean is not guessed in silence ===


@pytest.fixture
def field(tmp_path):
    """Makes a folder of small data as people have them, by name, without a dataset.json of earlier guesses."""

    def make(name):
        FOLDERS[name](tmp_path / name)
        (tmp_path / name / "dataset.json").unlink(missing_ok=True)
        return tmp_path / name

    return make


def training(root):
    """The training split of a described folder."""
    config = replace(Config(), data__name="folder", data__root=str(root), tasks=("semseg",))
    return open_split(config, "train", descriptors.read(root))


def truth_is_read(root, order=(0, 1)):
    """Whether the samples of a described folder hold the classes of the scenes, where they are labelled."""
    source = training(root)
    for index, scene in enumerate(scenes("train", len(source))):
        np.testing.assert_array_equal(source.read(index)["semseg"], np.array(order)[scene.semseg])
    return True


def test_255_in_masks_is_a_class_and_that_is_told(field, capsys):
    root = field("binary255")
    assert run(root, "--noask") == 0
    told = capsys.readouterr().out
    assert "warning: masks of 0, 255: 255 is taken for a class; --foreground=ignore says that it is none" in told
    assert "semseg by number: 0 = class0; 255 = class1" in told
    assert content(root)["semseg"]["values"] == {"0": "class0", "255": "class1"} and truth_is_read(root)
    assert run(root, "--noask", "--replace", "--classes=background,polyp") == 0  # its own values are known now
    assert "masks of" not in capsys.readouterr().out and descriptors.read(root)["semseg"].classes == (
        "background",
        "polyp",
    )
    assert run(root, "--noask", "--replace", "--foreground=ignore", "--classes=background") == 0
    told = capsys.readouterr().out
    assert "values" not in content(root)["semseg"] and "warning: all labels of 12 files are one class" in told


@pytest.mark.parametrize(("answer", "names"), [("", ["class0", "class1"]), ("ignore", ["class0"])])
def test_255_in_masks_is_asked(field, monkeypatch, capsys, answer, names):
    root = field("binary255")
    assert run(root, answers=f"\n\n{answer}\n\n", monkeypatch=monkeypatch) == 0
    told = capsys.readouterr().out
    assert "Masks of 0, 255: is 255 a class, or no class (ignore)? [class]" in told
    assert content(root)["semseg"]["classes"] == names and "is taken for" not in told


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        ((0, 128, 255), {"0": "class0", "128": "class1", "255": "class2"}),
        ((0, 200), {"0": "class0", "200": "class1"}),
        ((1, 2, 255), None),
    ],
)
def test_grey_levels_are_classes(tmp_path, labels, values):
    root = write_set(tmp_path, labels=labels, depth=())
    assert run(root, "--noask") == 0 and content(root)["semseg"].get("values") == values


@pytest.mark.parametrize("name", ["palettes", "palettes_adaptive"])
def test_palettes_that_differ_are_read_by_colour(field, capsys, name):
    root = field(name)
    assert run(root, "--noask") == 0
    told = capsys.readouterr().out
    assert "warning: palettes differ (index 0 is 128,64,128 in " in told and "--semseg_encoding=index" in told
    assert "semseg by colour: 128,64,128 = class0; 0,0,142 = class1" in told
    assert content(root)["semseg"]["encoding"] == "colour"
    assert name == "palettes_adaptive" or truth_is_read(root)
    assert run(root, "--noask", "--replace", "--semseg_encoding=index") == 0
    assert "warning: palettes differ: index 0 is" in capsys.readouterr().out


def test_colours_take_their_names_from_a_file(field, tmp_path):
    root = field("colour")
    assert run(root, "--noask") == 0 and truth_is_read(root)
    assert descriptors.read(root)["semseg"].classes == ("road", "car")
    (tmp_path / "names.txt").write_text("# mine\ncar 0 0 142\nbicycle 1 2 3\nignore 128 64 128\n")
    assert run(root, "--noask", "--replace", f"--classes={tmp_path}/names.txt") == 0
    assert content(root)["semseg"]["values"] == {"128,64,128": "ignore"} and truth_is_read(root, order=(255, 0))
    assert descriptors.read(root)["semseg"].classes == ("car", "bicycle")


def test_a_colour_without_a_name_is_one_line(field, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("car 0 0 142\n")
    status = run(field("colour"), "--noask", f"--classes={tmp_path}/names.txt")
    assert "each colour of the labels; none is there for 128,64,128 (43556 pixels, first in " in one_line_error(
        status, capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["onebit", "ids16", "three_equal"])
def test_ids_in_other_kinds_of_files(field, name):
    root = field(name)
    assert run(root, "--noask") == 0 and truth_is_read(root) and "values" not in content(root)["semseg"]


@pytest.mark.parametrize("argument", ["--ignore=0", "--classes=ignore,a,b"])
def test_ids_from_one(field, argument):
    root = field("from_one")
    assert run(root, "--noask", argument) == 0
    assert content(root)["semseg"]["values"]["0"] == "ignore"
    assert len(content(root)["semseg"]["classes"]) == 2
    stored = np.asarray(Image.open(root / "train/semseg/000.png")).astype(int)
    np.testing.assert_array_equal(training(root).read(0)["semseg"], np.where(stored > 0, stored - 1, 255))


def test_16_bit_ids_without_a_class(tmp_path):
    root = write_set(tmp_path, depth=())
    for path in root.rglob("semseg/*.png"):
        Image.fromarray(np.array([[0, 1, 65535] * 2] * 4, np.uint16)).save(path)
    assert run(root, "--noask") == 0
    assert content(root)["semseg"]["values"] == {"0": "class0", "1": "class1", "65535": "ignore"}


def test_linear_8_bit_depth(field, monkeypatch, capsys):
    root = field("depth_png8")
    assert run(root, answers="\n\n\n\nlinear\nuint8_scaled\n10/255\n\n\n", monkeypatch=monkeypatch) == 0
    told = capsys.readouterr().out
    assert "one of uint8_scaled, inverse_uint8, not 'linear'" in told and "depth: 8 bits, value x 0.0392157" in told
    found = content(root)["depth"]
    assert found == {"encoding": "uint8_scaled", "scale": 10 / 255, "minimum": 0.1, "maximum": 10.0}
    assert run(root, "--noask", "--replace") == 0 and content(root)["depth"] == found  # it has been stated


def test_an_inverse_encoding_that_was_a_guess_is_stated_again(tmp_path, capsys):
    FOLDERS["depth_png8"](tmp_path)
    assert content(tmp_path)["depth"]["encoding"] == "inverse_uint8"
    assert "Give --depth_encoding=" in one_line_error(run(tmp_path, "--noask", "--replace"), capsys.readouterr().err)


def test_65535_far_above_is_no_measurement(tmp_path, capsys, monkeypatch):
    root = write_set(tmp_path, labels=())
    for path in root.rglob("depth/*.png"):
        Image.fromarray(np.array([[700, 8000, 65535] * 2] * 4, np.uint16)).save(path)
    assert run(root, "--noask") == 0
    expected = {"encoding": "uint16_scaled", "scale": 0.001, "invalid": [65535], "minimum": 0.1, "maximum": 10.0}
    assert content(root)["depth"] == expected
    told = capsys.readouterr().out
    assert "warning: depth of 65535 is no measurement, since the next value is 8000; --invalid=0 makes it depth" in told
    assert "depth: 16 bits, value x 0.001; 0, 65535 = not measured; valid 0.1 m to 10 m" in told
    assert run(root, "--noask", "--replace", "--invalid=0", "--maximum=100") == 0
    assert "invalid" not in content(root)["depth"]
    assert "warning: 65535 in 5 files is read as 65.535 m" in capsys.readouterr().out
    assert run(root, "--replace", answers="\n\ndepth\n\n\n\n", monkeypatch=monkeypatch) == 0
    assert "does it mean no measurement, or depth? [none]" in capsys.readouterr().out


def test_the_next_commands_are_quoted(tmp_path, capsys):
    root = write_set(tmp_path / "my data", depth=())
    assert run(root, "--noask") == 0
    assert f"  python tools/check_dataset.py --data.name=folder '--data.root={root}'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (official.write_cityscapes, "cityscapes and cityscapes7"),
        (lambda root: official.write_kitti(root, root, root), "kitti"),
        (official.write_vkitti2, "vkitti2"),
        (official.write_camvid_segnet, "camvid"),
        (official.write_pascal_mt, "pascal_mt"),
        (official.write_taskonomy, "taskonomy"),
    ],
)
def test_a_known_download_is_named(write, named, tmp_path, capsys):
    write(tmp_path / "data")
    assert run(tmp_path / "data", "--noask") == 2
    line = one_line_error(2, capsys.readouterr().err)
    assert f"is laid out as {named}, whose reader needs no dataset.json: use --data.name={named.split()[0]}" in line
    assert not (tmp_path / "data/dataset.json").exists()


# === Labels of other tasks ===


def write_others(root):
    """One folder for each kind whose files show it, and some that show none or several."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(4, 6, 3)) - [0, 0, 3]
    vectors = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    mask = 255 * random.integers(0, 2, (4, 6)).astype(np.uint8)
    files = {
        "normals": codecs.encode_directions(vectors),
        "edges": mask,
        "saliency": random.integers(0, 256, (4, 6), np.uint8),  # probabilities
        "regression": random.normal(size=(4, 6, 2)),
        "disparity": random.integers(0, 9000, (4, 6), np.uint16),  # in an unknown unit
        "lanes": mask,  # a name that says nothing
    }
    for split, count in (("train", 3), ("val", 2)):
        for name, values in files.items():
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                if values.dtype == np.float64:
                    np.save(folder / f"{index}.npy", values)
                else:
                    Image.fromarray(values).save(folder / f"{index}.png")
    return vectors


def test_folders_that_fit_a_kind_are_asked_about(tmp_path, capsys, monkeypatch):
    root = write_set(tmp_path, depth=())
    vectors = write_others(root)
    # Name, splits, ignore and classes; then edges, normals with their axes, and numbers.
    answers = "\n" * 4 + "no\n" + "\nright,up\nright,up,to_camera\n" + "yes\n"
    assert run(root, answers=answers, monkeypatch=monkeypatch) == 0
    told = capsys.readouterr().out
    assert "edges: masks of 0 and 255. Describe them as labels of kind edges? [yes]" in told
    assert "normals: unit vectors in 8-bit RGB. Describe them as labels of kind normals? [yes]" in told
    assert "one each of right or left, up or down, to_camera or forward, not 'right,up'" in told
    assert "regression: numbers (H, W, 2) in .npy files. Describe them" in told
    assert content(root)["tasks"] == {
        "normals": {"kind": "normals", "axes": "right,up,to_camera"},
        "regression": {"kind": "regression", "encoding": "npy", "channels": 2},
    }
    # The others are named, as before.
    for name in ("edges", "saliency", "disparity", "lanes"):
        assert f"\n{name}: its files belong to pictures as labels do" in told
    assert "no faults in the samples tried" in told
    config = replace(Config(), data__name="folder", data__root=str(root), tasks=("normals",))
    np.testing.assert_allclose(open_split(config, "train").read(0)["normals"], vectors, atol=0.01)


def test_without_questions_they_are_left_out_with_a_word(tmp_path, capsys):
    root = write_set(tmp_path, depth=())
    write_others(root)
    assert run(root, "--noask") == 0
    assert "tasks" not in content(root)
    assert (
        "normals: its files belong to pictures as labels do; to train on them, describe them" in capsys.readouterr().out
    )


def test_options_say_what_is_not_asked(tmp_path, capsys):
    root = write_set(tmp_path, depth=())
    write_others(root)
    line = one_line_error(run(root, "--noask", "--others=yes"), capsys.readouterr().err)
    assert "not to be guessed: What are x, y and z of the normals" in line and "Give --axes" in line
    line = one_line_error(run(root, "--noask", "--others=yes", "--axes=up"), capsys.readouterr().err)
    assert line.startswith("error: --axes: what x, y and z are") and line.endswith("not 'up'")
    assert run(root, "--noask", "--others=yes", "--axes=left,down,forward") == 0
    found = content(root)["tasks"]
    assert found["normals"]["axes"] == "left,down,forward" and found["edges"] == {"kind": "edges"}
    # What is described is not asked about again, and stays.
    assert run(root, "--noask", "--replace") == 0 and content(root)["tasks"] == found


def test_such_labels_alone_are_enough(tmp_path, capsys):
    root = write_set(tmp_path, labels=(), depth=())
    write_others(root)
    assert "has images but no labels" in one_line_error(run(root, "--noask"), capsys.readouterr().err)
    assert run(root, "--noask", "--others=yes", "--axes=right,up,to_camera") == 0
    assert sorted(content(root)["tasks"]) == ["edges", "normals", "regression"]
    assert "no faults in the samples tried" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("normals", lambda folder: Image.fromarray(np.full((4, 6, 3), 3, np.uint8)).save(folder / "0.png")),
        ("normals", lambda folder: Image.fromarray(np.full((4, 6), 3, np.uint8)).save(folder / "0.png")),
        ("edges", lambda folder: Image.fromarray(np.full((4, 6), 7, np.uint8)).save(folder / "0.png")),
        ("edges", lambda folder: (folder / "0.png").write_bytes(b"none")),
        ("regression", lambda folder: np.save(folder / "0.npy", np.zeros((4, 6)))),
        ("regression", lambda folder: (folder / "0.npy").write_bytes(b"none")),
    ],
)
def test_one_file_of_another_kind_leaves_its_folder_out(tmp_path, name, spoil):
    root = write_set(tmp_path, depth=())
    write_others(root)
    spoil(root / "train" / name)
    assert run(root, "--noask", "--others=yes", "--axes=right,up,to_camera") == 0
    assert sorted(content(root)["tasks"]) == sorted({"edges", "normals", "regression"} - {name})
