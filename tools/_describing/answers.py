"""The descriptor of a data set by options, answers and guesses."""

import dataclasses

from _describing.arranging import ASKED
from _describing.classes import segmentation
from _describing.depth import depth
from _describing.layouts import Layout
from _describing.looking import ARRAYS, Found
from _describing.options import Options
from _describing.others import Fitting, others
from _describing.questions import Questions, splits_of
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.tasks import ClassLabels


def answers(
    found: Found, layout: Layout, fitting: Fitting, own: Options, old: Descriptor | None, ask: Questions, folder: str
) -> Descriptor:
    """The descriptor by options, answers and guesses; `old` is the present one, for guesses and for other tasks."""
    old = old or Descriptor(name=folder)
    name = own.name or ask("Name of the data set?", old.name, str, "name")
    parse, there = splits_of(found.counts), ",".join(found.counts)
    splits = parse(",".join(own.splits)) if own.splits else ask("Splits?", there, parse, "splits")
    # What is not looked at stays.
    labels = {task: said for task, said in old.labels.items() if task not in ASKED or said.endings == ARRAYS}
    if found.labels:
        labels["semseg"] = segmentation(found, own, old.labels.get("semseg", ClassLabels((), ())), ask)
    if found.depth:
        labels["depth"] = depth(found.depth, own, old.labels.get("depth"), ask)
    labels |= others(fitting, own, ask)
    named = {folder: pattern for folder, pattern in layout.file_names.items() if folder in ("rgb", *labels)}
    lists = {split: path for split, path in layout.split_lists.items() if split in splits}
    return dataclasses.replace(old, name=name, splits=splits, labels=labels, file_names=named, split_lists=lists)
