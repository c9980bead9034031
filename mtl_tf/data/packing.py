"""Packs a split into shards (see `shards`) and back: whole shards only, so that work that was killed goes on."""

import collections
import concurrent.futures
import contextlib
import hashlib
import io
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from mtl_tf.atomic import below, leads_out, replacing, write_bytes, write_json
from mtl_tf.data import records, shards
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.sets.packed import pack_camera, pack_pixels, packed_files, unpack_camera, unpack_pixels
from mtl_tf.errors import UsageError
from mtl_tf.progress import Progress
from mtl_tf.storage import files
from mtl_tf.storage.pixels import size_of
from mtl_tf.storage.texts import read_bytes

SHARD_BYTES = 256 * 2**20  # about the size of a shard, where the number of its samples is not given


def pack_split(source, split: str, output: pathlib.Path, make: Callable[[int], dict], shard_samples=0, workers=0):
    """Writes the shards of a split, then index, names and manifest; shards that are there already stay.

    Args:
        source: the samples; `ids` and `tasks` are used, these as packed.json lists them.
        split: name of the split.
        output: folder of the packed data set.
        make: index of a sample -> features of its record (`file_features`, `pixel_features`).
        shard_samples: samples a shard; 0 = about `SHARD_BYTES`.
        workers: samples read in parallel; 0 = as many as there are cores.

    Raises:
        UsageError: a sample cannot be packed, the folder not be written, or what is there is of another data set.
    """
    folder = below(output, split)
    if (folder / shards.MANIFEST).exists():
        if list(shards.Split(str(output), split).ids) != list(source.ids):
            raise UsageError(f"{folder} is packed already, from other samples; choose another --output")
        return
    for leftover in folder.glob(".*.tmp"):  # of a process that was killed
        leftover.unlink()
    shard_samples = shard_samples or max(SHARD_BYTES // len(records.encode(make(0))), 1)
    starts = range(0, len(source), shard_samples)
    progress = Progress(f"packing {split}", len(source), "samples")
    with concurrent.futures.ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for number, start in enumerate(starts):
            wanted = range(start, min(start + shard_samples, len(source)))
            if _is_done(folder, number, [source.ids[index] for index in wanted]):
                progress.advance(len(wanted))
                continue
            _write_shard(folder, number, source, wanted, _in_order(pool, make, wanted), progress)
    progress.close()
    _write_manifest(folder, shard_samples, len(starts))


def _note_of(folder, number):
    """The file that says that a shard is whole; gone when the manifest is there."""
    return folder / f"{shards.shard_name(number)}.json"


def _is_done(folder, number, ids):
    """Whether a shard is there; raises a UsageError if it is one of other samples."""
    try:
        note = json.loads(_note_of(folder, number).read_text(encoding="utf-8"))
    except OSError:
        return False
    if note["ids"] != ids:
        raise UsageError(
            f"{folder} holds shards of other samples (the data set or --shard_samples has changed since packing began);"
            " choose another --output"
        )
    path = folder / shards.shard_name(number)
    return path.is_file() and path.stat().st_size == note["bytes"]


def _in_order(pool, job, items) -> Iterator:
    """The results in order, few of them waiting."""
    waiting = collections.deque()
    items = iter(items)
    try:
        for item in itertools.islice(items, 2 * pool._max_workers):
            waiting.append(pool.submit(job, item))
        while waiting:
            yield waiting.popleft().result()
            for item in itertools.islice(items, 1):
                waiting.append(pool.submit(job, item))
    finally:
        for future in waiting:
            future.cancel()


def _write_shard(folder, number, source, wanted, made, progress):
    digest, place, entries = hashlib.sha256(), 0, []
    with replacing(folder / shards.shard_name(number)) as file:
        for index, features in zip(wanted, made, strict=True):
            size = features.pop("height", 0), features.pop("width", 0)
            labelled = features.pop("labelled", features)
            labels = sum(1 << bit for bit, task in enumerate(source.tasks) if task in labelled)
            named = features | {"id": files.as_bytes(source.ids[index]), "height": size[0], "width": size[1]}
            record = records.frame(records.encode(named))
            file.write(record)
            digest.update(record)
            entries.append((place, len(record), *size, labels))
            place += len(record)
            progress.advance()
    ids = [source.ids[index] for index in wanted]
    note = {"bytes": place, "sha256": digest.hexdigest(), "ids": ids, "entries": entries}
    write_json(_note_of(folder, number), note)


def _write_manifest(folder, shard_samples, count):
    """Index, names and manifest from the notes of the shards, which go."""
    index, names, rows, place = [], io.BytesIO(), [], 0
    for number in range(count):
        note = json.loads(_note_of(folder, number).read_text(encoding="utf-8"))
        part = np.zeros(len(note["ids"]), shards.ENTRY)
        for column, values in zip(
            ("start", "length", "height", "width", "labels"), zip(*note["entries"], strict=True), strict=True
        ):
            part[column] = values
        for position, name in enumerate(note["ids"]):
            part["name"][position] = place
            place += names.write(files.as_bytes(name) + b"\n")
        index.append(part)
        rows.append(
            {"file": shards.shard_name(number), "samples": len(part)} | {k: note[k] for k in ("bytes", "sha256")}
        )
    array = io.BytesIO()
    np.save(array, np.concatenate(index))
    contents = {shards.INDEX: array.getvalue(), shards.NAMES: names.getvalue()}
    for name, content in contents.items():
        write_bytes(folder / name, content)
    manifest = {
        "samples": sum(map(len, index)),
        "shard_samples": shard_samples,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        "shards": rows,
    }
    write_json(folder / shards.MANIFEST, manifest)
    for number in range(count):
        _note_of(folder, number).unlink(missing_ok=True)


# === Records ===


def file_features(source, root: str, index: int) -> dict:
    """The original files of a sample, whatever is in them: damaged ones stay damaged.

    Args:
        source: a `samples.FileSource`.
        root: the data set's folder; paths are kept relative to it.
        index: of the sample.

    Raises:
        UsageError: a file cannot be read, or lies elsewhere.
    """
    features = {}
    for part, path in source.all_files(source.ids[index]).items():
        below = path.removeprefix(root.rstrip("/") + "/")
        if below == path:
            raise UsageError(f"{path}: not in the folder {root} of the data set")
        features[part] = read_bytes(path)
        features[f"{part}/path"] = files.as_bytes(below)
    height, width = size_of(files.InMemory(source.path(index), features["rgb"])) or (0, 0)
    return features | {"height": height, "width": width}


def pixel_features(
    source, descriptor: Descriptor, labelled: Callable[[int], tuple[str, ...]], skip_bad: bool, index: int
) -> dict:
    """The decoded pixels of a sample, and its camera where each picture has its own.

    Args:
        source: of the samples.
        descriptor: of their data set.
        labelled: index of a sample -> the tasks whose labels it has.
        skip_bad: a sample that cannot be read becomes a record that says so, and is as bad when it is read.
        index: of the sample.

    Raises:
        UsageError: the sample cannot be read.
    """
    try:
        found = pack_pixels(source.read(index), labelled(index), descriptor.blanks)
        return found | pack_camera(source.camera(index))
    except UsageError as error:
        if not skip_bad:
            raise
        return {"fault": files.as_bytes(str(error)), "labelled": labelled(index)}


class Tree:
    """All files of a data set, each a record of its own; for `pack_split`.

    Attributes:
        ids: their paths below the root, sorted.
    """

    tasks = ()

    def __init__(self, root: str):
        self.root = root
        self.ids = sorted(self._below(""))

    def __len__(self) -> int:
        return len(self.ids)

    def _below(self, folder):
        for name in files.listing(files.join(self.root, folder) if folder else self.root):
            path = f"{folder}/{name}" if folder else name
            if files.is_folder(files.join(self.root, path)):
                yield from self._below(path)
            else:
                yield path

    def features(self, index: int) -> dict:
        """The features of a file's record."""
        return {"content": read_bytes(files.join(self.root, self.ids[index]))}


# === And back ===


def verify_split(split: shards.Split, same: Callable[[int], bool] | None = None) -> int:
    """Reads every byte of a split, prints what is wrong, and returns the number of faults.

    Args:
        split: the records.
        same: index of a record -> whether it is as what was packed; None = that is not there.
    """
    faults = 0
    progress = Progress(f"verifying {files.name_of(split.folder)}", len(split), "records")

    def fault(text):
        nonlocal faults
        faults += 1
        progress.close()
        print(text, flush=True)

    for number, shard in enumerate(split.manifest["shards"]):
        path = files.join(split.folder, shard["file"])
        try:
            with files.open_file(path) as file:
                digest = hashlib.sha256()
                while block := file.read(2**20):
                    digest.update(block)
            if digest.hexdigest() != shard["sha256"]:
                fault(f"{path}: its sha256 is not that in {shards.MANIFEST}; copy it again")
        except OSError as error:
            fault(f"{path}: {(error.strerror or str(error)).lower()}; copy it again")
        first = number * split.per_shard
        for index in range(first, min(first + split.per_shard, len(split))):
            try:
                split.features(index)
                if same and not same(index):
                    fault(f"{split.path(index)}: differs from the data set that was packed; pack it again")
            except UsageError as error:
                fault(str(error))
            progress.advance()
    progress.close()
    return faults


def same_files(source, split: shards.Split, index: int) -> bool:
    """Whether a record has the files of a sample, byte for byte."""
    found = packed_files(split.features(index))
    paths = source.all_files(source.ids[index])
    return paths.keys() == found.keys() and all(files.read(paths[key]) == found[key].content for key in paths)


def same_content(tree: Tree, split: shards.Split, index: int) -> bool:
    """Whether a record has a file, byte for byte."""
    return split.features(index)["content"] == tree.features(index)["content"]


def same_pixels(source, descriptor: Descriptor, split: shards.Split, index: int) -> bool:
    """Whether a record gives the numbers of a sample, bit for bit; a sample that cannot be read, no numbers."""
    features = split.features(index)
    try:
        sample = source.read(index)
    except UsageError:
        return "fault" in features
    if "fault" in features:
        return False
    found = unpack_pixels(features, source.tasks, descriptor)
    return unpack_camera(features) == source.camera(index) and all(
        found[name].shape == value.shape and found[name].tobytes() == value.tobytes() for name, value in sample.items()
    )


def unpack_split(split: shards.Split, output: pathlib.Path) -> int:
    """Writes the original files of a split where they lay below the data set's folder; returns how many are new.

    Raises:
        UsageError: a record is damaged, or has a path that leads out of the folder.
    """
    progress, count = Progress(f"unpacking {files.name_of(split.folder)}", len(split), "records"), 0
    for index in range(len(split)):
        features = split.features(index)
        found = packed_files(features).values()
        if "content" in features:
            found = [files.InMemory(split.ids[index], bytes(features["content"]))]
        for path in found:
            if leads_out(path):
                raise UsageError(f"{split.path(index)}: its file {str(path)!r} would lie outside of {output}")
            target = output / path
            with contextlib.suppress(OSError):
                if target.read_bytes() == path.content:
                    continue
            write_bytes(target, path.content)
            count += 1
        progress.advance()
    progress.close()
    return count
