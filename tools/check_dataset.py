"""tools/check_dataset.py --data.name=NAME --data.root=FOLDER: reads every file of a data set and names every fault.

Finds files that are missing or cannot be read, pictures of a wrong kind, sizes that differ within a sample, label
values out of range and labels without a single valid pixel. Changes nothing. Exit status 0: no fault; 2: some.
"""

import concurrent.futures
import dataclasses
import os
import sys

from _tool import run_tool

from mtl_tf.data import folder
from mtl_tf.data.descriptors import describe
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option
from mtl_tf.progress import Progress


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    splits: tuple[str, ...] = option((), "Splits to check; empty = all there are.")


def check(parsed):
    """Checks the splits and prints the faults.

    Raises:
        UsageError: there are faults, or nothing to check.
    """
    data = parsed.config.data
    if data.name == "synthetic":
        raise UsageError("--data.name=synthetic has no files to check; name a data set: --data.name, --data.root")
    descriptor = describe(data)
    tasks = parsed.config.tasks if "tasks" in parsed.given else descriptor.task_names
    descriptor.check_has(tasks)
    there = folder.splits_in(data.root) if data.root else []
    demanded = descriptor.splits if data.name == "folder" else ()  # its own dataset.json says so
    splits = parsed.own.splits or sorted({*demanded, *there}) or [data.train_split]
    paths = [folder.find_split(data.root, split) for split in splits]
    samples, faulty, faults = 0, 0, 0
    for path in paths:
        found = check_split(path, descriptor, tasks, data)
        samples += len(found)
        faulty += sum(bool(texts) for texts in found)
        faults += sum(map(len, found))
        print(f"{path.name}: {len(found)} samples, {sum(bool(texts) for texts in found)} of them with faults")
    if faults:
        raise UsageError(f"{faults} faults in {faulty} of {samples} samples of {data.root}; they are listed above")
    print(f"no fault in {samples} samples of {data.root}")


def check_split(path, descriptor, tasks, data):
    """Prints the faults of a split; returns the list of those of each sample."""
    files = {modality: folder.list_files(path, modality) for modality in ("rgb", *tasks)}
    names = sorted(set().union(*files.values()), key=folder.natural_order)[: data.limit or None]
    if not names:
        raise UsageError(f"{path}: no samples; expected rgb/<id>.jpg, semseg/<id>.png and depth/<id>.png")
    progress = Progress(f"checking {path.name}", len(names))
    found = []
    with concurrent.futures.ThreadPoolExecutor(data.workers or os.cpu_count()) as pool:
        for texts in pool.map(lambda name: faults_of(path, name, files, descriptor), names):
            found.append(texts)
            if texts:
                progress.close()
                print(*texts, sep="\n", flush=True)
            progress.advance()
    progress.close()
    return found


def faults_of(path, name, files, descriptor):
    """What is wrong with one sample: a list of texts that name the file."""
    texts, sizes = [], {}
    readers = {"rgb": lambda file, _: folder.read_rgb(file), **folder.READERS}
    for modality, present in files.items():
        file = present.get(name)
        if file is None:
            if modality == "rgb":
                texts.append(f"{path / 'rgb' / name}.jpg: no such image, though it has labels")
            elif present:
                texts.append(f"{path / modality / name}.png: no such label, though other samples of the split have one")
            continue
        try:
            pixels = readers[modality](file, descriptor)
        except UsageError as error:
            texts.append(str(error))
            continue
        sizes[modality] = pixels.shape[:2]
        if modality == "depth" and not (pixels > 0).any():
            low, high = descriptor.depth_minimum, descriptor.depth_maximum
            texts.append(f"{file}: no pixel has a valid depth ({low:g}..{high:g} m)")
        if modality == "semseg" and (pixels == descriptor.ignore).all():
            texts.append(f"{file}: no pixel has a class; all are ignore ({descriptor.ignore})")
    for modality in sizes.keys() - {"rgb"}:
        if "rgb" in sizes:
            try:
                folder.check_size(files[modality][name], sizes[modality], files["rgb"][name], sizes["rgb"])
            except UsageError as error:
                texts.append(str(error))
    return texts


if __name__ == "__main__":
    sys.exit(run_tool(check, Options))
