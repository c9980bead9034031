"""Layouts of folders as people have them: each is recognised by its files, and read in place by patterns and lists."""

from _describing.layouts import beside, lists, pairs, scenes, timed
from _describing.layouts.layout import Layout

__all__ = ["Layout", "recognise"]

# The first that fits is meant: those with marks of their own come before those that are known by common names.
_RECOGNISERS = (
    timed.tum,
    lists.voc,
    scenes.diode,
    scenes.hypersim,
    scenes.sun_rgbd,
    scenes.scannet,
    pairs.named_folders,
    beside.suffixes,
)


def recognise(root: str) -> Layout | None:
    """The layout of a folder; None where it is none of these."""
    return next(filter(None, (recogniser(root) for recogniser in _RECOGNISERS)), None)
