"""tools/check_dataset.py --data.name=NAME --data.root=FOLDER: reads every file of a data set and names every fault.

Says how labels are read. Finds files that are missing or cannot be read, pictures of a wrong kind, sizes that differ
within a sample, label values out of range and labels without a single valid pixel. Warns of labels that may be read as
something they are not (mtl_tf/data/plausibility.py) and of pictures that stand in two splits. Changes nothing. Exit
status 0: no fault; 2: some. Warnings do not change it, since what is implausible may be right.
"""

import concurrent.futures
import dataclasses
import os
import sys

from _tool import run_tool

from mtl_tf.config import replace
from mtl_tf.data.copies import Copies, digest
from mtl_tf.data.plausibility import Evidence
from mtl_tf.data.sets import describe, open_split, splits_of
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option
from mtl_tf.progress import Progress
from mtl_tf.storage import listing

USES = ("data", "tasks")  # of the options of main.py


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    splits: tuple[str, ...] = option((), "Splits to check; empty = all there are.")


def check(parsed):
    """Checks the splits and prints the faults.

    Raises:
        UsageError: there are faults, or nothing to check.
    """
    config = parsed.config
    data = config.data
    if data.name == "synthetic":
        raise UsageError("--data.name=synthetic has no files to check; name a data set: --data.name, --data.root")
    descriptor = describe(data)
    if "tasks" not in parsed.given:
        config = replace(config, tasks=descriptor.task_names, model__architecture="joint")
    splits = parsed.own.splits or splits_of(data) or [data.train_split]
    sources = {split: open_split(config, split, descriptor) for split in splits}
    print(*descriptor.told(), sep="\n")
    samples, faulty, faults = 0, 0, 0
    evidence, copies = {}, Copies()
    for split, source in sources.items():
        evidence[split] = Evidence(descriptor)
        found = check_split(split, source, data, evidence[split], copies)
        samples += len(found)
        faulty += sum(bool(texts) for texts in found)
        faults += sum(map(len, found))
        bad = sum(bool(texts) for texts in found)
        print(f"{split}: {len(found)} samples with {listing.labels_of(source)}, {bad} of them with faults")
        # A label without an image is a fault, and named as such.
        if told := listing.told(passed for passed in source.passed_over if passed.reason != listing.NO_IMAGE):
            print(f"{split}: {told}")
        for task in config.tasks:
            if not source.labelled[task]:
                hint = source.where.get(task)
                print(f"{split}: no {task} labels at all" + (f"; to have them, {hint}" if hint else ""))
    together = Evidence(descriptor)
    for part in evidence.values():
        together.merge(part)
    trained = evidence[data.train_split].seen if data.train_split in evidence else {}
    for text in [*together.warnings(trained), *copies.told()]:
        print(f"warning: {text}")
    if faults:
        raise UsageError(f"{faults} faults in {faulty} of {samples} samples of {data.root}; they are listed above")
    print(f"no fault in {samples} samples of {data.root}")


def check_split(split, source, data, evidence, copies):
    """Prints the faults of a split; returns the list of those of each sample.

    Args:
        split: its name.
        source: its samples.
        data: the options.
        evidence: `plausibility.Evidence` that gets the labels.
        copies: `copies.Copies` that gets the pictures.
    """
    samples = source.faults()
    copies.begin(split, [name for name, _ in samples])
    progress = Progress(f"checking {split}", len(samples))
    found = []
    with concurrent.futures.ThreadPoolExecutor(data.workers or os.cpu_count()) as pool:
        for place, (texts, seen, picture) in enumerate(pool.map(_look(evidence.descriptor), samples)):
            for task, shown in seen:
                evidence.add(task, shown)
            copies.add(place, picture)
            found.append(texts)
            if texts:
                progress.close()
                print(*texts, sep="\n", flush=True)
            progress.advance()
    progress.close()
    return found


def _look(descriptor):
    """From a sample to its faults, what its labels show, and the digest of its picture."""

    def look(sample):
        seen, picture = [], 0

        def watch(modality, path, pixels, file):
            nonlocal picture
            if modality == "rgb":
                picture = digest(pixels)
            else:
                labels = descriptor[modality]
                seen.append((modality, labels.seen(file) if file else labels.seen(path, pixels)))

        return sample[1](watch), seen, picture

    return look


if __name__ == "__main__":
    sys.exit(run_tool(check, Options))
