"""An offline page of many runs: sortable tables, charts to point at, a gallery of answers over the truth.

The page is one file that asks for nothing. Its tables and texts are HTML and need no script; charts and the gallery
are drawn by the script in it (page.js, charts.js, drawings.js, gallery.js). NumPy, Pillow and Jinja only: nothing here
waits for TensorFlow.
"""

import base64
import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from mtl_tf.atomic import write_text
from mtl_tf.report import embedding, scores
from mtl_tf.tasks import Task

SCRIPTS = ("page.js", "charts.js", "drawings.js", "gallery.js")


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: as shown.
        value: what the column is sorted by; None sorts last. A column without any value is sorted by its text.
    """

    text: str
    value: float | None = None

    @property
    def key(self) -> float | None:
        """The value if it is a finite number."""
        return scores.number(self.value)


@dataclasses.dataclass(frozen=True)
class DataTable:
    """A table that is sorted by clicking its heads.

    Attributes:
        id: the name of its place in the page (study.html#ID).
        title: its heading.
        columns: heads.
        rows: of one cell for each column; the first names the row.
        verdicts: sentences above it.
        note: a remark under the heading.
    """

    id: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    verdicts: tuple[str, ...] = ()
    note: str = ""

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers."""
        return tuple(any(row[place].key is not None for row in self.rows) for place in range(len(self.columns)))


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        label: the run; the same label has the same colour in all charts of a page.
        points: name of an x axis ("step", "epoch") -> (x, y) pairs; a y of None or NaN is left out.
    """

    label: str
    points: dict[str, list[tuple[float, float | None]]]

    @property
    def last(self) -> float | None:
        """The last finite y on the first axis that has one."""
        found = [points[-1][1] for raw in self.points.values() if (points := embedding.finite(raw))]
        return found[0] if found else None


@dataclasses.dataclass(frozen=True)
class Chart:
    """Lines over the same axes.

    Attributes:
        title: what is drawn, with its unit.
        lines: of the runs.
        note: a remark beside the title.
        log: whether the y axis is logarithmic at first.
        zero: whether a linear y axis begins at 0.
    """

    title: str
    lines: tuple[Line, ...]
    note: str = ""
    log: bool = False
    zero: bool = False


@dataclasses.dataclass(frozen=True)
class Figure:
    """Charts under one heading, which share their x axis and which runs are shown.

    Attributes:
        id: the name of its place in the page.
        title: its heading.
        charts: side by side.
        note: a remark under the heading.
    """

    id: str
    title: str
    charts: tuple[Chart, ...]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a run says of a picture.

    Attributes:
        label: the run.
        maps: task name -> answer (H, W, ...); a task that the run has not is left out.
        scores: dotted metric name -> score of this picture.
    """

    label: str
    maps: dict[str, np.ndarray]
    scores: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image, its truth and what the runs say.

    Attributes:
        id: of the sample.
        rank: "worst", "median", "best", one of them "in TASK", or "".
        image: RGB 0..255 (H, W, 3).
        truth: task name -> label map (H, W, ...).
        answers: of the runs.
    """

    id: str
    rank: str
    image: np.ndarray
    truth: dict[str, np.ndarray]
    answers: tuple[Answer, ...]

    @property
    def rank_name(self) -> str:
        """The rank as people read it."""
        return self.rank[:1].upper() + self.rank[1:]


@dataclasses.dataclass(frozen=True)
class Document:
    """A page.

    Attributes:
        title: its heading.
        facts: what it is about, in a few words each.
        tables: in order.
        figures: in order.
        pictures: of the gallery.
        tasks: of the pictures.
        sections: (heading, preformatted text) at the end.
    """

    title: str
    facts: tuple[str, ...]
    tables: tuple[DataTable, ...] = ()
    figures: tuple[Figure, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tasks: Sequence[Task] = ()
    sections: tuple[tuple[str, str], ...] = ()


def write_document(path: Path, document: Document) -> Path:
    """Writes a page; a reader never sees half of it.

    Args:
        path: the file; its folder is made.
        document: what it shows; an empty part leaves its section out.

    Returns:
        The path.

    Raises:
        WriteError: it could not be written; what was there is untouched.
    """
    path = Path(path)
    write_text(path, render("document.html.jinja", document.figures, document.pictures, document.tasks, page=document))
    return path


def render(
    template: str, figures: Sequence[Figure], pictures: Sequence[Picture], tasks: Sequence[Task], **context
) -> str:
    """A page from one of the templates beside this file.

    Args:
        template: a template that extends base.html.jinja.
        figures: whose data the script gets, in the order in which the template places them.
        pictures: of the gallery.
        tasks: of the pictures.
        **context: what the template shows besides.

    Returns:
        HTML.
    """
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    script = "\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data = {"figures": embedding.figure_data(figures)}
    if pictures:
        data["gallery"] = embedding.gallery_data(pictures, tasks)
    page = environment.get_template(template).render(
        style=Markup((folder / "page.css").read_text(encoding="utf-8")),  # noqa: S704 (ours)
        script=Markup(script),  # noqa: S704 (ours)
        # Only this very script may run: not one that a name smuggles in, should an escape ever be missed.
        script_source=f"'sha256-{digest}'",
        data=embedding.json_text(data),
        figures=figures,
        photos=[(picture, *embedding.photo_uri(picture.image)) for picture in pictures],
        short=scores.short,
        **context,
    )
    return page.encode("utf-8", "backslashreplace").decode("utf-8")  # names need not be UTF-8, a page must
