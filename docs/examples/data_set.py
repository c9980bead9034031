"""A data set of your own layout: labels beside their picture, `<root>/<split>/NAME.jpg`, `NAME_semseg.png`, ...

What the labels mean stands in `<root>/dataset.json`, which may as well be a `mtl_tf.Descriptor` written out here.
`main.py train --plugin=docs/examples/data_set.py --data.name=beside --data.root=FOLDER ...`
"""

import pathlib

import mtl_tf
from mtl_tf.data import descriptors

PICTURES = (".jpg", ".png")


def describe(data) -> mtl_tf.Descriptor:
    """What the data set has, of the options `data.*`."""
    if not data.root:
        raise mtl_tf.UsageError("--data.name=beside needs --data.root=FOLDER, the folder that holds dataset.json")
    return descriptors.read(data.root)


def splits(data) -> list[str]:
    """The splits that are there."""
    return sorted(folder.name for folder in pathlib.Path(data.root).iterdir() if folder.is_dir())


def open_split(config: mtl_tf.Config, split: str, descriptor: mtl_tf.Descriptor) -> mtl_tf.FileSource:
    """The samples of a split."""
    if split not in splits(config.data):
        there = ", ".join(splits(config.data)) or "none"
        raise mtl_tf.UsageError(f"{config.data.root} has no split {split!r}; it has {there}: name one of them")
    found = {name: {} for name in ("rgb", *descriptor.task_names)}
    for file in sorted(pathlib.Path(config.data.root, split).iterdir()):
        name, _, task = file.stem.rpartition("_")
        if task in descriptor.task_names:
            found[task][name] = str(file)
        elif file.suffix in PICTURES:
            found["rgb"][file.stem] = str(file)
    if not found["rgb"]:
        raise mtl_tf.UsageError(f"{config.data.root}/{split} has no pictures ({', '.join(PICTURES)}); put them there")
    return mtl_tf.FileSource(descriptor, config.tasks, found, limit=config.data.limit)


mtl_tf.register(mtl_tf.DataSet(describe, splits, open_split, name="beside"))
