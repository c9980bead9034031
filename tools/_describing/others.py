"""Labels of other tasks: folders that are called like a kind of task, and whose files can be nothing else."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from _describing.looking import ARRAYS, Found
from _describing.options import Options
from _describing.questions import Questions, yes_or_no
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.errors import UsageError, said_of
from mtl_tf.storage import codecs, pixels
from mtl_tf.storage.arrays import array_of, read_floats
from mtl_tf.tasks import KINDS, Labels
from mtl_tf.tasks._binary import BinaryLabels
from mtl_tf.tasks._numbers import MOST_CHANNELS, NumberLabels
from mtl_tf.tasks._vectors import VectorLabels, axes_of

Fitting = dict[str, tuple[Labels, str]]  # folder -> the labels that its files show, and what they hold in words

_ODD = 0.05  # share of the pixels with a direction that are no unit vectors, up to which files are taken for directions


def fitting_others(found: Found, old: Descriptor | None) -> Fitting:
    """The folders that are called like a kind, hold what it does, and are not described."""
    named = {kind.name: kind for kind in KINDS.values()}
    candidates = {name: named[name] for name in found.paths if name in named and not (old and name in old.labels)}
    looked = {name: _looked_at(kind, found.paths[name]) for name, kind in candidates.items()}
    return {name: seen for name, seen in looked.items() if seen}


def others(fitting: Fitting, own: Options, ask: Questions) -> dict[str, Labels]:
    """The labels of those folders of which it is said that they are labels."""
    labels = {}
    for name, (shown, told) in fitting.items():
        question = f"{name}: {told}. Describe them as labels of kind {shown.kind}?"
        if own.others == "yes" or (not own.others and ask(question, "yes", yes_or_no, "others=yes")):
            labels[name] = _with_axes(name, shown, own, ask) if isinstance(shown, VectorLabels) else shown
    return labels


def _with_axes(name, labels, own, ask):
    """They are never guessed: files do not show them."""
    question = (
        f"What are x, y and z of the {name}: right or left, up or down, to_camera or forward, as {codecs.USUAL_AXES}?"
    )
    with said_of("--axes"):
        axes = _axes(own.axes) if own.axes else ""
    return dataclasses.replace(labels, axes=axes or ask(question, "", _axes, "axes"))


def _axes(text):
    try:
        return axes_of(text)
    except (ValueError, KeyError):
        raise UsageError(f"{axes_of.__doc__}, not {text!r}") from None


def _looked_at(kind: type[Labels], paths: Sequence[str]):
    """Labels of the kind and what the files hold; None where they do not fit, or other labels fit as well."""
    look = next((look for base, look in _LOOKS.items() if issubclass(kind, base)), None)
    try:
        return look(kind, paths, all(path.lower().endswith(ARRAYS) for path in paths)) if look and paths else None
    except UsageError:
        return None


def _directions(kind, paths, arrays):
    labels = kind(axes=codecs.USUAL_AXES, encoding="npy" if arrays else "rgb8")
    for path in paths:
        if arrays:
            stored = read_floats(path, labels.expected)
        else:
            colours = pixels.read_exact_rgb(path, labels.expected)
            stored = np.where(codecs.decode_directions(colours).any(-1)[..., None], colours / 127.5 - 1, 0)
        known = stored.any(-1)
        length = np.linalg.norm(stored[known], axis=-1)
        if not known.any() or not (abs(length - 1) < 0.1).mean() > 1 - _ODD:
            return None
    return labels, f"unit vectors in {'.npy files' if arrays else '8-bit RGB'}"


def _masks(kind, paths, arrays):
    labels = kind()
    values = set().union(*(np.unique(labels.codes(path)).tolist() for path in paths if not arrays))
    if len(values) != 2 or min(values) != 0 or max(values) not in (1, 255):
        return None
    return labels, f"masks of 0 and {max(values)}"


def _numbers(kind, paths, arrays):
    shapes = {np.shape(array_of(path)[0])[2:] for path in paths} if arrays else set()
    # Another scale than 1 is of stored integers.
    if len(shapes) != 1 or kind.scale != 1:
        return None
    labels = kind(encoding="npy", channels=(*shapes.pop(), 1)[0])
    if not 1 <= labels.channels <= MOST_CHANNELS:
        return None
    for path in paths:
        labels.read(path)
    return labels, f"numbers (H, W{f', {labels.channels}' if labels.channels > 1 else ''}) in .npy files"


_LOOKS = {VectorLabels: _directions, BinaryLabels: _masks, NumberLabels: _numbers}
