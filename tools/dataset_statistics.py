"""tools/dataset_statistics.py --data.name=NAME --data.root=FOLDER: statistics of the colours and of each task's labels.

Over all pixels of the training split (--data.train_split) at the size they have on disk: mean and standard deviation of
RGB, of depth and of its natural logarithm (valid pixels), and how often each class occurs. Training whitens its inputs
and targets with them, and weighs classes where it is told to: --write puts them into <data.root>/dataset.json,
--output=FILE into a file elsewhere, which training reads with --data.statistics=FILE.
"""

import dataclasses
import sys

from _tool import run_tool

from mtl_tf import config as configuration
from mtl_tf.atomic import write_json
from mtl_tf.data import descriptors
from mtl_tf.data.sets import describe, open_split, tasks_of_tools
from mtl_tf.data.sets.settle import demand_root_is_read
from mtl_tf.data.statistics import measure, summarise, usable
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option
from mtl_tf.storage import files
from mtl_tf.tasks import ClassLabels
from mtl_tf.tasks.reading.moments import mean_std, row

USES = ("data", "tasks", "output")  # of the options of main.py


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    write: bool = option(False, "Write them into <data.root>/dataset.json; it is made where there is none.")
    json: str = option("", "File to write the figures of the colours and of each task to, as JSON; empty = print only.")


def measure_and_report(parsed):
    """Measures, prints and, where told to, writes."""
    config = parsed.config
    demand_root_is_read(config.data)
    targets = _targets(parsed)
    descriptor = describe(configuration.replace(config, data__statistics="").data)
    if parsed.own.write:
        _check_replaces(config.data, descriptor)
    if "tasks" not in parsed.given:
        config = configuration.replace(config, tasks=tasks_of_tools(config, descriptor))
        labelled = open_split(config, config.data.train_split, descriptor).labelled
        config = configuration.replace(config, tasks=tuple(t for t, n in labelled.items() if n) or config.tasks)
    source = open_split(config, config.data.train_split, descriptor)
    sums = measure(source, descriptor, config.data)
    described = summarise(sums, descriptor)
    print(table(sums, descriptor, len(source)))
    if targets:
        described = usable(described, sums, config.data.train_split)
    for path in targets:
        print(f"written to {descriptors.write_file(path, described)}")
    if parsed.own.json:
        write_json(parsed.own.json, as_json(sums, descriptor, config.data.train_split))
        print(f"written to {parsed.own.json}")


def _targets(parsed):
    """The files to write."""
    config = parsed.config
    if not (parsed.own.write or config.output):
        return []
    option = "--write" if parsed.own.write else "--output"
    if config.data.name == "synthetic":
        raise UsageError(f"{option}: rendered scenes have no {descriptors.FILE_NAME}; name a data set: --data.name")
    if config.data.limit:
        raise UsageError(f"{option} needs the whole split; leave out --data.limit={config.data.limit}")
    if parsed.own.write and files.is_remote(config.data.root):
        raise UsageError(f"--write: {config.data.root} is remote; use --output=FILE, then --data.statistics=FILE")
    inside = [files.join(config.data.root, descriptors.FILE_NAME)] if parsed.own.write else []
    return inside + ([config.output] if config.output else [])


def _check_replaces(data, descriptor):
    """Refuses to overwrite what describes another data set than the known one that was measured."""
    path = files.join(data.root, descriptors.FILE_NAME)
    if data.name == "folder" or not data.root or not files.is_file(path):
        return
    found = descriptors.read(data.root)
    if found.name != descriptor.name:
        raise UsageError(
            f"--write: {path} describes data set {found.name}, not {descriptor.name}; use --output=FILE, then "
            "--data.statistics=FILE"
        )


def as_json(sums, descriptor, split):
    """The same figures for other programs, unrounded; those of a task only where there are such labels.

    Returns:
        A dict: "samples" and "pixels" that the figures of "rgb" and of each task are of; "rgb" of values 0..255; the
        figures of each task (`Labels.figures`) under its name, but those of semseg at the top: "classes" and "ignore"
        in percent of all pixels of the label maps.
    """
    found = {"name": descriptor.name, "split": split, "samples": {}, "pixels": {}}
    for name, of in sums.items():
        if name == "rgb":
            mean, std = mean_std(of["moments"])
            figures = {"pixels": int(of["moments"][0, 0]), "mean": mean.tolist(), "std": std.tolist()}
        else:
            figures = descriptor[name].figures(of)
        found["samples"][name], found["pixels"][name] = of["samples"], figures.pop("pixels")
        if name == ClassLabels.name:
            found |= figures
        elif figures:
            found[name] = figures
    return found


def table(sums, descriptor, count):
    """The statistics as text."""
    lines = [f"{count} samples", "", f"{'':<24}{'mean':>12}{'std':>12}"]
    mean, std = mean_std(sums["rgb"]["moments"])
    lines += [row(f"{name} (0..255)", *pair) for name, *pair in zip("RGB", mean, std, strict=True)]
    tasks = [descriptor[name].listed(name, of) for name, of in sums.items() if name != "rgb"]
    for listed in sorted(tasks, key=lambda listed: listed[:1] == [""]):  # those that go on with this table first
        lines += listed
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run_tool(measure_and_report, Options))
