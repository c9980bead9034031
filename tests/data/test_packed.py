"""Packed data sets: the same samples as from files, damage named, random access, remote roots, the way back."""

import functools
import json
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mtl_tf import config as configuration
from mtl_tf.data import packing, records, shards
from mtl_tf.data.descriptors import Descriptor
from mtl_tf.data.pipeline import EvaluationData, TrainingData
from mtl_tf.data.sets import describe, open_split, packed, splits_of
from mtl_tf.errors import UsageError
from mtl_tf.storage.windows import Window
from tests.data import packed_million as million
from tests.helpers import TWO_LABELS, tool_module, upload, write_dataset

CONTENTS = ("files", "pixels")


def config_for(root, name="folder", **options):
    ours = dict(data__name=name, data__root=str(root), data__workers=2, train__batch_size=2, train__epochs=2)
    return configuration.replace(configuration.Config(), **(ours | options))


def pack(root, output, content, shard_samples=2, splits=("train", "val"), skip_bad=False):
    """Packs the splits of a folder data set."""
    shards_of = json.dumps({"format": shards.FORMAT, "content": content, "data": "folder"})
    output.mkdir(exist_ok=True)
    (output / shards.MARK).write_text(shards_of)
    (output / "dataset.json").write_bytes((root / "dataset.json").read_bytes())
    for split in splits:
        source = open_split(config_for(root), split)
        packing.pack_split(source, split, output, makers(source, root, skip_bad)[content], shard_samples)
    return output


def makers(source, root, skip_bad=False):
    def labelled(index):
        return tuple(task for task in source.tasks if source.ids[index] in source.files[task])

    return {
        "files": functools.partial(packing.file_features, source, str(root)),
        "pixels": functools.partial(packing.pixel_features, source, source.descriptor, labelled, skip_bad),
    }


def make_data(folder):
    """Eleven samples of 32x48 pixels; some lack a label, one is damaged."""
    root = write_dataset(folder, {"train": 11, "val": 3})
    (root / "train/semseg/4.png").unlink()
    (root / "train/depth/4.png").unlink()
    (root / "train/depth/10.png").unlink()
    damaged = root / "train/depth/7.png"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("original") / "data")


@pytest.fixture(scope="module")
def packs(root, tmp_path_factory):
    """The folders of the packed data sets."""
    place = tmp_path_factory.mktemp("packed")
    return {content: pack(root, place / content, content, skip_bad=True) for content in CONTENTS}


@pytest.fixture
def fresh(tmp_path):
    """A packed data set of seven sound samples, to be damaged."""
    return pack(write_dataset(tmp_path / "data", {"train": 7}), tmp_path / "packed", "files", splits=("train",))


def batches(kind, config, split):
    data = kind(open_split(config, split), config, describe(config.data))
    dataset = data.dataset() if kind is TrainingData else data.dataset(2)
    with data.naming_errors():
        return list(dataset.as_numpy_iterator()), data.bad


def assert_same(found, expected):
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


# === The same as from files ===


@pytest.mark.parametrize(
    "options",
    [
        dict(data__crop_size=(16, 24), augment__reflect=True, augment__brightness=0.3),
        dict(data__crop_size=(40, 24), augment__tilt=10.0, augment__scale_max=1.3, augment__zoom_depth=True),
        dict(data__image_size=(20, 30), tasks=("depth",), data__cache=True),
    ],
)
def test_training_batches_are_those_from_files_over_two_epochs(root, packs, options):
    expected, bad = batches(TrainingData, config_for(root, data__skip_bad=True, **options), "train")
    assert len(expected) == 10 and len(bad) == 1
    for folder in packs.values():
        found, bad = batches(TrainingData, config_for(folder, "packed", data__skip_bad=True, **options), "train")
        assert_same(found, expected)
        assert len(bad) == 1 and "depth/7.png" in next(iter(bad.values()))


