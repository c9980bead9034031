"""tools/benchmark_cost.py --output=FOLDER: what training costs as the work grows, each point in a process of its own.

size: a training step over images from 128x128 to 1024x1024 pixels.
batch: over 2 to 32 images.
tasks: for one to four, those beyond segmentation and depth being copies of them, with each architecture that the
    tasks allow.
samples: reading from packed data sets of 100 to 1,000,000 random samples of 16x16 pixels: seconds until the first
    batch, and milliseconds an image from then on. The data sets are written to a temporary folder first.

Options of main.py say what network is measured, and the size and batch that the other axes keep. FOLDER gets cost.csv,
cost.json and cost.png. A cost is the median of at least five windows of 0.2 s, or of five steps, where one is longer; a
first batch there is once. Beside each point stands the exponent from the one before it: log of the ratio of costs over
log of the ratio of work, 1 where the cost is linear, 0 where it stays. A point that needs more than --memory GiB is
ended, and said not to fit; so are larger ones of its axis.
"""

import dataclasses
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time

from _tool import ROOT, given_options, run_tool

from mtl_tf.atomic import write_json
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option
from mtl_tf.training.run_directory import environment, write_table

AXES = ("size", "batch", "tasks", "samples")
READ_BATCH = 64  # images, of reading
LOOK = 0.2  # seconds between looks at a process' memory

# Of the options of main.py.
USES = ("data", "augment", "model", "loss", "task", "balance", "optim", "train", "log", "tasks", "seed", "output")


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    axes: tuple[str, ...] = option(AXES, "What grows.", choices=AXES)
    sizes: tuple[int, ...] = option((128, 256, 512, 1024), "Sides of square images, pixels.", minimum=32)
    batches: tuple[int, ...] = option((2, 4, 8, 16, 32), "Images a batch.", minimum=1)
    task_counts: tuple[int, ...] = option((1, 2, 3, 4), "Tasks.", minimum=1)
    samples: tuple[int, ...] = option((100, 1000, 10_000, 100_000, 1_000_000), "Samples of a data set.", minimum=65)
    seconds: float = option(5.0, "For how long each point is measured.", minimum=0.0)
    memory: float = option(8.0, "GiB that a point may take.", minimum=0.5)
    backend: str = option("tensorflow", "What computes (reading is TensorFlow's).", choices=("tensorflow", "jax"))


@dataclasses.dataclass(frozen=True)
class Point:
    """One measurement: a curve's name, how much work, and the options of tools/benchmark.py that describe it."""

    axis: str
    curve: str
    work: int
    options: tuple[str, ...]


def cost(parsed):
    """Measures all points and writes table and plot."""
    config, own = parsed.config, parsed.own
    if not config.output:
        raise UsageError("--output=FOLDER is missing: it gets cost.csv, cost.json and cost.png")
    given = given_options(parsed, without=("output",))
    folder = pathlib.Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mtl_tf_cost_") as temporary:
        rows, full = [], set()
        for point in points(own, pathlib.Path(temporary)):
            if point.curve in full:
                found = {"note": "a smaller one did not fit"}
            else:
                found = _measured([*given, *point.options, f"--seconds={own.seconds}"], own.memory)
            if "note" in found:
                full.add(point.curve)
            rows += rows_of(point, found)
            print(_line(rows[-1]), file=sys.stderr, flush=True)
    add_exponents(rows)
    write_table(folder / "cost.csv", rows)
    write_json(folder / "cost.json", {"rows": rows, "versions": environment()})
    draw(rows, folder / "cost.png")
    print(*(_line(row) for row in rows), sep="\n")
    print(f"written to {folder}/cost.csv, cost.json, cost.png")


def points(own: Options, temporary: pathlib.Path):
    """All points; a data set is written when its turn comes."""
    train = ("--part=train", "--norate", f"--backend={own.backend}")
    if "size" in own.axes:
        for side in own.sizes:
            yield Point("size", "step", side * side, (*train, f"--data.crop_size={side},{side}"))
    if "batch" in own.axes:
        for batch in own.batches:
            yield Point("batch", "step", batch, (*train, f"--train.batch_size={batch}"))
    if "tasks" in own.axes:
        for architecture in ("joint", "branched", "distilled"):
            for count in own.task_counts:
                if count == 1 and architecture == "distilled":
                    continue  # it exchanges features between tasks
                options = f"--model.architecture={architecture}", f"--task_count={count}"
                yield Point("tasks", architecture, count, (*train, *options))
    if "samples" in own.axes:
        import _random_packed

        for count in own.samples:
            root = temporary / f"packed{count}"
            root.mkdir()
            _random_packed.pack(root, count)
            options = f"--data.root={root}", "--data.crop_size=8,8", f"--train.batch_size={READ_BATCH}"
            yield Point("samples", "reading", count, ("--part=data", "--data.name=packed", *options))


