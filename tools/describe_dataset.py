"""tools/describe_dataset.py --data.root=FOLDER: asks what a data set of your own is and writes its dataset.json.

FOLDER/SPLIT/rgb/ID.jpg, beside it semseg/ID.png and depth/ID.png (one of them may lack). The tool looks at the files,
asks a few questions, each with a guess that Enter takes, writes FOLDER/dataset.json and tries it. What an option says
is not asked; --noask asks nothing. Run again, it takes the present dataset.json for its guesses. Of other folders it
describes, after asking, those that are called like a kind of task and hold what only that does: normals (unit vectors),
edges and saliency (masks), regression (.npy). It names the others, and keeps what dataset.json says of them. Of the
options of main.py it takes --data.root.
"""

import contextlib
import dataclasses
import pathlib
import shlex
import sys
from collections.abc import Iterable

from _describing.answers import answers
from _describing.arranging import ASKED, arrange
from _describing.layouts import Layout
from _describing.looking import Found, look
from _describing.naming import described_key
from _describing.options import Options
from _describing.others import fitting_others
from _describing.questions import Questions, yes_or_no
from _drawing import formats
from _tool import run_tool

from mtl_tf.atomic import write_text
from mtl_tf.config import Config, from_values, replace, values
from mtl_tf.data import descriptors, sets
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.plausibility import Evidence
from mtl_tf.data.sets.folder import open_split
from mtl_tf.data.split_lists import HEADING
from mtl_tf.errors import UsageError
from mtl_tf.options import format_value
from mtl_tf.tasks import KINDS, ClassLabels

USES = ("data", "train.batch_size")  # of the options of main.py


def describe(parsed):
    """Looks, asks, writes, tries.

    Raises:
        UsageError: the folder is none of the project's layout, its labels are of another kind, or a question has no
            answer.
    """
    root = parsed.config.data.root
    demand_masks(root)
    layout = arrange(parsed.config)
    own = with_answers(parsed.own, layout)
    keys = own.depth_key or described_key(root, "depth"), own.semseg_key or described_key(root, "semseg")
    found = look(parsed.config, layout, own.semseg_encoding, *keys)
    ask = Questions(own.ask)
    path = pathlib.Path(root) / descriptors.FILE_NAME
    old = None
    if path.exists():
        if not (own.replace or ask(f"{path} exists. Replace it?", "no", yes_or_no, "replace")):
            raise UsageError(f"{path} is left as it is; --replace replaces it")
        try:
            old = descriptors.read(root)
        except UsageError as error:
            print(f"what is there cannot serve for guesses: {error}")
    fitting = fitting_others(found, old) if own.ask or own.others == "yes" else {}
    if not fitting:
        demand_labels(root, found, old)
    described = answers(found, layout, fitting, own, old, ask, pathlib.Path(root).absolute().name)
    if not described.labels:
        demand_labels(root, found, old)
    write_lists(root, layout)
    print(f"\nwritten to {descriptors.write(root, described)}")
    print(*described.told(), sep="\n")
    for text in implausible(found, described):
        print(f"warning: {text}")
    for text in undescribed(found, described):
        print(text)
    report(parsed.config, descriptors.read(root), found)


def with_answers(own: Options, layout: Layout) -> Options:
    """The options with the answers that follow from a layout, which is named; what was given stays."""
    if layout.title:
        print(f"laid out as {layout.title}" if layout.split_lists or layout.file_names else layout.title)
    print(*layout.notes, sep="\n", end="\n" if layout.notes else "")
    default = Options()
    open_ones = {name: value for name, value in layout.options.items() if getattr(own, name) == getattr(default, name)}
    return dataclasses.replace(own, **open_ones)


def write_lists(root: str, layout: Layout) -> None:
    """Writes the lists of a layout beside dataset.json.

    Raises:
        UsageError: a file of that name is there that is no such list.
    """
    for name, text in layout.written.items():
        path = pathlib.Path(root) / name
        if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(HEADING):
            raise UsageError(f"{path} is there and is no list of this tool; rename it, then describe the folder again")
        write_text(path, text)
        print(f"written to {path}")


