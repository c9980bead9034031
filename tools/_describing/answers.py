"""The descriptor of a data set by options, answers and guesses."""

import dataclasses

from _describing.classes import segmentation
from _describing.depth import depth
from _describing.looking import Found
from _describing.options import Options
from _describing.questions import Questions, splits_of
from mtl_tf.data.descriptors import Descriptor

_MEASURED_BY = tuple(f"depth_{key}" for key in ("encoding", "scale", "invalid", "minimum", "maximum"))


def answers(found: Found, own: Options, old: Descriptor | None, ask: Questions, folder: str) -> Descriptor:
    """The descriptor by options, answers and guesses; `old` is the present one, for guesses."""
    old = old or Descriptor(name=folder)
    name = own.name or ask("Name of the data set?", old.name, str, "name")
    parse, there = splits_of(found.counts), ",".join(found.counts)
    described = dataclasses.replace(
        old,
        name=name,
        splits=parse(",".join(own.splits)) if own.splits else ask("Splits?", there, parse, "splits"),
        classes=(),
        palette=(),
        semseg_encoding="index",
        semseg_values=(),
        depth_encoding="",
        depth_invalid=(),
    )
    if found.labels:
        described = dataclasses.replace(described, **segmentation(found, own, old, ask))
    if found.depth:
        described = dataclasses.replace(described, **depth(found.depth, own, old, ask))
    if any(getattr(old, name) != getattr(described, name) for name in _MEASURED_BY):
        # Statistics of other metres would be wrong; they are to be measured again.
        none = dict.fromkeys(("depth_mean", "depth_std", "depth_log_mean", "depth_log_std"))
        described = dataclasses.replace(described, **none)
    return described
