"""tools/describe_dataset.py --data.root=FOLDER: asks what a data set of your own is and writes its dataset.json.

FOLDER/SPLIT/rgb/ID.jpg, beside it semseg/ID.png and depth/ID.png (one of them may lack). The tool looks at the files,
asks a few questions, each with a guess that Enter takes, writes FOLDER/dataset.json and tries it. What an option says
is not asked; --noask asks nothing. Run again, it takes the present dataset.json for its guesses. Of the options of
main.py it takes --data.root.
"""

import contextlib
import pathlib
import shlex
import sys
from collections.abc import Iterable

from _describing.answers import answers
from _describing.looking import Found, look
from _describing.options import Options
from _describing.questions import Questions, yes_or_no
from _tool import run_tool

from mtl_tf.config import Config, from_values, replace, values
from mtl_tf.data import descriptors, sets
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.plausibility import Evidence, see
from mtl_tf.data.sets.folder import open_split
from mtl_tf.errors import UsageError
from mtl_tf.options import format_value


def describe(parsed):
    """Looks, asks, writes, tries.

    Raises:
        UsageError: the folder is none of the project's layout, its labels are of another kind, or a question has no
            answer.
    """
    root, own = parsed.config.data.root, parsed.own
    found = look(parsed.config, own.semseg_encoding)
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
    described = answers(found, own, old, ask, pathlib.Path(root).absolute().name)
    print(f"\nwritten to {descriptors.write(root, described)}")
    print(*described.told(), sep="\n")
    for text in implausible(found, described):
        print(f"warning: {text}")
    report(parsed.config, descriptors.read(root), found)


def implausible(found: Found, described: Descriptor) -> list[str]:
    """Warnings about the files that were looked at, read as they are described now."""
    evidence = Evidence(described)
    for task in described.task_names:
        for path in found.paths[task]:
            # What cannot be read is named where samples are tried.
            with contextlib.suppress(UsageError):
                evidence.add(see(task, path, described))
    return evidence.warnings(evidence if found.complete else None)


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
