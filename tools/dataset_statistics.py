"""tools/dataset_statistics.py --data.name=NAME --data.root=FOLDER: colour, depth and class statistics.

Over all pixels of the training split (--data.train_split) at the size they have on disk: mean and standard deviation of
RGB, of depth and of its natural logarithm (valid pixels), and how often each class occurs. Training whitens its inputs
and targets with them: --write puts them into <data.root>/dataset.json, --output=FILE into a file elsewhere, which
training reads with --data.statistics=FILE.
"""

import concurrent.futures
import dataclasses
import functools
import math
import os
import sys

import numpy as np
from _tool import run_tool

from mtl_tf import config as configuration
from mtl_tf.atomic import write_json
from mtl_tf.data import descriptors, files
from mtl_tf.data.sets import describe, open_split
from mtl_tf.data.sets.settle import demand_root_is_read
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option
from mtl_tf.progress import Progress


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    write: bool = option(False, "Write them into <data.root>/dataset.json; it is made where there is none.")
    json: str = option("", "File to write the statistics and class shares to, as JSON; empty = print only.")


def measure_and_report(parsed):
    """Measures, prints and, where told to, writes."""
    config = parsed.config
    demand_root_is_read(config.data)
    targets = _targets(parsed)
    descriptor = describe(configuration.replace(config, data__statistics="").data)
    if parsed.own.write:
        _check_replaces(config.data, descriptor)
    if "tasks" not in parsed.given:
        config = configuration.replace(config, tasks=descriptor.task_names, model__architecture="joint")
        labelled = open_split(config, config.data.train_split, descriptor).labelled
        config = configuration.replace(config, tasks=tuple(t for t, n in labelled.items() if n) or config.tasks)
    source = open_split(config, config.data.train_split, descriptor)
    sums = measure(source, descriptor, config)
    described, frequencies = summarise(sums, descriptor)
    print(table(described, frequencies, len(source)))
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


def measure(source, descriptor, config):
    """Sums over all samples.

    Returns:
        (count, sum, squares) of "rgb" (3, 3), "depth" and "log_depth" (3,); "classes" (256,), the pixels of each label
        value; "samples" (3,), how many have a picture, class ids and depth. What no sample has is left out.
    """
    totals, skipped = {}, 0
    progress = Progress("measuring", len(source))
    with concurrent.futures.ThreadPoolExecutor(config.data.workers or os.cpu_count()) as pool:
        read = functools.partial(_sums, source, descriptor.blanks.get("semseg"), config.data.skip_bad)
        for found in pool.map(read, range(len(source))):
            skipped += not found
            for name, value in found.items():
                totals[name] = totals.get(name, 0.0) + value
            progress.advance()
    progress.close()
    if skipped:
        print(f"{skipped} samples that cannot be read are left out", file=sys.stderr)
    if not totals:
        raise UsageError("no sample can be read; tools/check_dataset.py says why")
    for task, key, lacking in (("semseg", "classes", "a class"), ("depth", "depth", "a valid depth")):
        if source.labelled.get(task) and key not in totals:
            raise UsageError(f"no pixel of the split has {lacking}; tools/check_dataset.py says more")
    return totals


def _sums(source, ignore, skip_bad, index):
    try:
        sample = source.read(index)
    except UsageError:
        if skip_bad:
            return {}
        raise
    found = {"rgb": _moments(sample["image"].reshape(-1, 3))}
    # A sample without a label comes with one that is all invalid; its pixels are no part of the shares.
    if (depth := sample.get("depth")) is not None and (depth > 0).any():
        depth = depth[depth > 0].astype(np.float64)
        found["depth"], found["log_depth"] = _moments(depth), _moments(np.log(depth))
    if (semseg := sample.get("semseg")) is not None and (semseg != ignore).any():
        found["classes"] = np.bincount(semseg.ravel(), minlength=256).astype(np.float64)
    found["samples"] = np.array([1, "classes" in found, "depth" in found])
    return found


