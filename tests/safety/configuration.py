"""Damaged configuration: options, flag files, experiments, dataset.json. A refusal of one line, or sound."""

import dataclasses
import json
import math
import pathlib
import tomllib
import types

import numpy as np

from mtl_tf import config as configuration
from mtl_tf import flags
from mtl_tf.data import descriptors
from mtl_tf.errors import UsageError
from mtl_tf.options import Entry
from mtl_tf.study import declaration
from mtl_tf.study.options import StudyOptions
from mtl_tf.study.plan import Plan
from mtl_tf.tasks import DepthLabels
from tests.helpers import ROOT
from tests.mutations import mutate
from tests.safety.trees import damage_tree, json_bytes, pick, toml_bytes, weird

LEAVES = configuration.leaves()
FLAG_FILES = sorted(path.read_text(encoding="utf-8") for path in (ROOT / "configs").rglob("*.flags"))
REPORT = tomllib.loads(declaration.REPORT.read_text(encoding="utf-8"))
DATA_SET = {
    "name": "mine",
    "splits": ["train", "val"],
    "crop_multiple": 32,
    "semseg": {"classes": ["road", "car"], "palette": [[128, 64, 128], [0, 0, 142]], "ignore": 255},
    "depth": {"encoding": "uint16_scaled", "scale": 0.001, "minimum": 0.1, "maximum": 80.0, "mean": 9.0, "std": 5.0}
    | {"log_mean": 2.0, "log_std": 0.5, "unit": "metres"},
    "tasks": {"lanes": {"kind": "classes", "classes": ["lane"], "palette": [[1, 2, 3]], "values": {"9": "lane"}}},
    "rgb": {"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]},
}


def check(config: configuration.Config, place: pathlib.Path):
    """Asserts that every value is of its type and within its bounds, and that run.flags gives them back."""
    for name, value in configuration.values(config).items():
        field = LEAVES[name]
        if value is None:
            assert field.default is None, name
            continue
        several = isinstance(field.type, types.GenericAlias)
        kind, parts, metadata = field.type.__args__[0] if several else field.type, value, field.metadata
        if several:
            assert type(value) is tuple and (not metadata["lengths"] or len(value) in metadata["lengths"]), name
        if kind is Entry:
            kind, parts = float, [part.value for part in parts]
        for part in parts if several else [value]:
            assert type(part) is kind, (name, part)
            assert not metadata["choices"] or part in metadata["choices"], (name, part)
            assert metadata["minimum"] is None or part >= metadata["minimum"], (name, part)
            assert metadata["maximum"] is None or part <= metadata["maximum"], (name, part)
            assert kind is not float or math.isfinite(part), (name, part)
            assert kind is not int or abs(part) < 2**31, (name, part)
            assert kind is not str or (part.strip() == part and len(part.splitlines()) < 2), (name, part)
    file = place / "run.flags"
    file.write_text(flags.run_flags(config), encoding="utf-8")
    free = {name: value for name, value in configuration.values(config).items() if name in flags._NOT_SAVED}
    again = configuration.values(flags.read_run_flags(file)) | free
    assert again == configuration.values(config)


def argument(random) -> str:
    """An option with a value that may suit it, or another, or none."""
    name = pick(random, list(LEAVES))
    field = LEAVES[name]
    kind = random.random()
    if kind < 0.4 and field.metadata["choices"]:
        value = ",".join(str(pick(random, list(field.metadata["choices"]))) for _ in range(int(random.integers(1, 4))))
    elif kind < 0.7:
        low, high = field.metadata["minimum"] or 0, field.metadata["maximum"] or 9
        number = pick(
            random, [low, high, (low + high) / 2, low - 1, high + 1, int(high), f"{high},{low},{high}", "0,1"]
        )
        value = str(number)
    elif kind < 0.85:
        value = str(weird(random))[:4000]
    else:
        value = str(LEAVES[pick(random, list(LEAVES))].default)
    form = random.random()
    if form < 0.05:
        name = mutate(random, name.encode()).decode("utf-8", "surrogateescape").replace("\n", "")
    if form < 0.1:
        return f"--{pick(random, ['no', ''])}{name}"
    return f"{pick(random, ['--', '--', '--', '-'])}{name}={value}"


def options(random, place):
    """Arguments as they come from a shell."""
    given = [argument(random) for _ in range(int(random.integers(1, 4)))]
    if random.random() < 0.2:
        given.insert(
            0, pick(random, ["--flagfile", "--flagfile=", f"--flagfile={place}", "--", "-", "x", "--=", "--no"])
        )
    check(flags.parse(given).config, place)


def flag_file(random, place):
    """Files of flags: ours, damaged; lines of others, and files that include themselves."""
    file = place / "a.flags"
    text = pick(random, FLAG_FILES)
    lines = text.splitlines() + [argument(random).replace("\n", "\r") for _ in range(int(random.integers(3)))]
    random.shuffle(lines)
    if random.random() < 0.1:
        lines.append(f"--flagfile={pick(random, [file, place / 'b.flags', place, '', '/dev/null'])}")
        (place / "b.flags").write_text(f"--flagfile {file}\n", encoding="utf-8")
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    file.write_bytes(mutate(random, content) if random.random() < 0.5 else content)
    base = ["--data.root=a"] if random.random() < 0.5 else []
    own = StudyOptions if random.random() < 0.3 else None
    check(flags.parse([f"--flagfile={file}", *base], own).config, place)


def experiments(random, place):
    """Files that declare a study; a sound one gives runs in its own folder."""
    file = place / "study.toml"
    tables = [dict(table) for table in REPORT["table"][: int(random.integers(1, 7))]]
    for table in tables:
        table["rows"] = table.get("rows", [])[:2]
    tree = {"start": REPORT["start"], "table": tables, "figure": REPORT["figure"][:1]}
    content = toml_bytes(random, damage_tree(random, tree, keys=(*LEAVES, "like", "pinned", "rank_by", "tables")))
    file.write_bytes(mutate(random, content) if random.random() < 0.2 else content)
    found = declaration.read(str(file))
    base = dataclasses.replace(configuration.Config(), run_dir=str(place / "study"))
    plan = Plan(found, base, StudyOptions(carry=pick(random, ["report", "best"])))
    for table in (*found.tables, *found.figures):
        assert (place / table.name).parent == place and len(table.name) < 100
    for run in plan.all_runs():
        assert pathlib.Path(run.config.run_dir).parent == place / "study" / "runs"
        check(run.config, place)


def data_set(random, place):
    """dataset.json; a sound one is the same when it is written and read again."""
    file = place / descriptors.FILE_NAME
    keys = ("semseg", "depth", "rgb", "splits", "scale", "tasks", "kind")
    content = json_bytes(random, damage_tree(random, DATA_SET, keys=keys))
    if random.random() < 0.3:
        content = mutate(random, json.dumps(DATA_SET).encode() if random.random() < 0.5 else content)
    file.write_bytes(content)
    found = descriptors.read(place)
    numbers = list(found.rgb_std)
    for labels in found.labels.values():
        if isinstance(labels, DepthLabels):
            numbers += [labels.scale, labels.minimum, labels.maximum, labels.mean]
        else:
            assert len(labels.palette) == len(labels.classes) < 256
            assert np.array(labels.palette, np.uint8).tolist() == [list(colour) for colour in labels.palette]
    assert all(number is None or (0 < number < math.inf) for number in numbers)
    descriptors.write(place, found)
    assert descriptors.read(place) == found
    try:
        found.tasks(configuration.Config())
    except UsageError as error:
        assert "\n" not in str(error)


CASES = {case.__name__: case for case in (options, flag_file, experiments, data_set)}
