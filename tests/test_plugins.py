"""What a person adds from outside: the examples of docs/extending.md from end to end, and what is wrong of others."""

import dataclasses
import inspect
import json
import os
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import mtl_tf
from mtl_tf import flags, plugins
from mtl_tf.balancing import aggregate, scalarize
from mtl_tf.errors import UsageError
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.models.encoders import ENCODERS
from mtl_tf.tasks import KINDS, Depth, DepthLabels, Edges
from tests.helpers import ROOT, as_built_in, in_this_process, one_line_error, write_dataset
from tests.tasks import test_battery
from tests.tasks.battery import EXAMPLES, Example, loss_of, scores_of

FOLDER = ROOT / "docs" / "examples"
FILES = sorted(FOLDER.glob("*.py"))


def example(name):
    return f"--plugin={FOLDER / name}.py"


ALL = [f"--plugin={file}" for file in FILES]


@pytest.fixture(autouse=True)
def nothing_stays():
    """A test adds for itself only."""
    with as_built_in():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Pictures with their labels beside them, as the example of a data set has them; shadow is the last class."""
    folder = write_dataset(tmp_path_factory.mktemp("folder") / "data", {"train": 4, "val": 2})
    root = tmp_path_factory.mktemp("beside")
    content = json.loads((folder / "dataset.json").read_text())
    content["tasks"] = {
        "semseg": {"kind": "weighted_classes", **content.pop("semseg")},
        "depth": {"kind": "huber_depth", **content.pop("depth")},
        "shadows": {"kind": "shadow"},
    }
    (root / "dataset.json").write_text(json.dumps(content))
    for file in folder.glob("*/*/*.png"):
        split, modality = file.parts[-3:-1]
        (root / split).mkdir(exist_ok=True)
        shutil.copy(file, root / split / (file.name if modality == "rgb" else f"{file.stem}_{modality}.png"))
        if modality == "semseg":
            mask = np.asarray(Image.open(file)) == 2
            Image.fromarray(mask).save(root / split / f"{file.stem}_shadows.png")
    return root


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A run of all examples together, whose plugins were named relative to the folder that it began in."""
    run_dir = tmp_path_factory.mktemp("run") / "run"
    named = [f"--plugin={os.path.relpath(file)}" for file in FILES]
    with as_built_in():
        done = in_this_process("train", *named, *OPTIONS, f"--data.root={data}", f"--run_dir={run_dir}")
    assert done.returncode == 0, done.stderr
    return run_dir


OPTIONS = (
    "--data.name=beside",
    "--tasks=semseg,depth,shadows",
    "--model.encoder=five",
    "--model.architecture=masked",
    "--nomodel.aspp",
    "--task.shadow.threshold=0.25",
    "--task.huber_depth.bend=0.2",
    "--train.best_metric=fw_iou",
    "--train.epochs=1",
    "--train.batch_size=2",
    "--log.every=1",
)


# === The examples ===


def test_the_examples_are_short():
    most = {"architecture.py": 150}
    lines = {file.name: len(file.read_text().splitlines()) for file in FILES}
    assert len(lines) == 7 and all(count < most.get(name, 80) for name, count in lines.items()), lines


def test_the_examples_use_what_is_documented():
    """Public names only, of modules that the guide names."""
    guide = (ROOT / "docs" / "extending.md").read_text()
    for file in FILES:
        assert "._" not in file.read_text()
        assert all(module in guide for module in re.findall(r"^ *from (mtl_tf\S*) import", file.read_text(), re.M))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_guide_shows_every_example(file):
    assert f"examples/{file.name}" in (ROOT / "docs" / "extending.md").read_text()


