"""The pipeline: order, restart at any step, bad samples, padding, sizes."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mtl_tf import config as configuration
from mtl_tf.data import pipeline
from mtl_tf.data.pipeline import EvaluationData, TrainingData
from mtl_tf.data.sets import describe, open_split
from mtl_tf.errors import UsageError
from mtl_tf.tasks import DepthLabels
from tests.helpers import ROOT, TWO_LABELS, write_dataset

AUGMENTED = dict(data__crop_size=(16, 24), augment__reflect=True, augment__scale_max=1.3, augment__tilt=10.0)


@pytest.fixture
def root(tmp_path):
    """Seven training and five validation samples of 32x48 pixels, of this test alone."""
    return write_dataset(tmp_path / "data", {"train": 7, "val": 5})


def config_for(root, **options):
    ours = dict(data__name="folder", data__root=str(root), data__workers=2, train__batch_size=2, train__epochs=3)
    return configuration.replace(configuration.Config(), **(ours | {"augment__reflect": False} | options))


def training(root, **options):
    config = config_for(root, **options)
    return TrainingData(open_split(config, "train"), config, describe(config.data))


def evaluation(root, **options):
    config = config_for(root, **options)
    return EvaluationData(open_split(config, "val"), config, describe(config.data))


def batches(dataset):
    return list(dataset.as_numpy_iterator())


def assert_same(found, expected):
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def spoil(path):
    path.write_bytes(path.read_bytes()[:-30])


# === Training ===


def test_a_batch_keeps_the_contract(tiny_dataset):
    data = training(tiny_dataset)
    spec = data.dataset().element_spec
    assert {name: (tuple(each.shape), each.dtype.name) for name, each in spec.items()} == {
        "image": ((2, 32, 48, 3), "float32"),
        "semseg": ((2, 32, 48), "int32"),
        "depth": ((2, 32, 48), "float32"),
        "index": ((2,), "int64"),
    }
    source = data.source
    for batch in batches(data.dataset().take(3)):
        for position, index in enumerate(batch["index"]):
            for name, value in source.read(index).items():
                np.testing.assert_array_equal(batch[name][position], value)


def test_every_epoch_drops_only_the_last_incomplete_batch(root):
    data = training(root)
    assert data.steps_per_epoch == 3
    indices = np.array([batch["index"] for batch in batches(data.dataset())])
    assert indices.shape == (9, 2)
    epochs = indices.reshape(3, 6)
    assert all(len(set(epoch)) == 6 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_restarting_at_any_step_continues_exactly(root):
    data = training(root, **AUGMENTED)
    whole = batches(data.dataset())
    for step in (1, 3, 4, 8):
        assert_same(batches(training(root, **AUGMENTED).dataset(step)), whole[step:])
    assert batches(data.dataset(9)) == []


PASTED = AUGMENTED | dict(augment__cutmix=0.5, augment__classmix=0.5, train__batch_size=3)


def test_pasting_is_a_function_of_the_step(root):
    whole = batches(training(root, **PASTED).dataset())
    for step in (1, 2, 5):
        assert_same(batches(training(root, **PASTED, data__workers=1).dataset(step)), whole[step:])
    plain = batches(training(root, **(PASTED | dict(augment__cutmix=0.0, augment__classmix=0.0))).dataset())
    assert [batch["index"].tolist() for batch in whole] == [batch["index"].tolist() for batch in plain]
    changed = [(one["image"] != other["image"]).any(-1) for one, other in zip(whole, plain, strict=True)]
    assert 0.2 < np.mean(changed) < 0.8
    for one, other in zip(whole, plain, strict=True):
        # What was pasted stands at the same place in another sample of the batch.
        nearest = np.abs(one["image"][:, None] - other["image"][None]).sum(-1).min(1)
        np.testing.assert_array_equal(nearest, 0)


def test_samples_do_not_depend_on_the_batch_size_or_the_number_of_readers(root):
    small = training(root, **AUGMENTED, train__batch_size=1, data__workers=1)
    large = training(root, **AUGMENTED, train__batch_size=3, data__workers=4)
    alone = {int(batch["index"][0]): batch for batch in batches(small.dataset().take(7))}
    for batch in batches(large.dataset().take(2)):
        for position, index in enumerate(batch["index"]):
            for name in ("image", "semseg", "depth"):
                np.testing.assert_array_equal(batch[name][position], alone[int(index)][name][0])


def test_seeds_and_epochs_change_order_and_augmentation(root):
    first, second = (batches(training(root, **AUGMENTED, seed=seed).dataset()) for seed in (0, 1))
    assert [batch["index"].tolist() for batch in first] != [batch["index"].tolist() for batch in second]
    by_epoch = [
        {int(i): batch["semseg"][p] for batch in first[start : start + 3] for p, i in enumerate(batch["index"])}
        for start in (0, 3)
    ]
    shared = by_epoch[0].keys() & by_epoch[1].keys()
    assert sum(not np.array_equal(by_epoch[0][i], by_epoch[1][i]) for i in shared) >= len(shared) - 1


def test_only_the_labels_of_the_tasks_are_read(root):
    batch = next(iter(training(root, tasks=("depth",)).dataset()))
    assert set(batch) == {"image", "depth", "index"}


def test_resizing(root):
    data = training(root, data__image_size=(16, 24), train__batch_size=1)
    batch = batches(data.dataset().take(1))[0]
    sample = data.source.read(int(batch["index"][0]))
    # At half size the nearest pixel to the centre of a 2x2 block is its lower right one (half-pixel centres).
    np.testing.assert_array_equal(batch["semseg"][0], sample["semseg"][1::2, 1::2])
    np.testing.assert_array_equal(batch["depth"][0], sample["depth"][1::2, 1::2])
    # A triangle filter of twice the width: weights 1, 3, 3, 1 over 8 along each axis.
    weights = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
    window = sample["image"][9:13, 19:23].astype(np.float64)
    np.testing.assert_allclose(batch["image"][0, 5, 10], np.einsum("ij,ijc->c", weights, window), rtol=1e-5)


def test_resizing_to_the_own_size_changes_nothing(root):
    assert_same(
        batches(training(root, data__image_size=(32, 48)).dataset()),
        batches(training(root).dataset()),
    )


def test_cached_samples_are_the_same_and_read_once(root):
    plain = batches(training(root).dataset())
    data = training(root, data__cache=True)
    assert_same(batches(data.dataset()), plain)
    for path in (root / "train" / "rgb").iterdir():
        path.unlink()
    assert_same(batches(data.dataset(1)), plain[1:])


def test_a_batch_larger_than_the_split(root):
    with pytest.raises(
        UsageError, match=r"train\.batch_size=8 takes more than the 7 samples that folder has in split train"
    ):
        training(root, train__batch_size=8)


def test_a_task_without_any_label(root):
    for path in (root / "train" / "depth").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="no sample of split train has a depth label; leave the task out"):
        training(root)
    assert set(next(iter(training(root, tasks=("semseg",)).dataset()))) == {"image", "semseg", "index"}


def test_samples_of_different_sizes(root):
    for modality, mode in (("rgb", "RGB"), ("semseg", "L"), ("depth", "I;16")):
        Image.new(mode, (50, 40)).save(root / "train" / modality / "3.png")
    data = training(root)
    with pytest.raises(UsageError, match=r"set --data\.image_size") as caught, data.naming_errors():
        batches(data.dataset())
    assert "3.png is 50x40 pixels, but the first sample is 48x32" in str(caught.value)
    assert len(batches(training(root, data__image_size=(16, 24)).dataset())) == 9
    assert len(batches(training(root, data__crop_size=(16, 24)).dataset())) == 9


# === Bad samples ===


@pytest.mark.parametrize("workers", [1, 4])
def test_a_bad_sample_ends_training_with_its_name(root, workers):
    spoil(root / "train" / "semseg" / "4.png")
    data = training(root, data__workers=workers)
    with pytest.raises(UsageError, match=r"train/semseg/4\.png: cannot be decoded"), data.naming_errors():
        batches(data.dataset())


def test_of_several_bad_samples_the_first_in_order_is_named(root):
    order = np.concatenate([batch["index"] for batch in batches(training(root).dataset().take(3))])
    for index in order[1:]:
        spoil(root / "train" / "rgb" / f"{index}.png")
    for _ in range(5):
        data = training(root, data__workers=4, data__image_size=(16, 24))
        with pytest.raises(UsageError, match=rf"rgb/{order[1]}\.png"), data.naming_errors():
            batches(data.dataset())


def test_other_errors_pass_through(root):
    data = training(root)
    with pytest.raises(tf.errors.InvalidArgumentError), data.naming_errors():
        tf.reshape(tf.zeros(3), (2, 2))


def test_skipped_samples_are_replaced_by_the_next_and_counted(root):
    expected = np.array([batch["index"] for batch in batches(training(root).dataset())])
    spoil(root / "train" / "rgb" / "2.png")
    spoil(root / "train" / "depth" / "6.png")
    for step in (0, 2):
        data = training(root, data__skip_bad=True)
        indices = np.array([batch["index"] for batch in batches(data.dataset(step))])
        replaced = expected[step:].copy()
        replaced[replaced == 2], replaced[replaced == 6] = 3, 0
        np.testing.assert_array_equal(indices, replaced)
        assert {name.rpartition("/")[2] for name in data.bad} == {"2.png", "6.png"}
        assert all("cannot be decoded" in message for message in data.bad.values())


def test_no_readable_sample_is_an_error_not_a_loop(root):
    for path in (root / "train" / "rgb").iterdir():
        spoil(path)
    data = training(root, data__skip_bad=True, data__image_size=(16, 24))
    with pytest.raises(UsageError, match="none of the 7 samples can be read; the first: "), data.naming_errors():
        batches(data.dataset())


# === Evaluation ===


def test_evaluation_is_in_natural_order_and_pads_the_last_batch(root):
    data = evaluation(root)
    assert data.steps(2) == 3
    found = batches(data.dataset(2))
    assert [batch["index"].tolist() for batch in found] == [[0, 1], [2, 3], [4, -1]]
    assert {batch["image"].shape for batch in found} == {(2, 32, 48, 3)}
    assert (found[2]["semseg"][1] == 255).all() and (found[2]["depth"][1] == 0).all()
    for name, value in data.source.read(4).items():
        np.testing.assert_array_equal(found[2][name][0], value)
    assert data.dataset(2).element_spec["image"].shape == (2, 32, 48, 3)


def test_evaluation_leaves_bad_samples_out(root):
    spoil(root / "val" / "rgb" / "1.png")
    data = evaluation(root)
    with pytest.raises(UsageError, match=r"val/rgb/1\.png"), data.naming_errors():
        batches(data.dataset(2))
    data = evaluation(root, data__skip_bad=True)
    found = batches(data.dataset(2))
    assert [batch["index"].tolist() for batch in found] == [[0, -1], [2, 3], [4, -1]]
    assert (found[0]["semseg"][1] == 255).all() and (found[0]["depth"][1] == 0).all()
    assert [name.rpartition("/")[2] for name in data.bad] == ["1.png"]


def test_evaluation_of_different_sizes_one_by_one(root):
    for modality, mode in (("rgb", "RGB"), ("semseg", "L"), ("depth", "I;16")):
        Image.new(mode, (50, 40)).save(root / "val" / modality / "3.png")
    assert [batch["image"].shape for batch in batches(evaluation(root).dataset(1))] == [
        (1, 40, 50, 3) if index == 3 else (1, 32, 48, 3) for index in range(5)
    ]
    data = evaluation(root)
    with pytest.raises(UsageError, match=r"3\.png is 50x40 pixels"), data.naming_errors():
        batches(data.dataset(2))
    assert len(batches(evaluation(root, data__image_size=(16, 24)).dataset(2))) == 3


def test_evaluation_crops_from_the_top_left():
    sample = {"image": tf.reshape(tf.range(70 * 40 * 3), (40, 70, 3)), "depth": tf.reshape(tf.range(2800), (40, 70))}
    found = pipeline.top_left(sample, 32)
    np.testing.assert_array_equal(found["image"], sample["image"][:32, :64])
    np.testing.assert_array_equal(found["depth"], sample["depth"][:32, :64])
    assert pipeline.top_left(sample, 64)["depth"].shape == (40, 64)
    assert pipeline.top_left(sample, 0) is sample


def test_evaluation_of_miniscapes_crops_its_pictures(tmp_path):
    for modality, mode in (("rgb", "RGB"), ("semseg", "L"), ("depth", "L")):
        (tmp_path / "val" / modality).mkdir(parents=True)
        Image.new(mode, (720, 360), 7 if mode == "L" else (7, 7, 7)).save(tmp_path / "val" / modality / "0.png")
    batch = batches(evaluation(tmp_path, data__name="miniscapes").dataset(1))[0]
    assert batch["image"].shape == (1, 352, 704, 3) and batch["depth"].shape == (1, 352, 704)


# === Other sources ===


def test_synthetic_scenes_are_the_same_each_time_and_differ_between_splits():
    options = dict(data__synthetic_train=3, data__synthetic_val=2, data__image_size=(64, 96))
    config = configuration.replace(configuration.Config(), **options)
    train, again, val = (open_split(config, split) for split in ("train", "train", "val"))
    assert (len(train), len(val)) == (3, 2)
    for index in range(3):
        assert_same([train.read(index)], [again.read(index)])
    sample = train.read(0)
    assert {name: (value.dtype, value.shape) for name, value in sample.items()} == {
        "image": (np.uint8, (64, 96, 3)),
        "semseg": (np.int32, (64, 96)),
        "depth": (np.float32, (64, 96)),
    }
    assert not np.array_equal(sample["image"], val.read(0)["image"])
    assert len(open_split(configuration.replace(config, data__limit=1), "train")) == 1


PROGRAM = """
import sys
from mtl_tf import config as configuration
from mtl_tf.data.sets import describe, open_split
assert "tensorflow" not in sys.modules, "the sources import TensorFlow"
from mtl_tf.data.pipeline import TrainingData
config = configuration.replace(configuration.Config(), data__name="folder", data__root=sys.argv[1],
                               train__batch_size=7, train__epochs=10**6, data__workers=2)
