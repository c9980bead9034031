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
from tests.field.generator import FOLDERS

BOTH, SEMSEG = ("semseg", "depth"), ("semseg",)
WORRIED = r"warning|passed over|labels at all|\b[1-9]\d* (of them with )?faults"


@dataclasses.dataclass(frozen=True)
class Row:
    """What must come out of a data set.

    Attributes:
        folder: of `FOLDERS`.
        note: which of several rows of a folder this is.
        described: whether tools/describe_dataset.py --noask writes its dataset.json.
        options: further ones of tools/describe_dataset.py.
        changes: of dataset.json, by section, as its user writes them into it.
        reads: tasks whose labels must be read as they truly are, and which must then be trained and predicted.
        ids: class ids of ground and disc.
        odd: those of every second picture, where they are others; no network can know, then.
        unlabelled: so many rows of each label map are without a class.
        describe, check, statistics, train: exit status, then patterns that lines of the command must match; without
            patterns the command must not say anything worrying either.
    """

    folder: str
    note: str = "as it is"
    described: bool = False
    options: tuple[str, ...] = ()
    changes: dict = dataclasses.field(default_factory=dict)
    reads: tuple[str, ...] = ()
    ids: tuple[int, int] = (0, 1)
    odd: tuple[int, int] = ()
    unlabelled: int = 0
    describe: tuple = (0,)
    check: tuple = (0,)
    statistics: tuple = (0,)
    train: tuple = (0,)


def right(folder, reads=SEMSEG, **more):
    """A row of a data set that is read right without a word."""
    return Row(folder, reads=reads, **more)


def remarked(folder, *patterns, status=0, **more):
    """A row of which all commands say so: with status 2 they end there."""
    said = (status, *patterns)
    return Row(folder, **{"check": said, "train": said, "statistics": said if status else (0,)} | more)


SIZES_DIFFER = r"semseg/000.png: 64x\d\d pixels, but its image 000.jpg is (64x64|128x128)"
GROUND_AND_DISC = {"classes": ["ground", "disc"], "palette": [[0, 200, 90], [60, 170, 90]], "ignore": 255}
UNDESCRIBED = r"\b8 files passed over: dataset.json describes no depth \(8, for example .*depth/000"
UNICORN = (0, r"warning: no pixel of .* the class unicorn")