def test_a_run_of_own_things_is_scored_predicted_and_reported(run, data):
    """Without naming the plugins again: run.flags does."""
    done = in_this_process("evaluate", f"--run_dir={run}", "--baseline")
    assert done.returncode == 0, done.stderr
    assert "Balanced error rate" in done.stdout
    scores = json.loads((run / "evaluation_val.json").read_text())
    assert set(scores["shadows"]) == {"ber", "shadow_iou"} and scores["semseg"]["fw_iou"] > 0
    assert scores["total"] == pytest.approx(
        scores["semseg"]["miou"] - scores["depth"]["si_log_rmse"] - scores["shadows"]["ber"]
    )
    assert in_this_process("predict", f"--run_dir={run}").returncode == 0
    answer = mtl_tf.load(run)(np.asarray(Image.open(data / "val" / "0.png")))
    written = np.asarray(Image.open(run / "predictions" / "val" / "shadows" / "0.png"))
    np.testing.assert_array_equal(written, (255 * answer.shadows).astype(np.uint8))
    assert in_this_process("report", f"--run_dir={run}").returncode == 0
    page = (run / "report.html").read_text()
    assert all(word in page for word in ("Balanced error rate", "frequency-weighted IoU", "shadows"))


def test_a_run_goes_on_without_naming_its_plugins(run, data, tmp_path, monkeypatch):
    """Their absolute paths stand in run.flags; the options of their kinds too."""
    lines = (run / "run.flags").read_text().splitlines()
    assert f"--plugin={','.join(map(str, FILES))}" in lines
    assert {"--task.shadow.threshold=0.25", "--task.huber_depth.bend=0.2", "--task.huber_depth.loss=huber"} <= set(
        lines
    )
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    monkeypatch.chdir(tmp_path)
    done = in_this_process("train", f"--flagfile={copy / 'run.flags'}", f"--run_dir={copy}")
    assert done.returncode == 0, done.stderr
    assert (copy / "metrics.csv").read_text() == (run / "metrics.csv").read_text()


