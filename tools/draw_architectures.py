"""tools/draw_architectures.py --output=FOLDER: a drawing NAME.svg of every architecture, made of the network itself.

Boxes are the parts of the network for two tasks, named by where their variables stand, with the number of these. What
the tasks share stands in the middle row, what a task has of its own in that of the task; an arrow is a feature that
passes on. Layers without variables are not drawn. `--model.*` and `--arch.*` say what is built.
"""

import collections
import dataclasses
import functools
import html
import itertools
import pathlib
import re
import sys

import numpy as np
from _tool import run_tool

from mtl_tf.atomic import write_text
from mtl_tf.config import replace
from mtl_tf.errors import UsageError
from mtl_tf.models.architectures import ARCHITECTURES
from mtl_tf.options import Section, option
from mtl_tf.quiet import start_tensorflow
from mtl_tf.tasks import cityscapes_tasks

# Of the options of main.py.
USES = ("model", "arch", "output")

_COLUMN, _ROW, _WIDTH, _HEIGHT, _EDGE = 104, 56, 82, 34, 12  # pixels
_COLOURS = {"encoder": "#cfe3f7", "shared": "#e7e1f5", "task": "#fbe6cf", "answer": "#dcefd8"}


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    architectures: tuple[str, ...] = option((), "Architectures; empty = all.")


@dataclasses.dataclass
class Box:
    """A part of a network.

    Attributes:
        title: what it is.
        row: 0 or 2 of a task, 1 of what is shared.
        colour: a key of `_COLOURS`.
        parameters: how many numbers are learnt.
        column, place: where it stands; boxes of one row and column have places 0, 1, ...
    """

    title: str
    row: int
    colour: str
    parameters: int = 0
    column: int = 0
    place: int = 0


def draw_architectures(parsed):
    """Builds every architecture and draws it."""
    config = parsed.config
    if not config.output:
        raise UsageError("--output=FOLDER is missing: it gets NAME.svg of every architecture")
    start_tensorflow()
    folder = pathlib.Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    for name in parsed.own.architectures or tuple(ARCHITECTURES):
        changed = replace(config, model__architecture=name)
        write_text(folder / f"{name}.svg", drawing(changed))
        print(f"{folder}/{name}.svg", flush=True)


def drawing(config) -> str:
    """The drawing of an architecture, SVG.

    Args:
        config: model, and options of the architecture.
    """
    from mtl_tf.models import build_model

    tasks = cityscapes_tasks()
    model = build_model(config.model, tasks, config.arch_options)
    boxes, arrows = _parts(model, [task.name for task in tasks])
    _arrange(boxes, arrows)
    return _svg(config.model.architecture, boxes, arrows)


# === The parts of a network ===


def _parts(model, names):
    """Boxes by key, and arrows between them as pairs of keys."""
    import keras

    from mtl_tf.models.costs import parameters
    from mtl_tf.models.reach import calls_of

    makers = {id(tensor): call for call in calls_of(model) for tensor in call.output_tensors}

    @functools.cache
    def made_by(maker):
        """The keys of the boxes that what a call makes comes from: its own, or through layers without variables."""
        if isinstance(maker.operation, keras.layers.InputLayer):
            return {("image",)}
        if getattr(maker.operation, "variables", None):
            return {_key(maker.operation, names)}
        return made_of(maker)

    def made_of(call):
        return set().union(*(made_by(makers[id(tensor)]) for tensor in call.input_tensors))

    boxes, arrows = {}, set()
    for layer in model.operations:
        if isinstance(layer, keras.layers.InputLayer):
            boxes["image",] = Box("image", 1, "answer")
        elif getattr(layer, "variables", None):
            key = _key(layer, names)
            boxes.setdefault(key, _box(key, names)).parameters += parameters(layer)
        elif layer.name in model.output_names:
            boxes["answer", layer.name] = _box(("answer", layer.name), names)
    for call in makers.values():
        answer = ("answer", call.operation.name)
        ends = {answer} if answer in boxes else made_by(call)
        # The size of an answer is that of the image, which is no feature of it.
        begins = made_of(call) - ({("image",)} if answer in boxes else ends)
        if answer in boxes or getattr(call.operation, "variables", None):
            arrows |= set(itertools.product(begins, ends))
    return boxes, arrows


def _key(layer, names):
    """Where the variables of a layer stand: the task, the copy of the encoder or nothing, and the part."""
    from mtl_tf.models.encoder_layers import EXCHANGE

    *folders, _ = layer.variables[0].path.split("/")
    stage = layer.name.partition("_stage")[2].partition("_")[0]
    if "encoder" in folders[:2]:
        copy = folders[0] if folders[0] != "encoder" else ""
        return copy, "encoder", f"stage {stage}" if stage else ""
    if folders[0] in names:
        return folders[0], folders[1] if len(folders) > 2 else folders[-1], *folders[2:-1][:1]
    if folders[0] == EXCHANGE or len(folders) < 3:
        return "", *folders[:-1], "_".join(folders[-1].split("_")[:2])
    return "", *folders[:2]


