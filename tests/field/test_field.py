"""Every field data set through every command: read right, or a line says what is not; nothing is wrong in silence."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from mtl_tf.inference import runs
from mtl_tf.training import trainer
from tests.field import battery
from tests.field.battery import NO_TRAINING, QUIET, run

BOTH, SEMSEG = ("semseg", "depth"), ("semseg",)
WORRIED = r"warning|passed over|labels at all|\b[1-9]\d* (of them with )?faults"


@dataclasses.dataclass(frozen=True)
class Row:
    """What must come out of a data set.

    Attributes:
        folder: of the field data.
        note: which of several rows of a folder this is.
        described: whether tools/describe_dataset.py --noask writes its dataset.json.
        options: further ones of tools/describe_dataset.py.
        changes: of dataset.json, by section, as its user writes them into it.
        reads: tasks whose labels must be read as they truly are, and which must then be trained and predicted.
        ids: class ids of ground and disc.
        unlabelled: so many rows of each label map are without a class.
        describe, check, train: exit status, then patterns that lines of the command must match; without patterns the
            command must not say anything worrying either.
    """

    folder: str
    note: str = "as it is"
    described: bool = False
    options: tuple[str, ...] = ()
    changes: dict = dataclasses.field(default_factory=dict)
    reads: tuple[str, ...] = ()
    ids: tuple[int, int] = (0, 1)
    unlabelled: int = 0
    describe: tuple = (0,)
    check: tuple = (0,)
    train: tuple = (0,)


def right(folder, reads=SEMSEG, **more):
    """A row of a data set that is read right without a word."""
    return Row(folder, reads=reads, **more)


def remarked(folder, *patterns, status=0, **more):
    """A row of which all commands say so: with status 2 they end there."""
    said = (status, *patterns)
    return Row(folder, **{"check": said, "train": said, "describe": said if more.get("described") else (0,)} | more)


SIZES_DIFFER = r"semseg/000.png: 64x\d\d pixels, but its image 000.jpg is (64x64|128x128)"
VALUES = {"semseg": {"classes": ["ground", "disc"], "palette": [[0, 200, 90], [60, 170, 90]], "ignore": 255}}


def passed_over(count, ending):
    """What is said of files whose ending is not read, split by split."""
    return rf"\b{count} files passed over: {ending} is not read \({count}, for example .*000{ending}\)"


ROWS = [
    # Phone pictures are read as viewers show them.
    *(right(name, BOTH) for name in ("exif3", "exif6", "exif6_square")),
    *(right(name, BOTH, note="described", described=True) for name in ("exif3", "exif6", "exif6_square")),
    # Sizes.
    remarked("one_pixel", SIZES_DIFFER, status=2),
    remarked("half_labels", SIZES_DIFFER, status=2),
    # How ids are stored.
    right("binary255", note="values", changes={"semseg": {"values": {"0": "background", "255": "polyp"}}}),
    right(
        "from_one",
        note="values",
        changes={"semseg": {**VALUES["semseg"], "values": {"0": "ignore", "1": "ground", "2": "disc"}}},
        unlabelled=6,
    ),
    right("three_equal", note="described", described=True),
    # Endings and names.
    *(right(name) for name in ("lab_tif", "lab_bmp", "val_tif", "rgb_mixed", "nested", "partly_nested", "names_nfd")),
    remarked(
        "lab_suffix", r"none of its files belongs to an image: expected 000.png .* found .*000_mask.png", status=2
    ),
    # How depth is stored.
    right("depth_tif16", BOTH, note="described", described=True),
    right(
        "depth_png8",
        BOTH,
        note="stated",
        changes={"depth": {"encoding": "uint8_scaled", "scale": 10 / 255, "minimum": 0.1, "maximum": 10}},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.folder}-{row.note}")
def test_field(row, field, tmp_path, monkeypatch):
    root = tmp_path / row.folder
    shutil.copytree(field / row.folder, root)
    where = {"check_dataset": [], "dataset_statistics": [], "train": ["--run_dir=RUN"]}
    where = {name: [*given, "--data.name=folder", f"--data.root={root}"] for name, given in where.items()}
    if row.described:
        (root / "dataset.json").unlink(missing_ok=True)
        said = run("describe_dataset", f"--data.root={root}", "--noask", *row.options)
        demand(said, row.describe)
        if said.status:
            return
        where = battery.next_commands(said)
    if (root / "dataset.json").exists():
        change(root / "dataset.json", row.changes)
    demand(run("check_dataset", *where["check_dataset"]), row.check)
    if row.reads:
        for split in ("train", "val"):
            assert_read(row, root, split)
        assert_measured(row, root, where["dataset_statistics"], tmp_path / "statistics.json")
    monkeypatch.setattr(trainer, "build_model", battery.knowing_colours(row.ids))
    monkeypatch.setattr(runs, "build_model", battery.knowing_colours(row.ids))
    run_dir = tmp_path / "run"
    arguments = [word.replace("RUN", str(run_dir)) for word in where["train"]]
    trained = run("train", *arguments, *NO_TRAINING, *QUIET)
    demand(trained, row.train)
    if row.reads:
        assert_knows(row, trained, run_dir)


def test_evaluate_and_predict_agree_where_the_aspect_is_another(field, tmp_path, monkeypatch):
    for module in (trainer, runs):
        monkeypatch.setattr(module, "build_model", battery.knowing_shapes)
    root, run_dir = field / "aspect", tmp_path / "run"
    where = ("--data.name=folder", f"--data.root={root}")
    run("check_dataset", *where).must(0, "no fault in 80 samples")
    size = ("--data.image_size=64,64", f"--run_dir={run_dir}", "--data.limit=16")
    run("train", *where, *size, *NO_TRAINING, *QUIET).must(0, r"192x64 .*64x64.*data.fit=pad")
    run("evaluate", f"--run_dir={run_dir}").must(0)
    run("predict", f"--run_dir={run_dir}", f"--output={tmp_path}/predicted").must(0)
    # 192x64 pictures stand in the frame at a third of their size: every third pixel is one of those that were scored.
    labels = [semseg[1::3, 1::3] for semseg, _ in battery.truth_of("aspect", "val")]
    answers = [answer[1::3, 1::3] for answer in battery.predicted(tmp_path / "predicted", "semseg").values()]
    scored = battery.as_json(run_dir / "evaluation_val.json")["semseg"]["miou"]
    assert scored > 80 and abs(scored - battery.mean_iou(answers, labels, 3)) < 4


# === Parts ===


def demand(said, expected):
    """Checks what a command ended in."""
    said.must(*expected)
    if len(expected) == 1 and expected[0] == 0:
        assert not [line for line in said.lines if re.search(WORRIED, line)], said.lines


def change(path, changes):
    """Writes what a user writes into dataset.json."""
    content = battery.as_json(path)
    for section, entries in changes.items():
        content[section] = content.get(section, {}) | entries
    path.write_text(json.dumps(content), encoding="utf-8")


def truth(row, split, name):
    """Class ids, 255 where there are none, and metres of a sample."""
    semseg, depth = battery.truth_of(row.folder, split)[battery.index_of(name)]
    semseg = np.asarray(row.ids)[semseg]
    semseg[: row.unlabelled] = 255
    return {"semseg": semseg, "depth": depth}


def assert_read(row, root, split):
    """The labels are the truth; all that there are."""
    found = battery.samples(root, split, row.reads)
    assert {battery.index_of(name) for name in found} == set(range(len(list((root / split / "rgb").rglob("*.*")))))
    for name, sample in found.items():
        expected = truth(row, split, name)
        assert sample["image"].shape == (*expected["semseg"].shape, 3)
        for task in row.reads:
            np.testing.assert_allclose(sample[task], expected[task], rtol=0.01, err_msg=f"{split} {name} {task}")


def assert_measured(row, root, where, path):
    """The statistics are those of the truth."""
    run("dataset_statistics", *where, "--write", f"--json={path}").must(0)
    found = battery.as_json(path)
    names = battery.samples(root, "train", row.reads)
    semseg = np.stack([truth(row, "train", name)["semseg"] for name in names])
    shares = [100 * (semseg == number).mean() for number in range(len(found["classes"]))]
    np.testing.assert_allclose(list(found["classes"].values()), shares)
    if "depth" in row.reads:
        metres = np.stack([truth(row, "train", name)["depth"] for name in names])
        figures = [found["depth"][name] for name in ("mean", "std")]
        np.testing.assert_allclose(figures, [metres.mean(), metres.std()], rtol=0.01)


def assert_knows(row, trained, run_dir):
    """The network that knows the scenes has no loss, the best scores, and predicts the truth."""
    assert trained.number("train_loss") < 0.1 and trained.number("val_loss") < 0.1, trained.lines
    run("evaluate", f"--run_dir={run_dir}").must(0)
    scores = battery.as_json(run_dir / "evaluation_val.json")
    assert scores["semseg"]["miou"] > 95
    run("predict", f"--run_dir={run_dir}", f"--output={run_dir}/predicted").must(0)
    for task in row.reads:
        answers = battery.predicted(run_dir / "predicted", task)
        assert len(answers) == scores["num_images"]
        for name, answer in answers.items():
            expected = truth(row, "val", name)
            right = np.isclose(answer, expected[task], rtol=0.02) | (expected["semseg"] == 255)
            assert right.mean() > 0.97, (name, task)
