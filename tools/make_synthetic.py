"""tools/make_synthetic.py --output=FOLDER --train=N --val=N --test=N: rendered road scenes in Miniscapes' layout.

Makes FOLDER/SPLIT/rgb/I.jpg, semseg/I.png (train ids) and depth/I.png (inverse depth in a byte, see data/codecs.py).
A stopped run continues where it ended; equal settings give equal files. One core renders about 10 scenes of 360x720
pixels a second. Of the options of main.py it takes --output and --seed.
"""

import concurrent.futures
import dataclasses
import functools
import json
import multiprocessing
import os
import pathlib

import numpy as np
from _tool import run_tool
from PIL import Image

from mtl_tf.atomic import write_text
from mtl_tf.data import codecs
from mtl_tf.data.synthetic import render, sample_seed
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option
from mtl_tf.progress import Progress


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    train: int = option(2000, "Number of training samples.", minimum=0)
    val: int = option(200, "Number of validation samples.", minimum=0)
    test: int = option(200, "Number of test samples.", minimum=0)
    height: int = option(360, "Height of the pictures, pixels.", minimum=16, maximum=4096)
    width: int = option(720, "Width of the pictures, pixels.", minimum=16, maximum=4096)
    workers: int = option(0, "Processes that render; 0 = one a core.", minimum=0)


SPLITS = ("train", "val", "test")
SETTINGS = "synthetic.json"
_SUFFIX = {"rgb": ".jpg", "semseg": ".png", "depth": ".png"}


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
        write_text(note, json.dumps(settings) + "\n")
    except UsageError:
        raise
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot use the folder {output}: {error}") from None
    return [
        (split, index)
        for split in SPLITS
        for index in range(counts[split])
        if not all(path.exists() for path in sample_files(output, split, index).values())
    ]


def write_all(output: pathlib.Path, settings: dict[str, int], samples: list, workers: int) -> None:
    """Write samples with `workers` processes, showing the progress on stderr."""
    write = functools.partial(write_sample, output, settings["seed"], settings["height"], settings["width"])
    progress = Progress("rendering", len(samples))
    if workers == 1:
        for sample in samples:
            write(sample)
            progress.advance()
    else:
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:
            for _ in pool.map(write, samples, chunksize=4):
                progress.advance()
    progress.close()


def make(parsed):
    """Renders what is missing.

    Raises:
        UsageError: the folder is missing from the command line, holds something else or cannot be written.
    """
    if not parsed.config.output:
        raise UsageError("--output=FOLDER is missing: where the samples are written")
    output, own = pathlib.Path(parsed.config.output), parsed.own
    settings = {"seed": parsed.config.seed, "height": own.height, "width": own.width}
    counts = {split: getattr(own, split) for split in SPLITS}
    samples = prepare(output, settings, counts)
    workers = min(own.workers or os.cpu_count() or 1, max(len(samples) // 8, 1))
    try:
        write_all(output, settings, samples, workers)
    except OSError as error:
        raise UsageError(f"cannot write to {output}: {error.strerror}; what is complete stays") from None
    except concurrent.futures.BrokenExecutor:
        raise UsageError("a rendering process was ended from outside; run the same command again") from None
    total = sum(counts.values())
    print(f"{total} samples in {output} ({len(samples)} new, {total - len(samples)} found)")


if __name__ == "__main__":
    raise SystemExit(run_tool(make, Options))