data = TrainingData(open_split(config, "train"), config, describe(config.data))
batches = iter(data.dataset())
for _ in range(3):
    next(batches)
print("ended")
"""


def test_a_program_can_end_while_batches_are_read_ahead(tmp_path):
    # Threads of a pipeline that enter Python while the interpreter shuts down would hang it for ever. Large pictures,
    # so that much is still to be read when the program ends.
    root = write_dataset(tmp_path / "large", {"train": 7, "val": 1}, size=(480, 640))
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(root)], cwd=ROOT, timeout=40, capture_output=True)
    assert done.returncode == 0 and done.stdout == b"ended\n", done.stderr.decode()[-500:]


# === Where depth is scored ===


class Far(DepthLabels):
    """Labels of two numbers a pixel."""

    shape = (2,)
    blank = -1


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [((480, 640), (45, 471), (41, 601)), ((240, 320), (22, 235), (20, 300)), ((96, 128), (9, 94), (8, 120))],
)
def test_the_crop_of_eigen(size, rows, columns):
    sample = {"depth": tf.ones(size), "far": tf.ones((*size, 2)), "semseg": tf.ones(size), "image": tf.ones((*size, 3))}
    labels = TWO_LABELS | {"far": Far("uint16_scaled")}
    cropped = {name: value.numpy() for name, value in pipeline.eigen_crop(sample, labels).items()}
    expected = np.zeros(size)
    expected[slice(*rows), slice(*columns)] = 1
    np.testing.assert_array_equal(cropped["depth"], expected)
    np.testing.assert_array_equal(cropped["far"], np.where(expected[..., None], 1, [-1, -1]))
    assert cropped["semseg"].all() and cropped["image"].all()


def test_the_crop_of_eigen_changes_what_is_scored_and_nothing_else(tiny_dataset):
    without, cropped = evaluation(tiny_dataset), evaluation(tiny_dataset, data__eigen_crop=True)
    for whole, part in zip(batches(without.dataset(3)), batches(cropped.dataset(3)), strict=True):
        np.testing.assert_array_equal(whole["image"], part["image"])
        np.testing.assert_array_equal(whole["semseg"], part["semseg"])
        # 32x48 pixels: rows 32 * 45 / 480 = 3 to 32 * 471 / 480 = 31.4, columns 3.075 to 45.075
        np.testing.assert_array_equal(part["depth"][:, 3:31, 3:45], whole["depth"][:, 3:31, 3:45])
        inside = np.zeros((32, 48), bool)
        inside[3:31, 3:45] = True
        assert (part["depth"][:, ~inside] == 0).all() and (whole["depth"][:, ~inside] > 0).any()
    assert_same(cropped.observed(2), without.observed(2))
    one, other = training(tiny_dataset), training(tiny_dataset, data__eigen_crop=True)
    assert_same(batches(other.dataset().take(2)), batches(one.dataset().take(2)))