def test_evaluation_is_that_from_files(root, packs):
    expected, _ = batches(EvaluationData, config_for(root), "val")
    for folder in packs.values():
        assert_same(batches(EvaluationData, config_for(folder, "packed"), "val")[0], expected)


def test_what_is_known_without_reading(root, packs):
    source = open_split(config_for(root), "train")
    for folder in packs.values():
        config = config_for(folder, "packed")
        assert describe(config.data) == describe(config_for(root).data)
        assert splits_of(config.data) == ["train", "val"]
        found = open_split(config, "train")
        assert found.ids == source.ids and found.labelled == source.labelled and found.one_size()
        assert found.ids.index("10") == 10 and found.ids[-1] == "10" and found.ids[2:4] == ["2", "3"]
        limited = open_split(config_for(folder, "packed", data__limit=3), "train")
        assert list(limited.ids) == ["0", "1", "2"] and limited.labelled["semseg"] == 3
        assert found.path(5).endswith("train/00002.tfrecord, sample 5")


def test_faults_are_those_of_the_files(root, packs):
    texts = [fault() for _, fault in open_split(config_for(root), "train").faults()]
    for folder in packs.values():
        found = [fault() for _, fault in open_split(config_for(folder, "packed"), "train").faults()]
        assert [bool(each) for each in found] == [bool(each) for each in texts]
        assert "00003.tfrecord, sample 7" in found[7][0] and "cannot be decoded" in found[7][0]
        assert len(found[4]) == 2


def test_windows_of_decoded_samples(packs, root):
    source, found = open_split(config_for(root), "train"), open_split(config_for(packs["pixels"], "packed"), "train")
    for window in (Window(3, 4, 20, 22, True), Window(-4, 30, 50, 40), Window(1, 0, 7, 48)):
        for index in (0, 4, 10):
            one, other = (each.read(index, lambda size, window=window: window) for each in (source, found))
            assert_same([one], [other])


@pytest.mark.parametrize("distinct", [200, 5000, 70000])
def test_depth_is_exact_however_many_values_it_has(distinct):
    random = np.random.default_rng(0)
    values = np.append(random.uniform(1e-3, 300, distinct - 1), 0).astype(np.float32)
    size = (300, 250)
    sample = {
        "image": random.integers(0, 256, (*size, 3), np.uint8),
        "semseg": random.integers(0, 256, size).astype(np.int32),
        "depth": np.append(values, random.choice(values, size[0] * size[1] - distinct)).reshape(size),
    }
    descriptor = Descriptor("x", TWO_LABELS)
    features = packed.pack_pixels(sample, ("semseg", "depth"), descriptor.blanks)
    features = records.decode(memoryview(records.encode(features)))
    assert len(features["depth"]) == size[0] * size[1] * {200: 1, 5000: 2, 70000: 4}[distinct]
    assert_same([packed.unpack_pixels(features, ("semseg", "depth"), descriptor)], [sample])
    outside = packed.unpack_pixels(features, ("depth", "semseg"), descriptor, lambda size: Window(-1, -1, 4, 4))
    assert (outside["depth"][0] == 0).all() and (outside["semseg"][0] == 255).all() and outside["image"][0].max() == 0
    lacking = packed.unpack_pixels(
        {k: features[k] for k in ("height", "width", "rgb")}, ("depth", "semseg"), descriptor
    )
    assert (lacking["depth"] == 0).all() and (lacking["semseg"] == 255).all()


# === The files are TFRecord files ===


def test_tensorflow_reads_the_shards(root, packs):
    kinds = {name: tf.io.FixedLenFeature([], tf.string) for name in ("id", "rgb", "rgb/path")}
    kinds |= {name: tf.io.FixedLenFeature([], tf.int64) for name in ("height", "width")}
    paths = sorted(str(path) for path in (packs["files"] / "train").glob("*.tfrecord"))
    assert len(paths) == 6
    found = [tf.io.parse_single_example(record, kinds) for record in tf.data.TFRecordDataset(paths)]
    assert [each["id"].numpy().decode() for each in found] == [str(index) for index in range(11)]
    for each in found:
        assert (each["height"], each["width"]) == (32, 48)
        assert each["rgb"].numpy() == (root / each["rgb/path"].numpy().decode()).read_bytes()


