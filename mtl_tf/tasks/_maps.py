"""What all maps have in common whose kinds share them: captions, and a section of dataset.json of plain fields."""

import dataclasses

import numpy as np

from mtl_tf import keys
from mtl_tf.options import option
from mtl_tf.tasks._labels import Labels
from mtl_tf.tasks._task import Task


def named(task: Task, truth, answer, colour) -> list[tuple[str, np.ndarray]]:
    """Captions and pictures of the maps that there are; `colour` makes the picture of one."""
    maps = {f"true {task.name}": truth, f"predicted {task.name}": answer}
    return [(name, colour(np.asarray(values))) for name, values in maps.items() if values is not None]


def encoding(entry, known: tuple[str, ...]) -> str:
    """The entry "encoding" of a section, the first of those known where it is missing."""
    return entry.take("encoding", keys.one_of(*known), default=known[0])


def reduction_option(default: str):
    """The option "reduction" of a kind: a key of `losses.REDUCTIONS`."""
    return option(
        default,
        "What the loss is the mean over: the valid pixels of the batch, or those of each image and then the images.",
        choices=("pixels", "images"),
        before=default,
    )


@dataclasses.dataclass(frozen=True)
class MapLabels(Labels):
    """Labels whose section holds the fields that are not as usual; a pixel without a label is `blank`."""

    def content(self) -> dict:
        usual = {field.name: field.default for field in dataclasses.fields(self)}
        found = {key: value for key, value in dataclasses.asdict(self).items() if value != usual[key]}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}

    @property
    def storage(self) -> tuple:
        return dataclasses.astuple(self)

    def emptiness(self, path: str, label: np.ndarray) -> list[str]:
        return [f"{path}: no pixel has a label"] * bool((label == self.blank).all())
