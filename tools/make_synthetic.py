r"""Write rendered road scenes to disk in the layout of Miniscapes.

    python tools/make_synthetic.py --output=data/synthetic --train=2000 --val=200 --test=200

Makes <output>/<split>/rgb/<i>.jpg, semseg/<i>.png (train ids) and depth/<i>.png (inverse depth in a byte, see
mtl_tf.data.codecs). Stopped runs continue where they ended; equal settings give equal files. One core renders
about 10 scenes of 360 x 720 pixels a second. Exit status: 0 done, 2 wrong usage.
"""

import concurrent.futures
import functools
import json
import multiprocessing
import os
import pathlib
import sys

import numpy as np
from absl import app, flags
from PIL import Image
from rich import progress
from rich.console import Console

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # the package need not be installed

from mtl_tf.data import codecs
from mtl_tf.data.synthetic import render, sample_seed

FLAGS = flags.FLAGS
flags.DEFINE_string("output", None, "Folder to write to; made if missing.")
flags.DEFINE_integer("train", 2000, "Number of training samples.", lower_bound=0)
flags.DEFINE_integer("val", 200, "Number of validation samples.", lower_bound=0)
flags.DEFINE_integer("test", 200, "Number of test samples.", lower_bound=0)
flags.DEFINE_integer("height", 360, "Image height in pixels.", lower_bound=16, upper_bound=4096)
flags.DEFINE_integer("width", 720, "Image width in pixels.", lower_bound=16, upper_bound=4096)
flags.DEFINE_integer("seed", 0, "Seed of the whole data set.", lower_bound=0)
flags.DEFINE_integer("workers", 0, "Number of processes; 0 means one per core.", lower_bound=0)

SPLITS = ("train", "val", "test")
SETTINGS = "synthetic.json"
_SUFFIX = {"rgb": ".jpg", "semseg": ".png", "depth": ".png"}


class UsageError(Exception):
    """What the caller asked for cannot be done; the message says how to repair it."""


def sample_files(output: pathlib.Path, split: str, index: int) -> dict[str, pathlib.Path]:
    """Return the file of each modality of a sample."""
    return {name: output / split / name / f"{index}{suffix}" for name, suffix in _SUFFIX.items()}


def write_sample(output: pathlib.Path, seed: int, height: int, width: int, sample: tuple[str, int]) -> None:
    """Render sample (split, index) and write its three files, each whole or not at all."""
    split, index = sample
    scene = render(sample_seed(seed, split), index, height, width)
    pictures = {
        "rgb": scene["image"],
        "semseg": scene["semseg"],
        "depth": codecs.encode_inverse_uint8(scene["depth"]),
    }
    for name, path in sample_files(output, split, index).items():
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        options = {"format": "JPEG", "quality": 92, "subsampling": 0} if name == "rgb" else {"format": "PNG"}
        Image.fromarray(np.asarray(pictures[name], np.uint8)).save(partial, **options)
        os.replace(partial, path)


def prepare(output: pathlib.Path, settings: dict[str, int], counts: dict[str, int]) -> list[tuple[str, int]]:
    """Make the folders and return the samples still to be written.

    Args:
        output: the data set's folder.
        settings: seed, height and width, which all samples of a folder share.
        counts: number of samples per split.

    Returns:
        (split, index) of each sample that lacks a file.

    Raises:
        UsageError: if the folder holds samples of other settings, or cannot be written.
    """
    note = output / SETTINGS
    try:
        if note.exists():
            found = json.loads(note.read_text())
            if found != settings:
                raise UsageError(
                    f"{output} holds samples of other settings ({found}, not {settings}); choose another --output"
                )
        elif any((output / split).exists() for split in SPLITS):
            raise UsageError(f"{output} holds samples that this tool did not make; choose another --output")
        for split in SPLITS:
            for name in _SUFFIX if counts[split] else ():
                (output / split / name).mkdir(parents=True, exist_ok=True)
        output.mkdir(parents=True, exist_ok=True)
        partial = note.with_name(f".{SETTINGS}.{os.getpid()}")
        partial.write_text(json.dumps(settings) + "\n")
        os.replace(partial, note)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot use the folder {output}: {error}") from error
    return [
        (split, index)
        for split in SPLITS
        for index in range(counts[split])
        if not all(path.exists() for path in sample_files(output, split, index).values())
    ]


def write_all(output: pathlib.Path, settings: dict[str, int], samples: list, workers: int) -> None:
    """Write samples with `workers` processes, showing the progress on stderr."""
    write = functools.partial(write_sample, output, settings["seed"], settings["height"], settings["width"])
    columns = (
        progress.TextColumn("{task.completed}/{task.total} images"),
        progress.BarColumn(),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=len(samples), rate="")

        def advance():
            bar.advance(task)
            speed = bar.tasks[0].speed
            bar.update(task, rate=f"{speed:.1f} images/s" if speed else "")

        if workers == 1:
            for sample in samples:
                write(sample)
                advance()
            return
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:
            for _ in pool.map(write, samples, chunksize=4):
                advance()


def main(argv: list[str]) -> int:
    """Run the tool on the parsed flags; return the exit status."""
    try:
        if len(argv) > 1:
            raise UsageError(f"unexpected argument {argv[1]!r}; all settings are flags, see --help")
        if not FLAGS.output:
            raise UsageError("--output must name a folder")
        output = pathlib.Path(FLAGS.output)
        settings = {"seed": FLAGS.seed, "height": FLAGS.height, "width": FLAGS.width}
        counts = {split: FLAGS[split].value for split in SPLITS}
        samples = prepare(output, settings, counts)
        try:
            workers = min(FLAGS.workers or os.cpu_count() or 1, max(len(samples) // 8, 1))
            write_all(output, settings, samples, workers)
        except OSError as error:
            raise UsageError(f"cannot write to {output}: {error}") from error
    except UsageError as error:
        print(f"make_synthetic: {error}", file=sys.stderr)
        return 2
    total = sum(counts.values())
    print(f"{total} samples in {output} ({len(samples)} new, {total - len(samples)} found)")
    return 0


def parse(argv: list[str]) -> list[str]:
    """Parse the flags; wrong values end the program with one line and status 2."""
    try:
        return FLAGS(argv)
    except flags.Error as error:
        print(f"make_synthetic: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
