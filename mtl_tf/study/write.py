"""Everything a study gives: tables as Markdown and CSV, figures as PNG and CSV, and one offline page."""

import io
import pathlib
import re

from mtl_tf import flags
from mtl_tf.atomic import write_bytes, write_text
from mtl_tf.report import document
from mtl_tf.study.curves import SEED, Chart, charts_of
from mtl_tf.study.declaration import Figure
from mtl_tf.study.gallery import gallery
from mtl_tf.study.plan import PAGE, RESULTS, Plan
from mtl_tf.study.tables import Made, make_tables
from mtl_tf.training.run_directory import environment, write_table


def write_results(plan: Plan, pictures: int) -> pathlib.Path:
    """Writes the results of a study, as far as it has come; returns the path of the page.

    Args:
        plan: of the study; `base.run_dir` is its folder, which gets results/ and study.html.
        pictures: worst, median and best images on the page, of each.
    """
    folder = pathlib.Path(plan.base.run_dir)
    tables = make_tables(plan)
    drawn = {figure: charts_of(plan, figure) for figure in plan.figures}
    figures = {figure: charts for figure, charts in drawn.items() if figure.diagram or charts}
    facts = _facts(plan)
    for made in tables:
        head = made.head
        rows = [dict(zip(head, (cell.text for cell in row), strict=True)) for row in made.rows]
        write_table(folder / RESULTS / f"{made.table.name}.csv", rows)
    for figure, charts in figures.items():
        if not figure.diagram:
            write_table(folder / RESULTS / f"{figure.name}.csv", _curve_rows(charts))
            write_bytes(folder / RESULTS / f"{figure.name}.png", _plot(figure, charts))
    write_text(folder / RESULTS / "tables.md", _markdown(plan, tables, list(figures), facts))
    shown, tasks = gallery(plan, pictures)
    page = document.Document(
        title=f"Study {folder.resolve().name}",
        facts=facts,
        tables=tuple(_page_table(made) for made in tables),
        figures=tuple(_page_figure(figure, charts) for figure, charts in figures.items() if not figure.diagram),
        pictures=shown,
        tasks=tasks,
        sections=(
            *((figure_title(figure), figure.diagram.strip("\n")) for figure in figures if figure.diagram),
            ("Flags that all rows share", flags.run_flags(plan.base).strip()),
        ),
    )
    return document.write_document(folder / PAGE, page)


def figure_title(figure: Figure) -> str:
    """ "Figure 1. Adam: learning rates"."""
    number = figure.name.removeprefix("figure").lstrip("-")
    return f"Figure {number}. {figure.title}"


def table_title(made: Made) -> str:
    """ "Table 1. Adam: learning rate"."""
    number = made.table.name.removeprefix("T")
    return f"Table {number}. {made.table.title}" if number.isdecimal() else made.table.title


def _facts(plan: Plan) -> tuple[str, ...]:
    runs = plan.all_runs()
    ended = [run for run in runs if run.outcome]
    machine = environment()
    base = plan.base
    return (
        f"{len(ended)} of {len(runs)} runs ended",
        f"data {base.data.name}, split {base.data.split}",
        f"encoder {base.model.encoder}",
        f"carry={plan.options.carry}",
        _seeds(plan),
        f"{machine['processor']}, {machine['cores']} cores",
        f"commit {machine['commit']}",
    )


def _seeds(plan):
    rows = [row for table in plan.tables for row in table.rows]
    own = sorted({row.seeds for row in rows if row.seeds})
    said = [f"{plan.options.seeds} seed(s)"]
    if not own or any(row.architecture for row in rows):
        said.append(f"{plan.options.architecture_seeds} for architectures")
    if own:
        said.append(f"{' or '.join(map(str, own))} for rows that name their own")
    return ", ".join(said)


# === Markdown ===


