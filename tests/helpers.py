"""What several tests need: a tiny data set, the smallest network, commands run as a user runs them."""

import contextlib
import csv
import dataclasses
import functools
import importlib
import io
import json
import os
import pathlib
import subprocess
import sys
import time
import types

import numpy as np
from PIL import Image

from mtl_tf import plugins
from mtl_tf.balancing import AGGREGATORS, SCALARIZERS
from mtl_tf.config import DATA_SETS
from mtl_tf.data import descriptors
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.models.encoders import ENCODERS
from mtl_tf.tasks import KINDS, ClassLabels, DepthLabels

ROOT = pathlib.Path(__file__).resolve().parents[1]

# The smallest network there is, at the smallest size that its stages can bear.
TINY = (
    "--data.name=folder",
    f"--plugin={ROOT / 'tests/models/tiny.py'}",
    "--model.encoder=tiny",
    "--nomodel.aspp",
    "--noaugment.reflect",
    "--train.epochs=2",
    "--train.batch_size=2",
    "--log.every=1",
    "--log.observed=1",
)


def changed(descriptor: descriptors.Descriptor, **flat) -> descriptors.Descriptor:
    """A descriptor with other values, those of labels by flat names: classes, semseg_values, depth_scale, ..."""
    labels = dict(descriptor.labels)
    of_classes = {name.removeprefix("semseg_"): flat.pop(name) for name in _OF_CLASSES if name in flat}
    of_depth = {name.removeprefix("depth_"): flat.pop(name) for name in list(flat) if name.startswith("depth_")}
    for name, kind, values in (("semseg", ClassLabels, of_classes), ("depth", DepthLabels, of_depth)):
        if values.get("classes", True) == () or values.get("encoding", True) == "":
            labels.pop(name, None)
        elif values:
            labels[name] = dataclasses.replace(labels[name], **values) if name in labels else kind(**values)
    return dataclasses.replace(descriptor, labels=labels, **flat)


_OF_CLASSES = ("classes", "palette", "ignore", "semseg_encoding", "semseg_values")


# Of a class and of depth from 4 to 300 m.
TWO_LABELS = {
    "semseg": ClassLabels(("a",), ((1, 2, 3),)),
    "depth": DepthLabels("uint16_scaled", minimum=4.0, maximum=300.0),
}


def described(name: str, classes: tuple = (), palette: tuple = (), **flat) -> descriptors.Descriptor:
    """A new descriptor; see `changed`."""
    of_classes = dict(classes=classes, palette=palette) if classes else {}
    return changed(descriptors.Descriptor(name), **of_classes, **flat)


def write_dataset(root: pathlib.Path, samples: dict[str, int], size=(32, 48), seed: int = 0) -> pathlib.Path:
    """Writes a data set of three classes and depth, whose pictures show their labels; returns its folder."""
    random = np.random.default_rng(seed)
    descriptor = described(
        name="tiny",
        classes=("left", "middle", "right"),
        palette=((200, 30, 30), (30, 200, 30), (30, 30, 200)),
        depth_encoding="uint16_scaled",
        depth_scale=0.01,
        depth_minimum=1.0,
        depth_maximum=50.0,
        depth_mean=10.0,
        depth_std=5.0,
        depth_log_mean=2.2,
        depth_log_std=0.5,
        splits=tuple(samples),
    )
    for split, count in samples.items():
        for modality in ("rgb", "semseg", "depth"):
            (root / split / modality).mkdir(parents=True)
        for index in range(count):
            labels = np.zeros(size, np.uint8)
            first, second = sorted(random.integers(4, size[1] - 4, 2))
            labels[:, first:], labels[:, second:] = 1, 2
            depth = np.linspace(200, 4000, size[0])[:, None] * np.ones(size) * random.uniform(0.5, 1.2)
            noise = random.integers(0, 50, (*size, 3))
            image = np.array(descriptor["semseg"].palette)[labels] * (depth[..., None] / 5000) + noise
            labels[:3], depth[-3:] = 255, 0
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / split / "rgb" / f"{index}.png")
            Image.fromarray(labels).save(root / split / "semseg" / f"{index}.png")
            Image.fromarray(depth.astype(np.uint16)).save(root / split / "depth" / f"{index}.png")
    descriptors.write(root, descriptor)
    return root