def test_a_plugin_may_move(run, tmp_path):
    """A run that names where it was is told where it is now, by a file of the same name."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    text = (copy / "run.flags").read_text()
    (copy / "run.flags").write_text(text.replace(str(FOLDER / "kind.py"), "/gone/kind.py"))
    done = in_this_process("evaluate", f"--run_dir={copy}")
    said = one_line_error(done.returncode, done.stderr)
    assert "--plugin=/gone/kind.py: no such file" in said and "--plugin=FOLDER/kind.py" in said
    done = in_this_process("evaluate", f"--run_dir={copy}", example("kind"))
    assert done.returncode == 0, done.stderr


def test_an_export_of_an_own_kind_is_loaded_where_the_kind_is_known(run, data, tmp_path):
    assert in_this_process("export", f"--run_dir={run}").returncode == 0
    picture = np.asarray(Image.open(data / "val" / "0.png"))
    expected = mtl_tf.load(run)(picture)
    found = mtl_tf.load(run / "export")(picture)
    assert set(found) == set(expected) == {"semseg", "semseg_probability", "depth", "shadows"}
    np.testing.assert_allclose(found.shadows, expected.shadows, atol=1e-5)
    del KINDS._rows["shadow"]
    with pytest.raises(UsageError) as error:
        mtl_tf.load(run / "export")
    said = str(error.value)
    assert f"{run / 'export'}: its task shadows is of kind shadow" in said and "mtl_tf.register" in said
    given = [f"--run_dir={run / 'export'}", f"--input={data / 'val' / '0.png'}", f"--output={tmp_path / 'out'}"]
    with as_built_in():
        KINDS._rows = {name: kind for name, kind in KINDS.items() if kind.__module__.startswith("mtl_tf.")}
        plugins._loaded = set()
        done = in_this_process("predict", *given)
        assert "--plugin=FILE.py" in one_line_error(done.returncode, done.stderr)
        assert in_this_process("predict", *given, *ALL).returncode == 0
    assert (tmp_path / "out" / "shadows" / "0.png").is_file()


def test_help_lists_what_a_plugin_adds():
    done = in_this_process("train", "--helpshort", *ALL)
    assert done.returncode == 0
    assert "--task.shadow.threshold" in done.stdout and "--task.huber_depth.bend" in done.stdout
    text = " ".join(done.stdout.split())
    assert "even: how much of the average of the lengths is kept in a step (0.9)" in text and "pcd, even" in text
    assert "packed, beside" in text
    # Other tests of this process may have added rows in between.
    for table, added in ((ARCHITECTURES, "masked"), (ENCODERS, "five")):
        assert re.search(rf"{table.built_in[-1]}(, \w+)*, {added}", text)
    with as_built_in():
        KINDS._rows = {name: kind for name, kind in KINDS.items() if kind.__module__.startswith("mtl_tf.")}
        plugins._loaded = set()
        done = in_this_process("train", "--task.shadow.threshold=0.5")
        assert "unknown flag --task.shadow.threshold" in one_line_error(done.returncode, done.stderr)


def test_the_tools_know_what_a_plugin_adds(data):
    for tool in ("check_dataset", "dataset_statistics"):
        done = in_this_process(tool, *ALL, "--data.name=beside", f"--data.root={data}")
        assert done.returncode == 0, done.stderr


def test_a_flag_file_may_name_a_plugin_whose_options_it_gives(tmp_path):
    file = tmp_path / "a.flags"
    file.write_text(f"--task.shadow.threshold=0.75\n{example('kind')}\n")
    parsed = flags.parse([f"--flagfile={file}", example("encoder"), "--model.encoder", "five"])
    assert parsed.config.task["shadow"].threshold == 0.75
    assert parsed.config.plugin == (str(FOLDER / "kind.py"), str(FOLDER / "encoder.py"))
    assert flags.parse(["--plugin", str(FOLDER / "kind.py"), "--task.shadow.threshold=0.5"]).config.plugin
    assert flags.parse(["--plugin=", "--seed=1"]).config.plugin == ()


# === Their arithmetic ===


def own(kind, base, **of_task):
    """An example of a kind from a plugin, for the battery, by that of the built-in kind it is made of."""
    labels, task = (dict(vars(each)) for each in (base.labels, base.task))
    return Example(KINDS[kind](**labels), KINDS[kind].task_type(**task | of_task), base.raw_of, base.step)


BATTERY = [
    check
    for name, check in vars(test_battery).items()
    if name.startswith("test_") and {"example"} <= set(inspect.signature(check).parameters) <= {"example", "tmp_path"}
]


@pytest.mark.parametrize(
    ("file", "kind", "like", "of_task"),
    [
        ("kind", "shadow", "adaptive edges", {}),
        ("loss", "huber_depth", "depth", {"objective": "huber"}),
        ("metric", "weighted_classes", "classes", {}),
    ],
)
def test_own_kinds_do_what_every_kind_has_to(tmp_path, file, kind, like, of_task):
    plugins.load(str(FOLDER / f"{file}.py"))
    found = own(kind, EXAMPLES[like], **of_task)
    assert len(BATTERY) > 10
    for check in BATTERY:
        check(found, **({"tmp_path": tmp_path} if "tmp_path" in inspect.signature(check).parameters else {}))
    test_battery.test_gradients_are_finite_for_every_mask(found, "all", 1.0)


def test_a_kind_whose_options_lack_those_of_the_loss_is_learnt_by_the_defaults():
    """Its `Options` are its own, so that built-in kinds may get more of them."""

    @dataclasses.dataclass(frozen=True)
    class Options(mtl_tf.Section):
        loss: str = mtl_tf.option("l1", "Loss.", choices=("l1", "l2"))
        space: str = mtl_tf.option("linear", "Space.", choices=("linear", "log"))

    statistics = {
        "depth": dict(zip(DepthLabels.measured, (10.0, 5.0, 2.0, 0.5), strict=True), encoding="uint16_scaled")
    }
    statistics |= {
        "regression": {"mean": (1.0,), "std": (1.0,)},
        "classes": {"classes": ("a",), "palette": ((1, 2, 3),)},
    }
    for kind, given in statistics.items():
        base = KINDS[kind]
        task = dataclasses.make_dataclass(
            "T", [], bases=(base.task_type,), frozen=True, namespace={"kind": f"bare_{kind}"}
        )
        own = {"kind": f"bare_{kind}", "name": f"bare_{kind}", "task_type": task, "usual": False, "Options": Options}
        labels = mtl_tf.register(dataclasses.make_dataclass("L", [], bases=(base,), frozen=True, namespace=own))
        found = labels(**given).task("it", "data", mtl_tf.Config())
        assert getattr(found, "reduction", "") == getattr(base.task_type, "reduction", "")
        assert type(found) is task and not getattr(found, "weights", ())


def test_the_huber_loss_by_hand():
    """Of errors 0.5, 3 and -1 at a bend of 1, in standard deviations: (0.125 + 2.5 + 0.5) / 3."""
    plugins.load(str(FOLDER / "loss.py"))
    task = KINDS["huber_depth"].task_type(1.0, 50.0, 10.0, 5.0, 2.0, 0.5, objective="huber", bend=1.0)
    raw = np.array([[0.5, 3.0, -1.0, 9.0]])[..., None, None]
    total, count = loss_of(task, raw, np.array([[[10.0], [10.0], [10.0], [0.0]]], np.float32))
    assert (total, count) == (pytest.approx(3.125 / 3), 1)
    plain = Depth(1.0, 50.0, 10.0, 5.0, 2.0, 0.5)
    target = np.full((1, 4, 1), 12.0, np.float32)
    other = KINDS["huber_depth"].task_type(1.0, 50.0, 10.0, 5.0, 2.0, 0.5, objective="l2")
    assert loss_of(other, raw, target) == loss_of(plain, raw, target)


def test_the_frequency_weighted_iou_by_hand():
    """Truth 0 0 0 1 1, answer 0 0 0 0 1: IoU 3/4 of three pixels and 1/2 of two."""
    plugins.load(str(FOLDER / "metric.py"))
    task = KINDS["weighted_classes"].task_type(("a", "b"), ((0, 0, 0), (9, 9, 9)))
    raw = np.eye(2)[[0, 0, 0, 0, 1]].reshape(1, 1, 5, 2)
    found = scores_of(task, raw, np.array([[[0, 0, 0, 1, 1]]], np.int32))
    assert found["fw_iou"] == pytest.approx(100 * (3 * 0.75 + 2 * 0.5) / 5)
    assert found["miou"] == pytest.approx(62.5)


def test_the_balanced_error_rate_by_hand():
    """3 of 4 lit and 1 of 2 in shadow are right: 1 - (3/4 + 1/2) / 2; where nothing is in shadow, 1/4."""
    plugins.load(str(FOLDER / "kind.py"))
    task = KINDS["shadow"].task_type()
    raw = np.array([-1.0, -1, -1, 1, 1, -1, 5]).reshape(1, 1, 7, 1)
    target = np.array([[[0, 0, 0, 0, 1, 1, 255]]], np.uint8)
    assert scores_of(task, raw, target) == pytest.approx({"ber": 37.5, "shadow_iou": 100 / 3})
    assert scores_of(task, raw[:, :, :4], target[:, :, :4]) == pytest.approx({"ber": 25, "shadow_iou": 0})
    low = KINDS["shadow"].task_type(threshold=0.2)
    assert scores_of(low, raw, target)["ber"] == 50


@pytest.mark.parametrize("dilation", [(0, 0, 0), (0, 0, 1), (0, 1, 1), (1, 1, 1)])
def test_the_encoder_keeps_the_contract(dilation):
    """Sizes are rounded up, and features stay where they are."""
    plugins.load(str(FOLDER / "encoder.py"))
    encoder = ENCODERS["five"](dilation=dilation, consistent=False, excite=False)
    found = encoder(tf.zeros((1, 37, 50, 3)))
    assert {"stride2", "stride4", "last"} <= set(found)
    for name, feature in found.items():
        if name != "last":
            stride = int(name.removeprefix("stride"))
            assert feature.shape[1:3] == (-(-37 // stride), -(-50 // stride))
    with pytest.raises(UsageError, match="squeeze_excitation"):
        ENCODERS["five"](dilation=dilation, consistent=False, excite=True)


def test_the_balancer_makes_rows_equally_long_on_average():
    parsed = flags.parse([example("balancer"), "--balance.aggregator=even", "--balance.memory=0.5"])
    assert parsed.config.balance.made(2).aggregator.options.memory == 0.5
    rows, state = np.array([[3.0, 0.0], [0.0, 1.0]]), {}
    direction, weights = aggregate("even", rows, state=state, preference=(1.0, 1.0))
    np.testing.assert_allclose(weights * [3.0, 1.0], [2.0, 2.0])  # each as long as the mean row, and p is 2 together
    np.testing.assert_allclose(direction, [2.0, 2.0])
    # Of the second step half counts, and what is absent keeps its average.
    _, weights = aggregate("even", [[7.0, 0.0], [0.0, 9.0]], [True, False], state=state, memory=0.5)
    assert state["lengths"].tolist() == [5.0, 1.0] and weights.tolist() == [1.0, 0.0]
    same, _ = aggregate("even", [[3.0, 4.0], [3.0, 4.0]], preference=(0.25, 0.75))
    np.testing.assert_allclose(same, [3.0, 4.0])


# === From Python ===


def test_what_is_registered_in_python_is_an_option_too():
    @mtl_tf.register
    class Outlines(KINDS["edges"]):
        kind = name = "outlines"
        task_type = type("OutlineTask", (Edges,), {"kind": "outlines"})

    assert KINDS["outlines"] is Outlines
    config = flags.parse(["--task.outlines.weight=0.5"]).config
    assert Outlines().task("it", "mine", config).positive == 0.5
    encoder = mtl_tf.register(mtl_tf.Encoder("mine", lambda **options: None))
    assert ENCODERS["mine"] is encoder.build and flags.parse(["--model.encoder=mine"]).config.model.encoder == "mine"
    again = mtl_tf.register(mtl_tf.Encoder("mine", lambda **options: 1))
    assert ENCODERS["mine"] is again.build


def test_a_scalarizer_and_a_direction_from_python_are_choices_too():
    @mtl_tf.register
    class Halves(mtl_tf.Scalarizer):
        name = "halves"
        scaling = "each"

        def weights(self, state, losses, present, share, draws=None):
            return tf.fill(tf.shape(losses), 0.5)

    @mtl_tf.register
    class Signs(mtl_tf.DirectionAggregator):
        name = "signs"

        def direction(self, rows, active, draws):
            return [tf.sign(tf.reduce_sum(row, 0)) for row in rows]

    config = flags.parse(["--balance.scalarizer=halves", "--balance.aggregator=signs"]).config
    balance = config.balance.made(2)
    assert (type(balance.scalarizer), type(balance.aggregator)) == (Halves, Signs)
    np.testing.assert_array_equal(scalarize("halves", [1.0, 3.0], scale="own"), [0.5, 0.5])
    np.testing.assert_array_equal(aggregate("signs", [[2.0, -1.0], [1.0, -1.0]], scale="own")[0], [1.0, -1.0])


def test_public_names_are_there():
    assert all(getattr(mtl_tf, name) is not None for name in mtl_tf.__all__)


# === What is wrong of a plugin ===

_KIND = "import mtl_tf\nfrom mtl_tf.tasks import *\n"
_BALANCER = """
import dataclasses, mtl_tf
class A(mtl_tf.Aggregator):
    name = 'a'
    @dataclasses.dataclass(frozen=True)
    class Options(mtl_tf.Section):
        {option}
    def weights(self, state, gramian, active, share, draws=None, losses=None): return share, state