def demand_masks(root: str) -> None:
    """Raises a UsageError where a folder holds annotations that have to be drawn first."""
    folder = pathlib.Path(root)
    if not root or not folder.is_dir() or (folder / descriptors.FILE_NAME).exists():
        return
    if found := formats.read(folder):
        place = shlex.quote(f"--input={root}")
        raise UsageError(
            f"{root} holds {found.format} annotations, which are no label maps yet; draw them: "
            f"python tools/draw_labels.py {place} --output=FOLDER"
        )


def demand_labels(root: str, found: Found, old: Descriptor | None) -> None:
    """Raises a UsageError if there are no labels that questions are asked about or that are described already."""
    if found.labels or found.depth or any(found.paths.get(task) for task in (old.labels if old else ())):
        return
    hint = "".join(f"; {text}" for text in undescribed(found, None))
    split = next(iter(found.counts))
    raise UsageError(f"{root} has images but no labels; put class ids into {split}/semseg, depth into depth{hint}")


def undescribed(found: Found, described: Descriptor | None) -> list[str]:
    """A line for each folder that may be labels of a task that is not described, which says how to do it."""
    known = ("rgb", *ASKED, *(described.labels if described else ()))
    named = {kind.name: kind for kind in KINDS.values()}
    kinds = {name: named.get(name, ClassLabels) for name in found.paths if name not in known}
    return [
        f"{name}: its files belong to pictures as labels do; to train on them, describe them in "
        f'{descriptors.FILE_NAME}: "tasks": {{"{name}": {{"kind": "{kind.kind}", {kind.example[1:]}}}, '
        f"kind being one of {', '.join(KINDS)}"
        for name, kind in kinds.items()
    ]


def implausible(found: Found, described: Descriptor) -> list[str]:
    """Warnings about the files that were looked at, read as they are described now."""
    evidence = Evidence(described)
    for task in described.task_names:
        for path in found.paths.get(task, ()):
            # What cannot be read is named where samples are tried.
            with contextlib.suppress(UsageError):
                evidence.add(task, described[task].seen(path))
    return evidence.warnings({task: seen for task, seen in evidence.seen.items() if task in found.complete})


def report(config: Config, described: Descriptor, found: Found):
    """Reads some samples of each split as training would, prints what is wrong with them and what to do next."""
    config = replace(config, data__name="folder", tasks=described.task_names, model__architecture="joint")
    root, faults = config.data.root, 0
    for split in found.counts:
        for _, faults_of in _some_samples(open_split(config, split, described)):
            for text in faults_of():
                faults += 1
                print(f"  {text}")
    print(f"{faults or 'no'} faults in the samples tried; next:")
    needed = needed_options(config, found.counts)
    train_split = {name: value for name, value in needed.items() if name == "data.train_split"}
    place = {"data.name": "folder", "data.root": root}
    for command, options in (
        ("tools/check_dataset.py", place),
        ("tools/dataset_statistics.py --write", place | train_split),
        ("main.py train --run_dir=RUN", place | needed),
    ):
        flags = (shlex.quote(f"--{name}={format_value(value)}") for name, value in options.items())
        print(f"  python {command} {' '.join(flags)}")


def needed_options(config: Config, splits: Iterable[str]) -> dict[str, object]:
    """The options without which training does not begin on a data set that has these splits."""
    splits, data, needed = list(splits), config.data, {}
    if data.train_split not in splits:
        needed["data.train_split"] = next((name for name in splits if name.startswith("train")), splits[0])
    others = [name for name in splits if name != needed.get("data.train_split", data.train_split)]
    if data.val_split not in splits:
        named = next((name for name in others if name.startswith("val")), None)
        needed |= {"data.val_split": named} if named else {"data.val_share": 0.1}
    config = from_values(values(config) | needed)
    with contextlib.suppress(UsageError):  # what cannot be opened is told by training itself
        source = sets.open_split(config, config.data.train_split)
        if not source.one_size():
            needed["data.image_size"] = source.size(0)
        if len(source) < config.train.batch_size:
            needed["train.batch_size"] = len(source)
    return needed


def _some_samples(source, most=5):
    samples = source.faults()
    return samples[:: max(len(samples) // most, 1)][:most]


if __name__ == "__main__":
    sys.exit(run_tool(describe, Options))