@contextlib.contextmanager
def as_built_in():
    """Undoes what is registered inside, and forgets which plugins were loaded."""
    tables = (KINDS, ENCODERS, ARCHITECTURES, DATA_SETS, SCALARIZERS, AGGREGATORS)
    before, loaded = [dict(table._rows) for table in tables], set(plugins._loaded)
    try:
        yield
    finally:
        for table, rows in zip(tables, before, strict=True):
            table._rows = rows
        plugins._loaded = loaded


def methods_for(option: str) -> dict[str, str]:
    """The choice without which an option of balancing or of an architecture is refused; {} for any other option."""
    section, _, name = option.partition(".")
    if section == "arch":
        return {"model.architecture": name.partition(".")[0]}
    if section != "balance" or name in ("scalarizer", "aggregator", "scale"):
        return {}
    tables = {"balance.scalarizer": SCALARIZERS, "balance.aggregator": AGGREGATORS}
    for key, table in tables.items():
        for method, kind in table.items():
            if name in {field.name for field in dataclasses.fields(kind.Options)}:
                return {key: method}
    return {"balance.scalarizer": "uw"} if name == "rate" else {"balance.aggregator": "cagrad"}


def upload(local: pathlib.Path, remote: str) -> None:
    """Copies a folder to a remote file system (in tests ram://)."""
    import tensorflow as tf

    for path in local.rglob("*"):
        target = f"{remote}/{path.relative_to(local)}"
        if path.is_dir():
            tf.io.gfile.makedirs(target)
        else:
            with tf.io.gfile.GFile(target, "wb") as file:
                file.write(path.read_bytes())


def command(*arguments: str, **options) -> subprocess.CompletedProcess:
    """Runs main.py in a process of its own, as a user does."""
    return subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *map(str, arguments)], capture_output=True, text=True, **options
    )


# The function of each tool that does what it is for.
JOBS = {
    "check_dataset": "check",
    "dataset_statistics": "measure_and_report",
    "describe_dataset": "describe",
    "pack_dataset": "pack",
}