ROWS = [
    # Phone pictures are read as viewers show them.
    *(right(name, BOTH) for name in ("exif3", "exif6", "exif6_square")),
    right("exif6", BOTH, note="described", described=True),
    # Sizes.
    remarked("one_pixel", SIZES_DIFFER, status=2),
    remarked("half_labels", SIZES_DIFFER, status=2),
    # How ids are stored: what is implausible is said, what is described by its files is read right.
    remarked("binary255", r"warning: all labels of .* are one class, background, and .* \(value 255\)"),
    right("binary255", note="values", changes={"semseg": {"values": {"0": "background", "255": "polyp"}}}),
    right("binary255", note="described", described=True, describe=(0, r"warning: .* 255 is taken for a class")),
    remarked("palettes", r"warning: palettes differ: index 0 is 128,64,128 in .*000.png, 0,0,142 in .*001.png"),
    right("palettes", note="described", described=True, describe=(0, r"warning: palettes differ .* read by colour")),
    remarked("palettes_adaptive", r"warning: palettes differ: index 0 is"),
    right(
        "palettes_adaptive",
        note="described",
        described=True,
        describe=(0, r"warning: palettes differ .* read by colour"),
        odd=(0, 2),
    ),
    remarked("from_one", note="as it is"),
    right(
        "from_one",
        note="values",
        changes={"semseg": {**GROUND_AND_DISC, "values": {"0": "ignore", "1": "ground", "2": "disc"}}},
        unlabelled=6,
    ),
    *(right(name, note="described", described=True) for name in ("colour", "onebit", "ids16", "three_equal")),
    # Endings and names.
    *(right(name) for name in ("lab_tif", "lab_bmp", "val_tif", "rgb_mixed", "nested", "partly_nested", "names_nfd")),
    remarked(
        "lab_suffix",
        r"none of its files belongs to an image: expected 000.png .* found .*000_mask.png; "
        r'write "file_names": \{"semseg": "\*_mask"\} into dataset.json, which reads them so',
        status=2,
    ),
    right("lab_suffix", note="told", changes={"file_names": {"semseg": "*_mask"}}),
    right("lab_suffix", note="described", described=True),
    # How depth is stored.
    *(
        right(f"depth_{kind}", BOTH, note="described", described=True)
        for kind in ("npy", "npz", "exr", "pfm", "tiff", "tif16")
    ),
    *(remarked(name, UNDESCRIBED) for name in ("depth_tif16", "depth_tiff")),
    remarked("depth_png8", note="described", described=True, describe=(2, r"--depth_encoding=uint8_scaled")),
    right(
        "depth_png8",
        BOTH,
        note="told",
        described=True,
        options=("--depth_encoding=uint8_scaled", f"--unit={10 / 255}"),
    ),
    # What lacks.
    remarked("noval", r"no split 'val'; it has train; --data.val_share=0.1 validates on", status=2, statistics=(0,)),
    right("noval", BOTH, note="described", described=True),
    right("absent_class", BOTH, check=UNICORN, train=UNICORN),
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
    measured = run("dataset_statistics", *where["dataset_statistics"], "--write", f"--json={tmp_path}/statistics.json")
    demand(measured, row.statistics)
    for module in (trainer, runs):
        monkeypatch.setattr(module, "build_model", battery.knowing_colours(row.ids))
    run_dir = tmp_path / "run"
    trained = run("train", *(word.replace("RUN", str(run_dir)) for word in where["train"]), *NO_TRAINING, *QUIET)
    demand(trained, row.train)
    if trained.status == 0:
        run("evaluate", f"--run_dir={run_dir}").must(0)
        run("predict", f"--run_dir={run_dir}", f"--output={run_dir}/predicted").must(0)
    if row.reads:
        assert_read(row, root)
        assert_measured(row, root, battery.as_json(tmp_path / "statistics.json"))
        if not row.odd:
            assert_known(row, battery.splits_in(root)[-1], trained, run_dir)


def test_every_folder_is_in_the_battery():
    assert {row.folder for row in ROWS} | {"aspect"} == set(FOLDERS)


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
    index = battery.index_of(name)
    semseg, depth = battery.truth_of(row.folder, split)[index]
    semseg = np.asarray(row.odd if row.odd and index % 2 else row.ids)[semseg]
    semseg[: row.unlabelled] = 255
    return {"semseg": semseg, "depth": depth}


def assert_read(row, root):
    """All samples are there, and their labels are the truth."""
    for split in battery.splits_in(root):
        found = battery.samples(root, split, row.reads)
        pictures = [path for path in (root / split / "rgb").rglob("*") if path.is_file()]
        assert {battery.index_of(name) for name in found} == set(range(len(pictures)))
        for name, sample in found.items():
            expected = truth(row, split, name)
            assert sample["image"].shape == (*expected["semseg"].shape, 3)
            for task in row.reads:
                np.testing.assert_allclose(sample[task], expected[task], rtol=0.01, err_msg=f"{split} {name} {task}")


def assert_measured(row, root, found):
    """The statistics are those of the truth."""
    labels = [truth(row, "train", name) for name in battery.samples(root, "train", row.reads)]
    semseg = np.stack([label["semseg"] for label in labels])
    shares = [100 * (semseg == number).mean() for number in range(len(found["classes"]))]
    np.testing.assert_allclose(list(found["classes"].values()), shares)
    if "depth" in row.reads:
        metres = np.stack([label["depth"] for label in labels])
        figures = [found["depth"][name] for name in ("mean", "std")]
        np.testing.assert_allclose(figures, [metres.mean(), metres.std()], rtol=0.01)


def assert_known(row, split, trained, run_dir):
    """The network that knows the scenes had no loss and has the best scores, and predicted the truth."""
    assert trained.number("train_loss") < 0.1 and trained.number("val_loss") < 0.1, trained.lines
    scores = battery.as_json(run_dir / "evaluation_val.json")
    assert scores["semseg"]["miou"] > 95
    for task in row.reads:
        answers = battery.predicted(run_dir / "predicted", task)
        assert len(answers) == scores["num_images"]
        for name, answer in answers.items():
            expected = truth(row, split, name)
            right = np.isclose(answer, expected[task], rtol=0.02) | (expected["semseg"] == 255)
            assert right.mean() > 0.97, (name, task)