mtl_tf.register(A)
"""
BROKEN = {
    "a syntax error": ("x = (", ["line 1", "SyntaxError"]),
    "an import that fails": ("\nimport no_such_module", ["line 2", "ModuleNotFoundError", "no_such_module"]),
    "an end": ("import sys; sys.exit(0)", ["SystemExit"]),
    "an error of many lines": ("raise KeyError('a\\nb')", ["KeyError: 'a\\nb'"]),
    "a number": ("import mtl_tf; mtl_tf.register(3)", ["subclass of mtl_tf.Labels", "got 3"]),
    "a task": ("import mtl_tf; mtl_tf.register(mtl_tf.Task)", ["subclass of mtl_tf.Labels"]),
    "a built-in name": (
        "import mtl_tf; mtl_tf.register(mtl_tf.Encoder('resnet18', print))",
        ["'resnet18' is built in"],
    ),
    "a name of two words": ("import mtl_tf; mtl_tf.register(mtl_tf.Encoder('my own', print))", ["letters", "'my own'"]),
    "no name": ("import mtl_tf; mtl_tf.register(mtl_tf.DataSet(print, print, print))", ["name of the data set"]),
    "no function": ("import mtl_tf; mtl_tf.register(mtl_tf.Architecture('mine', 3))", ["'mine' is no function"]),
    "a built-in kind": (_KIND + "mtl_tf.register(EdgeLabels)", ["'edges' is built in"]),
    "a kind without a name": (_KIND + "@mtl_tf.register\nclass A(Labels): kind = 'a'", ["no attribute name"]),
    "tasks of another kind": (
        _KIND + "@mtl_tf.register\nclass A(EdgeLabels): kind = name = 'a'",
        ["A is of kind 'a'", "Edges, are of kind 'edges'"],
    ),
    "a kind whose tasks are none": (
        _KIND + "@mtl_tf.register\nclass A(EdgeLabels): kind = name = 'a'; task_type = int",
        ["A.task_type is no subclass of mtl_tf.Task"],
    ),
    "a task without methods": (
        _KIND + "class T(Task): kind = title = 'a'\n"
        "@mtl_tf.register\nclass A(EdgeLabels): kind = name = 'a'; task_type = T",
        ["T lacks channels, valid, loss, decode", "see mtl_tf.Task"],
    ),
    "labels without a method": (
        _KIND + "class T(Edges): kind = 'a'\n"
        "@mtl_tf.register\nclass A(Labels): kind = name = 'a'; task_type = T; keys = (); example = '{}'; dtype = int",
        ["A lacks parse, content, told, storage, read, task"],
    ),
    "options that are none": (
        _KIND + "class T(Edges): kind = 'a'\n"
        "@mtl_tf.register\nclass A(EdgeLabels): kind = name = 'a'; task_type = T; Options = dict",
        ["A.Options is no dataclass"],
    ),
    "a name that is taken": (
        _KIND + "class T(Edges): kind = 'a'\n@mtl_tf.register\nclass A(EdgeLabels): kind = 'a'; task_type = T",
        ["A.name='edges' is that of kind edges"],
    ),
    "a balancer without a name": (
        "import mtl_tf\n@mtl_tf.register\nclass A(mtl_tf.Aggregator): pass",
        ["the name of A is one of letters", "got ''"],
    ),
    "an aggregator without weights": (
        "import mtl_tf\n@mtl_tf.register\nclass A(mtl_tf.Aggregator): name = 'a'",
        ["A lacks weights; see mtl_tf.Aggregator"],
    ),
    "a scalarizer without weights": (
        "import mtl_tf\n@mtl_tf.register\nclass A(mtl_tf.Scalarizer): name = 'a'",
        ["A lacks weights; see mtl_tf.Scalarizer"],
    ),
    "a direction that is none": (
        "import mtl_tf\n@mtl_tf.register\nclass A(mtl_tf.DirectionAggregator): name = 'a'",
        ["A lacks direction; see mtl_tf.DirectionAggregator"],
    ),
    "a built-in aggregator": (
        _BALANCER.replace("'a'", "'mgda'").format(option="size: float = mtl_tf.option(1.0, 'size')"),
        ["the aggregator 'mgda' is built in"],
    ),
    "an aggregator named as a scalarizer": (
        _BALANCER.replace("'a'", "'dwa'").format(option="size: float = mtl_tf.option(1.0, 'size')"),
        ["'dwa' is the name of a scalarizer; give the aggregator another"],
    ),
    "an option of another type": (
        _BALANCER.format(option="alpha: int = mtl_tf.option(1, 'size')"),
        ["option alpha of A is of type int, but gradnorm has one of type float under this name"],
    ),
    "an option that all methods have": (
        _BALANCER.format(option="rate: float = mtl_tf.option(1.0, 'size')"),
        ["option rate of A: --balance.rate is an option of all methods"],
    ),
    "an option of a type that is none": (
        _BALANCER.format(option="size: dict = mtl_tf.option(None, 'size')"),
        ["option size of A should be NAME: TYPE = mtl_tf.option(...)"],
    ),
    "an option without help": (
        _BALANCER.format(option="size: float = 1.0"),
        ["option size of A should be NAME: TYPE = mtl_tf.option(...)"],
    ),
    "options of a balancer that are none": (
        "import mtl_tf\n@mtl_tf.register\nclass A(mtl_tf.Aggregator):\n    name, weights, Options = 'a', print, dict",
        ["A.Options is no dataclass"],
    ),
    "a kind that is trained unasked": (
        _KIND + "class T(Depth): kind = 'a'\n@mtl_tf.register\nclass A(DepthLabels): kind = name = 'a'; task_type = T",
        ["A.usual is for built-in kinds"],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_plugin_that_fails_is_one_line(tmp_path, name):
    text, words = BROKEN[name]
    (tmp_path / "mine.py").write_text(text)
    done = in_this_process("train", f"--plugin={tmp_path / 'mine.py'}", f"--run_dir={tmp_path / 'run'}")
    said = one_line_error(done.returncode, done.stderr)
    assert said.startswith(f"error: --plugin={tmp_path / 'mine.py'}") and all(word in said for word in words), said
    assert not (tmp_path / "run").exists()


def test_a_plugin_that_is_not_there_is_one_line(tmp_path):
    (tmp_path / "notes.txt").write_text("import mtl_tf")
    for path, word in (
        (tmp_path / "no.py", "no such file"),
        (tmp_path, "no such file"),
        (tmp_path / "notes.txt", ".py"),
    ):
        done = in_this_process("train", f"--plugin={path}", f"--run_dir={tmp_path / 'run'}")
        said = one_line_error(done.returncode, done.stderr)
        assert f"--plugin={path}: " in said and word in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("Encoder('mine', lambda **options: 3)", ["--model.encoder=mine"], ["encoder mine should give a keras.Model"]),
        (
            "Architecture('mine', lambda *_: {})",
            ["--model.architecture=mine"],
            ["architecture mine should give a dict"],
        ),
    ],
)
def test_what_breaks_its_contract_is_one_line(tmp_path, tiny_dataset, text, options, words):
    (tmp_path / "mine.py").write_text(f"import mtl_tf\nmtl_tf.register(mtl_tf.{text})")
    given = [
        "--data.name=folder",
        f"--data.root={tiny_dataset}",
        f"--run_dir={tmp_path / 'run'}",
        "--train.batch_size=2",
    ]
    used = ["--model.encoder=five", example("encoder"), f"--plugin={tmp_path / 'mine.py'}"]
    done = in_this_process("train", *given, *used, *options)
    said = one_line_error(done.returncode, done.stderr)
    assert all(word in said for word in words), said


# === What is wrong of tasks ===


@pytest.fixture
def folder(tiny_dataset, tmp_path):
    """A copy of the tiny data set, with grey pictures where surface normals are looked for."""
    root = tmp_path / "data"
    shutil.copytree(tiny_dataset, root)
    for split, count in (("train", 6), ("val", 3)):
        (root / split / "normals").mkdir()
        for number in range(count):
            Image.new("L", (48, 32), 200).save(root / split / "normals" / f"{number}.png")
    return root


@pytest.mark.parametrize(
    ("tasks", "options", "words"),
    [
        ({"lanes": {"kind": "lane"}}, [], ['"tasks.lanes.kind"', "one of classes, depth", "--plugin", "it is lane"]),
        ({"lanes": {}}, [], ['"tasks.lanes.kind"', "it is missing"]),
        ({"lanes": 3}, [], ['"tasks.lanes"', "it is 3"]),
        ({"depth": {"kind": "edges"}}, [], ['"tasks.depth"', "named twice"]),
        ({}, ["--tasks=nonsense"], ["tiny has no nonsense labels", "--tasks=semseg,depth"]),
        ({}, ["--tasks=semseg,dept"], ["did you mean depth?"]),
        ({}, ["--tasks=depth,depth"], ["tasks=depth,depth names a task twice"]),
        ({}, ["--tasks=semseg,depth", "--task.edges.weight=0.5"], ["task.edges", "no task of kind edges is trained"]),
        ({}, ["--task.edge.weight=0.5"], ["unknown flag --task.edge.weight", "did you mean --task.edges.weight"]),
        ({"normals": {"kind": "normals"}}, ["--tasks=normals"], ['"tasks.normals.axes"', "it is missing"]),
        (
            {"normals": {"kind": "normals", "source": "depth"}},
            ["--tasks=normals"],
            ['"tasks.normals.intrinsics"', "it is missing"],
        ),
        (
            {"normals": {"kind": "normals", "axes": "right,up,to_camera"}},
            ["--tasks=normals"],
            ["normals/0.png", "expected normals in 8-bit RGB", "got a 8-bit grey picture"],
        ),
    ],
)
def test_wrong_tasks_are_one_line(folder, tmp_path, tasks, options, words):
    content = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(content | {"tasks": tasks}))
    check_refused(folder, tmp_path, options, words)


def test_a_task_twice_in_the_file_is_one_line(folder, tmp_path):
    text = (folder / "dataset.json").read_text().rstrip().removesuffix("}")
    (folder / "dataset.json").write_text(text + ', "tasks": {"a": {"kind": "edges"}, "a": {"kind": "edges"}}}')
    check_refused(folder, tmp_path, [], ["dataset.json has 'a' twice"])


def test_colours_where_class_ids_are_said_are_one_line(folder, tmp_path):
    for file in folder.glob("train/semseg/*.png"):
        noise = np.random.default_rng(0).integers(0, 256, (32, 48, 3)).astype(np.uint8)
        Image.fromarray(noise).save(file)
    check_refused(folder, tmp_path, ["--tasks=semseg"], ["semseg/0.png", "expected a class id", '"encoding": "colour"'])


def check_refused(folder, tmp_path, options, words):
    """Training says one line and leaves the data, and a run, as they were."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    given = ["--data.name=folder", f"--data.root={folder}", f"--run_dir={tmp_path / 'run'}", "--train.batch_size=2"]
    done = in_this_process("train", *given, "--model.encoder=five", example("encoder"), "--nomodel.aspp", *options)
    said = one_line_error(done.returncode, done.stderr)
    assert all(word in said for word in words), said
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "run" / "checkpoints").exists()