def in_this_process(name: str, *arguments) -> subprocess.CompletedProcess:
    """Runs a tool or a command of main.py as `command` does, without the seconds that a process takes to start."""
    out, errors, arguments = io.StringIO(), io.StringIO(), [str(argument) for argument in arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        if name in JOBS:
            tool = tool_module(name)
            status = tool.run_tool(getattr(tool, JOBS[name]), tool.Options, arguments)
        else:
            from mtl_tf.commands import main

            status = main([name, *arguments])
    return subprocess.CompletedProcess([name, *arguments], status, out.getvalue(), errors.getvalue())


def tool_module(name: str) -> types.ModuleType:
    """The module tools/NAME.py; `tool.run_tool(tool.JOB, tool.Options, argv)` does in this process what a user does."""
    folder = str(ROOT / "tools")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


def forget_graphs() -> None:
    """Frees the graphs that TensorFlow would keep for ever.

    It registers each gradient that a graph defines itself (tf.custom_gradient) by a name of its own, and with that
    function the whole graph: 28 000 objects a training, through which every later collection of garbage goes.
    """
    import keras
    from tensorflow.python.framework import ops

    gradients = ops.gradient_registry._registry
    for name in [name for name in gradients if name.startswith("CustomGradient-")]:
        del gradients[name]
    keras.backend.clear_session()


def one_line_error(status: int, stderr: str) -> str:
    """The one line of an error, after checking that it is one."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    assert status == 2, stderr
    assert lines and lines[-1].startswith("error: "), stderr
    assert "Traceback" not in stderr
    return lines[-1]


def children_of(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue  # it has ended meanwhile
        if int(stat.rpartition(")")[2].split()[1]) == pid:
            found.append(int(folder.name))
    return found


def wait_until(condition, seconds: float = 240):
    """Waits for a condition; fails after some seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


MEMORY = ("RssAnon", "RssFile")


def start_command(*arguments) -> subprocess.Popen:
    """Starts main.py in a process of its own; its errors can be read."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def last_step(run_dir: pathlib.Path) -> int:
    """The step of the last whole row of steps.csv, from the end of the file; 0 where there is none."""
    path = run_dir / "steps.csv"
    try:
        with open(path, "rb") as file:
            file.seek(max(os.stat(path).st_size - 1000, 0))
            rows = file.read().split(b"\n")
    except OSError:
        return 0
    cell = rows[-2].partition(b",")[0] if len(rows) > 1 else b""
    return int(cell) if cell.isdigit() else 0


def memory_of(process="self") -> dict[str, int]:
    """Bytes of a process in memory (Linux): "RssAnon", which only it has, and "RssFile"; empty once it has ended."""
    try:
        lines = pathlib.Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: int(line.split()[1]) * 1024 for line in lines if (name := line.partition(":")[0]) in MEMORY}


def weights_of(run_dir: pathlib.Path, name: str = "weights.h5") -> dict[str, np.ndarray]:
    """All tensors of a run's best weights."""
    import h5py

    found = {}
    with h5py.File(run_dir / "best" / name) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def state_of(run_dir: pathlib.Path) -> dict[str, np.ndarray]:
    """All tensors of a run's newest checkpoint: weights, optimiser, counters."""
    import tensorflow as tf

    path = tf.train.latest_checkpoint(str(run_dir / "checkpoints"))
    # How often was saved differs between a run that was stopped and one that was not, and is no state of training.
    names = [name for name, _ in tf.train.list_variables(path) if not name.startswith(("_CHECK", "save_counter"))]
    return {name: tf.train.load_variable(path, name) for name in names}


def steps_of(run_dir: pathlib.Path) -> list[dict[str, str]]:
    """The rows of steps.csv, without what a clock has measured."""
    with open(run_dir / "steps.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    timed = ("images_per_second", "step_ms", "wait_ms")
    return [{name: cell for name, cell in row.items() if name not in timed} for row in rows]


def events_of(run_dir: pathlib.Path) -> list[tuple[int, str]]:
    """Step and name of everything that TensorBoard shows of a run, but for what a search adds to its trials."""
    import tensorflow as tf

    files = [str(path) for path in (run_dir / "events").glob("events.out.tfevents.*")]
    records = tf.data.TFRecordDataset(files).as_numpy_iterator() if files else ()
    events = [tf.compat.v1.Event.FromString(record) for record in records]
    found = sorted((event.step, value.tag) for event in events for value in event.summary.value)
    return [each for each in found if not each[1].startswith("_hparams_")]


def results_of(run_dir: pathlib.Path) -> dict:
    """What a run has to tell in the end, as texts and JSON by file, without what a clock or memory has measured."""
    found = {file.name: json.loads(file.read_text()) for file in (run_dir / "best").glob("*metrics.json")}
    found["metrics.json"] = json.loads((run_dir / "metrics.json").read_text())
    for name in ("seconds", "images_per_second", "peak_memory_mb", "data_wait_share"):
        del found["metrics.json"][name]
    skipped = run_dir / "skipped.csv"
    found["skipped.csv"] = skipped.read_text() if skipped.exists() else ""
    found["metrics.csv"] = (run_dir / "metrics.csv").read_text()
    found["steps.csv"], found["events"] = steps_of(run_dir), events_of(run_dir)
    return found


def assert_same_run(one: pathlib.Path, other: pathlib.Path) -> None:
    """Both runs ended bit for bit alike: best weights, averaged ones too, full state, and all that they tell."""
    names = [sorted(file.name for file in (run_dir / "best").glob("*.h5")) for run_dir in (one, other)]
    assert names[0] == names[1]
    for read in (state_of, *(functools.partial(weights_of, name=name) for name in names[0])):
        first, second = read(one), read(other)
        assert first.keys() == second.keys()
        for name, value in first.items():
            np.testing.assert_array_equal(value, second[name], err_msg=name)
    assert results_of(one) == results_of(other)