def test_the_format_is_that_of_tensorflow(tmp_path):
    features = {"id": "größer".encode(), "rgb": bytes(300), "height": 70000, "empty": b"", "zero": 0}
    payload = records.encode(features)
    message = tf.train.Example.FromString(payload)
    for name, value in features.items():
        feature = message.features.feature[name]
        assert (feature.int64_list if isinstance(value, int) else feature.bytes_list).value[0] == value
    with tf.io.TFRecordWriter(str(tmp_path / "file")) as writer:
        writer.write(payload)
    assert (tmp_path / "file").read_bytes() == records.frame(payload)
    assert records.decode(records.payload_of(records.frame(payload))) == features


def test_no_damaged_record_is_taken_for_a_sound_one():
    record = records.frame(records.encode({"id": b"1", "height": 3}))
    for bit in range(8 * len(record)):
        flipped = bytearray(record)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="record"):
            records.payload_of(bytes(flipped))
    for length in range(len(record)):
        with pytest.raises(ValueError, match="record"):
            records.payload_of(record[:length])
    for strange in (b"\x0a", b"\xff" * 30, b"\x0a\x02\x0a\x00", tf.train.Example().SerializeToString() + b"\x0a\x05"):
        with pytest.raises(ValueError, match="no sample"):
            records.decode(memoryview(strange))


# === Damage ===


def flip(path, place=-100):
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def swap(first, second):
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)


def damage(folder, how):
    train = folder / "train"
    second = train / shards.shard_name(1)
    if how == "flipped":
        flip(second)
    elif how == "truncated":
        second.write_bytes(second.read_bytes()[:-3])
    else:
        second.unlink()


@pytest.mark.parametrize(
    ("how", "text", "bad"),
    [
        ("flipped", "sample 3: the checksum of the record does not fit", {"3"}),
        ("truncated", "sample 3: the record is cut off or not there", {"3"}),
        ("missing", "sample 2: the shard is missing", {"2", "3"}),
    ],
)
def test_a_damaged_sample_is_named_and_gone_round(fresh, how, text, bad):
    damage(fresh, how)
    config = config_for(fresh, "packed", train__epochs=1)
    source = open_split(config, "train")
    with pytest.raises(UsageError, match=rf"train/00001\.tfrecord, {text}"):
        [source.read(index) for index in range(7)]
    with pytest.raises(UsageError, match=r"train/00001\.tfrecord, sample"):
        batches(TrainingData, config, "train")
    found, skipped = batches(TrainingData, config_for(fresh, "packed", data__skip_bad=True), "train")
    assert {name.rpartition(" ")[2] for name in skipped} == bad
    assert not {str(index) for batch in found for index in batch["index"]} & bad


def test_a_shard_of_other_samples(tmp_path):
    # Of the same length, so that only the id in the record tells.
    root = write_dataset(tmp_path / "data", {"train": 4})
    for part in ("rgb", "semseg", "depth"):
        (root / f"train/{part}/2.png").write_bytes((root / f"train/{part}/0.png").read_bytes())
    folder = pack(root, tmp_path / "packed", "pixels", 1, splits=("train",))
    swap(folder / "train/00000.tfrecord", folder / "train/00002.tfrecord")
    source = open_split(config_for(folder, "packed"), "train")
    with pytest.raises(UsageError, match=r"00000\.tfrecord, sample 0: the shard has sample 2 there"):
        source.read(0)


