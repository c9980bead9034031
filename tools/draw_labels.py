"""tools/draw_labels.py --input=FOLDER --output=FOLDER: annotations of labelling programs drawn as label maps.

Reads labelme (a JSON file beside each picture), COCO (instances or panoptic, JSON), and Supervisely (a project folder);
which one it is, the files say. Makes OUTPUT/SPLIT/rgb, OUTPUT/SPLIT/semseg/ID.png (class ids; 255 = no class) and
OUTPUT/dataset.json; train then with --data.name=folder --data.root=OUTPUT. Shapes are drawn as the formats' own tools
draw them; later ones lie over earlier ones. Pixels that no shape covers are of the class that --background names, or
have no class (--background=ignore). Of the options of main.py it takes --input and --output.
"""

import dataclasses
import hashlib
import os
import pathlib
import shlex
import shutil
import sys

from _drawing import formats
from _drawing.annotated import NO_CLASS, Annotations, Picture
from _drawing.painting import IGNORE, UNKNOWN, paint, palette_of
from _tool import run_tool
from _writing import claim, output_folder, write_all, write_picture

from mtl_tf.atomic import leads_out
from mtl_tf.data import descriptors
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option
from mtl_tf.storage.pixels import read_rgb, size_of
from mtl_tf.tasks import ClassLabels, InstanceLabels

USES = ("input", "output")  # of the options of main.py
SETTINGS = "drawn.json"
SPLITS = ("train", "val", "test")


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    background: str = option(
        "background", "Class of the pixels that no shape covers; the first class then. ignore = they have no class."
    )
    instances: bool = option(False, "Draw numbers of instances too, each shape being one (parts of a group together).")
    val_share: float = option(
        0.1,
        "Share of the pictures that become val where the format names no splits; which ones, their names decide.",
        minimum=0.0,
        maximum=0.9,
    )
    copy: bool = option(False, "Copy the pictures; without, they are linked.")


def draw(parsed):
    """Draws what is annotated.

    Raises:
        UsageError: the folder holds no such annotations, one of them is wrong, or a picture is missing.
    """
    config, own, output = parsed.config, parsed.own, output_folder(parsed.config)
    found = find(config.input)
    names = [own.background] * (own.background != NO_CLASS) + [
        name for name, _ in found.classes if name != own.background
    ]
    if len(names) > IGNORE:
        raise UsageError(f"--input={config.input} has {len(names)} classes; at most {IGNORE} are possible")
    samples = placed(found, own.val_share)
    colours = dict(found.classes)
    descriptor = described(output.absolute().name, names, [colours.get(name) for name in names], found, own, samples)
    claim(output, SETTINGS, {"format": found.format, **dataclasses.asdict(own)}, SPLITS)

    def write(sample):
        split, picture = sample
        size = checked_size(picture)
        drawn = paint(picture.shapes(size), size, names, own.background, found.things)
        target = output / split / "rgb" / f"{picture.name}{picture.path.suffix.lower()}"
        write_picture(output / split / "semseg" / f"{picture.name}.png", drawn.classes)
        if own.instances:
            write_picture(output / split / "instances" / f"{picture.name}.png", drawn.numbers)
        bring(picture.path, target, own.copy)

    write_all(f"drawing {found.format}", write, samples)
    path = descriptors.write(output, descriptor)
    counts = ", ".join(f"{sum(split == each for each, _ in samples)} {split}" for split in descriptor.splits)
    print(f"{found.format}: {len(samples)} pictures drawn ({counts}), {len(names)} classes; described in {path}")
    place = shlex.quote(f"--data.root={output}")
    print(f"next: python main.py train --run_dir=RUN --data.name=folder {place} --data.image_size=H,W")


def find(given: str) -> Annotations:
    """The annotations that --input names.

    Raises:
        UsageError: it is missing, or holds none of a known format.
    """
    root = pathlib.Path(given)
    if not given or not root.exists():
        came = f"--input={given}: no such file or folder" if given else "--input=FOLDER is missing"
        raise UsageError(f"{came}; expected annotations of labelme, COCO (a .json file, too) or Supervisely")
    found = formats.read(root)
    if not found:
        raise UsageError(
            f"--input={given} holds no annotations of labelme, COCO or Supervisely (.json files); for masks, which "
            "are drawn already, use tools/describe_dataset.py"
        )
    if not found.pictures or not found.classes:
        lacking = "pictures" if found.classes else "classes"
        raise UsageError(f"--input={given}: {found.format} annotations without {lacking}; export them again")
    return found


def placed(found: Annotations, val_share: float) -> list[tuple[str, Picture]]:
    """The split of every picture, and the picture.

    Raises:
        UsageError: two pictures have one name, or a name leads out of the folder.
    """
    own_splits = any(picture.split for picture in found.pictures)
    samples, seen = [], {}
    order = sorted(found.pictures, key=lambda picture: hashlib.sha256(picture.name.encode()).digest())
    count = round(val_share * len(order))
    held_out = {id(picture) for picture in order[: max(count, 1) if val_share and len(order) > 1 else 0]}
    for picture in found.pictures:
        split = (picture.split or "train") if own_splits else "val" if id(picture) in held_out else "train"
        if leads_out(picture.name):
            raise UsageError(f"{picture.place}: the name {picture.name!r} leads out of the folder; rename the picture")
        if other := seen.get((split, picture.name)):
            raise UsageError(f"{picture.place} and {other} are of one picture, {picture.name}; remove one of them")
        seen[split, picture.name] = picture.place
        samples.append((split, picture))
    return samples


def described(name, names, colours, found, own, samples) -> Descriptor:
    """The descriptor of what is drawn."""
    labels = {"semseg": ClassLabels(tuple(names), palette_of(colours))}
    if own.instances:
        things = names if found.things is None else found.things
        things = tuple(each for each in things if each in names and each != own.background)
        labels["instances"] = InstanceLabels(ignore=UNKNOWN, things=things)
    splits = tuple(split for split in SPLITS if any(split == each for each, _ in samples))
    return Descriptor(name, labels, splits=splits)


def checked_size(picture: Picture) -> tuple[int, int]:
    """Height and width of a picture.

    Raises:
        UsageError: it is missing, cannot be read, or is of another size than its annotations say.
    """
    if not picture.path.is_file():
        raise UsageError(
            f"{picture.place}: its picture {picture.path} is missing; put it there, or remove its annotation"
        )
    size = size_of(str(picture.path)) or read_rgb(str(picture.path)).shape[:2]  # which says what is wrong with it
    if picture.said and picture.said != size:
        raise UsageError(
            f"{picture.place} is of a picture of {picture.said[1]}x{picture.said[0]} pixels, but {picture.path} has "
            f"{size[1]}x{size[0]}; use the picture that was annotated"
        )
    return size


def bring(source: pathlib.Path, target: pathlib.Path, copy: bool) -> None:
    """A picture at its place: a link to it, or a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.new")
    aside.unlink(missing_ok=True)
    if copy:
        shutil.copyfile(source, aside)
    else:
        aside.symlink_to(source.resolve())
    os.replace(aside, target)


if __name__ == "__main__":
    sys.exit(run_tool(draw, Options))