def _box(key, names):
    from mtl_tf.models.encoder_layers import EXCHANGE

    copy, *more = key
    if copy == "answer":
        task = next(name for name in names if more[0].startswith(name))
        return Box(more[0], 2 * names.index(task), "answer")
    # A copy of the encoder may be of a task and have a name of its own: depth_expert_0.
    task = next((name for name in names if re.match(rf"{name}(_|$)", copy)), "")
    own = copy.removeprefix(task).strip("_")
    parts = [own, *(part for part in more if part not in (EXCHANGE, "shared") and not (own and part == "encoder"))]
    title = re.sub(r"(?<=[a-z])(?=\d)", " ", " ".join(parts).replace("_", " ")).strip()
    row = 2 * names.index(task) if task else 1
    return Box(title, row, "encoder" if "encoder" in more else ("task" if task else "shared"))


# === Where they stand ===


def _arrange(boxes, arrows):
    """Gives every box a column, behind all that it is made of, and drops arrows that others imply."""
    keys = list(boxes)
    number = {key: place for place, key in enumerate(keys)}
    follows = np.zeros((len(keys), len(keys)), bool)
    for begin, end in arrows:
        follows[number[begin], number[end]] = True
    closure = follows.copy()
    for _ in range(len(keys).bit_length()):
        closure |= closure @ closure
    loops = closure & closure.T
    follows &= ~loops
    implied = follows & (follows @ (closure & ~loops))
    arrows.clear()
    arrows |= {(keys[a], keys[b]) for a, b in zip(*np.nonzero(follows & ~implied), strict=True)}
    column = np.zeros(len(keys), int)
    for _ in keys:
        column = np.maximum(column, np.max(np.where(follows, column[:, None] + 1, 0), 0, initial=0))
    places = collections.Counter()
    for key, at in zip(keys, column, strict=True):
        box = boxes[key]
        box.column, box.place = int(at), places[box.row, int(at)]
        places[box.row, int(at)] += 1


def _svg(name, boxes, arrows):
    tall = [max((box.place + 1 for box in boxes.values() if box.row == row), default=0) for row in range(3)]
    tops = [sum(tall[:row]) * _ROW for row in range(3)]
    here = {}
    for key, box in boxes.items():
        beside = sum(other.row == box.row and other.column == box.column for other in boxes.values())
        middle = tops[box.row] + tall[box.row] * _ROW / 2
        here[key] = (
            _EDGE + box.column * _COLUMN,
            _EDGE + middle + (box.place - beside / 2) * _ROW + (_ROW - _HEIGHT) / 2,
        )
    width = 2 * _EDGE + _COLUMN * max(box.column for box in boxes.values()) + _WIDTH
    height = 2 * _EDGE + sum(tall) * _ROW
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="10" text-anchor="middle" role="img" aria-label="{html.escape(name)}">',
        f'<rect width="{width}" height="{height}" rx="6" fill="#ffffff"/>',
    ]
    for begin, end in sorted(arrows, key=str):
        lines.append(_arrow(here[begin], here[end], boxes[begin], boxes[end]))
    for key, box in boxes.items():
        x, y = here[key]
        lines.append(
            f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="4" fill="{_COLOURS[box.colour]}" '
            'stroke="#555" stroke-width="0.7"/>'
        )
        lines += _words(x + _WIDTH / 2, y + _HEIGHT / 2, box)
    return "\n".join([*lines, "</svg>", ""])


def _arrow(begin, end, first, last):
    """A curve; over boxes of the row between them, around these."""
    (x1, y1), (x2, y2) = (begin[0] + _WIDTH, begin[1] + _HEIGHT / 2), (end[0], end[1] + _HEIGHT / 2)
    bend = max((x2 - x1) / 2, 8)
    lift = -_ROW * 0.62 if first.row == last.row and last.column > first.column + 1 and y1 == y2 else 0
    curve = f"M{x1:g} {y1:g}C{x1 + bend:g} {y1 + lift:g} {x2 - bend:g} {y2 + lift:g} {x2 - 4:g} {y2:g}"
    return (
        f'<path d="{curve}" fill="none" stroke="#777" stroke-width="1"/>'
        f'<path d="M{x2:g} {y2:g}l-5 -2.6v5.2z" fill="#777"/>'
    )


def _words(x, y, box):
    size = min(10, 148 / len(box.title))
    title = f'font-size="{size:.3g}"'
    if not box.parameters:
        return [f'<text x="{x:g}" y="{y + 3.5:g}" {title}>{html.escape(box.title)}</text>']
    millions = f"{box.parameters / 1e6:.3g} M" if box.parameters >= 1e5 else f"{box.parameters:,}"
    return [
        f'<text x="{x:g}" y="{y - 1:g}" {title}>{html.escape(box.title)}</text>',
        f'<text x="{x:g}" y="{y + 11:g}" font-size="8.5" fill="#555">{millions}</text>',
    ]


if __name__ == "__main__":
    sys.exit(run_tool(draw_architectures, Options))