@pytest.mark.parametrize("name", [shards.INDEX, shards.NAMES])
def test_an_index_that_is_damaged_or_missing(fresh, name):
    path = fresh / "train" / name
    flip(path, -1)
    with pytest.raises(UsageError, match=rf"train/{name}: does not belong to manifest\.json"):
        open_split(config_for(fresh, "packed"), "train")
    path.unlink()
    with pytest.raises(UsageError, match=rf"train/{name}: cannot be read \(No such file"):
        open_split(config_for(fresh, "packed"), "train")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda found: found.update(samples=6), "its numbers do not fit"),
        (lambda found: found.update(samples=10**15, shard_samples=1), "its numbers do not fit"),
        (lambda found: found.update(shard_samples=0), "its numbers do not fit"),
        (lambda found: found["shards"].pop(), "its numbers do not fit"),
        (lambda found: found.pop("shards"), "not a manifest"),
        (lambda found: found["sha256"].update({shards.INDEX: "0"}), "does not belong to"),
    ],
)
def test_a_wrong_manifest(fresh, change, text):
    path = fresh / "train" / shards.MANIFEST
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=text):
        open_split(config_for(fresh, "packed"), "train")


def test_a_folder_that_is_not_packed_or_not_whole(root, fresh):
    with pytest.raises(UsageError, match=r"packed\.json: no such file.*tools/pack_dataset\.py"):
        open_split(config_for(root, "packed"), "train")
    with pytest.raises(UsageError, match="has no split 'test'; it has train"):
        open_split(config_for(fresh, "packed"), "test")
    (fresh / "train" / shards.MANIFEST).unlink()
    with pytest.raises(UsageError, match="its packing has not ended"):
        open_split(config_for(fresh, "packed"), "train")
    (fresh / shards.MARK).write_text("{")
    with pytest.raises(UsageError, match="not JSON"):
        open_split(config_for(fresh, "packed"), "train")


# === Packing and back ===


def content_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("content", CONTENTS)
def test_packing_that_stopped_goes_on_at_the_unfinished_shard(tmp_path, content):
    root = write_dataset(tmp_path / "data", {"train": 7})
    whole = pack(root, tmp_path / "whole", content, splits=("train",))
    source = open_split(config_for(root), "train")
    make, asked = makers(source, root)[content], []

    def failing(index):
        if index == 5:
            raise UsageError("stop")
        return make(index)

    def counting(index):
        asked.append(index)
        return make(index)

    output = tmp_path / "packed"
    with pytest.raises(UsageError, match="stop"):
        packing.pack_split(source, "train", output, failing, 2, 1)
    assert {path.name for path in (output / "train").glob("*.tfrecord")} == {"00000.tfrecord", "00001.tfrecord"}
    (output / "train/.00002.tfrecord.1.tmp").write_bytes(b"half")
    packing.pack_split(source, "train", output, counting, 2, 1)
    assert sorted(asked) == [4, 5, 6]
    assert content_of(output / "train") == content_of(whole / "train")
    packing.pack_split(source, "train", output, failing, 2, 1)  # nothing is left to do


def test_packing_does_not_mix_data_sets(tmp_path):
    root, other = (write_dataset(tmp_path / name, {"train": count}) for name, count in (("a", 4), ("b", 5)))
    output = tmp_path / "packed"
    source = open_split(config_for(root), "train")
    make = makers(source, root)["files"]

    def failing(index):
        if index == 3:
            raise UsageError("stop")
        return make(index)

    with pytest.raises(UsageError, match="stop"):
        packing.pack_split(source, "train", output, failing, 2)
    with pytest.raises(UsageError, match="holds shards of other samples"):
        packing.pack_split(source, "train", output, make, 1)
    packing.pack_split(source, "train", output, make, 2)
    longer = open_split(config_for(other), "train")
    with pytest.raises(UsageError, match="packed already, from other samples"):
        packing.pack_split(longer, "train", output, makers(longer, other)["files"], 2)


def test_a_sample_that_cannot_be_decoded_ends_the_packing_of_pixels(root, tmp_path):
    with pytest.raises(UsageError, match=r"depth/7\.png: cannot be decoded"):
        pack(root, tmp_path / "packed", "pixels")


