"""The options of tools/describe_dataset.py, each of which answers one of its questions."""

import dataclasses

from mtl_tf.options import Section, option


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    ask: bool = option(True, "Ask; without, every answer that no option gives is the guess.")
    replace: bool = option(False, "Replace a dataset.json that is there.")
    name: str = option("", "Name of the data set.")
    splits: tuple[str, ...] = option((), "Splits that every copy of the data set should have.")
    classes: tuple[str, ...] = option(
        (), "Names of the classes 0, 1, ..., or a text file with one a line, which may have a colour: road 128 64 128."
    )
    ignore: int = option(-1, "Label value of pixels without a class; -1 = as found.", minimum=-1, maximum=255)
    unit: float = option(0.0, "Metres a unit of 16-bit depth; 0 = as found.", minimum=0.0)
    minimum: float = option(0.0, "Smallest valid depth, metres; 0 = as found.", minimum=0.0)
    maximum: float = option(0.0, "Largest valid depth, metres; 0 = as found.", minimum=0.0)
