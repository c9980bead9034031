"""tools/make_synthetic.py --output=FOLDER --train=N --val=N --test=N: rendered road scenes in Miniscapes' layout.

Makes FOLDER/SPLIT/rgb/I.jpg, semseg/I.png (train ids), depth/I.png (inverse depth in a byte, see storage/codecs.py),
instances/I.png (numbers in 16 bits), and FOLDER/dataset.json, which says what Miniscapes is but for its camera: that of
each scene is another.
A stopped run continues where it ended; equal settings give equal files. One core renders about 10 scenes of 360x720
pixels a second. Of the options of main.py it takes --output and --seed.
"""

import dataclasses
import functools
import pathlib

import numpy as np
from _tool import run_tool
from _writing import claim, output_folder, process_pool, write_all, write_picture

from mtl_tf.data import descriptors
from mtl_tf.data.sets.miniscapes import MINISCAPES
from mtl_tf.data.synthetic import render, sample_seed
from mtl_tf.options import Section, option
from mtl_tf.storage import codecs

USES = ("seed", "output")  # of the options of main.py


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
_SUFFIX = {"rgb": ".jpg", "semseg": ".png", "depth": ".png", "instances": ".png"}


def sample_files(output: pathlib.Path, split: str, index: int) -> dict[str, pathlib.Path]:
    """Return the file of each modality of a sample."""
    return {name: output / split / name / f"{index}{suffix}" for name, suffix in _SUFFIX.items()}


def write_sample(output: pathlib.Path, seed: int, height: int, width: int, sample: tuple[str, int]) -> None:
    """Render sample (split, index) and write its files, each whole or not at all."""
    split, index = sample
    scene = render(sample_seed(seed, split), index, height, width, ("instances",))
    pictures = {
        "rgb": scene["image"],
        "semseg": scene["semseg"].astype(np.uint8),
        "depth": codecs.encode_inverse_uint8(scene["depth"]),
        "instances": scene["instances"],
    }
    for name, path in sample_files(output, split, index).items():
        write_picture(path, pictures[name])


def make(parsed):
    """Renders what is missing.

    Raises:
        UsageError: the folder is missing from the command line, holds something else or cannot be written.
    """
    output, own = output_folder(parsed.config), parsed.own
    settings = {"seed": parsed.config.seed, "height": own.height, "width": own.width}
    claim(output, SETTINGS, settings, SPLITS)
    counts = {split: getattr(own, split) for split in SPLITS}
    samples = [
        (split, index)
        for split in SPLITS
        for index in range(counts[split])
        if not all(path.exists() for path in sample_files(output, split, index).values())
    ]
    write = functools.partial(write_sample, output, settings["seed"], settings["height"], settings["width"])
    write_all("rendering", write, samples, process_pool(own.workers, len(samples)))
    if not (output / descriptors.FILE_NAME).exists():
        stored = {task: MINISCAPES[task] for task in MINISCAPES.task_names}
        descriptors.write(output, dataclasses.replace(MINISCAPES, labels=stored))
    total = sum(counts.values())
    print(f"{total} samples in {output} ({len(samples)} new, {total - len(samples)} found)")


if __name__ == "__main__":
    raise SystemExit(run_tool(make, Options))