def test_unpacking_restores_every_file(root, packs, tmp_path):
    for split in ("train", "val"):
        source = open_split(config_for(packs["files"], "packed"), split)
        assert packing.unpack_split(source.split, tmp_path) > 0
        assert packing.unpack_split(source.split, tmp_path) == 0
    expected = content_of(root)
    expected.pop("dataset.json")
    assert content_of(tmp_path) == expected


@pytest.mark.parametrize("path", ["../up.png", "/absolute.png", "a/../../b.png", "..\\up.png"])
def test_unpacking_stays_in_its_folder(tmp_path, path):
    source = open_split(config_for(write_dataset(tmp_path / "data", {"train": 1})), "train")
    picture = (tmp_path / "data/train/rgb/0.png").read_bytes()
    folder = tmp_path / "packed"
    packing.pack_split(source, "train", folder, lambda index: {"rgb": picture, "rgb/path": path.encode()}, 1)
    with pytest.raises(UsageError, match="would lie outside"):
        packing.unpack_split(shards.Split(str(folder), "train"), tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / "up.png").exists()


def test_verifying_finds_every_kind_of_damage(root, packs, fresh, capsys):
    source = open_split(config_for(root), "train")
    checks = {
        "files": functools.partial(packing.same_files, source),
        "pixels": functools.partial(packing.same_pixels, source, describe(config_for(root).data)),
    }
    for content, same in checks.items():
        split = shards.Split(str(packs[content]), "train")
        assert packing.verify_split(split, functools.partial(same, split)) == 0
        picture = root / "train/rgb/3.png"
        before = picture.read_bytes()
        Image.new("RGB", (48, 32)).save(picture)
        try:
            assert packing.verify_split(split, functools.partial(same, split)) == 1
        finally:
            picture.write_bytes(before)
    capsys.readouterr()
    flip(fresh / "train/00001.tfrecord")
    (fresh / "train/00003.tfrecord").unlink()
    assert packing.verify_split(shards.Split(str(fresh), "train")) == 4
    lines = capsys.readouterr().out.splitlines()
    for line, text in zip(
        lines,
        (
            "00001.tfrecord: its sha256 is not",
            "sample 3: the checksum",
            "00003.tfrecord: no such",
            "sample 6: the shard",
        ),
        strict=True,
    ):
        assert text in line


# === Size ===


def test_a_long_split_takes_little_memory(tmp_path):
    count = 4000
    tool_module("_random_packed").pack(tmp_path, count, shard_samples=2500)
    config = million.config_of(tmp_path, count)
    open_split(config, "train").read(0)  # what is imported for it is not counted
    tracemalloc.start()
    try:
        source = open_split(config, "train")
        opened = tracemalloc.get_traced_memory()[0]
        for _ in range(2):
            for index in range(0, count, 20):
                source.read(index)
            read = tracemalloc.get_traced_memory()[0]
        assert source.ids[count - 1] == str(count - 1) and source.path(2500).endswith("00001.tfrecord, sample 2500")
    finally:
        tracemalloc.stop()
    # A path alone takes more than 100 bytes a sample.
    assert opened < 10 * count and read - opened < 10 * count


# === Remote ===


@pytest.mark.parametrize("content", CONTENTS)
def test_a_remote_packed_data_set(packs, content, tmp_path):
    remote = f"ram://{tmp_path.name}/packed"
    upload(packs[content], remote)
    options = dict(data__skip_bad=True, data__crop_size=(16, 24), train__epochs=1)
    local, _ = batches(TrainingData, config_for(packs[content], "packed", **options), "train")
    far, _ = batches(TrainingData, config_for(remote, "packed", **options), "train")
    assert_same(far, local)
    assert splits_of(config_for(remote, "packed").data) == ["train", "val"]
    tf.io.gfile.remove(f"{remote}/val/00001.tfrecord")
    source = open_split(config_for(remote, "packed"), "val")
    with pytest.raises(UsageError, match=r"ram://.*val/00001\.tfrecord, sample 2: the shard is missing"):
        source.read(2)