def rows_of(point: Point, found: dict) -> list[dict]:
    """The rows of a point: one of its cost, or one of each of its two; a first batch there is only once."""
    costs, windows = {point.curve: found.get("step_ms")}, found.get("windows")
    if point.axis == "samples":
        each = found["step_ms"] / READ_BATCH if "step_ms" in found else None
        costs = {"first batch": found.get("first_batch_seconds", 0) * 1e3 or None, "image": each}
    return [
        {
            "axis": point.axis,
            "curve": curve,
            "work": point.work,
            "ms": value,
            "windows": windows and (1 if curve == "first batch" else windows),
            "images_per_second": found.get("images_per_second"),
            "peak_memory_mb": found.get("peak_memory_mb"),
            "exponent": None,
            "note": found.get("note", ""),
        }
        for curve, value in costs.items()
    ]


def add_exponents(rows: list[dict]) -> None:
    """Notes in each row how its cost grew from that of the row of its curve before it."""
    last = {}
    for row in rows:
        before = last.get((row["axis"], row["curve"]))
        if row["ms"] is None:
            continue
        if before and before["work"] != row["work"]:
            grown = math.log(row["ms"] / before["ms"]) / math.log(row["work"] / before["work"])
            row["exponent"] = round(grown, 3)
        last[row["axis"], row["curve"]] = row


def _measured(options, limit) -> dict:
    """What tools/benchmark.py gives, in a process that is ended when it takes too much memory."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file, tempfile.TemporaryFile("w+") as messages:
        command = [sys.executable, str(ROOT / "tools" / "benchmark.py"), *options, f"--json={file.name}"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=messages)
        while process.poll() is None:
            if _memory(process.pid) > limit * 2**30:
                process.kill()
                process.wait()
                return {"note": f"does not fit {limit:g} GiB"}
            time.sleep(LOOK)
        if process.returncode:
            messages.seek(0)
            lines = messages.read().strip().splitlines() or [f"status {process.returncode}"]
            return {"note": lines[-1][:200]}
        return json.loads(pathlib.Path(file.name).read_text(encoding="utf-8"))


def _memory(process):
    """Bytes of a process that are in memory."""
    try:
        pages = pathlib.Path(f"/proc/{process}/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * 4096


def _line(row):
    if row["ms"] is None:
        return f"{row['axis']:<8} {row['curve']:<12} {row['work']:>9,}  {row['note']}"
    exponent = "" if row["exponent"] is None else f"  exponent {row['exponent']:.2f}"
    return (
        f"{row['axis']:<8} {row['curve']:<12} {row['work']:>9,}  {row['ms']:>10.3f} ms"
        f"  {row['peak_memory_mb']:>7.0f} MiB{exponent}"
    )


# === The plot ===

_LABELS = {
    "size": ("pixels of an image", "ms a step"),
    "batch": ("images a batch", "ms a step"),
    "tasks": ("tasks", "ms a step"),
    "samples": ("samples of the data set", "ms"),
}


def draw(rows: list[dict], path: pathlib.Path) -> None:
    """A panel for each axis, both scales logarithmic, with a dashed line of what linear growth would be."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    axes = [axis for axis in AXES if any(row["axis"] == axis and row["ms"] for row in rows)]
    rows_of_panels = math.ceil(len(axes) / 2)
    figure = pyplot.figure(figsize=(8.4, 3.4 * rows_of_panels), layout="constrained")
    for place, axis in enumerate(axes):
        panel = figure.add_subplot(rows_of_panels, 2, place + 1)
        there = [row for row in rows if row["axis"] == axis and row["ms"]]
        for curve in dict.fromkeys(row["curve"] for row in there):
            x, y = zip(*((row["work"], row["ms"]) for row in there if row["curve"] == curve), strict=True)
            (line,) = panel.plot(x, y, "o-", label=curve, markersize=5, linewidth=1.6)
            if len(x) > 1 and axis != "samples":
                panel.plot(x, [y[0] * value / x[0] for value in x], "--", color=line.get_color(), alpha=0.4)
        panel.set_xscale("log", base=2 if axis in ("size", "batch", "tasks") else 10)
        panel.set_yscale("log")
        panel.set_xlabel(_LABELS[axis][0])
        panel.set_ylabel(_LABELS[axis][1])
        panel.grid(True, which="major", alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        works = sorted({row["work"] for row in there})
        panel.set_xticks(works, [_short(axis, work) for work in works])
        spread = max(row["ms"] for row in there) / min(row["ms"] for row in there)
        panel.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if spread < 100 else (1,)))
        panel.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        panel.minorticks_off()
        panel.legend(frameon=False, fontsize=8)
    figure.suptitle("Cost as the work grows (dashed: linear)", fontsize=11)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _short(axis, work):
    if axis == "size":
        return f"{math.isqrt(work)}²"
    return f"{work:,}" if work < 10_000 else f"{work:.0e}".replace("e+0", "e")


if __name__ == "__main__":
    sys.exit(run_tool(cost, Options))
