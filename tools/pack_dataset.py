"""tools/pack_dataset.py --data.name=NAME --data.root=FOLDER --output=PACKED: packs a data set into TFRecord shards.

Millions of small files become a few hundred large ones, which are copied and read fast; train on them with
--data.name=packed --data.root=PACKED: every sample is the same. --content=files keeps the original files;
--content=pixels decodes them, which takes more room and less time in training. A run that was stopped or killed goes on
with the same command. --verify reads everything again.

The files come back with --data.name=packed --data.root=PACKED --unpack --output=FOLDER.
A copy is checked with --data.name=packed --data.root=PACKED --verify.
"""

import dataclasses
import functools
import sys

from _tool import run_tool
from _writing import claim, output_folder

from mtl_tf.atomic import below, write_bytes
from mtl_tf.config import replace
from mtl_tf.data import derived, descriptors, packing, shards
from mtl_tf.data.samples import FileSource
from mtl_tf.data.sets import describe, open_split, splits_of, tasks_of_tools
from mtl_tf.data.sets.settle import demand_root_is_read
from mtl_tf.errors import UsageError
from mtl_tf.options import Section, option
from mtl_tf.storage import files, listing
from mtl_tf.storage.texts import read_bytes

USES = ("data", "seed", "tasks", "output")  # of the options of main.py


@dataclasses.dataclass(frozen=True)
class Options(Section):
    """The tool's own options."""

    content: str = option(
        "auto",
        "What is packed: the original files, or decoded pixels; auto = files where there are any.",
        choices=("auto", "files", "pixels"),
    )
    shard_samples: int = option(0, "Samples a shard; 0 = about 256 MiB.", minimum=0)
    splits: tuple[str, ...] = option((), "Splits to pack; empty = all there are.")
    derived: bool = option(
        False, "Pack labels that are derived from others as labels of their own, so that training reads them."
    )
    verify: bool = option(False, "Read everything that was packed again and compare it.")
    unpack: bool = option(False, "Write the original files of a packed data set.")


def pack(parsed):
    """Packs, verifies or unpacks.

    Raises:
        UsageError: it cannot be done, or what was verified has faults.
    """
    config, own = parsed.config, parsed.own
    if config.data.name == "packed":
        from_packed(config, own)
        return
    if own.unpack:
        raise UsageError("--unpack takes a packed data set: --data.name=packed --data.root=PACKED --output=FOLDER")
    demand_root_is_read(config.data)
    descriptor = describe(config.data)
    wanted = tasks_of_tools(config, descriptor)
    made = [task for task in wanted if own.derived and descriptor[task].source and not descriptor[task].late]
    packed = (*derived.stored(wanted, descriptor), *made)
    descriptor = descriptor.of(packed)
    config = replace(config, tasks=packed, model__architecture="joint")
    sources = {split: open_split(config, split, descriptor) for split in own.splits or splits_of(config.data)}
    output = output_folder(config)
    content = "pixels" if made else content_of(own.content, config.data.name, sources)
    if made and own.content == "files":
        raise UsageError("--derived packs labels that are in no files; leave out --content=files")
    labels = {task: each.in_files() if task in made else each for task, each in descriptor.labels.items()}
    descriptor = dataclasses.replace(descriptor, labels=labels)
    settings = {"format": shards.FORMAT, "content": content, "data": config.data.name}
    if descriptor.task_names != shards.OLD_TASKS:
        settings["tasks"] = list(descriptor.task_names)
    claim(output, shards.MARK, settings, [shards.TREE] if content == "tree" else list(sources))
    write_descriptor(output, config.data.root, descriptor)
    works = tree_work(config, own) if content == "tree" else sample_works(config, descriptor, sources, content)
    for split, (source, make, _) in works.items():
        packing.pack_split(source, split, output, make, own.shard_samples, config.data.workers)
        unit = "files" if content == "tree" else "samples"
        print(f"{split}: {len(source)} {unit} in {output / split}")
    for split, source in sources.items():
        if told := listing.told_of(source, split):
            print(told)
    if own.verify:
        report_faults(
            {
                split: packing.verify_split(packed := shards.Split(str(output), split), functools.partial(same, packed))
                for split, (_, _, same) in works.items()
            }
        )


def sample_works(config, descriptor, sources, content):
    """Split -> what is packed, how a record is made, and how it is compared: a record a sample."""
    found = {}
    for split, source in sources.items():
        if content == "files":
            make = functools.partial(packing.file_features, source, config.data.root)
            same = functools.partial(packing.same_files, source)
        else:
            make = functools.partial(
                packing.pixel_features, source, descriptor, labels_of(source), config.data.skip_bad
            )
            same = functools.partial(packing.same_pixels, source, descriptor)
        found[split] = source, make, same
    return found


def tree_work(config, own):
    """The same where all files of the data set are packed, a record each.

    Raises:
        UsageError: only some splits are asked for.
    """
    if own.splits:
        raise UsageError(
            f"--splits: the files of --data.name={config.data.name} are packed all together; leave it out, or pack "
            "decoded samples (--content=pixels)"
        )
    tree = packing.Tree(config.data.root)
    return {shards.TREE: (tree, tree.features, functools.partial(packing.same_content, tree))}


def content_of(asked, name, sources):
    """What is packed, one of `shards.CONTENTS`.

    Raises:
        UsageError: files are asked for, but there are none.
    """
    made_of_files = all(isinstance(source, FileSource) for source in sources.values())
    if asked == "files" and not made_of_files:
        raise UsageError(f"--content=files: --data.name={name} has no files; use --content=pixels")
    if asked == "pixels" or not made_of_files:
        return "pixels"
    return "files" if all(source.own_encodings for source in sources.values()) else "tree"


def labels_of(source):
    """From the index of a sample to the tasks whose labels it has."""
    return lambda index: tuple(task for task in source.tasks if source.has(task, index))


def write_descriptor(output, root, descriptor):
    """Writes dataset.json, as it is in the data set where that says the same, and the lists that it names."""
    for name in descriptor.split_lists.values():
        path = below(output, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, read_bytes(files.join(root, name)))
    original = files.join(root, descriptors.FILE_NAME)
    if root and files.is_file(original) and descriptors.read_file(original) == descriptor:
        write_bytes(output / descriptors.FILE_NAME, files.read(original))
    else:
        descriptors.write(output, descriptor)


def from_packed(config, own):
    """Verifies a packed data set alone, or writes its files.

    Raises:
        UsageError: neither is asked for, it holds no files, or has faults.
    """
    if not (own.unpack or own.verify):
        raise UsageError("--data.name=packed is packed already; add --unpack --output=FOLDER, or --verify")
    descriptor, root = describe(config.data), config.data.root
    content = shards.read_mark(root)["content"]
    names = [shards.TREE] if content == "tree" else own.splits or splits_of(config.data)
    splits = {name: shards.Split(root, name) for name in names}
    if own.verify:
        report_faults({name: packing.verify_split(split) for name, split in splits.items()})
    if own.unpack:
        if content == "pixels":
            raise UsageError(f"{root} holds decoded pixels, not the original files; pack with --content=files for them")
        output = output_folder(config)
        for name, split in splits.items():
            print(f"{name}: {packing.unpack_split(split, output)} files written into {output}")
        if content == "files":
            write_descriptor(output, root, descriptor)


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