def _markdown(plan, tables, figures, facts):
    lines = [f"# Study {pathlib.Path(plan.base.run_dir).resolve().name}", "", "; ".join(facts) + ".", ""]
    lines += [
        "Ours is the mean over the seeds, ± the sample standard deviation where there are several; scores are those of "
        "the best epoch by validation, losses those of the last epoch: the weighted sums that are minimised; the "
        "unweighted one is the plain sum over the tasks, of the last answers, as in the report. delta_m is the mean "
        "relative gain over the single-task networks.",
        "",
    ]
    for made in tables:
        lines += [f"## {_plain(table_title(made))}", ""]
        notes = [_plain(text) for text in (made.table.note, *made.verdicts) if text]
        lines += [f"{text}\n" for text in notes]
        lines += [_line(made.head), _line("---" for _ in made.head)]
        lines += [_line(cell.text for cell in row) for row in made.rows] + [""]
    for figure in figures:
        lines += [f"## {_plain(figure_title(figure))}", ""]
        picture = f"![{_plain(figure.title)}]({figure.name}.png)"
        lines += [f"```{figure.diagram}```", ""] if figure.diagram else [picture, ""]
    return "\n".join(lines)


def _line(cells):
    return "| " + " | ".join(_plain(str(cell)).replace("|", "\\|") for cell in cells) + " |"


def _plain(text):
    """Names are no HTML."""
    return re.sub("<(?=[A-Za-z/!?])", "&lt;", text)


# === Figures ===


def _curve_rows(charts: list[Chart]) -> list[dict]:
    return [
        {"metric": chart.metric, "run": curve.label, "axis": axis, "x": x, "y": y}
        for chart in charts
        for curve in chart.curves
        for axis, points in curve.points.items()
        for x, y in points
        if y is not None
    ]


def _plot(figure: Figure, charts: list[Chart]) -> bytes:
    """Each metric by epoch and by step: a colour a row, a line style a seed."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(10, 2.9 * len(charts)), layout="constrained", dpi=100)
    canvas.suptitle(figure_title(figure), parse_math=False)
    grid = canvas.subplots(len(charts), 2, squeeze=False)
    labels = list(dict.fromkeys(curve.label for chart in charts for curve in chart.curves))
    looks = _looks(labels)
    for axes, chart in zip(grid, charts, strict=True):
        for place, axis in zip(axes, ("epoch", "step"), strict=True):
            for curve in chart.curves:
                points = [(x, y) for x, y in curve.points[axis] if y is not None]
                if points:
                    colour, marker, line = looks[curve.label]
                    marker = marker if len(points) < 20 else ""
                    place.plot(
                        *zip(*points, strict=True), line, color=colour, marker=marker, label=curve.label, markersize=3
                    )
            place.set(xlabel=axis, title=chart.drawn.title)
            if chart.drawn.log:
                place.set_yscale("log")
            place.grid(alpha=0.3)
    handles = {}
    for axes in grid.flat:
        handles.update((label, line) for line, label in zip(*axes.get_legend_handles_labels(), strict=True))
    if handles:
        shown = [label for label in labels if label in handles]
        lines = [handles[label] for label in shown]
        legend = canvas.legend(lines, shown, loc="outside lower center", ncols=4, fontsize="small")
        for text in legend.get_texts():
            text.set_parse_math(False)  # a name may have dollars in it
    stream = io.BytesIO()
    canvas.savefig(stream, format="png")
    return stream.getvalue()


def _looks(labels):
    """Colour, marker and line style of each curve: colours tell rows apart, from the eleventh on with the markers."""
    rows: dict[str, int] = {}
    seeds: dict[str, int] = {}
    found = {}
    for label in labels:
        name = label.rpartition(SEED)[0] or label
        row, seed = rows.setdefault(name, len(rows)), seeds.get(name, 0)
        seeds[name] = seed + 1
        found[label] = f"C{row % 10}", "osvD"[row // 10 % 4], ("-", "--", ":", "-.")[seed % 4]
    return found


# === The page ===


def _page_table(made: Made) -> document.DataTable:
    return document.DataTable(
        id=made.table.name,
        title=table_title(made),
        columns=made.head,
        rows=made.rows,
        verdicts=made.verdicts,
        note=made.table.note,
    )


def _page_figure(figure: Figure, charts: list[Chart]) -> document.Figure:
    shown = tuple(
        document.Chart(
            chart.drawn.title,
            tuple(document.Line(curve.label, curve.points) for curve in chart.curves),
            log=chart.drawn.log,
        )
        for chart in charts
        if chart.curves
    )
    return document.Figure(id=figure.name, title=figure_title(figure), charts=shown)
