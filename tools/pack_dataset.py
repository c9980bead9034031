"""tools/pack_dataset.py --data.name=NAME --data.root=FOLDER --output=PACKED: packs a data set into TFRecord shards.

Millions of small files become a few hundred large ones, which are copied and read fast; train on them with
--data.name=packed --data.root=PACKED: every sample is the same. --content=files keeps the original files (of data sets
in the project's own layout: folder, miniscapes, nyuv2); --content=pixels decodes them, which takes more room and less
time in training. A run that was stopped or killed goes on with the same command. --verify reads everything again.

The files come back with --data.name=packed --data.root=PACKED --unpack --output=FOLDER.
A copy is checked with --data.name=packed --data.root=PACKED --verify.
"""

import dataclasses
import functools
import sys

from _tool import run_tool
from _writing import claim, output_folder

from mtl_tf.atomic import write_bytes
from mtl_tf.config import replace
from mtl_tf.data import descriptors, files, packing, shards
from mtl_tf.data.samples import FileSource
from mtl_tf.data.sets import describe, open_split, splits_of
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    content: str = option(
        "auto",
        "What is packed: the original files, or decoded pixels; auto = files where the layout is the project's own.",
        choices=("auto", "files", "pixels"),
    )
    shard_samples: int = option(0, "Samples a shard; 0 = about 256 MiB.", minimum=0)
    splits: tuple[str, ...] = option((), "Splits to pack; empty = all there are.")
    verify: bool = option(False, "Read everything that was packed again and compare it.")
    unpack: bool = option(False, "Write the original files of a packed data set.")


def pack(parsed):
    """Packs, verifies or unpacks.

    Raises:
        UsageError: it cannot be done, or what was verified has faults.
    """
    config, own = parsed.config, parsed.own
    descriptor = describe(config.data)
    config = replace(config, tasks=descriptor.task_names, model__architecture="joint")
    splits = own.splits or splits_of(config.data)
    sources = {split: open_split(config, split, descriptor) for split in splits}
    if config.data.name == "packed":
        if own.unpack:
            unpack(config.data.root, sources, output_folder(config))
        elif not own.verify:
            raise UsageError("--data.name=packed is packed already; add --unpack --output=FOLDER, or --verify")
        else:
            report_faults({split: packing.verify_split(source) for split, source in sources.items()})
        return
    if own.unpack:
        raise UsageError("--unpack takes a packed data set: --data.name=packed --data.root=PACKED --output=FOLDER")
    output, content = output_folder(config), content_of(own.content, config.data.name, sources)
    settings = {"format": shards.FORMAT, "content": content, "data": config.data.name}
    claim(output, shards.MARK, settings, splits)
    write_descriptor(output, config.data.root, descriptor)
    for split, source in sources.items():
        make = {
            "files": functools.partial(packing.file_features, source, config.data.root),
            "pixels": functools.partial(packing.pixel_features, source, labels_of(source), config.data.skip_bad),
        }[content]
        packing.pack_split(source, split, output, make, own.shard_samples, config.data.workers)
        print(f"{split}: {len(source)} samples in {output / split}{lost_labels(source)}")
    if own.verify:
        there = replace(config, data__name="packed", data__root=str(output))
        faults = {}
        for split, source in sources.items():
            packed = open_split(there, split, descriptor)
            same = {"files": packing.same_files, "pixels": packing.same_pixels}[content]
            faults[split] = packing.verify_split(packed, functools.partial(same, source, packed))
        report_faults(faults)


def content_of(asked, name, sources):
    """What is packed.

    Raises:
        UsageError: files are asked for, but cannot be read from shards.
    """
    own = all(isinstance(source, FileSource) and source.own_encodings for source in sources.values())
    if asked == "files" and not own:
        raise UsageError(
            f"--content=files packs layouts of the project's own; samples of --data.name={name} are not made of a file "
            "each for picture and labels: use --content=pixels"
        )
    return ("files" if own else "pixels") if asked == "auto" else asked


def labels_of(source):
    """From the index of a sample to the tasks whose labels it has."""
    if not isinstance(source, FileSource):
        return lambda index: source.tasks
    return lambda index: tuple(task for task in source.tasks if source.ids[index] in source.files[task])


def lost_labels(source):
    """A remark on labels that belong to no picture, which are not packed."""
    if not isinstance(source, FileSource):
        return ""
    pictures = source.files["rgb"].keys()
    lost = sum(len(source.files[task].keys() - pictures) for task in source.tasks)
    return f"; {lost} labels without a picture are left out" if lost else ""


def write_descriptor(output, root, descriptor):
    """Writes dataset.json, as it is in the data set where that says the same."""
    original = files.join(root, descriptors.FILE_NAME)
    if root and files.is_file(original) and descriptors.read_file(original) == descriptor:
        write_bytes(output / descriptors.FILE_NAME, files.read(original))
    else:
        descriptors.write(output, descriptor)


def unpack(root, sources, output):
    """Writes the original files and dataset.json."""
    if shards.read_mark(root)["content"] != "files":
        raise UsageError(f"{root} holds decoded pixels, not the original files; pack with --content=files to keep them")
    for split, source in sources.items():
        count = packing.unpack_split(source, output)
        print(f"{split}: {count} files of {len(source)} samples written into {output}")
    write_bytes(output / descriptors.FILE_NAME, files.read(files.join(root, descriptors.FILE_NAME)))


def report_faults(faults):
    """Says for each split whether it is sound.

    Raises:
        UsageError: there are faults.
    """
    for split, count in faults.items():
        print(f"{split}: verified, {count} faults")
    if any(faults.values()):
        raise UsageError(f"{sum(faults.values())} faults in the packed data set; they are listed above")


if __name__ == "__main__":
    sys.exit(run_tool(pack, Options))