def _moments(values):
    values = values.astype(np.float64)
    return np.stack([np.full(values.shape[1:], float(len(values))), values.sum(axis=0), (values**2).sum(axis=0)])


def mean_std(moments):
    """Mean and standard deviation, float64, of (count, sum, sum of squares)."""
    count, total, squares = moments
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0.0))


def summarise(sums, descriptor):
    """The descriptor with the measured statistics, and class name -> share of all pixels (with "ignore")."""
    labels, frequencies = dict(descriptor.labels), {}
    mean, std = mean_std(sums["rgb"])
    rgb = dict(rgb_mean=_rounded(mean), rgb_std=_rounded(std))
    if "depth" in sums:
        changes = {}
        for prefix, name in (("", "depth"), ("log_", "log_depth")):
            mean, std = mean_std(sums[name])
            changes |= {f"{prefix}mean": _digits(mean), f"{prefix}std": _digits(std)}
        labels["depth"] = dataclasses.replace(labels["depth"], **changes)
    if "classes" in sums:
        shares, ids = sums["classes"] / sums["classes"].sum(), labels["semseg"]
        frequencies = dict(zip(ids.classes, shares, strict=False)) | {"(ignore)": shares[ids.ignore]}
    return dataclasses.replace(descriptor, labels=labels, **rgb), frequencies


def as_json(sums, descriptor, split):
    """The same figures for other programs, unrounded; "classes" and "depth" only where there are such labels.

    Returns:
        A dict: "samples" and "pixels" that each kind was measured on; "rgb" of values 0..255; "classes" and "ignore" in
        percent of all pixels of the label maps; "depth" of valid pixels, in its "unit".
    """
    kinds = {"rgb": "rgb", "semseg": "classes", "depth": "depth"}
    samples = {kind: int(count) for kind, count in zip(kinds, sums["samples"], strict=True) if kinds[kind] in sums}
    found = {"name": descriptor.name, "split": split, "samples": samples, "pixels": {}}
    for kind in samples:
        figures = sums[kinds[kind]]
        found["pixels"][kind] = int(figures.sum() if kind == "semseg" else np.ravel(figures)[0])
        if kind == "semseg":
            percent = 100 * figures / figures.sum()
            ids = descriptor["semseg"]
            found["classes"] = dict(zip(ids.classes, percent.tolist(), strict=False))
            found["ignore"] = float(percent[ids.ignore])
        else:
            found[kind] = {name: value.tolist() for name, value in zip(("mean", "std"), mean_std(figures), strict=True)}
    if "depth" in found:
        mean, std = mean_std(sums["log_depth"])
        found["depth"] |= {"log_mean": float(mean), "log_std": float(std), "unit": descriptor["depth"].unit}
    return found


def _rounded(values):
    return tuple(map(_digits, values))


def _digits(value):
    """Five significant digits; more would be noise."""
    return float(f"{value:.5g}") if math.isfinite(value) else value


def table(descriptor, frequencies, count):
    """The statistics as text."""
    lines = [f"{count} samples", "", f"{'':<24}{'mean':>12}{'std':>12}"]
    rows = [
        (f"{name} (0..255)", *pair) for name, *pair in zip("RGB", descriptor.rgb_mean, descriptor.rgb_std, strict=True)
    ]
    depth = descriptor.labels.get("depth")
    if depth and depth.mean is not None:
        unit = "depth (m)" if depth.unit == "metres" else depth.unit
        rows.append((unit, depth.mean, depth.std))
        rows.append((f"ln {unit}", depth.log_mean, depth.log_std))
    lines += [f"{name:<24}{mean:>12.5g}{std:>12.5g}" for name, mean, std in rows]
    if frequencies:
        lines += ["", f"{'class':<16}{'% of pixels':>12}"]
        lines += [f"{name:<16}{100 * share:>12.3f}" for name, share in frequencies.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run_tool(measure_and_report, Options))
