"""What every encoder costs and offers, measured once and kept beside the code: building all of them takes minutes."""

import csv
import dataclasses
import io
import itertools
import pathlib
from collections.abc import Callable

import keras

from mtl_tf.atomic import write_text
from mtl_tf.errors import UsageError
from mtl_tf.models.costs import multiply_adds, parameters
from mtl_tf.models.encoders import ENCODERS, build_encoder
from mtl_tf.progress import Progress

FILE = pathlib.Path(__file__).with_name("measured.csv")
SIZE = (256, 256)  # of the image that multiply-adds are counted on


@dataclasses.dataclass(frozen=True)
class Row:
    """An encoder without dilation and without squeeze-and-excitation of ours.

    Attributes:
        encoder: its name.
        parameters: how many numbers are learnt.
        multiply_adds: of one image of `SIZE`.
        features: channels by stride, "2:64 4:256 ...".
        input: what it makes of RGB 0..255.
    """

    encoder: str
    parameters: int
    multiply_adds: int
    features: str
    input: str


_FIELDS = dataclasses.fields(Row)


def figures(name: str, encoder: keras.Model) -> Row:
    """Measures an encoder, as `build_encoder` makes it without options."""
    features = {key.removeprefix("stride"): x.shape[-1] for key, x in encoder.output.items() if key != "last"}
    return Row(
        name,
        parameters(encoder),
        multiply_adds(encoder, SIZE),
        " ".join(f"{stride}:{features[stride]}" for stride in sorted(features, key=int)),
        _input(encoder.get_layer("whiten")),
    )


def _input(whiten) -> str:
    mean, std = (",".join(dict.fromkeys(f"{value:.6g}" for value in values)) for values in (whiten.mean, whiten.std))
    scaled = "" if std == "1" else f" / {std}"
    return f"({'BGR' if whiten.reverse else 'RGB'} - {mean}){scaled}"


def recorded() -> dict[str, Row]:
    """The rows of the file, by encoder."""
    with open(FILE, newline="", encoding="utf-8") as file:
        rows = [Row(**{field.name: field.type(line[field.name]) for field in _FIELDS}) for line in csv.DictReader(file)]
    return {row.encoder: row for row in rows}


def measure_missing():
    """Measures the encoders that the file lacks, and adds them."""
    rows = {name: row for name, row in recorded().items() if name in ENCODERS.built_in}
    missing = [name for name in ENCODERS.built_in if name not in rows]
    progress = Progress("measuring", len(missing), "encoders")
    for name in missing:
        with keras.StatelessScope(initialize_variables=False):  # of the variables shapes are enough
            encoder = build_encoder(name)
        rows[name] = figures(name, encoder)
        progress.advance(1, name)
        _record(rows)
    progress.close()


def _record(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in _FIELDS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(rows[name]) for name in ENCODERS.built_in if name in rows)
    write_text(FILE, text.getvalue())


def markdown(source: Callable[[str], str]) -> str:
    """The table of all encoders.

    Args:
        source: says where the ImageNet weights of an encoder come from; empty for nowhere.

    Raises:
        UsageError: an encoder was not measured yet.
    """
    rows = recorded()
    missing = [name for name in ENCODERS.built_in if name not in rows]
    if missing:
        raise UsageError(f"not measured yet: {', '.join(missing)}; main.py encoders --measure does it")
    strides = ("2", "4", "8", "16", "32")
    head = (
        "encoder",
        "parameters",
        "multiply-adds",
        f"channels at stride {', '.join(strides)}",
        "input",
        "ImageNet weights",
    )
    lines = [head, ["---"] * len(head)]
    for row in (rows[name] for name in ENCODERS.built_in):
        channels = dict(part.split(":") for part in row.features.split())
        offered = ", ".join(channels.get(stride, "-") for stride in strides)
        counts = f"{row.parameters / 1e6:.2f} M", f"{row.multiply_adds / 1e9:.2f} G"
        lines.append((f"`{row.encoder}`", *counts, offered, row.input, source(row.encoder) or "-"))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def put_into(path: str, *tables: str) -> str:
    """Writes tables into a Markdown file, each in place of the one that is there; returns a line that says so.

    The first table takes the place of the first one there, and so on; those that are not there yet are put at its end.
    """
    file = pathlib.Path(path)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    text, waiting = [], list(tables)
    for is_table, found in itertools.groupby(lines, lambda line: line.startswith("|")):
        text += [waiting.pop(0)] if is_table and waiting else found
    for table in waiting:
        text += ["", table] if text else [table]
    write_text(file, "\n".join(text) + "\n")
    return f"{len(ENCODERS.built_in)} encoders in {path}"
